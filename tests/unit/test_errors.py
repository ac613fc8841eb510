"""Every code of the venue, provoked through the interface: number, amounts, cure in words."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import perpcore as pc
from perpcore import commands
from perpcore.codes import Code, EventKind
from perpcore.errors import SENTENCES
from perpcore.records import COMMAND, EVENT

BTC, ETH, TINY = "BTCUSD-PERP", "ETHUSD-PERP", "TINYUSD-PERP"
ISOLATED: dict[str, Any] = {"exec_inst": "ISOLATED_MARGIN", "leverage": 20}

TINY_PERP = pc.Contract(
    symbol=TINY, tick_size="0.1", lot_size="0.001", max_price=10_000, min_quantity="0.01",
    max_quantity=10, max_position=20, liquidation_slice=1, inventory_limit=100, work_off_slice=1,
    stale_after=60, access_group=3,
)


class World:
    """Ann with 2,000 USD on the demo venue, and TINYUSD-PERP without a mark."""

    def __init__(self) -> None:
        self.venue, self.admin = pc.Venue.demo()
        self.admin.add_contract(TINY_PERP)
        self.ann = self.venue.account("ann", deposit={"USD": 2_000})

    def raw(self, command: Any, admin: bool = False) -> None:
        """Send one record as a batch and raise its REJECT event in words."""
        events = (self.admin if admin else self.venue).apply(command)
        rejects = events[events["kind"] == EventKind.REJECT]
        assert len(rejects) == 1
        raise self.venue.explain_reject(command, rejects)

    def limit(self, **fields: Any) -> None:
        """A raw limit order of 0.01 BTC at 59,000 with some fields changed."""
        good: dict[str, Any] = {
            "account": self.ann.number, "contract": 0, "side": 1, "price_ticks": 590_000,
            "qty_lots": 100, "timestamp_ns": self.venue.time_ns,
        }
        command = commands.limit(**good)
        for name, value in fields.items():
            command[name] = value
        self.raw(command)

    def buy(self, quantity: Any = "0.05", instrument: str = BTC, **options: Any) -> Any:
        """A market buy by Ann, isolated at 20x unless told otherwise."""
        return self.ann.create_order(
            instrument, "BUY", quantity, type="MARKET", **{**ISOLATED, **options}
        )

    def bid(self, quantity: Any = "0.05", price: Any = 59_000, **options: Any) -> Any:
        """A cross limit buy by Ann that rests."""
        return self.ann.create_order(BTC, "BUY", quantity, price=price, **options)

    def eligible(self, **changes: Any) -> None:
        """Ann's profile with some changes."""
        self.admin.eligibility(self.ann, pc.Eligibility(**changes))


def small_venue(**terms: Any) -> tuple[pc.Venue, pc.Admin, pc.Account]:
    """A venue of its own with BTC marked at 60,000 and Ann, who has 2,000 USD."""
    venue, admin = pc.Venue.create(insurance_fund=1_000_000, **terms)
    admin.add_contract(pc.BTCUSD_PERP)
    admin.add_contract(pc.ETHUSD_PERP)
    admin.mark(BTC, 60_000)
    admin.mark(ETH, 3_000)
    return venue, admin, admin.open_account("ann", deposit={"USD": 2_000})


def stale(w: World) -> None:
    w.admin.mark(TINY, 100)
    later = w.venue.time_ns + 61 * 10**9
    w.ann.create_order(TINY, "BUY", 1, price=100, timestamp_ns=later)


def margin_call(w: World) -> None:
    """2 BTC at 60,015 on 2,000 USD: MB = 1,940 - 130 - 659 at a mark of 59,950, IM = 1,199."""
    w.ann.create_order(BTC, "BUY", 2, price=60_020)
    w.admin.mark(BTC, 59_950)
    w.ann.create_order(BTC, "BUY", "0.01", price=59_000)


def too_many_blocks(w: World) -> None:
    _, _, ann = small_venue(max_blocks=1)
    ann.create_order(BTC, "BUY", "0.01", price=59_000, **ISOLATED)
    ann.create_order(ETH, "BUY", "0.01", price=2_900, **ISOLATED)


