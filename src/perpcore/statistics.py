"""Statistics of a run, from its events alone: liquidations, fund, sessions, winners and losers.

Money is in units (1e-8 USD), whole; a percentage or a USD figure is made only for display.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perpcore.codes import Code, EventKind, FillFlag, Ledger, Reason
from perpcore.drive import Run, Tape
from perpcore.scenario import LEVERAGE_WEIGHTS, MAKERS, USD

Ints = NDArray[np.int64]
Events = NDArray[np.void]

#: Length of the window in which the worst cascade is looked for, in minutes.
CASCADE_MINUTES = 10
MINUTES_PER_HOUR = 60

_UNIT_LEDGERS = (Ledger.MAIN_USD, Ledger.BLOCK_POSITION, Ledger.BLOCK_ORDER)
_BLOCK_LEDGERS = (Ledger.BLOCK_POSITION, Ledger.BLOCK_ORDER)
#: Reasons that move an owner's money without making it richer or poorer.
_TRANSFERS = (
    Reason.R_DEPOSIT,
    Reason.R_WITHDRAW,
    Reason.R_ISOLATED_TRANSFER,
    Reason.R_AUTO_CONVERSION,
)


@dataclass(frozen=True)
class Liquidations:
    """One row a liquidated unit and command; all arrays (n,), in the order of the events.

    `book_units` is what the book took, `taken_units` what the fund's inventory took, both as
    notional (fills at their price, take-overs at the mark); `fund_units` what the fund gained
    (negative: paid) in INSURANCE_FUND; `take_over_loss_units` what the inventory's cost exceeds
    the mark by, 0 where it does not. `leverage` is 0 for makers.
    """

    minute: Ints
    account: Ints
    isolation_id: Ints
    isolated: NDArray[np.bool_]
    leverage: Ints
    book_units: Ints
    taken_units: Ints
    fund_units: Ints
    take_over_loss_units: Ints

    @property
    def notional_units(self) -> Ints:
        return self.book_units + self.taken_units


@dataclass(frozen=True)
class LeverageRow:
    leverage: int
    positions: int
    isolated: int
    cross: int
    notional_units: int
    fund_loss_units: int


@dataclass(frozen=True)
class HourRow:
    start_ns: int
    isolated: int
    cross: int
    book_units: int
    taken_units: int
    mark_low_ticks: int
    waves_max: int


@dataclass(frozen=True)
class Cascade:
    """The CASCADE_MINUTES with the largest liquidated notional; `first` and `last` are minutes.

    `index_far_ticks` is the index that went farthest from the one before, up or down; `gap_ticks`
    the largest distance of the mark from the index.
    """

    first: int
    last: int
    start_ns: int
    liquidations: int
    notional_units: int
    taken_units: int
    index_before_ticks: int
    index_far_ticks: int
    mark_low_ticks: int
    gap_ticks: int
    waves_max: int


@dataclass(frozen=True)
class FundBridge:
    """How the fund came from its start to its end; the parts sum to `end - start` exactly."""

    start_units: int
    minimum_units: int
    minimum_ns: int
    end_units: int
    liquidation_fees_units: int
    surplus_units: int
    deficits_paid_units: int
    inventory_units: int
    socialized_units: int
    other_units: int


@dataclass(frozen=True)
class Sessions:
    settled: int
    uncovered_units: int
    uncovered_sessions: int
    socialized_units: int
    socialized_owners: int
    carried_units: int
    released_units: int
    kept_peak_units: int
    kept_end_units: int
    withdrawals_refused: int


@dataclass(frozen=True)
class Loser:
    account: int
    pnl_units: int
    leverage: int
    mode: str


@dataclass(frozen=True)
class Waterfall:
    """Where the margin of the liquidated blocks went; the steps sum to 0."""

    blocks: int
    steps: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Statistics:
    liquidations: Liquidations
    by_leverage: list[LeverageRow]
    by_hour: list[HourRow]
    cascade: Cascade | None
    fund: FundBridge
    fund_series: tuple[Ints, Ints]
    sessions: Sessions
    losers: list[Loser]
    waterfall: Waterfall
    margin_calls: int
    rejects: dict[int, int]
    traders_pnl_units: int
    makers_pnl_units: int
    fees_units: int
    index_low: tuple[int, int]
    mark_low: tuple[int, int]
    open_interest_peak: tuple[int, int]
    open_interest_end_units: int


def minutes_of(tape: Tape, events: Events) -> Ints:
    """(n,) the tape's minute of each event, by the number of its command."""
    seq = events["seq"].astype(np.int64)
    return np.searchsorted(tape.first_seq, seq, side="right") - 1


