"""Orders that wait for a price, pairs that end together, the dead man's switch (SPEC O1, O6)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import perpcore as pc
from perpcore.codes import Code, Done, EventKind

BTC = "BTCUSD-PERP"
SECOND = 1_000_000_000


class Desk:
    """A demo venue: BTC at 60,000 with a maker's book, Ann with 2,000 USD, Bob with 100,000."""

    def __init__(self, **terms: Any) -> None:
        self.venue, self.admin = pc.Venue.create(insurance_fund=1_000_000, **terms)
        self.admin.add_contract(pc.BTCUSD_PERP)
        self.admin.mark(BTC, 60_000)
        self.ann = self.admin.open_account("ann", deposit={"USD": 2_000})
        self.bob = self.admin.open_account("bob", deposit={"USD": 1_000_000})
        self.quote(60_000)

    def quote(self, price: int) -> None:
        """Bob's bid and offer, 1 BTC each, 10 USD around a price; his old ones go."""
        self.bob.cancel_all_orders()
        self.bob.create_order(BTC, "BUY", 1, price=price - 10)
        self.bob.create_order(BTC, "SELL", 1, price=price + 10)

    def move(self, price: int) -> None:
        """Book and mark move together."""
        self.quote(price)
        self.admin.mark(BTC, price)

    def long(self, quantity: str = "0.05", **options: Any) -> pc.OrderResult:
        return self.ann.create_order(BTC, "BUY", quantity, type="MARKET", **options)


def test_a_conditional_order_waits_without_a_reserve_and_says_for_what() -> None:
    w = Desk()
    stop = w.ann.create_order(
        BTC, "BUY", "0.5", type="STOP_LIMIT", price=61_100, ref_price=61_000, client_oid=5
    )
    assert stop.status == "UNTRIGGERED"
    assert stop.reserved == w.ann.order_margin == 0
    (order,) = w.ann.open_orders
    assert (order.type, order.ref_price_type, order.client_oid) == ("STOP_LIMIT", "MARK_PRICE", 5)
    assert order.ref_price == 61_000
    assert order.price == 61_100
    assert order.quantity == Decimal("0.5")
    assert w.venue.book(BTC).bids[0].price == 59_990


def test_an_amended_stop_waits_on_for_its_new_trigger() -> None:
    """O2: it is previewed, told and read as what it now is, and fires there."""
    w = Desk()
    stop = w.ann.create_order(
        BTC, "BUY", "0.5", type="STOP_LIMIT", price=61_100, ref_price=61_000, client_oid=5
    )
    changes: dict[str, Any] = {"new_price": 60_600, "new_quantity": "0.2", "new_ref_price": 60_500}
    told = w.ann.preview_amend_order(stop.order_id, **changes).order
    amended = w.ann.amend_order(orig_client_oid=5, **changes)
    assert told is not None
    assert (told.status, amended.status, amended.reserved) == ("UNTRIGGERED", "UNTRIGGERED", 0)
    assert any("waits for 60500" in line for line in w.venue.describe(amended.events))
    (order,) = w.ann.open_orders
    assert (order.order_id, order.price, order.ref_price) == (stop.order_id, 60_600, 60_500)
    assert order.quantity == Decimal("0.2")
    w.move(60_490)
    assert w.ann.open_orders == [order]
    w.move(60_500)
    assert [position.quantity for position in w.ann.positions] == [Decimal("0.2")]


def test_a_stop_may_open_a_block_of_its_own() -> None:
    """O1, I1: the block waits without money, and closes with the order that nothing came of."""
    w = Desk()
    stop = w.ann.create_order(
        BTC, "BUY", "0.1", type="STOP_LOSS", ref_price=61_000, exec_inst="ISOLATED_MARGIN",
        leverage=10,
    )
    (block,) = w.ann.blocks
    assert (stop.isolation_id, block.state, block.leverage) == (block.isolation_id, "PENDING", 10)
    assert (block.margin, block.order_margin, w.ann.cash["USD"]) == (0, 0, 2_000)
    w.ann.cancel_order(stop.order_id)
    assert (block.state, w.ann.blocks) == ("CLOSED", [])
    w.ann.create_order(
        BTC, "BUY", "0.1", type="STOP_LOSS", ref_price=61_000, exec_inst="ISOLATED_MARGIN",
        leverage=10,
    )
    w.move(61_000)
    (block,) = w.ann.blocks
    assert (block.state, block.quantity) == ("OPEN", Decimal("0.1"))
    assert w.venue.audit().ok


# type | side | the mark that is not enough, and the one that fires it
FIRES = [
    ("STOP_LOSS", "BUY", "60099.9", "60100"),
    ("TAKE_PROFIT", "SELL", "60099.9", "60100"),
    ("STOP_LOSS", "SELL", "59900.1", "59900"),
    ("TAKE_PROFIT", "BUY", "59900.1", "59900"),
]