def too_many_orders(w: World) -> None:
    _, _, ann = small_venue(max_orders=1)
    ann.create_order(BTC, "BUY", "0.01", price=59_000)
    ann.create_order(BTC, "BUY", "0.01", price=59_000)


def too_much_notional(w: World) -> None:
    _, _, ann = small_venue(account_notional_limit=1_000)
    ann.create_order(BTC, "BUY", "0.02", price=60_000)


def full_venue(w: World) -> None:
    _, _, ann = small_venue(orders=1)
    ann.create_order(BTC, "BUY", "0.01", price=59_000)
    ann.create_order(BTC, "BUY", "0.01", price=59_000)


def loss_beyond_the_block(w: World) -> None:
    """Ann is long at 60,000 with 100x; the only bid is 4 % below, more than her block has."""
    _, admin, ann = small_venue()
    bob = admin.open_account("bob", deposit={"USD": 100_000})
    bob.create_order(BTC, "SELL", "0.1", price=60_000)
    ann.create_order(
        BTC, "BUY", "0.1", price=60_000, exec_inst="ISOLATED_MARGIN", leverage=100
    )
    bob.create_order(BTC, "BUY", "0.1", price=57_600)
    ann.isolated(BTC).close()


def suspended(w: World) -> None:
    w.eligible(suspended=True)
    w.bid()


def reduce_only_market(w: World) -> None:
    w.admin.market_state(BTC, "REDUCE_ONLY")
    w.bid()


def amended_while_it_waits(w: World, **changes: Any) -> None:
    stop = w.ann.create_order(BTC, "BUY", 1, type="STOP_LOSS", ref_price=61_000)
    w.ann.amend_order(stop.order_id, **changes)


def halted(w: World) -> None:
    w.admin.market_state(BTC, "HALTED")
    w.bid()


def twice(w: World) -> None:
    w.bid(client_oid=7)
    w.bid(client_oid=7)


def second_block(w: World) -> None:
    w.buy()
    w.buy()


def after(first: Callable[[World], Any], then: Callable[[World], Any]) -> Callable[[World], Any]:
    """Both, one after the other."""
    return lambda w: (first(w), then(w))


def no_margin_on_reduction(w: World) -> None:
    w.buy()
    block = w.ann.isolated(BTC)
    w.ann.create_order(
        BTC, "SELL", "0.01", price=60_500, exec_inst=["ISOLATED_MARGIN"],
        isolation_id=block.isolation_id, isolated_margin_amount=5,
    )


def own_order(w: World) -> None:
    w.ann.create_order(BTC, "SELL", "0.01", price=60_001)
    w.buy("0.01")