def _unit_keys(events: Events) -> Ints:
    """One number for (command, unit). A unit is liquidated at most once a command (SPEC Q8)."""
    isolation = events["isolation_id"].astype(np.int64)
    unit = np.where(isolation != 0, isolation, (1 << 32) + events["account"].astype(np.int64))
    return (events["seq"].astype(np.int64) << 33) + unit


def open_interest_units(run: Run) -> Ints:
    """(minutes,) the notional of all longs, at the mark of each minute."""
    units: Ints = run.tape.open_interest_lots * run.tape.mark_ticks
    return units * run.scenario.contract.value_units


def find_liquidations(run: Run) -> Liquidations:
    """Every liquidation with what book and fund took of it, put together from its events."""
    tape, v = run.tape, run.scenario.contract.value_units
    ends = tape.of_kind(EventKind.LIQUIDATED)
    keys = _unit_keys(ends)
    order = np.argsort(keys, kind="stable")
    n = len(ends)

    def add(parts: Events, units: Ints) -> Ints:
        total = np.zeros(n, np.int64)
        if n and len(parts):
            wanted = _unit_keys(parts)
            at = order[np.minimum(np.searchsorted(keys[order], wanted), n - 1)]
            same = keys[at] == wanted
            np.add.at(total, at[same], units[same])
        return total

    fills = tape.of_kind(EventKind.FILL)
    fills = fills[(fills["flags"] & FillFlag.FILL_LIQUIDATION != 0) & (fills["order_id"] == 0)]
    taken = tape.of_kind(EventKind.TAKEN_OVER)
    value = taken["qty_lots"] * taken["price_ticks"] * v
    account = ends["account"].astype(np.int64)
    isolation = ends["isolation_id"].astype(np.int64)
    isolated = isolation != 0
    people = run.population
    strategy = np.where(isolated, people.isolated_of[account], people.cross_of[account])
    return Liquidations(
        minute=minutes_of(tape, ends),
        account=account,
        isolation_id=isolation,
        isolated=isolated,
        leverage=np.where(strategy >= 0, people.leverage[strategy], 0),
        book_units=add(fills, fills["amount_units"]),
        taken_units=add(taken, np.abs(value)),
        fund_units=ends["amount_units"].copy(),
        take_over_loss_units=add(taken, np.maximum(taken["amount_units"] - value, 0)),
    )


def by_leverage(run: Run, liquidations: Liquidations) -> list[LeverageRow]:
    rows = []
    for leverage, _ in LEVERAGE_WEIGHTS:
        mine = liquidations.leverage == leverage
        isolated = int(np.count_nonzero(mine & liquidations.isolated))
        paid = np.maximum(-liquidations.fund_units[mine], 0).sum()
        rows.append(
            LeverageRow(
                leverage=leverage,
                positions=int(run.opened[run.population.leverage == leverage].sum()),
                isolated=isolated,
                cross=int(np.count_nonzero(mine)) - isolated,
                notional_units=int(liquidations.notional_units[mine].sum()),
                fund_loss_units=int(paid + liquidations.take_over_loss_units[mine].sum()),
            )
        )
    return rows


def by_hour(tape: Tape, liquidations: Liquidations) -> list[HourRow]:
    """One row an hour of the clock, quiet hours too."""
    hour_ns = MINUTES_PER_HOUR * 60 * 1_000_000_000
    hours = tape.timestamps_ns // hour_ns
    of_liquidation = hours[liquidations.minute] if len(liquidations.minute) else hours[:0]
    rows = []
    for hour in np.unique(hours):
        mine = of_liquidation == hour
        then = hours == hour
        isolated = int(np.count_nonzero(mine & liquidations.isolated))
        rows.append(
            HourRow(
                start_ns=int(hour) * hour_ns,
                isolated=isolated,
                cross=int(np.count_nonzero(mine)) - isolated,
                book_units=int(liquidations.book_units[mine].sum()),
                taken_units=int(liquidations.taken_units[mine].sum()),
                mark_low_ticks=int(tape.mark_ticks[then].min()),
                waves_max=int(tape.waves[then].max()),
            )
        )
    return rows


