"""A contract whose maintenance is large and grows with the position, for two rules' far ends."""

from __future__ import annotations

from dataclasses import replace

from world import SOL_PERP_10X

#: No fees; a tick is 0.01 USD, one lot 100 USD at the mark of 100. The margin rate grows by 0.001 %
#: a lot, and 90 % of it are maintenance: 9 % for 10,000 lots, 13.5 % for 15,000.
STEEP_PERP = replace(
    SOL_PERP_10X, symbol="STEEP-PERP", lot_size_e9=10**9, unit_margin_rate_e15=10**10,
    maintenance_share_e4=9_000, max_leverage=50, max_order_lots=50_000, max_position_lots=90_000,
    liquidation_slice_lots=50_000, stale_after_ns=0, access_group=0)