# code | how Ann meets it | words that its message must have
PROVOKED: list[tuple[int, Callable[[World], Any], list[str]]] = [
    (40004, lambda w: w.limit(kind=99), ["99", "perpcore.commands"]),
    (40101, lambda w: w.raw(commands.mark(contract=0, mark_ticks=1, timestamp_ns=w.venue.time_ns)),
     ["mark", "Admin"]),
    (40003, lambda w: w.ann.deposit(1, timestamp_ns=0), ["timestamp_ns 0", "Venue.time_ns"]),
    (40001, lambda w: w.ann.deposit(0), ["deposit", "is 0", "above 0"]),
    (40001, lambda w: w.ann.withdraw(-5), ["withdraw", "is -5", "above 0"]),
    (40001, lambda w: w.admin.fund_top_up(30_000_000_000), ["30000000000", "beyond", "smaller"]),
    (40001, lambda w: w.admin.mark(BTC, 1_000_001), ["1000001", "0.1 to 1000000"]),
    (40001, lambda w: w.admin.index("USDC", 11), ["USDC", "0.000001 to 10"]),
    (40001, lambda w: w.admin.funding(BTC, "-0.001"), ["-0.001", "0.00075", "either sign"]),
    (40001, lambda w: w.ann.cancel_all_after(1), ["expiry_ns 1", "later"]),
    (40001, lambda w: w.bid(leverage=5), ["leverage 5", "ISOLATED_MARGIN", "set_leverage"]),
    (40001, lambda w: w.bid(isolated_margin_amount=5), ["isolated_margin_amount 5"]),
    (40001, lambda w: w.limit(stp=9), ["out of range"]),
    (40001, lambda w: w.admin.fund_top_up(5, contract=BTC), ["fund_by_contract", "contract"]),
    (211, after(lambda w: w.buy(), lambda w: w.ann.isolated(BTC).add_margin(5, "USDC")),
     ["USD", "block_collateral"]),
    (226, lambda w: w.buy(leverage=None), ["needs its leverage", "1 to 100"]),
    (210, lambda w: w.limit(account=999), ["account 999", "Venue.account"]),
    (209, lambda w: w.limit(contract=9), ["contract 9", "Venue.contracts"]),
    (211, lambda w: w.raw(commands.deposit(account=w.ann.number, amount_units=1, currency=9,
                                           timestamp_ns=w.venue.time_ns)), ["USD or USDC"]),
    (220, lambda w: w.limit(side=3), ["side 3", "BUY"]),
    (218, lambda w: w.limit(order_type=9), ["type 9", "LIMIT"]),
    (221, lambda w: w.bid(time_in_force="GTD"), ["expiry_ns"]),
    (219, lambda w: w.buy(exec_inst=["POST_ONLY"], leverage=None), ["POST_ONLY"]),
    (213, lambda w: w.bid(0), ["not above 0"]),
    (415, lambda w: w.ann.create_order(TINY, "BUY", "0.005", price=100), ["at least 0.01"]),
    (314, lambda w: w.bid(5_001), ["at most 5000"]),
    (308, lambda w: w.bid(price=1_000_001), ["1000000"]),
    (309, halted, [BTC, "halted", "opens"]),
    (207, lambda w: w.ann.create_order(TINY, "BUY", 1, price=100), ["Admin.mark"]),
    (222, stale, [TINY, "next mark"]),
    (204, twice, ["client_oid 7", "another"]),
    (312, lambda w: w.bid(price=63_001), ["63000 or below"]),
    (313, lambda w: w.ann.create_order(BTC, "SELL", 1, price=56_999), ["57000 or above"]),
    (315, lambda w: w.bid(price=29_999), ["30000"]),
    (613, lambda w: w.buy(isolation_id=77), ["77", "Account.blocks"]),
    (617, second_block, ["isolation_id"]),
    (226, lambda w: w.buy(leverage=101), ["101", "100"]),
    (226, after(lambda w: w.eligible(max_leverage=10), lambda w: w.buy()), ["Eligibility"]),
    (1110, lambda w: w.bid(exec_inst="REDUCE_ONLY"), ["ann", BTC, "REDUCE_ONLY"]),
    (229, lambda w: w.ann.create_order(BTC, "BUY", 1, type="STOP_LOSS", ref_price=60_000),
     ["reached already", "ref_price"]),
    (212, lambda w: w.bid(linked_order_id=99), ["linked_order_id 99", "unit"]),
    (308, lambda w: amended_while_it_waits(w, new_price=61_000), ["takes no price"]),
    (308, lambda w: amended_while_it_waits(w, new_ref_price=1_000_001),
     ["trigger 1000001 USD", "1000000"]),
    (229, lambda w: amended_while_it_waits(w, new_ref_price=60_000), ["reached already"]),
    (40001, lambda w: w.ann.amend_order(w.bid().order_id, new_ref_price=61_000),
     ["new_ref_price", "waits for no trigger"]),
    (619, no_margin_on_reduction, ["add_margin"]),
    (201, lambda w: w.ann.close_position(BTC), ["no position"]),
    (202, suspended, ["suspended", "Admin.eligibility"]),
    (411, after(lambda w: w.eligible(level="BASIC"), lambda w: w.bid()), ["ADVANCED"]),
    (412, after(lambda w: w.eligible(derivatives=False), lambda w: w.bid()), ["derivatives"]),
    (40104, after(lambda w: w.eligible(contract_groups=(3,)), lambda w: w.bid()), [BTC]),
    (615, after(lambda w: w.eligible(isolated=False), lambda w: w.buy()), ["cross"]),
    (208, reduce_only_market, [BTC, "reduce-only"]),
    (301, margin_call, ["margin call", "deposit"]),
    (614, too_many_blocks, ["close one"]),
    (319, after(lambda w: w.admin.mark(TINY, 1),
                lambda w: [w.ann.create_order(TINY, "BUY", 10, price=1) for _ in range(3)]),
     ["limit 20"]),
    (303, too_much_notional, ["1000"]),
    (320, lambda w: w.buy(isolated_margin_amount=5), ["isolated_margin_amount 5", "at least"]),
    (320, after(lambda w: w.buy(), lambda w: w.ann.isolated(BTC).set_leverage(2)),
     ["leverage 2", "auto_top_up"]),
    (306, lambda w: w.buy(1), ["ann", "deposit", "2000"]),
    (318, too_many_orders, ["cancel one"]),
    (50001, full_venue, ["Venue.create"]),
    (43005, lambda w: w.bid(price=60_010, exec_inst="POST_ONLY"), ["60010", "POST_ONLY"]),
    (43003, lambda w: w.bid("0.05", price=60_000, time_in_force="FOK"), ["IMMEDIATE_OR_CANCEL"]),
    (43004, lambda w: w.bid("0.05", price=60_000, time_in_force="IOC"), ["better price"]),
    (43012, own_order, ["own order", "stp_inst"]),
    (310, loss_beyond_the_block, ["add margin"]),
    (212, lambda w: w.ann.cancel_order(4), ["order_id 4", "open_orders"]),
    (321, after(lambda w: w.buy(), lambda w: w.ann.isolated(BTC).remove_margin(1)),
     ["0 USD removable"]),
    (30024, lambda w: w.ann.withdraw(2_001), ["2000 withdrawable"]),
]
#: Codes that no call can meet on a venue with these policies; their words are tested on an event.
UNMET = {Code.IMMEDIATE_LIQUIDATION: "maintenance", Code.POSITION_IN_LIQUIDATION: "liquidated"}


