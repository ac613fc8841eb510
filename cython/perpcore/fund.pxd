"""Floor 6: the insurance fund and its inventory (Q4, S1): what it takes, pays and works off."""
from libc.stdint cimport int64_t, uint32_t

from perpcore.clearing cimport TAKES_WORK_OFF, Taker, walk
from perpcore.codes cimport R_INSURANCE_FUND, R_REALIZED_PNL, STP_MAKER, TAKEN_OVER
from perpcore.int128 cimport add64, are_opposite, magnitude, mul_div_ceil, smaller, sub64
from perpcore.margin cimport is_long
from perpcore.orders cimport band_high, band_low
from perpcore.posting cimport (
    USD_LEDGER, move_inventory, post_cash, post_fund, post_inventory,
)
from perpcore.records cimport NONE, Event
from perpcore.state cimport NO_CONTRACT, Core, Market, edit_account, unit_event


cdef inline void take_into_inventory(Core* e, uint32_t contract, int64_t lots,
                                     int64_t cost_units) noexcept nogil:
    """The inventory takes signed lots at a cost; opposite lots meet at cost (Q4).

    Of the lots that meet ceil(C k / |Q|) of each side's cost is realized in its cash: up, so that
    what stays in the inventory never costs more than its share.
    """
    cdef Market* m = &e.markets[contract]
    cdef int64_t held = m.live.inventory_lots, cost = m.live.inventory_cost_units
    cdef int64_t meeting = smaller(magnitude(held), magnitude(lots)), released = 0
    if meeting and are_opposite(held, lots):
        released = add64(mul_div_ceil(cost, meeting, magnitude(held)),
                         mul_div_ceil(cost_units, meeting, magnitude(lots)))
    move_inventory(e, contract, lots, sub64(cost_units, released))
    post_inventory(e, -released, R_REALIZED_PNL, contract)


cdef inline void announce_take_over(Core* e, uint32_t u, uint32_t contract, int64_t lots,
                                    int64_t cost_units) noexcept nogil:
    cdef Event* ev = unit_event(e, TAKEN_OVER, u, contract)
    ev.qty_lots = lots
    ev.amount_units = cost_units
    ev.price_ticks = e.markets[contract].live.mark_ticks


cdef inline void count_deficit(Core* e, uint32_t account, int64_t units) noexcept nogil:
    """What the fund bears for an owner: a statistic (Q6)."""
    if units > 0:
        edit_account(e, account).deficit_units = add64(
            e.accounts[account].deficit_units, units)


cdef inline void count_cover(Core* e, int64_t units) noexcept nogil:
    """What the fund pays of others' debts in a session, for its cover limit (S1)."""
    if units > 0:
        e.h.covered_units = add64(e.h.covered_units, units)


cdef inline void hand_to_fund(Core* e, uint32_t u, uint32_t contract,
                              int64_t forfeit_units) noexcept nogil:
    """All of a unit's cash, whatever its sign, goes to the fund (Q6).

    `forfeit_units`: what the fund gets beside it, which makes a debt smaller.
    """
    cdef int64_t cash = e.units[u].cash_units, debt = -add64(cash, forfeit_units)
    count_deficit(e, e.units[u].account, debt)
    count_cover(e, debt)
    post_cash(e, u, -cash, R_INSURANCE_FUND, contract, 0)
    post_fund(e, USD_LEDGER, cash, R_INSURANCE_FUND, contract)


cdef inline void work_off(Core* e, uint32_t contract, int64_t lots_before) noexcept nogil:
    """Sell (buy back) a slice of what the inventory held before the command, near the mark (Q4)."""
    cdef Market* m = &e.markets[contract]
    cdef int64_t held = m.live.inventory_lots
    cdef Taker t
    if held == 0 or lots_before == 0 or are_opposite(held, lots_before):
        return
    t.kind = TAKES_WORK_OFF
    t.side = is_long(held)
    t.stp = STP_MAKER
    t.commits = False
    t.contract = contract
    t.account = t.slot = t.leg = NONE
    t.filled_lots = 0
    t.left_lots = smaller(smaller(magnitude(held), magnitude(lots_before)),
                          m.terms.terms.work_off_slice_lots)
    if t.side == 1:
        t.limit_ticks = band_low(m, m.terms.terms.work_off_band_e9)
    else:
        t.limit_ticks = band_high(m, m.terms.terms.work_off_band_e9)
    walk(e, &t)
