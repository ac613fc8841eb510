"""X2 in random play: each maximum that the venue shows is accepted, and one unit more refused.

Raw figures are asked of model and engine in states of the differential driver; the queries of the
Python interface on a venue that a few traders played with.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from driver import ADMIN_KEY, Pair, command_array, run
from invariants import maximum_is_the_last_accepted
from reference.codes import Currency, Ev, Exec, Kind, OrderType, Tif
from reference.records import Command
from worlds import BUY, SELL, Step

from perpcore import Account, Admin, Block, Rejected, Venue

SEEDS = range(30)
COMMANDS = 260
#: What says that it is not about the amount: who may, which mark, which block.
OTHER_REASONS = {202, 207, 208, 222, 226, 309, 411, 412, 615, 40104}


def codes(pair: Pair, kind: int, **fields: int) -> int:
    """What both sides would answer; they must agree."""
    step = Step(Command(kind=kind, timestamp_ns=pair.state["time_ns"], **fields), True)
    row = next((row for row in pair.other.preview(step) if row[5] == Ev.REJECT), None)
    found = next((e.code for e in pair.model.ask(step.command) if e.kind == Ev.REJECT), 0)
    assert (row[3] if row else 0) == found
    return int(found)


def shown(pair: Pair, account: int, isolation_id: int = 0) -> dict[str, int]:
    return dict(pair.other.engine.unit(account, isolation_id))  # type: ignore[attr-defined]


def holds(pair: Pair, most: int, kind: int, field: str, **fields: int) -> bool:
    """Whether something other than the amount refuses; else the maximum must be tight."""
    def ask(value: int) -> int:
        return codes(pair, kind, **{**fields, field: value})

    if ask(max(1, most)) in OTHER_REASONS:
        return False
    maximum_is_the_last_accepted(ask, most)
    return True


def test_every_amount_that_is_shown_is_the_last_that_is_accepted() -> None:
    """X2, C2, C5, I9: what may leave a main account, in both currencies, what may move into a block
    and what may leave it; of everybody, and often it is more than nothing."""
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        pair = run(seed, COMMANDS)
        for row in pair.state["accounts"]:
            account, main = row["account"], shown(pair, row["account"])
            for name, currency in (("usd", Currency.USD), ("usdc", Currency.USDC)):
                most = main[f"withdrawable_{name}_units"]
                if holds(pair, most, Kind.WITHDRAW, "amount_units", account=account,
                         currency=currency):
                    seen[name] += most > 0
        for block in pair.state["blocks"]:
            its = {"account": block["account"], "isolation_id": block["isolation_id"]}
            most = shown(pair, block["account"])["transferable_units"]
            if holds(pair, most, Kind.ADD_MARGIN, "amount_units", **its):
                seen["transferable"] += most > 0
            most = shown(pair, **its)["removable_units"]
            if holds(pair, most, Kind.REMOVE_MARGIN, "amount_units", **its):
                seen["removable"] += most > 0
            if not pair.world.venue.block_collateral:
                continue
            its["currency"] = Currency.USDC
            most = shown(pair, block["account"])["withdrawable_usdc_units"]
            if holds(pair, most, Kind.ADD_MARGIN, "amount_units", **its):
                seen["usdc into a block"] += most > 0
            most = shown(pair, its["account"], its["isolation_id"])["removable_usdc_units"]
            if holds(pair, most, Kind.REMOVE_MARGIN, "amount_units", **its):
                seen["usdc out of it"] += most > 0
    assert min(seen[name] for name in ("usd", "usdc", "transferable", "removable")) >= 10, seen
    assert min(seen[name] for name in ("usdc into a block", "usdc out of it")) >= 3, seen


def largest_accepted(ask: Callable[[int], int], low: int, high: int) -> int:
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if ask(middle) == 0 else (low, middle - 1)
    return low


def test_orders_are_accepted_up_to_one_size_and_no_further() -> None:
    """X2, C3: cross and isolated, of both sides, that only rest: every size below the largest is
    accepted and every one above it refused, so that halving finds it."""
    rng, found = random.Random("sizes"), Counter[bool]()
    for seed in SEEDS:
        pair = run(seed, COMMANDS)
        for row in rng.sample(pair.state["accounts"], 4):
            contract, side = rng.randrange(3), rng.choice((BUY, SELL))
            terms = pair.world.contracts[contract]
            mark = pair.state["contracts"][contract]["mark_ticks"] // terms.marks_per_tick
            blocks = [b for b in pair.state["blocks"] if b["account"] == row["account"]
                      and b["contract"] == contract]
            fields: dict[str, int] = {}
            if rng.random() < 0.5:
                fields = {"exec_flags": Exec.ISOLATED_MARGIN}
                fields |= {"isolation_id": blocks[0]["isolation_id"]} if blocks else {
                    "leverage": rng.choice((1, 3, terms.max_leverage))}
            fields["exec_flags"] = fields.get("exec_flags", 0) | Exec.POST_ONLY

            def ask(lots: int, row: Any = row, contract: int = contract, side: int = side,
                    fields: dict[str, int] = fields, pair: Pair = pair, mark: int = mark) -> int:
                return codes(pair, Kind.NEW_ORDER, account=row["account"], contract=contract,
                             side=side, order_type=OrderType.LIMIT, time_in_force=Tif.GTC,
                             price_ticks=max(1, mark * (95 if side == BUY else 105) // 100),
                             qty_lots=lots, **fields)

            low, high = terms.min_order_lots, terms.max_order_lots
            if ask(low):
                continue
            most = largest_accepted(ask, low, high)
            maximum_is_the_last_accepted(ask, most)
            for lots in {rng.randint(low, most), rng.randint(low, most)}:
                assert ask(lots) == 0, f"X2: {most} lots are accepted and {lots} are not"
            for lots in {rng.randint(most + 1, high + 1), high + 1}:
                assert ask(lots) != 0, f"X2: {most} lots are the most and {lots} are accepted"
            found[most < high] += 1
    assert found[True] >= 10, found


def accepted_leverages(pair: Pair, contract: int, **its: int) -> tuple[list[int], list[int]]:
    """Those that are accepted, and the answers to all from 0 to one more than the largest."""
    answers = [codes(pair, Kind.SET_LEVERAGE, contract=contract, leverage=leverage, **its)
               for leverage in range(pair.world.contracts[contract].max_leverage + 2)]
    return [leverage for leverage, code in enumerate(answers) if code == 0], answers


def test_the_leverages_that_are_accepted_lie_side_by_side() -> None:
    """X2, C6, I6, I7: of main and of blocks, from the smallest to the largest each one is; and what
    a block lacks for a lower one is the least that is enough."""
    lowered, refused = 0, 0
    for seed in SEEDS:
        pair = run(seed, COMMANDS)
        units = [(b["account"], b["isolation_id"], b) for b in pair.state["blocks"]]
        units += [(row["account"], 0, leg) for row in pair.state["accounts"]
                  for leg in row["legs"] if leg["qty_lots"]]
        for account, isolation_id, leg in units:
            its, contract = {"account": account, "isolation_id": isolation_id}, leg["contract"]
            accepted, answers = accepted_leverages(pair, contract, **its)
            assert accepted == list(range(accepted[0], accepted[-1] + 1)), answers
            now = leg["leverage"] or pair.world.contracts[contract].max_leverage
            assert now in accepted
            short = 320 if isolation_id else 306
            lower = [n for n in range(1, accepted[0]) if answers[n] == short]
            refused += bool(lower)
            if lower and isolation_id and leg["qty_lots"]:
                lowered += is_least(pair, {**its, "contract": contract, "leverage": lower[-1]})
    assert lowered >= 10
    assert refused > 2 * lowered


def is_least(pair: Pair, leverage: dict[str, int]) -> bool:
    """I7: after `needed` the lower leverage is accepted, after a unit less it is not. Orders of the
    block ask for their own money, which margin does not give: none may be there."""
    its = {name: leverage[name] for name in ("account", "isolation_id")}
    if any((o["account"], o["isolation_id"]) == (its["account"], its["isolation_id"])
           for o in pair.state["orders"]):
        return False

    def step(kind: int, **fields: int) -> Any:
        return command_array([Step(Command(kind=kind, timestamp_ns=pair.state["time_ns"],
                                           **fields), True)])

    engine, out = pair.other.engine, pair.other.out  # type: ignore[attr-defined]
    engine.preview(step(Kind.SET_LEVERAGE, **leverage), out, ADMIN_KEY)
    needed = int(out["amount_units"][0])
    most = shown(pair, its["account"])["transferable_units"]
    if pair.world.venue.block_collateral:  # what goes in as USDC is rounded up by itself
        most = min(most, pair.state["accounts"][its["account"]]["cash_units"])
    if not 1 < needed <= most:
        return False
    for units, expected in ((needed - 1, 320), (needed, 0)):
        fork = engine.fork()
        fork.apply(step(Kind.ADD_MARGIN, amount_units=units, **its), out, ADMIN_KEY)
        count = fork.preview(step(Kind.SET_LEVERAGE, **leverage), out, ADMIN_KEY)
        rejects = out[:count][out["kind"][:count] == Ev.REJECT]
        assert [int(code) for code in rejects["code"]] == ([expected] if expected else [])
    fork = engine.fork()
    before = fork.unit(**its)["cash_units"]
    fork.apply(step(Kind.SET_LEVERAGE, exec_flags=Exec.AUTO_TOP_UP, **leverage), out, ADMIN_KEY)
    assert fork.unit(**its)["cash_units"] - before == needed
    return True


# ---- the Python interface

BTC = "BTCUSD-PERP"
OPTIONS: list[dict[str, Any]] = [
    {"type": "MARKET"}, {"price": "59000"}, {"price": "60500"},
    {"type": "MARKET", "exec_inst": "ISOLATED_MARGIN", "leverage": 20},
    {"price": "58000", "exec_inst": "ISOLATED_MARGIN", "leverage": 3},
]


def played(seed: int) -> tuple[Venue, Admin, list[Account]]:
    """Three traders, forty acts; a refusal is an act, too."""
    rng = random.Random(f"traders {seed}")
    venue, admin = Venue.demo()
    traders = [venue.account(f"trader {n}", deposit={"USD": rng.choice(("300", "5000", "80000"))})
               for n in range(3)]
    for _ in range(40):
        trader, dice = rng.choice(traders), rng.random()
        try:
            if dice < 0.45:
                trader.create_order(BTC, rng.choice(("BUY", "SELL")),
                                    str(rng.choice((1, 3, 20, 150)) * Decimal("0.001")),
                                    **rng.choice(OPTIONS))
            elif dice < 0.6 and trader.blocks:
                rng.choice(trader.blocks).add_margin(rng.choice(("1", "50.00000001")))
            elif dice < 0.7 and trader.blocks:
                rng.choice(trader.blocks).set_leverage(rng.choice((2, 5, 10, 40)))
            elif dice < 0.9:
                mark = venue.mark_price(BTC)
                assert mark is not None
                admin.mark(BTC, int(mark) + rng.choice((-600, -100, 100, 600)))
            elif dice < 0.95:
                trader.deposit("20")
            else:
                admin.settle_session()
        except Rejected:
            continue
    return venue, admin, traders


UNIT = Decimal("0.00000001")


@pytest.mark.parametrize("seed", range(12))
def test_the_largest_order_of_an_account_is_accepted_and_one_lot_more_refused(seed: int) -> None:
    """X2: market and limit, taking and resting, cross and isolated."""
    venue, _, traders = played(seed)
    lot = venue.contract(BTC).grid.lot
    for trader in traders:
        for options in OPTIONS:
            for side in ("BUY", "SELL"):
                most = trader.max_quantity(BTC, side, **options)
                maximum_is_the_last_accepted(
                    lambda lots, t=trader, s=side, o=options: int(t.preview_order(
                        BTC, s, lots * lot, **o).code), int(most / lot))


def block_maxima(trader: Account, block: Block) -> None:
    def removal(units: int) -> int:
        return int(block.preview_remove_margin(units * UNIT).code)

    def leverage(value: int) -> int:
        return int(block.preview_leverage(value).code)

    maximum_is_the_last_accepted(removal, int(block.removable / UNIT))
    maximum_is_the_last_accepted(lambda units: int(block.preview_add_margin(units * UNIT).code),
                                 int(trader.transferable / UNIT))
    maximum_is_the_last_accepted(leverage, block.max_leverage)
    maximum_is_the_last_accepted(leverage, block.min_leverage, step=-1)
    lower = block.min_leverage - 1
    if lower:
        assert block.top_up_for(lower) > 0
    assert block.top_up_for(block.min_leverage) == 0


@pytest.mark.parametrize("seed", range(12))
def test_what_an_account_and_its_blocks_show_is_maximal(seed: int) -> None:
    """X2, C5, I6, I7, I8, I9."""
    _, _, traders = played(seed)
    for trader in traders:
        for currency, most in trader.withdrawable.items():
            maximum_is_the_last_accepted(
                lambda units, t=trader, c=currency: int(t.preview_withdraw(units * UNIT, c).code),
                int(most / UNIT))
        for block in trader.blocks:
            block_maxima(trader, block)


def test_random_play_of_traders_has_something_to_show() -> None:
    everybody = [trader for seed in range(12) for trader in played(seed)[2]]
    blocks = [block for trader in everybody for block in trader.blocks]
    assert len(blocks) >= 8
    assert any(block.removable > 0 for block in blocks)
    assert any(block.min_leverage > 1 for block in blocks)
    assert any(trader.positions for trader in everybody)