@pytest.mark.parametrize(
    ("code", "provoke", "words"), PROVOKED, ids=[f"{row[0]}-{i}" for i, row in enumerate(PROVOKED)]
)
def test_a_refusal_has_its_code_and_says_what_was_wrong_and_the_cure(
    code: int, provoke: Callable[[World], Any], words: list[str]
) -> None:
    with pytest.raises(pc.Rejected) as refused:
        provoke(World())
    error = refused.value
    assert (error.code, error.name) == (code, Code(code).name)
    assert error.message.startswith(f"{code} {error.name}: ")
    for text in words:
        assert text in error.message


def test_every_code_is_provoked_or_named_as_unmet() -> None:
    met = {Code(code) for code, _, _ in PROVOKED}
    assert met | set(UNMET) == set(Code) - {Code.OK}
    assert set(SENTENCES) == set(Code) - {Code.OK}


@pytest.mark.parametrize(("code", "word"), UNMET.items(), ids=[c.name for c in UNMET])
def test_codes_that_no_call_meets_have_words_too(code: Code, word: str) -> None:
    w = World()
    command, event = np.zeros(1, COMMAND), np.zeros(1, EVENT)
    command["kind"], command["account"] = 1, w.ann.number
    event["kind"], event["code"] = EventKind.REJECT, code
    assert word in str(w.venue.explain_reject(command, event))


def test_a_refused_order_says_how_much_is_needed_and_how_much_there_is() -> None:
    """1 BTC at 20x within the band to 63,000: reserve of 63,000 at 5 % + fees + 3,000 (C3)."""
    w = World()
    with pytest.raises(pc.Rejected) as refused:
        w.buy(1)
    # 3,150 margin + 31.50 fee + 346.50 fee reserve + 3,000 for the distance from the mark
    assert refused.value.needed == Decimal("6528")
    assert refused.value.available == 2_000
    assert "4528" in refused.value.message


def test_what_is_needed_is_enough_and_one_unit_less_is_not() -> None:
    """The amount that a 306 names is exact (X2)."""
    w = World()
    with pytest.raises(pc.Rejected) as refused:
        w.buy(1)
    assert refused.value.needed is not None
    missing = refused.value.needed - w.ann.transferable
    w.ann.deposit(missing - Decimal("0.00000001"))
    with pytest.raises(pc.Rejected):
        w.buy(1)
    w.ann.deposit("0.00000001")
    assert w.buy(1).status == "FILLED"


