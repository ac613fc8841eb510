"""The drive: a price path moves the index, makers quote around it, traders trade, marks liquidate.

Each minute: makers cancel and quote again, traders act in one batch, then the mark follows index
and last price. A mark that liquidates moves the last price, so it is taken again: that is a wave,
and waves go on until a mark liquidates nobody. Every hour a session is settled with funding.

Everything the core sees is a whole number; the clock is the path's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perpcore.codes import (
    Code,
    Currency,
    EventKind,
    ExecFlag,
    Kind,
    Ledger,
    OrderType,
    ProfileBit,
    Scope,
    Side,
    TimeInForce,
)
from perpcore.prices import MINUTE_NS, PricePath
from perpcore.records import COMMAND, EVENT
from perpcore.scenario import (
    E9,
    MAKER_CAPITAL_USD,
    MAKER_DEPTH_USD,
    MAKER_INVENTORY_MULTIPLE,
    MAKER_LEVERAGE,
    MAKERS,
    MINUTES_BEFORE,
    NOTIONAL_MAX_USD,
    QUOTE_LEVELS,
    SESSION_MINUTES,
    TRIPS_MAX,
    USD,
    Population,
    Scenario,
    draw_population,
)

Ints = NDArray[np.int64]

#: The mark stays within this distance of the index, in e-4.
MARK_BOUND_E4 = 100
#: The basis moves by one part in this many of its distance to (last - index) at each mark.
BASIS_PARTS = 16
#: Marks in one minute at most.
WAVES_MAX = 24
#: Makers quote again within a minute after this many waves.
WAVES_A_QUOTE = 3
#: A trader's limit is this far beyond the mark, in e-4.
SLIP_E4 = 30
#: A maker with a full inventory moves its fair price by this much, in e-4.
SKEW_E4 = 40
#: Resting orders of cross traders: distance from the mark in e-4.
LADDER_E4 = (80, 200)
#: A defender adds margin when this share of its margin is lost, in percent.
DEFEND_PERCENT = 45
#: Interest part of the hourly funding rate: 1 e-4 in eight hours.
INTEREST_E9 = 12_500
FUNDING_CAP_E9 = 500_000
#: A trader with less than this stays away, in USD.
STAKE_MIN_USD = 20

_CONTRACT = 0
_PROFILE = (
    ProfileBit.PROFILE_ADVANCED
    | ProfileBit.PROFILE_DERIVATIVES
    | ProfileBit.PROFILE_ISOLATED
    | ProfileBit.PROFILE_USD
    | ProfileBit.PROFILE_USDC
    | 1 << 48
)
_ADMIN_KEY = 0x5EED
# As plain numbers: they are looked up hundreds of thousands of times in a run.
_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_FILL, _TAKEN_OVER, _BALANCE = (
    int(EventKind.FILL), int(EventKind.TAKEN_OVER), int(EventKind.BALANCE)
)
_BLOCK_OPEN, _LIQUIDATED, _REJECT = (
    int(EventKind.BLOCK_OPEN), int(EventKind.LIQUIDATED), int(EventKind.REJECT)
)
_KINDS = max(EventKind) + 1
_MAIN_USD, _EXCEEDS_WITHDRAWABLE = int(Ledger.MAIN_USD), int(Code.EXCEEDS_WITHDRAWABLE)
_COMMAND_BYTES = f"V{COMMAND.itemsize}"
_OUT_EVENTS = 1 << 17


def toward_zero(numerator: int, denominator: int) -> int:
    """numerator / denominator without its fraction; the denominator is positive."""
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient


def next_basis(basis: int, index: int, last: int) -> int:
    """The basis after one more look at the last price, in mark ticks; it never overshoots."""
    return basis + toward_zero(last - index - basis, BASIS_PARTS)


def mark_price(index: int, last: int, basis: int) -> int:
    """The mark: median of index, last and index + basis, within MARK_BOUND_E4 of the index.

    All in mark ticks. The bound is rounded down (toward the index), so that it is never exceeded.
    """
    bound = index * MARK_BOUND_E4 // 10_000
    median = sorted((index, last, index + basis))[1]
    return max(1, index - bound, min(index + bound, median))


def commands(n: int, kind: int, timestamp_ns: int, **fields: Any) -> NDArray[np.void]:
    """(n,) COMMAND of one kind; each keyword fills a field with a value or an (n,) array."""
    block = np.zeros(n, COMMAND)
    block["kind"] = kind
    block["timestamp_ns"] = timestamp_ns
    for name, value in fields.items():
        block[name] = value
    return block


@dataclass
class Tape:
    """What happened: every event, and one row a minute.

    `events` is (n,) EVENT; the others (minutes,) int64. Minute i of the tape has the commands
    from `first_seq[i]` on; index and mark are in mark ticks at the end of the minute.
    """

    events: NDArray[np.void]
    first_seq: Ints
    timestamps_ns: Ints
    index_ticks: Ints
    mark_ticks: Ints
    waves: Ints
    open_interest_lots: Ints
    _picked: dict[int, NDArray[np.void]] = field(default_factory=dict, init=False, repr=False)
    _picked_from: NDArray[np.void] | None = field(default=None, init=False, repr=False)

    def of_kind(self, kind: int) -> NDArray[np.void]:
        """The events of one kind, in their order; picked out once for all who ask."""
        if self._picked_from is not self.events:
            self._picked, self._picked_from = {}, self.events
            self._kinds = np.ascontiguousarray(self.events["kind"])
        if kind not in self._picked:
            self._picked[kind] = self.events[self._kinds == kind]
        return self._picked[kind]


@dataclass
class Run:
    """A finished run: its tape, who traded, and what the venue says of itself."""

    scenario: Scenario
    population: Population
    tape: Tape
    opened: Ints
    levels: list[tuple[int, Ints]]
    audit: dict[str, Any]
    state_hash: int
    commands: int
    engine_seconds: float
    prices_rounded: int
    path_name: str


@dataclass
class _Record:
    """The tape while it grows."""

    chunks: list[NDArray[np.void]] = field(default_factory=list)
    rows: list[tuple[int, ...]] = field(default_factory=list)
    levels: list[tuple[int, Ints]] = field(default_factory=list)

    def join(self) -> NDArray[np.void]:
        """All events in one array; each chunk is given up as it is copied, to save memory."""
        events = np.empty(sum(len(chunk) for chunk in self.chunks), EVENT)
        end = len(events)
        while self.chunks:
            chunk = self.chunks.pop()
            events[end - len(chunk) : end] = chunk
            end -= len(chunk)
        return events


class Drive:
    """One venue and its traders, moved minute by minute along a path."""

    def __init__(self, scenario: Scenario, path: PricePath) -> None:
        from perpcore.engine import Engine

        self.scenario = scenario
        self.path = path
        contract = scenario.contract
        self.k = contract.marks_per_tick
        self.v = contract.value_units
        max_ticks = contract.max_price_ticks * self.k
        self.index, self.rounded = path.mark_ticks(contract.mark_tick, max_ticks)
        terms = scenario.contract_terms(int(self.index[0]))
        self.max_position_lots = int(terms["max_position_lots"][0])
        self.max_order_lots = int(terms["max_order_lots"][0])
        self.fee_e9 = int(2 * terms["taker_fee_e9"][0] + terms["liquidation_fee_e9"][0])
        self.population = draw_population(scenario, len(path))
        self.engine = Engine(scenario.venue_terms(), _ADMIN_KEY)
        self.engine.add_contract(terms, _ADMIN_KEY)
        self.rng = np.random.Generator(np.random.PCG64([scenario.seed, 1]))
        self.out = np.zeros(_OUT_EVENTS, EVENT)
        self.record = _Record()
        self.engine_seconds = 0.0
        self._start_state()

    def _start_state(self) -> None:
        people, n = self.population, self.scenario.traders
        m = people.strategies
        self.main_units = np.zeros(n + MAKERS, np.int64)
        self.maker_lots = np.zeros(MAKERS, np.int64)
        self.lots = np.zeros(m, np.int64)
        self.was_open = np.zeros(m, np.bool_)
        self.isolation_id = np.zeros(m, np.int64)
        self.entry_ticks = np.zeros(m, np.int64)
        self.next_minute = people.first_minute.copy()
        self.trip = np.zeros(m, np.int64)
        self.closing = np.zeros(m, np.bool_)
        self.laddered = np.zeros(m, np.bool_)
        self.defended = np.zeros(m, np.bool_)
        self.opened = np.zeros(m, np.int64)
        self.withdraw_minute = np.full(n, np.iinfo(np.int64).max)
        self.liquidations = 0
        self.basis = 0
        self.mark = int(self.index[0])
        self.last = int(self.index[0])
        self.premium_sum = 0
        self.index_sum = 0

    # The engine's door -------------------------------------------------------------------------

    def apply(self, *blocks: NDArray[np.void]) -> None:
        """Apply the commands in order, keep every event and fold it into the traders' view."""
        # As plain bytes: numpy compares every field's type when it joins structured arrays.
        batch = np.concatenate([block.view(_COMMAND_BYTES) for block in blocks]).view(COMMAND)
        done = 0
        while True:
            start = time.perf_counter()
            applied, written = self.engine.apply(batch[done:], self.out, _ADMIN_KEY)
            self.engine_seconds += time.perf_counter() - start
            done += applied
            chunk = self.out[:written].copy()
            self.record.chunks.append(chunk)
            self._fold(chunk)
            if done == len(batch) and written < len(self.out):
                return

    def _fold(self, events: NDArray[np.void]) -> None:
        """Bring the traders' view up to date: positions, main cash, blocks, refused withdrawals."""
        # A copy side by side: each comparison below would stride over whole events otherwise.
        kind = np.ascontiguousarray(events["kind"])
        counts = np.bincount(kind, minlength=_KINDS)
        if counts[_FILL]:
            fills = events[kind == _FILL]
            self.last = int(fills["price_ticks"][-1]) * self.k
            bought = fills["flags"] >> 4 == _BUY
            self._move(fills, np.where(bought, fills["qty_lots"], -fills["qty_lots"]))
        if counts[_TAKEN_OVER]:
            taken = events[kind == _TAKEN_OVER]
            self._move(taken, -taken["qty_lots"])
        if counts[_BALANCE]:
            balances = events[(kind == _BALANCE) & (events["ledger"] == _MAIN_USD)]
            self.main_units[balances["account"]] = balances["balance_units"]
        if counts[_BLOCK_OPEN]:
            opened = events[kind == _BLOCK_OPEN]
            strategy = self.population.isolated_of[opened["account"]]
            self.isolation_id[strategy] = opened["isolation_id"]
        self.liquidations += int(counts[_LIQUIDATED])
        if counts[_REJECT]:
            refused = events[(kind == _REJECT) & (events["code"] == _EXCEEDS_WITHDRAWABLE)]
            self.withdraw_minute[refused["account"]] = self._session_end() + 1

    def _move(self, events: NDArray[np.void], lots: Ints) -> None:
        """Add signed lots to the positions of traders and makers; the inventory is neither."""
        traders = self.scenario.traders
        account = events["account"].astype(np.int64)
        maker = (account >= traders) & (account < traders + MAKERS)
        np.add.at(self.maker_lots, account[maker] - traders, lots[maker])
        own = account < traders
        account, lots = account[own], lots[own]
        people = self.population
        crossed = events["isolation_id"][own] == 0
        strategy = np.where(crossed, people.cross_of[account], people.isolated_of[account])
        held = strategy >= 0
        np.add.at(self.lots, strategy[held], lots[held])

    # Set-up ------------------------------------------------------------------------------------

    def _open_venue(self, now: int) -> None:
        people, n = self.population, self.scenario.traders
        accounts = np.arange(n + MAKERS)
        # Contract and index are known before money arrives: USDC counts at its index.
        self.apply(
            commands(1, Kind.INDEX, now, currency=Currency.USDC, mark_ticks=1_000_000),
            commands(1, Kind.MARK, now, mark_ticks=self.mark),
            commands(len(accounts), Kind.OPEN_ACCOUNT, now, account=accounts),
            commands(len(accounts), Kind.SET_ELIGIBILITY, now, account=accounts, profile=_PROFILE),
        )
        usd = np.append(people.deposit_usd, np.full(MAKERS, MAKER_CAPITAL_USD * n)) * USD
        usdc = np.flatnonzero(people.usdc_usd)
        crossing = np.flatnonzero(~people.isolated)
        self.apply(
            self._deposit(now, accounts, usd, Currency.USD),
            self._deposit(now, usdc, people.usdc_usd[usdc] * USD, Currency.USDC),
            commands(
                len(crossing), Kind.SET_LEVERAGE, now, account=people.account[crossing],
                leverage=people.leverage[crossing],
            ),
            commands(
                MAKERS, Kind.SET_LEVERAGE, now, account=accounts[n:], leverage=MAKER_LEVERAGE
            ),
        )

    @staticmethod
    def _deposit(now: int, account: Ints, units: Ints, currency: int) -> NDArray[np.void]:
        return commands(
            len(account), Kind.DEPOSIT, now, account=account, amount_units=units, currency=currency
        )

    # Makers ------------------------------------------------------------------------------------

    def _quotes(self, now: int, minute: int, index: int) -> list[NDArray[np.void]]:
        """Cancel and quote again around the index: tilted by inventory, wider when it moves."""
        before = int(self.index[max(0, minute - 5)])
        # One percent in five minutes makes quotes three times as wide and a third as deep.
        widen = min(600, 100 + 2 * (abs(index - before) * 10_000 // before))
        depth_lots = self._lots_of(MAKER_DEPTH_USD * self.scenario.traders) // MAKERS
        full_lots = min(max(1, self._lots_of(
            MAKER_CAPITAL_USD * MAKER_INVENTORY_MULTIPLE * self.scenario.traders
        )), self.max_position_lots * 9 // 10)
        tilt = np.clip(self.maker_lots * 10_000 // full_lots, -10_000, 10_000)
        fair = index - index * SKEW_E4 * tilt // 100_000_000
        away = np.array([e4 for e4, _ in QUOTE_LEVELS], np.int64)
        share = np.array([weight for _, weight in QUOTE_LEVELS], np.int64)
        jitter = self.rng.integers(80, 121, (2, MAKERS, len(away)))
        accounts = np.repeat(np.arange(MAKERS) + self.scenario.traders, len(away))
        blocks = [commands(MAKERS, Kind.CANCEL_ALL, now, account=accounts[:: len(away)])]
        # On a coarse grid too a maker's two sides stay apart.
        distance = np.maximum(index * away * widen // 1_000_000, 1)
        for i, (side, sign) in enumerate(((_BUY, 1), (_SELL, -1))):
            room = 10_000 - np.maximum(sign * tilt, 0)
            lots = depth_lots * share[None, :] * jitter[i] // (100 * widen)
            lots = np.minimum(lots * room[:, None] // 10_000, self.max_order_lots).ravel()
            ticks = fair[:, None] - sign * distance[None, :]
            price = self._to_price(ticks.ravel(), side)
            some = lots > 0
            blocks.append(self._limit(now, accounts[some], side, price[some], lots[some]))
        return blocks

    def _lots_of(self, usd: int) -> int:
        """Lots of a notional in whole USD at the mark, rounded down."""
        return usd * USD // (self.mark * self.v)

    def _to_price(self, mark_ticks: Ints, side: Any) -> Ints:
        """Order prices from mark ticks: a buyer's rounded down, a seller's up, both passive."""
        buy = np.asarray(side) == _BUY
        return np.where(buy, mark_ticks // self.k, -(-mark_ticks // self.k))

    @staticmethod
    def _limit(
        now: int, account: Ints, side: Any, price: Ints, lots: Ints, **fields: Any
    ) -> NDArray[np.void]:
        return commands(
            len(account), Kind.NEW_ORDER, now, account=account, side=side, price_ticks=price,
            qty_lots=lots, order_type=OrderType.LIMIT, **fields,
        )

    # Traders -----------------------------------------------------------------------------------

    def _trades(self, now: int, minute: int) -> list[NDArray[np.void]]:
        due = self.next_minute <= minute
        closing = np.flatnonzero(due & self.was_open)
        opening = np.flatnonzero(due & ~self.was_open)
        blocks = self._withdrawals(now, minute)
        if len(closing):
            blocks += self._closes(now, closing)
        if len(opening):
            blocks.append(self._opens(now, minute, opening))
        ladder = np.flatnonzero(self.was_open & self.population.ladder & ~self.laddered)
        if len(ladder):
            blocks += self._ladders(now, ladder)
        if minute % 5 == 0:
            blocks.append(self._defenses(now))
        return blocks

    def _opens(self, now: int, minute: int, s: Ints) -> NDArray[np.void]:
        """IOC limit orders a little beyond the mark, sized so that the reserve fits the stake."""
        people = self.population
        account = people.account[s]
        stake = self.main_units[account] // 100 * people.use_percent[s]
        enough = stake >= STAKE_MIN_USD * USD
        self.next_minute[s[~enough]] = np.iinfo(np.int64).max
        s, account, stake = s[enough], account[enough], stake[enough]
        side = np.where(people.long[s, self.trip[s]], _BUY, _SELL)
        slip = self.mark * SLIP_E4 // 10_000
        limit = np.where(side == _BUY, self.mark + slip, self.mark - slip)
        lot_units = np.maximum(limit, self.mark) * self.v
        # Need of a lot (SPEC C3), rounded up: margin, both fees, the fee reserve and the slip.
        need = lot_units // people.leverage[s] + lot_units * self.fee_e9 // E9 + slip * self.v + 4
        lots = np.minimum(stake // need, self._lots_of(NOTIONAL_MAX_USD))
        # What cannot be opened now is tried again, a little later.
        self.next_minute[s] = minute + 1 + people.wait_minutes[s, self.trip[s]] // 5
        some = lots > 0
        s, isolated = s[some], people.isolated[s[some]]
        return self._limit(
            now, account[some], side[some], self._to_price(limit, side)[some], lots[some],
            time_in_force=TimeInForce.IOC,
            exec_flags=np.where(isolated, ExecFlag.ISOLATED_MARGIN, 0),
            leverage=np.where(isolated, people.leverage[s], 0),
        )

    def _closes(self, now: int, s: Ints) -> list[NDArray[np.void]]:
        people = self.population
        self.closing[s] = True
        crossing = s[~people.isolated[s] & people.ladder[s]]
        return [
            commands(
                len(crossing), Kind.CANCEL_ALL, now, account=people.account[crossing],
                scope=Scope.SCOPE_CROSS,
            ),
            commands(
                len(s), Kind.CLOSE_POSITION, now, account=people.account[s],
                order_type=OrderType.MARKET,
                isolation_id=np.where(people.isolated[s], self.isolation_id[s], 0),
            ),
        ]

    def _ladders(self, now: int, s: Ints) -> list[NDArray[np.void]]:
        """Resting orders that would add to a cross position at a better price."""
        self.laddered[s] = True
        long = self.lots[s] > 0
        side = np.where(long, _BUY, _SELL)
        lots = np.maximum(np.abs(self.lots[s]) // 6, 1)
        blocks = []
        for distance in LADDER_E4:
            away = self.mark * distance // 10_000
            price = self._to_price(self.mark - np.where(long, away, -away), side)
            blocks.append(self._limit(now, self.population.account[s], side, price, lots))
        return blocks

    def _defenses(self, now: int) -> NDArray[np.void]:
        """Margin for blocks that lost DEFEND_PERCENT of theirs: a third of what main has."""
        people = self.population
        watch = np.flatnonzero(self.was_open & people.defender & ~self.defended)
        entry = self.entry_ticks[watch]
        gain = (self.mark - entry) * np.sign(self.lots[watch]) * people.leverage[watch] * 100
        s = watch[gain < -DEFEND_PERCENT * entry]
        units = self.main_units[people.account[s]] // 3
        s, units = s[units >= USD], units[units >= USD]
        self.defended[s] = True
        return commands(
            len(s), Kind.ADD_MARGIN, now, account=people.account[s],
            isolation_id=self.isolation_id[s], amount_units=units,
        )

    def _withdrawals(self, now: int, minute: int) -> list[NDArray[np.void]]:
        due = np.flatnonzero(self.withdraw_minute <= minute)
        if not len(due):
            return []
        self.withdraw_minute[due] = np.iinfo(np.int64).max
        due = due[self.main_units[due] > 0]
        return [
            commands(
                len(due), Kind.WITHDRAW, now, account=due, currency=Currency.USD,
                amount_units=self.main_units[due],
            )
        ]

    def _settle_positions(self, minute: int) -> None:
        """Note which positions began and ended this minute, and plan what their owners do next."""
        people = self.population
        is_open = self.lots != 0
        began = np.flatnonzero(is_open & ~self.was_open)
        ended = np.flatnonzero(~is_open & self.was_open)
        self.was_open = is_open
        trip = self.trip[began]
        self.opened[began] += 1
        self.entry_ticks[began] = self.mark
        self.next_minute[began] = minute + people.hold_minutes[began, trip]
        left = ended[self.closing[ended] & people.withdrawer[ended]]
        self.withdraw_minute[people.account[left]] = minute + 1
        self.laddered[ended] = self.defended[ended] = self.closing[ended] = False
        self.next_minute[ended] = minute + people.wait_minutes[ended, self.trip[ended]]
        self.trip[ended] += 1
        over = ended[self.trip[ended] == TRIPS_MAX]
        self.trip[over] = TRIPS_MAX - 1
        self.next_minute[over] = np.iinfo(np.int64).max

    # Marks and sessions ------------------------------------------------------------------------

    def _marks(self, now: int, index: int) -> int:
        """Take the mark until it liquidates nobody; returns how many waves did liquidate."""
        waves = 0
        while waves < WAVES_MAX:
            self.basis = next_basis(self.basis, index, self.last)
            mark = mark_price(index, self.last, self.basis)
            if waves and mark == self.mark:
                break
            self.mark = mark
            before = self.liquidations
            self.apply(commands(1, Kind.MARK, now + waves, mark_ticks=mark))
            if self.liquidations == before:
                break
            waves += 1
            if waves % WAVES_A_QUOTE == 0:
                self.apply(*self._quotes(now + waves, self.minute, index))
        return waves

    def _session_end(self) -> int:
        """The next minute that settles a session, on the tape's count."""
        return self.minute + SESSION_MINUTES - self._minute_of_session()

    def _minute_of_session(self) -> int:
        start = int(self.path.timestamps_ns[0]) // MINUTE_NS
        return (start + self.minute) % SESSION_MINUTES

    def _settle_session(self, now: int) -> None:
        """Funding by the session's mean premium, then the settlement, in one batch."""
        premium = toward_zero(self.premium_sum * E9, max(1, self.index_sum) * 8)
        rate = max(-FUNDING_CAP_E9, min(FUNDING_CAP_E9, INTEREST_E9 + premium))
        self.premium_sum = self.index_sum = 0
        self.apply(
            commands(1, Kind.FUNDING, now, rate_e9=rate, scope=Scope.FUNDING_AT_SETTLEMENT),
            commands(1, Kind.SETTLE_SESSION, now),
        )
        self._snapshot()

    def _snapshot(self) -> None:
        levels = np.array(self.engine.liquidation_levels(_CONTRACT), np.int64).reshape(-1, 3)
        self.record.levels.append((self.minute, levels))

    def _step(self, minute: int) -> None:
        self.minute = minute
        now = int(self.path.timestamps_ns[0]) + minute * MINUTE_NS
        index = int(self.index[max(0, minute)])
        first_seq = self.engine.seq + 1
        if minute == -MINUTES_BEFORE:
            self._open_venue(now)
        elif self._minute_of_session() == 0:
            self._settle_session(now)
        second = 1_000_000_000
        self.apply(*self._quotes(now + second, minute, index), *self._trades(now + second, minute))
        waves = self._marks(now + 2 * second, index)
        self._settle_positions(minute)
        self.premium_sum += self.mark - index
        self.index_sum += index
        self.record.rows.append((first_seq, now, index, self.mark, waves, self._open_interest()))

    def _open_interest(self) -> int:
        """Lots of all longs; the fund's inventory is what the others lack of meeting each other."""
        longs = int(np.maximum(self.lots, 0).sum() + np.maximum(self.maker_lots, 0).sum())
        inventory = -int(self.lots.sum() + self.maker_lots.sum())
        return longs + max(0, inventory)

    def run(self, progress: Callable[[int, int], None] = lambda done, total: None) -> Run:
        """Drive the whole path; `progress(done, total)` is called about once in 50 minutes."""
        total = MINUTES_BEFORE + len(self.path)
        for minute in range(-MINUTES_BEFORE, len(self.path)):
            self._step(minute)
            done = minute + MINUTES_BEFORE + 1
            if done % 50 == 0 or done == total:
                progress(done, total)
        # The last session is settled too, so that every profit and loss is in a balance.
        self._settle_session(int(self.path.timestamps_ns[-1]) + MINUTE_NS - 1)
        rows = np.array(self.record.rows, np.int64).T
        events = self.record.join()
        engine = self.engine
        return Run(
            scenario=self.scenario,
            population=self.population,
            tape=Tape(events, *(row.copy() for row in rows)),
            opened=self.opened,
            levels=self.record.levels,
            audit=engine.audit(),
            state_hash=engine.state_hash(),
            commands=engine.seq,
            engine_seconds=self.engine_seconds,
            prices_rounded=self.rounded,
            path_name=self.path.name,
        )