@pytest.mark.parametrize(("kind", "side", "before", "at"), FIRES)
def test_a_trigger_fires_at_its_price_and_not_a_tick_before(
    kind: str, side: str, before: str, at: str
) -> None:
    w = Desk()
    order = w.ann.create_order(BTC, side, "0.01", type=kind, ref_price=at)
    w.admin.mark(BTC, before)
    assert len(w.ann.open_orders) == 1
    events = w.admin.mark(BTC, at)
    (fired,) = events[events["kind"] == EventKind.TRIGGERED]
    assert fired["order_id"] == order.order_id
    assert abs(w.ann.positions[0].quantity) == Decimal("0.01")


def test_a_fired_limit_order_is_a_new_order_under_its_own_id() -> None:
    w = Desk()
    stop = w.ann.create_order(BTC, "BUY", "0.01", type="STOP_LIMIT", price=60_050, ref_price=60_100)
    w.quote(60_200)
    w.admin.mark(BTC, 60_100)
    (order,) = w.ann.open_orders
    assert (order.order_id, order.type) == (stop.order_id, "LIMIT")
    assert order.price == 60_050
    assert order.reserved == w.ann.order_margin > 0


def test_what_refuses_a_fired_order_ends_it_with_the_code() -> None:
    """5 BTC need 30,000 USD of margin at 10x, and Ann has 2,000."""
    w = Desk()
    w.ann.set_leverage(BTC, 10)
    w.ann.create_order(BTC, "BUY", 5, type="STOP_LOSS", ref_price=60_100)
    events = w.admin.mark(BTC, 60_100)
    (end,) = events[(events["kind"] == EventKind.CANCELLED)]
    assert (end["reason"], end["code"]) == (Done.DONE_TRIGGER, Code.INSUFFICIENT_BALANCE)
    assert w.ann.open_orders == []


def test_the_last_price_and_the_index_trigger_too() -> None:
    w = Desk()
    w.ann.create_order(
        BTC, "BUY", "0.01", type="STOP_LOSS", ref_price=60_010, ref_price_type="LAST_PRICE")
    w.ann.create_order(
        BTC, "BUY", "0.02", type="STOP_LOSS", ref_price=60_100, ref_price_type="INDEX_PRICE")
    w.admin.mark(BTC, 60_200)
    assert len(w.ann.open_orders) == 2
    carl = w.admin.open_account("carl", deposit={"USD": 2_000})
    carl.create_order(BTC, "BUY", "0.001", type="MARKET")
    assert w.venue.market(BTC).last_price == 60_010
    assert w.ann.positions[0].quantity == Decimal("0.01")
    w.admin.index_price(BTC, 60_100)
    assert w.venue.market(BTC).index_price == 60_100
    assert w.ann.positions[0].quantity == Decimal("0.03")


def test_a_trigger_that_is_reached_already_is_refused() -> None:
    w = Desk()
    with pytest.raises(pc.Rejected) as refused:
        w.ann.create_order(BTC, "SELL", "0.01", type="STOP_LOSS", ref_price=60_000)
    assert refused.value.code == Code.INVALID_TRIGGER


def test_a_halted_market_fires_when_it_opens() -> None:
    w = Desk()
    w.ann.create_order(BTC, "BUY", "0.01", type="STOP_LOSS", ref_price=60_100)
    w.admin.market_state(BTC, "HALTED")
    w.admin.mark(BTC, 60_100)
    assert len(w.ann.open_orders) == 1
    w.admin.market_state(BTC, "OPEN")
    assert w.ann.positions[0].quantity == Decimal("0.01")


def test_a_preview_shows_what_an_order_would_trigger_and_leaves_it_waiting() -> None:
    w = Desk()
    w.ann.create_order(BTC, "BUY", "0.01", type="STOP_LOSS", ref_price=60_010,
                       ref_price_type="LAST_PRICE")
    carl = w.admin.open_account("carl", deposit={"USD": 2_000})
    before = w.venue.state_hash()
    seen = carl.preview_order(BTC, "BUY", "0.001", type="MARKET")
    assert np.count_nonzero(seen.events["kind"] == EventKind.TRIGGERED) == 1
    assert (w.venue.state_hash(), len(w.ann.open_orders)) == (before, 1)


def test_stop_and_take_profit_of_a_position_cancel_each_other() -> None:
    w = Desk()
    w.long()
    profit, stop = w.ann.attach_tp_sl(BTC, take_profit=62_000, stop_loss=59_000)
    orders = {order.order_id: order for order in w.ann.open_orders}
    assert orders[profit.order_id].linked_order_id == stop.order_id
    assert orders[stop.order_id].linked_order_id == profit.order_id
    w.move(62_000)
    assert not w.ann.positions
    assert not w.ann.open_orders
    assert w.ann.cash["USD"] > 2_090
    assert w.venue.audit().ok