# call | code | neighbors
OFF_GRID: list[tuple[Callable[[World], Any], int, str, str]] = [
    (lambda w: w.bid(price="59000.05"), 308, "59000", "59000.1"),
    (lambda w: w.bid(price=59000.05), 308, "59000", "59000.1"),
    (lambda w: w.bid("0.00015"), 213, "0.0001", "0.0002"),
    (lambda w: w.admin.mark(BTC, "60000.01"), 308, "60000", "60000.1"),
    (lambda w: w.ann.deposit("0.000000015"), 40001, "0.00000001", "0.00000002"),
    (lambda w: w.admin.funding(BTC, "0.0000000015"), 40001, "0.000000001", "0.000000002"),
]


@pytest.mark.parametrize(("call", "code", "below", "above"), OFF_GRID)
def test_a_number_between_two_steps_names_both_and_sends_nothing(
    call: Callable[[World], Any], code: int, below: str, above: str
) -> None:
    w = World()
    seq = w.venue.seq
    with pytest.raises(pc.OffGrid) as refused:
        call(w)
    error = refused.value
    assert (error.code, error.below, error.above) == (code, Decimal(below), Decimal(above))
    assert below in error.message
    assert above in error.message
    assert isinstance(error, ValueError)
    assert w.venue.seq == seq


# word | code
UNKNOWN: list[tuple[Callable[[World], Any], int, str]] = [
    (lambda w: w.ann.create_order("BTC-PERP", "BUY", 1, price=1), 209, BTC),
    (lambda w: w.venue.account(999), 210, "999"),
    (lambda w: w.ann.deposit(1, "EUR"), 211, "USDC"),
    (lambda w: w.admin.index("USD", 1), 211, "USDC"),
    (lambda w: w.ann.create_order(BTC, "BUY", 1, type="STOP"), 218, "MARKET"),
    (lambda w: w.bid(exec_inst="HIDDEN"), 219, "POST_ONLY"),
    (lambda w: w.ann.create_order(BTC, "LONG", 1, price=1), 220, "BUY, SELL"),
    (lambda w: w.bid(time_in_force="DAY"), 221, "FILL_OR_KILL"),
    (lambda w: w.ann.isolated(BTC), 613, "ISOLATED_MARGIN"),
    (lambda w: w.ann.isolated(BTC, 99), 613, "99"),
    (lambda w: w.ann.amend_order(99, new_price=1), 212, "open_orders"),
]


@pytest.mark.parametrize(("call", "code", "word"), UNKNOWN)
def test_a_word_that_the_venue_does_not_know_has_its_code_and_the_known_ones(
    call: Callable[[World], Any], code: int, word: str
) -> None:
    w = World()
    seq = w.venue.seq
    with pytest.raises(pc.Unknown) as refused:
        call(w)
    assert refused.value.code == code
    assert word in refused.value.message
    assert w.venue.seq == seq


def test_misuse_is_no_refusal() -> None:
    w = World()
    with pytest.raises(ValueError, match="needs a price"):
        w.ann.create_order(BTC, "BUY", 1)
    with pytest.raises(TypeError, match="quantity"):
        w.ann.create_order(BTC, "BUY", None, price=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one of them"):
        w.ann.cancel_order()
    with pytest.raises(ValueError, match="nothing to amend"):
        w.ann.amend_order(1)
    with pytest.raises(ValueError, match=r"Account\.deposit"):
        w.venue.account("ann", deposit={"USD": 1})


def test_a_refused_command_changes_nothing_but_the_clock() -> None:
    """O5: every unit, order and balance is what it was."""
    w = World()
    w.bid()
    w.buy()
    seen = (w.ann.cash, w.ann.positions, w.ann.open_orders, w.venue.book(BTC), w.venue.audit())
    for refused in (lambda: w.buy(), lambda: w.bid(100), lambda: w.ann.withdraw(10_000)):
        with pytest.raises(pc.Rejected):
            refused()
    assert seen == (
        w.ann.cash, w.ann.positions, w.ann.open_orders, w.venue.book(BTC), w.venue.audit(),
    )