def worst_cascade(tape: Tape, liquidations: Liquidations) -> Cascade | None:
    """The worst CASCADE_MINUTES by liquidated notional, the first of equals; None without any."""
    if not len(liquidations.minute):
        return None
    minutes = len(tape.timestamps_ns)
    per_minute = np.zeros(minutes, np.int64)
    np.add.at(per_minute, liquidations.minute, liquidations.notional_units)
    sums = np.concatenate([[0], np.cumsum(per_minute)])
    width = min(CASCADE_MINUTES, minutes)
    first = int(np.argmax(sums[width:] - sums[:-width]))
    last = first + width - 1
    window = slice(first, last + 1)
    mine = (liquidations.minute >= first) & (liquidations.minute <= last)
    gap = tape.mark_ticks[window] - tape.index_ticks[window]
    before = int(tape.index_ticks[max(0, first - 1)])
    moved = tape.index_ticks[window] - before
    return Cascade(
        first=first,
        last=last,
        start_ns=int(tape.timestamps_ns[first]),
        liquidations=int(np.count_nonzero(mine)),
        notional_units=int(liquidations.notional_units[mine].sum()),
        taken_units=int(liquidations.taken_units[mine].sum()),
        index_before_ticks=before,
        index_far_ticks=before + int(moved[np.argmax(np.abs(moved))]),
        mark_low_ticks=int(tape.mark_ticks[window].min()),
        gap_ticks=int(gap[np.argmax(np.abs(gap))]),
        waves_max=int(tape.waves[window].max()),
    )


def fund_series(run: Run) -> tuple[Ints, Ints]:
    """(minute, balance in units) after each change of the USD fund, its opening first."""
    balances = run.tape.of_kind(EventKind.BALANCE)
    changes = balances[balances["ledger"] == Ledger.FUND_USD]
    return (
        np.concatenate([[0], minutes_of(run.tape, changes)]),
        np.concatenate([[run.scenario.fund_usd * USD], changes["balance_units"]]),
    )


def fund_bridge(run: Run, series: tuple[Ints, Ints]) -> FundBridge:
    balances = run.tape.of_kind(EventKind.BALANCE)
    changes = balances[balances["ledger"] == Ledger.FUND_USD]

    def of_reason(events: Events, reason: int) -> Ints:
        units: Ints = events["amount_units"][events["reason"] == reason]
        return units

    insurance = balances[balances["reason"] == Reason.R_INSURANCE_FUND]
    # Seen from the unit, so that a surplus, a deficit and the inventory's result stay apart.
    owner = insurance["amount_units"][np.isin(insurance["ledger"], _UNIT_LEDGERS)]
    inventory = insurance["amount_units"][insurance["ledger"] == Ledger.INVENTORY]
    parts = {
        "liquidation_fees_units": int(of_reason(changes, Reason.R_LIQUIDATION_FEE).sum()),
        "surplus_units": int(-owner[owner < 0].sum()),
        "deficits_paid_units": int(-owner[owner > 0].sum()),
        "inventory_units": int(-inventory.sum()),
        "socialized_units": int(of_reason(changes, Reason.R_SOCIALIZED_LOSS).sum()),
    }
    minute, balance = series
    lowest = int(np.argmin(balance))
    start, end = int(balance[0]), int(balance[-1])
    return FundBridge(
        start_units=start,
        minimum_units=int(balance[lowest]),
        minimum_ns=int(run.tape.timestamps_ns[minute[lowest]]),
        end_units=end,
        other_units=end - start - sum(parts.values()),
        **parts,
    )


def sessions(run: Run) -> Sessions:
    tape = run.tape
    uncovered = tape.of_kind(EventKind.LOSS_UNCOVERED)
    kept = tape.of_kind(EventKind.PROFIT_LOCKED)["amount_units"]
    balances = tape.of_kind(EventKind.BALANCE)
    shared = balances[
        (balances["reason"] == Reason.R_SOCIALIZED_LOSS)
        & np.isin(balances["ledger"], _UNIT_LEDGERS)
    ]
    refused = tape.of_kind(EventKind.REJECT)
    # What was kept last is still kept unless a release came after it.
    kept_seq = tape.of_kind(EventKind.PROFIT_LOCKED)["seq"]
    freed_seq = tape.of_kind(EventKind.PROFIT_UNLOCKED)["seq"]
    still = len(kept_seq) > 0 and kept_seq[-1] > freed_seq.max(initial=0)
    return Sessions(
        settled=len(tape.of_kind(EventKind.SESSION_SETTLED)),
        uncovered_units=int(uncovered["amount_units"].sum()),
        uncovered_sessions=int(np.count_nonzero(uncovered["amount_units"])),
        socialized_units=int(-shared["amount_units"].sum()),
        socialized_owners=len(np.unique(shared["account"])),
        carried_units=int(uncovered["balance_units"][-1]) if len(uncovered) else 0,
        released_units=int(tape.of_kind(EventKind.PROFIT_UNLOCKED)["amount_units"].sum()),
        kept_peak_units=int(kept.max(initial=0)),
        kept_end_units=int(kept[-1]) if still else 0,
        withdrawals_refused=int(
            np.count_nonzero(refused["code"] == Code.EXCEEDS_WITHDRAWABLE)
        ),
    )


