"""Floor 0: fixed-size records that cross the border of the core. Little-endian, packed, ABI."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    ABI_NUMBER = 1
    NONE = 0xFFFFFFFF            # no slot, no account
    BRACKETS_MAX = 16

# 128 B: all that new, cancel and amend need stands in the first 64.
cdef packed struct Command:
    int64_t timestamp_ns         # never before the last command's
    uint64_t order_id            # target of CANCEL and AMEND; NEW_ORDER: the one it is linked with
    uint64_t client_order_id     # 0: none
    int64_t price_ticks          # order price
    int64_t qty_lots
    uint32_t account
    uint16_t contract
    uint8_t kind                 # codes.Kind
    uint8_t side                 # codes.Side
    uint64_t isolation_id        # 0: main account, or a new block
    uint8_t order_type           # codes.OrderType
    uint8_t time_in_force        # codes.TimeInForce
    uint8_t exec_flags           # codes.ExecFlag
    uint8_t stp                  # codes.SelfTrade
    uint16_t leverage
    uint8_t scope                # codes.Scope
    uint8_t currency             # codes.Currency
    int64_t trigger_price_ticks  # conditional orders
    int64_t expiry_ns            # GTD; CANCEL_ALL_AFTER
    int64_t isolated_margin_units  # explicit isolated_margin_amount
    int64_t amount_units         # deposit, withdrawal, transfer, top-up
    int64_t mark_ticks           # MARK: contract's mark grid; INDEX: USDC index, 1e-6 USD
    int64_t rate_e9              # FUNDING
    uint64_t profile             # SET_ELIGIBILITY; market state in SET_MARKET_STATE is `scope`
    uint64_t caller_tag          # echoed back by no rule; free for the caller

# 64 B
cdef packed struct Event:
    uint64_t seq                 # number of the command that caused it; an order's id
    uint32_t account             # NONE: the venue itself
    uint16_t contract
    uint16_t code                # codes.Code, on REJECT
    uint32_t isolation_id
    uint8_t kind                 # codes.EventKind
    uint8_t reason               # codes.Reason on BALANCE, codes.Done on CANCELLED
    uint8_t ledger               # codes.Ledger on BALANCE
    uint8_t flags                # codes.FillFlag and side on FILL: flags | side << 4
    uint64_t order_id
    int64_t price_ticks
    int64_t qty_lots
    int64_t amount_units
    int64_t balance_units

# Notional brackets of a contract (C1): above the last cap the last bracket goes on.
cdef packed struct Brackets:
    int64_t count                # 0: margin by rates of the size
    int64_t cap_units[16]        # largest notional of the bracket
    int64_t mm_e9[16]            # maintenance rate
    int64_t leverage[16]         # largest leverage
    int64_t cum_units[16]        # maintenance margin = notional x rate - this

cdef packed struct ContractTerms:
    char symbol[32]
    int64_t tick_size_e12        # USD
    int64_t lot_size_e9          # base units
    int64_t multiplier
    int64_t marks_per_tick       # k of SPEC U1
    int64_t max_price_ticks
    int64_t min_order_lots
    int64_t max_order_lots
    int64_t max_position_lots    # per account, side
    int64_t liquidation_slice_lots
    int64_t inventory_limit_lots
    int64_t work_off_slice_lots
    int64_t taker_fee_e9
    int64_t maker_fee_e9
    int64_t liquidation_fee_e9
    int64_t maintenance_share_e4
    int64_t unit_margin_rate_e15  # per lot
    int64_t max_leverage
    int64_t band_aggressive_e9
    int64_t band_passive_e9
    int64_t work_off_band_e9
    int64_t funding_cap_e9
    int64_t stale_after_ns       # 0: a mark never goes stale
    int64_t access_group         # 0..15, a bit of the profile
    int64_t kind                 # 1 linear; anything else is refused by name
    Brackets brackets

cdef packed struct VenueTerms:
    int64_t fund_opening_units[2]      # USD, USDC
    int64_t usdc_haircut_e9
    int64_t max_orders_per_account
    int64_t max_blocks_per_account
    int64_t account_notional_limit_units  # 0: none
    uint16_t excluded_citizenship[16]  # ISO 3166 numeric, 0: unused
    uint16_t excluded_residence[16]
    uint32_t account_capacity
    uint32_t unit_capacity             # main accounts + blocks alive at once
    uint32_t leg_capacity
    uint32_t order_capacity
    uint32_t page_capacity             # price pages a contract and side
    uint32_t timers_per_command
    # Policies: 0 is the first value that a rule names; the others are in policies.pxd.
    uint8_t haircut_in
    uint8_t block_collateral
    uint8_t removal
    uint8_t partial_close
    uint8_t isolated_flip
    uint8_t liquidation_limit
    uint8_t order_margin_in_liquidation
    uint8_t backstop
    uint8_t adl_rank
    uint8_t adl_price
    uint8_t surplus_to
    uint8_t deficit
    uint8_t socialize_by
    uint8_t socialized_loss
    uint8_t unlock_requires
    uint8_t unlock_at
    uint8_t fund_by_contract
    uint8_t spare[7]                   # must be 0
    int64_t cover_limit_units          # what the fund pays in a session at most, 0: no limit (S1)
