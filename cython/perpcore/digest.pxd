"""Floor 8.5: the hash of the live state in one canonical order (D1).

What does not enter: where records lie, free lists, capacities, the index of thresholds (it follows
from the rest), legs that hold neither position nor leverage. Numbers are mixed as 64-bit words, so
that the hash is the same on every machine and compiler.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from perpcore.book cimport Book, BookOrder, book_best, book_head, book_next_level
from perpcore.int128 cimport i128
from perpcore.policies cimport FUND_BY_CONTRACT
from perpcore.records cimport NONE
from perpcore.reserves cimport order_expiry, order_extra, order_linked
from perpcore.state cimport (
    IN_MARGIN_CALL, REFERENCES, Account, Core, Dormant, Leg, Live, Market, OrderCold, Unit,
    is_block, is_in_kind, order_leg,
)

cdef struct Digest:
    uint64_t a
    uint64_t b


cdef inline void mix(Digest* d, uint64_t word) noexcept nogil:
    d.a = (d.a ^ word) * <uint64_t>0x9E3779B97F4A7C15
    d.a ^= d.a >> 32
    d.b = (d.b + d.a) * <uint64_t>0xD6E8FEB86659FD93
    d.b ^= d.b >> 29


cdef inline void mix128(Digest* d, i128 value) noexcept nogil:
    mix(d, <uint64_t>value.hi)
    mix(d, value.lo)


cdef inline void mix_header(Core* e, Digest* d) noexcept nogil:
    cdef int i
    mix(d, e.h.seq)
    mix(d, <uint64_t>e.h.time_ns)
    mix(d, <uint64_t>e.h.session)
    mix(d, e.h.next_isolation_id)
    mix(d, <uint64_t>e.h.index_e6)
    mix(d, <uint64_t>e.h.carried_units)
    mix(d, <uint64_t>e.h.covered_units)
    mix(d, <uint64_t>e.h.excess_units)
    mix(d, <uint64_t>e.h.inventory_cash_units)
    mix128(d, e.h.fees_units)
    for i in range(2):
        mix128(d, e.h.fund_units[i])
        mix128(d, e.h.conversion_units[i])
        mix128(d, e.h.deposits_units[i])
        mix128(d, e.h.withdrawals_units[i])


cdef inline void mix_order(Core* e, Digest* d, uint32_t slot) noexcept nogil:
    cdef BookOrder* b = &e.pool.orders[slot]
    cdef OrderCold* o = &e.cold[slot]
    cdef Dormant* dormant
    mix(d, b.order_id)
    mix(d, <uint64_t>b.qty_lots)
    mix(d, b.price_side)
    if o.is_dormant:
        dormant = &e.dormant[slot]
        mix(d, (<uint64_t>dormant.price_ticks << 32) | (<uint64_t>dormant.side << 16)
            | (<uint64_t>dormant.order_type << 8) | dormant.reference)
    if order_linked(e, slot) != NONE:
        mix(d, e.pool.orders[order_linked(e, slot)].order_id)
    mix(d, e.legs[order_leg(e, slot)].account)
    mix(d, e.units[e.legs[order_leg(e, slot)].unit].isolation_id)
    mix(d, <uint64_t>o.reserve_units)
    if is_in_kind(e):
        mix(d, <uint64_t>e.order_usdc[slot])
    mix(d, <uint64_t>order_extra(e, slot))
    mix(d, <uint64_t>o.reserved_total)
    mix(d, <uint64_t>o.reserved_used)
    mix(d, <uint64_t>o.size_lots)
    mix(d, <uint64_t>o.filled_lots)
    mix(d, <uint64_t>order_expiry(e, slot))
    mix(d, o.client_order_id)
    mix(d, (<uint64_t>o.accept_mark_ticks << 32) | o.leverage)
    mix(d, (<uint64_t>o.exec_flags << 24) | (<uint64_t>o.time_in_force << 16)
        | (<uint64_t>o.stp << 8) | o.is_explicit)


cdef inline void mix_book(Core* e, Digest* d, Book* book, int side) noexcept nogil:
    """Orders in priority: price, then time."""
    cdef int64_t price = book_best(book, side)
    cdef uint32_t slot
    while price >= 0:
        slot = book_head(book, side, price)
        while slot != NONE:
            mix_order(e, d, slot)
            slot = e.pool.orders[slot].next
        price = book_next_level(book, side, price)
    mix(d, 0)


cdef inline void mix_market(Core* e, Digest* d, uint32_t contract) noexcept nogil:
    cdef Market* m = &e.markets[contract]
    cdef Live* live = &m.live
    cdef const unsigned char* terms = <const unsigned char*>&m.terms.terms
    cdef uint64_t i, size = sizeof(m.terms.terms)
    cdef int reference
    if m.terms.terms.brackets.count == 0:
        size -= sizeof(m.terms.terms.brackets)          # a table that is not there says nothing
    for i in range(size):
        mix(d, terms[i])
    mix(d, <uint64_t>live.mark_ticks)
    mix(d, <uint64_t>live.mark_time_ns)
    mix(d, <uint64_t>live.last_price_ticks)
    mix(d, <uint64_t>live.inventory_lots)
    mix(d, <uint64_t>live.inventory_cost_units)
    mix(d, <uint64_t>live.funding_rate_e9)
    mix(d, (<uint64_t>live.funding_pending << 8) | live.state)
    mix_book(e, d, &m.book, 0)
    mix_book(e, d, &m.book, 1)
    mix(d, <uint64_t>live.index_ticks)
    for reference in range(REFERENCES):
        mix_book(e, d, &m.triggers[reference], 0)
        mix_book(e, d, &m.triggers[reference], 1)
    if e.terms.fund_by_contract == FUND_BY_CONTRACT:
        mix128(d, e.sub_funds[contract])


cdef inline void mix_unit(Core* e, Digest* d, uint32_t u) noexcept nogil:
    """Balances, then positions and leverages by contract."""
    cdef Unit* unit = &e.units[u]
    cdef uint32_t i = unit.first_leg
    cdef Leg* leg
    mix(d, unit.isolation_id)
    mix(d, <uint64_t>unit.cash_units)
    mix(d, <uint64_t>unit.order_cash_units)
    if is_block(unit) and is_in_kind(e):
        mix(d, <uint64_t>e.block_usdc[u].position_units)
        mix(d, <uint64_t>e.block_usdc[u].order_units)
    mix(d, <uint64_t>unit.session_pnl_units)
    mix(d, <uint64_t>unit.kept_units)
    mix(d, (<uint64_t>unit.leverage << 16) | (<uint64_t>unit.state << 8)
        | (unit.flags & IN_MARGIN_CALL))
    while i != NONE:
        leg = &e.legs[i]
        if leg.qty_lots or leg.leverage:
            mix(d, (<uint64_t>leg.contract << 32) | leg.leverage)
            mix(d, <uint64_t>leg.qty_lots)
            mix(d, <uint64_t>leg.cost_units)
            mix(d, <uint64_t>leg.opening_cost_units)
        i = leg.next_leg


cdef inline uint64_t state_digest(Core* e) noexcept nogil:
    """64 bits over everything that the venue remembers."""
    cdef Digest d
    cdef uint32_t i, u
    cdef Account* account
    d.a = <uint64_t>0x243F6A8885A308D3
    d.b = <uint64_t>0x13198A2E03707344
    mix_header(e, &d)
    for i in range(e.h.contract_count):
        mix_market(e, &d, i)
    for i in range(e.h.account_count):
        account = &e.accounts[i]
        mix(&d, <uint64_t>account.usdc_units)
        mix(&d, account.profile)
        mix(&d, <uint64_t>account.deficit_units)
        mix(&d, <uint64_t>account.cancel_after_ns)
        mix_unit(e, &d, account.unit)
        u = account.first_block
        while u != NONE:
            mix_unit(e, &d, u)
            u = e.units[u].next_block
        mix(&d, account.block_count)
    return d.a ^ (d.b << 1 | d.b >> 63)
