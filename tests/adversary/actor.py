"""Three accounts that belong to one person try to take money out of the insurance fund.

    .venv/bin/python tests/adversary/actor.py [SECONDS [SEED]]

Nobody else trades, so that what the three win beyond their deposits is the fund's loss. The actor
chooses the marks, too: it knows the future. Three losses are the fund's by the rules, and are
worked out before each command from the state alone; whatever goes beyond them is a hole:

- *market*: what its own inventory loses by the move of a mark, and pays as funding (Q4, F1);
- *gap*: what a unit owes at the new mark, index or funding, once all it has is counted (Q6);
- *work-off*: at most `work_off_band` of the lots that the inventory sells at a mark (Q4).

A search keeps the sequences in which the three come nearest to more, and changes them.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import conftest  # noqa: F401  puts the driver beside this directory on the path
from driver import EngineSide, Side
from reference.codes import Currency, Exec, Kind, OrderType, Scope, Stp, Tif
from reference.records import Command, ContractTerms, VenueTerms
from shrink import show_command
from worlds import BUY, SELL, Step, World

USD = 10**8
SECOND = 10**9
COLLUDERS = 3
DEPOSIT_USD = 10_000
START_MARK = 60_000
DUST = 64  # money units that roundings of one command may come to
PROFILE = 0xFFFF_0000_0000_003E | 100 << 8  # all but suspended, 100x, every group
CONTRACTS = (("ONE", 10), ("TWO", 10))

Dump = dict[str, Any]
Fields = dict[str, int]


def make_world(fund_usd: int) -> World:
    """Two contracts with usual fees; small slices and a wide band, which serve the actor."""
    contracts = tuple(ContractTerms(
        symbol=symbol, tick_size_e12=10**12, lot_size_e9=10**6, multiplier=1, marks_per_tick=k,
        max_price_ticks=START_MARK * 2, min_order_lots=1, max_order_lots=100_000,
        max_position_lots=200_000, liquidation_slice_lots=500, inventory_limit_lots=10**7,
        work_off_slice_lots=2_000, taker_fee_e9=500_000, maker_fee_e9=0,
        liquidation_fee_e9=5_000_000, maintenance_share_e4=5000, unit_margin_rate_e15=0,
        max_leverage=100, band_aggressive_e9=50_000_000, band_passive_e9=500_000_000,
        work_off_band_e9=5_000_000, funding_cap_e9=7_500_000, stale_after_ns=0, access_group=0,
    ) for symbol, k in CONTRACTS)
    venue = VenueTerms(
        fund_opening_units=(fund_usd * USD, 0), usdc_haircut_e9=20_000_000,
        max_orders_per_account=20, max_blocks_per_account=4, account_notional_limit_units=0,
        account_capacity=8, unit_capacity=64, leg_capacity=128, order_capacity=128,
        page_capacity=1024, timers_per_command=16)
    return World(venue, contracts)


# ---- what the rules let the fund lose


@dataclass(frozen=True)
class Books:
    """A dump as wealth: of each unit at its mark, and of the fund with its inventory."""

    dump: Dump
    values: tuple[int, ...]  # money units of one mark tick x one lot

    def mark(self, contract: int) -> int:
        return int(self.dump["contracts"][contract]["mark_ticks"])

    def worth(self, lots: int, cost: int, contract: int, mark: int) -> int:
        return lots * self.values[contract] * mark - cost

    def fund(self) -> int:
        total = int(self.dump["fund_units"][0] + self.dump["inventory_cash_units"])
        for number, row in enumerate(self.dump["contracts"]):
            total += self.worth(row["inventory_lots"], row["inventory_cost_units"], number,
                                row["mark_ticks"])
        return total

    def units(self) -> Iterator[tuple[int, int, list[Dump]]]:
        """(USD, USDC, legs) of each main account and block."""
        for row in self.dump["accounts"]:
            yield row["cash_units"], row["usdc_units"], row["legs"]
        for row in self.dump["blocks"]:
            yield row["cash_units"], 0, [row]

    def payable(self, usdc: int, index: int) -> int:
        """What USDC gives when it is converted: index less 2 % (A4)."""
        return usdc * index * 98 // (100 * 10**6)

    def wealth(self) -> int:
        """Of the three: everything at the marks, order cash too; a USDC counts as a USD."""
        total = sum(int(row["order_cash_units"]) for row in self.dump["blocks"])
        for cash, usdc, legs in self.units():
            total += cash + usdc
            total += sum(self.worth(leg["qty_lots"], leg["cost_units"], leg["contract"],
                                    self.mark(leg["contract"])) for leg in legs)
        return total

    def gaps(self, marks: dict[int, int], rates: dict[int, int], index: int) -> int:
        """What units cannot pay at these marks, funding rates (e-9) and index."""
        total = 0
        for cash, usdc, legs in self.units():
            own = cash + self.payable(usdc, index)
            for leg in legs:
                number, lots = leg["contract"], leg["qty_lots"]
                mark = marks.get(number, self.mark(number))
                own += self.worth(lots, leg["cost_units"], number, mark)
                own -= lots * self.values[number] * mark * rates.get(number, 0) // 10**9
            total += max(0, -own)
        return total


@dataclass(frozen=True)
class Allowed:
    """What the fund may lose by a command, by the rule that lets it (market: it may gain, too)."""

    market: int = 0
    gap: int = 0
    work_off: int = 0

    @property
    def total(self) -> int:
        return self.market + self.gap + self.work_off


def allowed_loss(books: Books, command: Command) -> Allowed:
    """The most that the fund may lose by this command."""
    dump, kind, contract = books.dump, command.kind, command.contract
    rows = dump["contracts"]
    marks: dict[int, int] = {}
    rates: dict[int, int] = {}
    index, market, work_off = dump["index_e6"], 0, 0
    if kind == Kind.MARK:
        row, value = rows[contract], books.values[contract]
        marks[contract] = command.mark_ticks
        held = row["inventory_lots"]
        market -= held * value * (command.mark_ticks - row["mark_ticks"])
        worked = min(abs(held), 2_000)
        work_off = worked * value * command.mark_ticks * 5 // 1000
    elif kind == Kind.INDEX:
        index = command.mark_ticks
    elif kind == Kind.FUNDING and command.scope == Scope.FUNDING_NOW:
        rates[contract] = command.rate_e9
    elif kind == Kind.SETTLE_SESSION:
        rates = {n: row["funding_rate_e9"] or 0 for n, row in enumerate(rows)}
    else:
        return Allowed()
    for number, rate in rates.items():
        owed = rows[number]["inventory_lots"] * books.values[number] * books.mark(number) * rate
        market += -(-owed // 10**9)
    return Allowed(market, books.gaps(marks, rates, index), work_off)


# ---- playing


@dataclass
class Game:
    """One sequence, played: what the three won, what of it the rules explain."""

    world: World
    make_side: Callable[[World], Side] = EngineSide
    side: Side = field(init=False)
    trace: list[Step] = field(default_factory=list)
    books: Books = field(init=False)
    explained: Counter[str] = field(default_factory=Counter)
    hole: str = ""
    now: int = SECOND
    deposits: int = 0
    start: int = 0

    def __post_init__(self) -> None:
        self.side = self.make_side(self.world)
        values = tuple(t.tick_size_e12 * t.lot_size_e9 * t.multiplier
                       // (10**13 * t.marks_per_tick) for t in self.world.contracts)
        self.books = Books(self.side.dump(), values)
        self.send(kind=Kind.INDEX, currency=Currency.USDC, mark_ticks=10**6)
        for account in range(COLLUDERS):
            self.send(kind=Kind.OPEN_ACCOUNT, account=account)
            self.send(kind=Kind.SET_ELIGIBILITY, account=account, profile=PROFILE)
            usdc = account == COLLUDERS - 1
            self.send(kind=Kind.DEPOSIT, account=account, amount_units=DEPOSIT_USD * USD,
                      currency=Currency.USDC if usdc else Currency.USD)
        for contract, (_, k) in enumerate(CONTRACTS):
            self.send(kind=Kind.MARK, contract=contract, mark_ticks=START_MARK * k)
        self.deposits = COLLUDERS * DEPOSIT_USD * USD
        self.start = self.books.fund()

    def send(self, **fields: int) -> None:
        """One command; the fund's loss is held against what the rules allow."""
        if self.hole:
            return
        self.now += SECOND
        step = Step(Command(timestamp_ns=self.now, **fields), True)
        allowed, before = allowed_loss(self.books, step.command), self.books.fund()
        self.side.apply([step])
        self.trace.append(step)
        self.books = Books(self.side.dump(), self.books.values)
        if step.command.kind == Kind.WITHDRAW:
            self.deposits = self.paid_in()
        lost = before - self.books.fund()
        left = lost
        for name in ("market", "gap", "work_off"):  # what is left over comes by the next rule
            part = min(left, getattr(allowed, name))
            if part > 0:
                self.explained[name] += part
                left -= part
        if lost > allowed.total + DUST:
            self.hole = f"the fund lost {lost} units, the rules allow {allowed.total}"
        problems = self.side.problems()
        if problems:
            self.hole = problems[0]

    def paid_in(self) -> int:
        """Deposits less withdrawals, USDC at its first index."""
        return sum(map(int, self.books.dump["deposits_units"])) - sum(
            map(int, self.books.dump["withdrawals_units"])) - self.world.venue.fund_opening_units[0]

    def gain(self) -> int:
        return self.books.wealth() - self.deposits

    def fund_loss(self) -> int:
        return self.start - self.books.fund()


