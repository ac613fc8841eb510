"""A program that uses every part of the interface, as a type checker sees it (`mypy --strict`)."""

from __future__ import annotations

from decimal import Decimal
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import perpcore as pc

venue, admin = pc.Venue.demo()
assert_type(venue, pc.Venue)
assert_type(admin, pc.Admin)

ann = venue.account("ann", deposit={"USD": "2000", "USDC": Decimal(5)})
order = ann.create_order(
    "BTCUSD-PERP", "BUY", quantity="0.05", type="MARKET", exec_inst="ISOLATED_MARGIN", leverage=20
)
assert_type(ann, pc.Account)
assert_type(order, pc.OrderResult)
assert_type(order.fees, Decimal)
assert_type(order.isolation_id, int | None)
assert_type(order.fills, tuple[pc.Fill, ...])
assert_type(order.average_price, Decimal | None)

block = ann.isolated("BTCUSD-PERP")
assert_type(block, pc.Block)
assert_type(block.liquidation_price, Decimal | None)
assert_type(block.margin, Decimal)
assert_type(block.add_margin(50), pc.Events)
assert_type(block.preview_leverage(25), pc.Preview)
assert_type(block.position, pc.Position | None)

assert_type(ann.preview_order("ETHUSD-PERP", "SELL", 1, price="3000"), pc.Preview)
assert_type(ann.max_quantity("ETHUSD-PERP", "SELL", type="MARKET"), Decimal)
assert_type(ann.cash, dict[str, Decimal])
assert_type(ann.positions, list[pc.Position])
assert_type(ann.open_orders, list[pc.Order])

assert_type(venue.book("BTCUSD-PERP").bids[0].price, Decimal)
assert_type(venue.market("BTCUSD-PERP").mark_price, Decimal | None)
assert_type(venue.insurance_fund("USD"), Decimal)
assert_type(venue.audit().ok, bool)
assert_type(venue.state_hash(), int)

batch = pc.commands.limit(
    account=np.arange(3), contract=0, side=["BUY", "SELL", "BUY"], price_ticks=600_000,
    qty_lots=1, timestamp_ns=venue.time_ns,
)
assert_type(batch, NDArray[np.void])
events = venue.apply(batch, out=np.zeros(64, pc.EVENT))
assert_type(events, pc.Events)
assert_type(events.applied, int)

assert_type(admin.mark("BTCUSD-PERP", 60_000), pc.Events)
terms = pc.Contract.from_terms(pc.BTCUSD_PERP.terms())
assert_type(terms, pc.Contract)
assert_type(venue.contract("BTCUSD-PERP") == terms, bool)
try:
    block.remove_margin("1e9")
except pc.Rejected as refusal:
    assert_type(refusal.code, pc.Code)
    assert_type(refusal.needed, Decimal | None)