def pnl_by_account(run: Run) -> Ints:
    """(traders + makers,) units: every change of USD that is not a transfer of one's own money."""
    balances = run.tape.of_kind(EventKind.BALANCE)
    own = np.isin(balances["ledger"], _UNIT_LEDGERS) & ~np.isin(balances["reason"], _TRANSFERS)
    pnl = np.zeros(run.scenario.traders + MAKERS, np.int64)
    np.add.at(pnl, balances["account"][own], balances["amount_units"][own])
    return pnl


def largest_losers(run: Run, pnl: Ints, count: int = 12) -> list[Loser]:
    people, traders = run.population, run.scenario.traders
    rows = []
    for account in np.argsort(pnl[:traders], kind="stable")[:count]:
        isolated, cross = int(people.isolated_of[account]), int(people.cross_of[account])
        main = isolated if isolated >= 0 else cross
        mode = "both" if min(isolated, cross) >= 0 else (
            "isolated" if isolated >= 0 else "cross"
        )
        if pnl[account] < 0:
            rows.append(
                Loser(int(account), int(pnl[account]), int(people.leverage[main]), mode)
            )
    return rows


def block_waterfall(run: Run, liquidations: Liquidations) -> Waterfall:
    """What the liquidated blocks' margin became, over their whole lives, by reason."""
    ids = np.unique(liquidations.isolation_id[liquidations.isolated])
    balances = run.tape.of_kind(EventKind.BALANCE)
    mine = balances[
        np.isin(balances["ledger"], _BLOCK_LEDGERS) & np.isin(balances["isolation_id"], ids)
    ]
    names = (
        ("Margin moved in", Reason.R_ISOLATED_TRANSFER),
        ("Trading result", Reason.R_REALIZED_PNL),
        ("Funding", Reason.R_FUNDING),
        ("Trading fees", Reason.R_TRADE_FEE),
        ("Liquidation fees", Reason.R_LIQUIDATION_FEE),
        ("Gone with take-overs", Reason.R_TAKE_OVER),
        ("Surplus to the fund", Reason.R_INSURANCE_FUND),
        ("Socialized loss", Reason.R_SOCIALIZED_LOSS),
    )
    steps = []
    rest = int(mine["amount_units"].sum())
    for name, reason in names:
        units = int(mine["amount_units"][mine["reason"] == reason].sum())
        steps.append((name, units))
    other = rest - sum(units for _, units in steps)
    if other:
        steps.append(("Other", other))
    return Waterfall(len(ids), tuple(steps))


def summarize(run: Run) -> Statistics:
    """All statistics of a run."""
    tape = run.tape
    liquidations = find_liquidations(run)
    series = fund_series(run)
    pnl = pnl_by_account(run)
    refused = tape.of_kind(EventKind.REJECT)["code"]
    numbers, counts = np.unique(refused, return_counts=True)
    balances = tape.of_kind(EventKind.BALANCE)
    fees = -balances["amount_units"][balances["reason"] == Reason.R_TRADE_FEE].sum()
    index_low, mark_low = int(np.argmin(tape.index_ticks)), int(np.argmin(tape.mark_ticks))
    interest = open_interest_units(run)
    most = int(np.argmax(interest))
    return Statistics(
        liquidations=liquidations,
        by_leverage=by_leverage(run, liquidations),
        by_hour=by_hour(tape, liquidations),
        cascade=worst_cascade(tape, liquidations),
        fund=fund_bridge(run, series),
        fund_series=series,
        sessions=sessions(run),
        losers=largest_losers(run, pnl),
        waterfall=block_waterfall(run, liquidations),
        margin_calls=len(tape.of_kind(EventKind.MARGIN_CALL)),
        rejects={int(code): int(count) for code, count in zip(numbers, counts, strict=True)},
        traders_pnl_units=int(pnl[: run.scenario.traders].sum()),
        makers_pnl_units=int(pnl[run.scenario.traders :].sum()),
        fees_units=int(fees),
        index_low=(int(tape.index_ticks[index_low]), int(tape.timestamps_ns[index_low])),
        mark_low=(int(tape.mark_ticks[mark_low]), int(tape.timestamps_ns[mark_low])),
        open_interest_peak=(int(interest[most]), int(tape.timestamps_ns[most])),
        open_interest_end_units=int(interest[-1]),
    )