#: One move of the actor: which one, and numbers that it reads.
Move = tuple[int, float, float, float]


def play(world: World, moves: Sequence[Move],
         make_side: Callable[[World], Side] = EngineSide) -> Game:
    game = Game(world, make_side)
    for number, a, b, c in moves:
        MOVES[number](game, a, b, c)
        if game.hole:
            break
    return game


def pick(part: float, count: int) -> int:
    return min(count - 1, int(part * count))


def order(game: Game, a: float, b: float, c: float, **more: int) -> None:
    """At the edge of the band, at the mark, or between; sizes from 1 lot to all that 100x buys."""
    account, contract = pick(a, COLLUDERS), pick(a * 7 % 1, len(CONTRACTS))
    mark = game.books.mark(contract) // CONTRACTS[contract][1]
    sign = 1 if c < 0.5 else -1
    away = (0, 0.0005, 0.005, 0.02, 0.0499, -0.0005, -0.005, -0.02)[pick(b, 8)]
    lots = (1, 50, 499, 1_000, 4_000, 12_000)[pick(b * 11 % 1, 6)]
    fields: Fields = {
        "kind": Kind.NEW_ORDER, "account": account, "contract": contract,
        "side": BUY if sign > 0 else SELL, "qty_lots": lots,
        "order_type": OrderType.LIMIT, "price_ticks": int(mark * (1 + sign * away)),
        "time_in_force": (Tif.GTC, Tif.GTC, Tif.IOC)[pick(c * 13 % 1, 3)],
        "stp": (Stp.TAKER, Stp.MAKER)[pick(c * 17 % 1, 2)]}
    game.send(**{**fields, **more})


