"""Floor 8: what only administration may do: marks, index, eligibility, states, top-ups (A3)."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from perpcore.accounts cimport deposit_fits
from perpcore.amendments cimport end_collected
from perpcore.codes cimport (
    DONE_ELIGIBILITY, ELIGIBILITY_SET, FUND_OF_CONTRACT, INDEXED, INVALID_ARGUMENT,
    INVALID_CURRENCY, MARKED, MARKET_STATE_SET, NO_CURRENCY, OK, PROFILE_ISOLATED, R_DEPOSIT, USD,
    USDC,
)
from perpcore.eligibility cimport group_allowed, standing_code
from perpcore.fund cimport work_off
from perpcore.liquidation cimport run_mark
from perpcore.posting cimport book_deposit, post_fund
from perpcore.records cimport NONE, Command, Event
from perpcore.reserves cimport reserved_left
from perpcore.sort cimport Ranked
from perpcore.state cimport (
    NO_CONTRACT, Core, Live, Market, edit_account, edit_live, event, is_block, is_in_kind,
    unit_usdc, watch,
)
from perpcore.thresholds cimport look_at


cdef inline int set_mark(Core* e, const Command* c) noexcept nogil:
    """MARK: whoever it crosses is tested; then the inventory works off a slice (Q1, Q2, Q4)."""
    cdef Market* m = &e.markets[c.contract]
    cdef int64_t inventory = m.live.inventory_lots
    cdef Live* live
    cdef Event* ev
    if c.mark_ticks < 1 or c.mark_ticks > m.terms.max_mark_ticks:
        return INVALID_ARGUMENT
    live = edit_live(e, c.contract)
    live.mark_ticks = c.mark_ticks
    live.mark_time_ns = e.h.time_ns
    watch(e, c.contract)
    ev = event(e, MARKED)
    ev.contract = c.contract
    ev.price_ticks = c.mark_ticks
    run_mark(e, c.contract)
    work_off(e, c.contract, inventory)
    return OK


cdef inline int set_contract_index(Core* e, const Command* c) noexcept nogil:
    """INDEX of a contract, on its mark grid: it moves nothing but triggers (O1)."""
    cdef Event* ev
    if c.mark_ticks < 1 or c.mark_ticks > e.markets[c.contract].terms.max_mark_ticks:
        return INVALID_ARGUMENT
    edit_live(e, c.contract).index_ticks = c.mark_ticks
    watch(e, c.contract)
    ev = event(e, INDEXED)
    ev.contract = c.contract
    ev.price_ticks = c.mark_ticks
    return OK


cdef inline int set_index(Core* e, const Command* c) noexcept nogil:
    """INDEX of USDC: every unit that has some as collateral is looked at (A4)."""
    cdef uint32_t account, block
    if c.currency == NO_CURRENCY:
        return set_contract_index(e, c)
    if c.currency != USDC:
        return INVALID_CURRENCY
    if c.mark_ticks < 1 or c.mark_ticks > 10_000_000:
        return INVALID_ARGUMENT
    e.h.index_e6 = c.mark_ticks
    event(e, INDEXED).price_ticks = c.mark_ticks
    for account in range(e.h.account_count):
        if e.accounts[account].usdc_units:
            look_at(e, e.accounts[account].unit)
        block = e.accounts[account].first_block if is_in_kind(e) else <uint32_t>NONE
        while block != NONE:
            if unit_usdc(e, block):
                look_at(e, block)
            block = e.units[block].next_block
    return OK


cdef inline uint32_t collect_barred(Core* e, uint32_t u, uint64_t profile, bint all_of_them,
                                    uint32_t count) noexcept nogil:
    """Add the unit's orders with a reserve that the profile no longer allows."""
    cdef uint32_t i = e.units[u].first_leg, slot
    cdef bint barred
    while i != NONE:
        barred = (all_of_them or not group_allowed(e, profile, e.legs[i].contract)
                  or (is_block(&e.units[u]) and not profile & PROFILE_ISOLATED))
        if barred and e.legs[i].orders != NONE:
            slot = e.groups[e.legs[i].orders].first_order
            while slot != NONE:
                if reserved_left(&e.cold[slot]):
                    e.ended[count] = Ranked(e.pool.orders[slot].order_id, 0, slot)
                    count += 1
                slot = e.cold[slot].next_order
        i = e.legs[i].next_leg
    return count


cdef inline int set_eligibility(Core* e, const Command* c) noexcept nogil:
    """A2: losing it cancels the orders with a reserve; it never blocks closing or cancelling."""
    cdef uint32_t u = e.accounts[c.account].unit, count = 0
    cdef bint all_of_them = standing_code(e, c.profile) != OK
    cdef Event* ev = event(e, ELIGIBILITY_SET)
    ev.account = c.account
    ev.amount_units = <int64_t>c.profile
    edit_account(e, c.account).profile = c.profile
    count = collect_barred(e, u, c.profile, all_of_them, count)
    u = e.accounts[c.account].first_block
    while u != NONE:
        count = collect_barred(e, u, c.profile, all_of_them, count)
        u = e.units[u].next_block
    end_collected(e, count, DONE_ELIGIBILITY)
    return OK


cdef inline int set_market_state(Core* e, const Command* c) noexcept nogil:
    cdef Event* ev = event(e, MARKET_STATE_SET)
    ev.contract = c.contract
    ev.qty_lots = c.scope
    edit_live(e, c.contract).state = c.scope
    watch(e, c.contract)
    return OK


cdef inline int top_up_fund(Core* e, const Command* c) noexcept nogil:
    """A deposit into the insurance fund, or into a contract's own part of it (S1)."""
    cdef uint32_t contract = c.contract if c.scope == FUND_OF_CONTRACT else <uint32_t>NO_CONTRACT
    if c.currency != USD and (c.currency != USDC or c.scope == FUND_OF_CONTRACT):
        return INVALID_CURRENCY
    if not deposit_fits(e, c.currency - USD, c.amount_units):
        return INVALID_ARGUMENT
    book_deposit(e, c.currency - USD, c.amount_units)
    post_fund(e, c.currency - USD, c.amount_units, R_DEPOSIT, contract)
    return OK
