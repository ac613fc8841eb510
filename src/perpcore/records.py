"""Fixed-size records as numpy dtypes: commands in, events out, terms of contracts and venue.

The layouts are those of ``cython/perpcore/records.pxd``; the package checks their sizes against the
compiled core when it is imported. All integers are little-endian and unscaled (SPEC U1).
"""

from __future__ import annotations

import numpy as np

_I8, _U8, _U4, _U2, _U1 = "<i8", "<u8", "<u4", "<u2", "u1"

#: How many notional brackets a contract may have (SPEC C1).
BRACKETS_MAX = 16

#: One command, 128 bytes. Fields that a kind does not use must be zero.
COMMAND = np.dtype(
    [
        ("timestamp_ns", _I8),
        ("order_id", _U8),
        ("client_order_id", _U8),
        ("price_ticks", _I8),
        ("qty_lots", _I8),
        ("account", _U4),
        ("contract", _U2),
        ("kind", _U1),
        ("side", _U1),
        ("isolation_id", _U8),
        ("order_type", _U1),
        ("time_in_force", _U1),
        ("exec_flags", _U1),
        ("stp", _U1),
        ("leverage", _U2),
        ("scope", _U1),
        ("currency", _U1),
        ("trigger_price_ticks", _I8),
        ("expiry_ns", _I8),
        ("isolated_margin_units", _I8),
        ("amount_units", _I8),
        ("mark_ticks", _I8),
        ("rate_e9", _I8),
        ("profile", _U8),
        ("caller_tag", _U8),
    ]
)

#: One event, 64 bytes. What each kind puts into the fields: docs/events.md.
EVENT = np.dtype(
    [
        ("seq", _U8),
        ("account", _U4),
        ("contract", _U2),
        ("code", _U2),
        ("isolation_id", _U4),
        ("kind", _U1),
        ("reason", _U1),
        ("ledger", _U1),
        ("flags", _U1),
        ("order_id", _U8),
        ("price_ticks", _I8),
        ("qty_lots", _I8),
        ("amount_units", _I8),
        ("balance_units", _I8),
    ]
)

#: Terms of one contract, validated once at registration (SPEC U2).
CONTRACT_TERMS = np.dtype(
    [("symbol", "S32")]
    + [
        (name, _I8)
        for name in (
            "tick_size_e12",
            "lot_size_e9",
            "multiplier",
            "marks_per_tick",
            "max_price_ticks",
            "min_order_lots",
            "max_order_lots",
            "max_position_lots",
            "liquidation_slice_lots",
            "inventory_limit_lots",
            "work_off_slice_lots",
            "taker_fee_e9",
            "maker_fee_e9",
            "liquidation_fee_e9",
            "maintenance_share_e4",
            "unit_margin_rate_e15",
            "max_leverage",
            "band_aggressive_e9",
            "band_passive_e9",
            "work_off_band_e9",
            "funding_cap_e9",
            "stale_after_ns",
            "access_group",
            "kind",
            "bracket_count",
        )
    ]
    + [
        (name, _I8, (BRACKETS_MAX,))
        for name in (
            "bracket_cap_units",
            "bracket_mm_e9",
            "bracket_leverage",
            "bracket_cum_units",
        )
    ]
)

#: Terms of the venue, fixed when the engine is made.
VENUE_TERMS = np.dtype(
    [
        ("fund_opening_units", _I8, (2,)),
        ("usdc_haircut_e9", _I8),
        ("max_orders_per_account", _I8),
        ("max_blocks_per_account", _I8),
        ("account_notional_limit_units", _I8),
        ("excluded_citizenship", _U2, (16,)),
        ("excluded_residence", _U2, (16,)),
        ("account_capacity", _U4),
        ("unit_capacity", _U4),
        ("leg_capacity", _U4),
        ("order_capacity", _U4),
        ("page_capacity", _U4),
        ("timers_per_command", _U4),
    ]
    + [
        (name, _U1)
        for name in (
            "haircut_in",
            "block_collateral",
            "removal",
            "partial_close",
            "isolated_flip",
            "liquidation_limit",
            "order_margin_in_liquidation",
            "backstop",
            "adl_rank",
            "adl_price",
            "surplus_to",
            "deficit",
            "socialize_by",
            "socialized_loss",
            "unlock_requires",
            "unlock_at",
            "fund_by_contract",
        )
    ]
    + [("spare", _U1, (7,)), ("cover_limit_units", _I8)]
)

#: The account or contract field of an event or command that names none.
NO_ACCOUNT = 0xFFFFFFFF
NO_CONTRACT = 0xFFFF