def isolated(game: Game, a: float, b: float, c: float) -> None:
    account, contract = pick(a, COLLUDERS), pick(a * 7 % 1, len(CONTRACTS))
    block = next((row["isolation_id"] for row in game.books.dump["blocks"]
                  if (row["account"], row["contract"]) == (account, contract)), 0)
    order(game, a, b, c, exec_flags=Exec.ISOLATED_MARGIN, isolation_id=block,
          leverage=0 if block else (100, 50, 10, 2)[pick(b * 5 % 1, 4)])


def trade(game: Game, a: float, b: float, c: float) -> None:
    """Two of the three trade with each other at a price inside the band."""
    maker, contract = pick(a, COLLUDERS), pick(a * 7 % 1, len(CONTRACTS))
    taker = (maker + 1 + pick(b * 3 % 1, COLLUDERS - 1)) % COLLUDERS
    mark = game.books.mark(contract) // CONTRACTS[contract][1]
    price = int(mark * (0.951, 0.98, 0.995, 1, 1.005, 1.02, 1.049)[pick(c, 7)])
    lots = (1, 50, 499, 1_000, 4_000, 15_000)[pick(b, 6)]
    side = BUY if c * 19 % 1 < 0.5 else SELL
    own = Exec.ISOLATED_MARGIN if b * 23 % 1 < 0.4 else 0
    for account, way in ((maker, side), (taker, 3 - side)):
        block = next((row["isolation_id"] for row in game.books.dump["blocks"]
                      if (row["account"], row["contract"]) == (account, contract)), 0)
        flags = own if account == taker else 0
        game.send(kind=Kind.NEW_ORDER, account=account, contract=contract, side=way,
                  qty_lots=lots, order_type=OrderType.LIMIT, price_ticks=price,
                  time_in_force=Tif.GTC, exec_flags=flags, isolation_id=block if flags else 0,
                  leverage=100 if flags and not block else 0)