def test_a_block_has_its_own_stop_which_ends_with_the_position() -> None:
    w = Desk()
    w.long(exec_inst="ISOLATED_MARGIN", leverage=20)
    block = w.ann.isolated(BTC)
    profit, stop = block.attach_tp_sl(take_profit=62_000, stop_loss=59_000)
    assert profit.isolation_id == stop.isolation_id == block.isolation_id
    block.close()
    assert (block.state, w.ann.open_orders) == ("CLOSED", [])


def test_a_pair_of_which_one_is_refused_leaves_none() -> None:
    w = Desk()
    w.long()
    with pytest.raises(pc.Rejected) as refused:
        w.ann.attach_tp_sl(BTC, take_profit=62_000, stop_loss=60_000)
    assert refused.value.code == Code.INVALID_TRIGGER
    assert w.ann.open_orders == []


def test_nothing_can_be_attached_to_no_position() -> None:
    w = Desk()
    with pytest.raises(pc.Rejected) as refused:
        w.ann.attach_tp_sl(BTC, stop_loss=59_000)
    assert refused.value.code == Code.NO_POSITION
    with pytest.raises(ValueError, match="take_profit, stop_loss or both"):
        w.ann.attach_tp_sl(BTC)


def test_the_other_order_ends_when_one_is_filled_or_cancelled() -> None:
    w = Desk()
    first = w.ann.create_order(BTC, "BUY", "0.01", price=59_000)
    second = w.ann.create_order(
        BTC, "BUY", "0.01", price=58_000, linked_order_id=first.order_id)
    events = w.ann.cancel_order(first.order_id)
    ends = events[events["kind"] == EventKind.CANCELLED]
    assert ends["order_id"].tolist() == [first.order_id, second.order_id]
    assert ends["reason"].tolist() == [Done.DONE_USER, Done.DONE_LINKED]


def test_a_conditional_order_needs_a_trigger_and_no_other_takes_one() -> None:
    w = Desk()
    with pytest.raises(ValueError, match="ref_price"):
        w.ann.create_order(BTC, "BUY", 1, type="STOP_LOSS")
    with pytest.raises(ValueError, match="ref_price"):
        w.ann.create_order(BTC, "BUY", 1, price=59_000, ref_price=60_000)


# side | price asked | where it rests
SLIDES = [("BUY", 60_500, "60009.9"), ("BUY", 60_005, "60005"), ("SELL", 59_500, "59990.1")]


@pytest.mark.parametrize(("side", "asked", "rests"), SLIDES)
def test_a_smart_post_only_order_slides_to_the_best_price_that_does_not_take(
    side: str, asked: int, rests: str
) -> None:
    w = Desk()
    order = w.ann.create_order(BTC, side, "0.01", price=asked, exec_inst="SMART_POST_ONLY")
    assert (order.status, w.ann.open_orders[0].price) == ("ACTIVE", Decimal(rests))
    assert w.ann.open_orders[0].exec_inst == ("SMART_POST_ONLY",)


def test_a_smart_post_only_order_is_refused_where_no_passive_price_is_in_the_band() -> None:
    """Above the bid of 57,000 the best sell is 57,000.1: below 0.95 x 60,100 = 57,095."""
    w = Desk()
    w.bob.cancel_all_orders()
    w.bob.create_order(BTC, "BUY", 1, price=57_000)
    w.admin.mark(BTC, 60_100)
    with pytest.raises(pc.Rejected) as refused:
        w.ann.create_order(BTC, "SELL", "0.01", price=56_000, exec_inst="SMART_POST_ONLY")
    assert refused.value.code == Code.POST_ONLY_WOULD_TAKE


def test_the_dead_mans_switch_ends_all_orders_unless_it_is_set_anew() -> None:
    w = Desk()
    now = w.venue.time_ns
    w.ann.create_order(BTC, "BUY", "0.01", price=59_000)
    w.ann.cancel_all_after(now + SECOND)
    assert w.ann.cancel_after_ns == now + SECOND
    w.ann.cancel_all_after(now + 3 * SECOND)
    w.admin.tick(timestamp_ns=now + 2 * SECOND)
    assert len(w.ann.open_orders) == 1
    events = w.admin.tick(timestamp_ns=now + 3 * SECOND)
    assert events["reason"].tolist() == [Done.DONE_DEAD_MAN]
    assert not w.ann.open_orders
    assert w.ann.cancel_after_ns is None


def test_the_dead_mans_switch_can_be_disarmed_and_takes_no_past_time() -> None:
    w = Desk()
    w.ann.create_order(BTC, "BUY", "0.01", price=59_000)
    w.ann.cancel_all_after(w.venue.time_ns + SECOND)
    w.ann.cancel_all_after(None)
    w.admin.tick(timestamp_ns=w.venue.time_ns + 2 * SECOND)
    assert (len(w.ann.open_orders), w.ann.cancel_after_ns) == (1, None)
    with pytest.raises(pc.Rejected) as refused:
        w.ann.cancel_all_after(w.venue.time_ns)
    assert refused.value.code == Code.INVALID_ARGUMENT