def mark(game: Game, a: float, b: float, c: float) -> None:
    """Small pushes, and gaps beyond every margin."""
    contract = pick(a, len(CONTRACTS))
    step = (0.0005, 0.002, 0.004, 0.008, 0.02, 0.1)[pick(b, 6)] * (1 if c < 0.5 else -1)
    moved = int(game.books.mark(contract) * (1 + step))
    limit = START_MARK * 2 * CONTRACTS[contract][1]
    game.send(kind=Kind.MARK, contract=contract, mark_ticks=max(1_000, min(moved, limit)))


def mark_at_edge(game: Game, a: float, b: float, c: float) -> None:
    """A mark at which some position's unit is just below, or just above, maintenance."""
    positions = [(cash, usdc, legs) for cash, usdc, legs in game.books.units()
                 if any(leg["qty_lots"] for leg in legs)]
    if not positions:
        return
    cash, usdc, legs = positions[pick(a, len(positions))]
    leg = next(leg for leg in legs if leg["qty_lots"])
    lots, value = leg["qty_lots"], game.books.values[leg["contract"]]
    own = cash + game.books.payable(usdc, game.books.dump["index_e6"]) - leg["cost_units"]
    edge = -own / (lots * value * (1 - (0.0105 if lots > 0 else -0.0105)))
    limit = START_MARK * 2 * CONTRACTS[leg["contract"]][1]
    ticks = int(edge) + (-1, 0, 1, 2)[pick(b, 4)]
    if 0.8 * game.books.mark(leg["contract"]) < ticks < limit:
        game.send(kind=Kind.MARK, contract=leg["contract"], mark_ticks=ticks)


def funding(game: Game, a: float, b: float, c: float) -> None:
    rate = (0, 100_000, 2_000_000, 7_500_000)[pick(b, 4)] * (1 if c < 0.5 else -1)
    game.send(kind=Kind.FUNDING, contract=pick(a, len(CONTRACTS)), rate_e9=rate,
              scope=Scope.FUNDING_NOW if c * 7 % 1 < 0.5 else Scope.FUNDING_AT_SETTLEMENT)


def leverage(game: Game, a: float, b: float, c: float) -> None:
    blocks = game.books.dump["blocks"]
    fields: Fields = {"kind": Kind.SET_LEVERAGE, "account": pick(a, COLLUDERS),
                      "contract": pick(a * 7 % 1, len(CONTRACTS)),
                      "leverage": (1, 2, 10, 50, 100)[pick(b, 5)]}
    if blocks and c < 0.6:
        row = blocks[pick(a, len(blocks))]
        fields |= {"account": row["account"], "contract": row["contract"],
                   "isolation_id": row["isolation_id"]}
        if c < 0.2:
            fields["exec_flags"] = Exec.AUTO_TOP_UP
    game.send(**fields)


def margin(game: Game, a: float, b: float, c: float) -> None:
    """Into and out of blocks: whole amounts, and a guess at all that can be removed."""
    blocks = game.books.dump["blocks"]
    if blocks:
        row = blocks[pick(a, len(blocks))]
        amount = (1, USD, 100 * USD, max(1, row["cash_units"] // 2),
                  max(1, row["cash_units"]))[pick(b, 5)]
        game.send(kind=Kind.ADD_MARGIN if c < 0.4 else Kind.REMOVE_MARGIN, amount_units=amount,
                  account=row["account"], isolation_id=row["isolation_id"])


def withdraw(game: Game, a: float, b: float, c: float) -> None:
    """As much as goes: halving what is refused."""
    row = game.books.dump["accounts"][pick(a, COLLUDERS)]
    usdc = c < 0.3
    amount = int(row["usdc_units"] if usdc else row["cash_units"])
    for _ in range(6):
        if amount <= 0 or game.hole:
            return
        paid = game.paid_in()
        game.send(kind=Kind.WITHDRAW, account=row["account"], amount_units=amount,
                  currency=Currency.USDC if usdc else Currency.USD)
        if game.paid_in() != paid:
            return
        amount //= 2


def close(game: Game, a: float, b: float, c: float) -> None:
    blocks = [row for row in game.books.dump["blocks"] if row["qty_lots"]]
    fields: Fields = {"account": pick(a, COLLUDERS), "contract": pick(a * 7 % 1, len(CONTRACTS))}
    if blocks and c < 0.6:
        row = blocks[pick(a, len(blocks))]
        fields = {"account": row["account"], "contract": row["contract"],
                  "isolation_id": row["isolation_id"],
                  "exec_flags": Exec.RELEASE_MARGIN if c < 0.3 else 0}
    game.send(kind=Kind.CLOSE_POSITION, order_type=OrderType.MARKET,
              qty_lots=(0, 1, 300)[pick(b, 3)], **fields)


def give_away(game: Game, a: float, b: float, c: float) -> None:
    """Close a position against a friend, at the edge of the band or beyond its bankruptcy."""
    dump = game.books.dump
    held = [(row["account"], 0, leg) for row in dump["accounts"] for leg in row["legs"]
            if leg["qty_lots"]]
    held += [(row["account"], row["isolation_id"], row) for row in dump["blocks"]
             if row["qty_lots"]]
    if not held:
        return
    account, block, leg = held[pick(a, len(held))]
    contract, long = leg["contract"], leg["qty_lots"] > 0
    friend = (account + 1 + pick(b, COLLUDERS - 1)) % COLLUDERS
    mark = game.books.mark(contract) // CONTRACTS[contract][1]
    away = (0.0005, 0.005, 0.01, 0.02, 0.049)[pick(c, 5)]
    price = int(mark * (1 - away if long else 1 + away))
    lots = abs(leg["qty_lots"])
    shared: Fields = {"kind": Kind.NEW_ORDER, "contract": contract, "qty_lots": lots,
                      "order_type": OrderType.LIMIT, "price_ticks": price,
                      "time_in_force": Tif.GTC}
    game.send(**shared, account=friend, side=BUY if long else SELL)
    game.send(**shared, account=account, side=SELL if long else BUY, isolation_id=block,
              exec_flags=Exec.REDUCE_ONLY | (Exec.ISOLATED_MARGIN if block else 0))


def bid_for_inventory(game: Game, a: float, b: float, c: float) -> None:
    """Rest an order at the worst price at which the fund works off what it took over."""
    for contract, row in enumerate(game.books.dump["contracts"]):
        if row["inventory_lots"]:
            long = row["inventory_lots"] > 0
            mark = row["mark_ticks"]
            price = mark * (0.995 if long else 1.005) / CONTRACTS[contract][1]
            game.send(kind=Kind.NEW_ORDER, account=pick(a, COLLUDERS), contract=contract,
                      side=BUY if long else SELL, qty_lots=(100, 1_000, 4_000)[pick(b, 3)],
                      order_type=OrderType.LIMIT, price_ticks=int(price) + (1 if long else 0),
                      time_in_force=Tif.GTC)
            game.send(kind=Kind.MARK, contract=contract, mark_ticks=mark)


def cancel(game: Game, a: float, b: float, c: float) -> None:
    game.send(kind=Kind.CANCEL_ALL, account=pick(a, COLLUDERS), contract=65535)


def index(game: Game, a: float, b: float, c: float) -> None:
    game.send(kind=Kind.INDEX, currency=Currency.USDC,
              mark_ticks=(900_000, 980_000, 1_000_000, 1_020_000)[pick(b, 4)])


def settle(game: Game, a: float, b: float, c: float) -> None:
    game.send(kind=Kind.SETTLE_SESSION)


MOVES: tuple[Callable[[Game, float, float, float], None], ...] = (
    order, isolated, trade, trade, trade, mark, mark, mark_at_edge, mark_at_edge, funding,
    leverage, margin, withdraw, close, give_away, give_away, bid_for_inventory, cancel, index,
    settle)


# ---- searching


def some_move(rng: random.Random) -> Move:
    return rng.randrange(len(MOVES)), rng.random(), rng.random(), rng.random()


def changed(moves: Sequence[Move], rng: random.Random) -> list[Move]:
    """Some moves replaced, dropped, doubled, swapped or put in."""
    found = list(moves)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place, dice = rng.randrange(len(found)), rng.random()
        if dice < 0.45:
            found[place] = some_move(rng)
        elif dice < 0.6 and len(found) > 8:
            del found[place]
        elif dice < 0.9 and len(found) < 48:
            found.insert(place, some_move(rng) if dice < 0.8 else found[place])
        else:
            other = rng.randrange(len(found))
            found[place], found[other] = found[other], found[place]
    return found


@dataclass
class Result:
    """Of a search: the best sequence by what the three win beyond the rules' losses."""

    score: int
    game: Game
    moves: list[Move]
    tried: int = 0
    most: int = 0  # the largest loss of the fund in any game, all of it explained
    by_rule: Counter[str] = field(default_factory=Counter)  # the largest in any game


def score(game: Game) -> int:
    """What the three won less what the rules let the fund lose; a hole beats everything, and a
    game in which the fund paid nothing shows nothing."""
    won = game.gain() - game.explained.total()
    return 2**62 if game.hole else won if game.explained else won - 2**61


def search(seed: int, enough: Callable[[int], bool], keep: int = 12,
           make_side: Callable[[World], Side] = EngineSide) -> Result:
    """Until `enough(number of games)`; ends at a hole."""
    rng = random.Random(f"adversary {seed}")
    world = make_world(rng.choice((0, 1_000, 5_000_000)))
    best: list[tuple[int, list[Move], Game]] = []
    tried, most, by_rule = 0, 0, Counter[str]()
    while not enough(tried):
        if len(best) < keep or rng.random() < 0.15:
            moves = [some_move(rng) for _ in range(rng.randint(10, 36))]
        else:
            moves = changed(rng.choice(best)[1], rng)
        game = play(world, moves, make_side)
        tried += 1
        most = max(most, game.fund_loss())
        by_rule |= game.explained
        best.append((score(game), moves, game))
        best.sort(key=lambda row: -row[0])
        del best[keep:]
        if game.hole:
            break
    found, moves, game = best[0]
    return Result(found, game, moves, tried, most, by_rule)


def shortest(world: World, moves: Sequence[Move],
             make_side: Callable[[World], Side] = EngineSide) -> list[Move]:
    """Moves left out one by one while the hole stays."""
    found, place = list(moves), 0
    while place < len(found):
        trial = found[:place] + found[place + 1:]
        if play(world, trial, make_side).hole:
            found = trial
        else:
            place += 1
    return found


def show(game: Game) -> str:
    lines = [f"{i:>4} {show_command(step.command)}" for i, step in enumerate(game.trace, 1)]
    return "\n".join([*lines, game.hole or "no hole",
                      f"the three won {game.gain() / USD:,.2f} USD, the fund lost "
                      f"{game.fund_loss() / USD:,.2f}, by the rules at most "
                      f"{game.explained.total() / USD:,.2f}"])


def main(seconds: float = 60, seed: int = 1) -> int:
    until, games = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        result = search(seed, lambda tried: tried >= 400 or time.monotonic() > until)
        games += result.tried
        if result.game.hole:
            moves = shortest(result.game.world, result.moves)
            print(f"seed {seed}:\n{show(play(result.game.world, moves))}")
            return 1
        print(f"seed {seed}: {result.tried} games, nearest to a gain beyond the rules "
              f"{result.score / USD:,.2f} USD; largest loss of the fund, explained, "
              f"{result.most / USD:,.2f} USD (at most " + ", ".join(
                  f"{name} {units / USD:,.0f}" for name, units in result.by_rule.items()) + ")",
              flush=True)
        seed += 1
    print(f"{games} games, no hole")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*(int(argument) for argument in sys.argv[1:])))
