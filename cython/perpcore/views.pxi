# What Engine's queries answer, in Python's own types.


cdef dict leg_dict(Core* e, uint32_t u, uint32_t i):
    cdef PositionView v = view_position(e, u, i)
    return dict(v)


cdef dict unit_dict(Core* e, uint32_t u):
    cdef UnitView v = view_unit(e, u)
    cdef uint32_t i = e.units[u].first_leg
    cdef dict view = dict(v)
    usd, usdc = view.pop("withdrawable_units")
    view["withdrawable_usd_units"], view["withdrawable_usdc_units"] = usd, usdc
    if not v.isolation_id:
        view["cancel_after_ns"] = e.accounts[v.account].cancel_after_ns
    view["fr_units"] = 0
    legs = []
    while i != NONE:
        leg = leg_dict(e, u, i)
        if leg["qty_lots"] or leg["leverage"]:
            # With several positions each one's price depends on the others: there is no one price.
            if v.positions > 1:
                leg["liquidation_mark_ticks"] = 0
            legs.append(leg)
            view["fr_units"] += leg["fr_units"]
        i = e.legs[i].next_leg
    view["legs"] = legs
    return view


cdef dict order_dict(Core* e, uint32_t slot):
    cdef OrderView v = view_order(e, slot)
    return {
        "order_id": v.order_id, "account": v.account, "isolation_id": v.isolation_id,
        "contract": v.contract, "side": v.side, "price": v.price_ticks, "left": v.left_lots,
        "filled": v.filled_lots, "client_order_id": v.client_order_id,
        "time_in_force": v.time_in_force, "exec_flags": v.exec_flags, "stp": v.stp,
        "expiry_ns": v.expiry_ns, "reserve": v.reserve_units, "extra": order_extra(e, slot),
        "reserved": v.reserved_lots, "leverage": v.leverage, "explicit": v.is_explicit,
        "trigger_type": v.trigger_type, "trigger_price": v.trigger_price_ticks,
        "trigger_by": v.trigger_by, "linked": v.linked_order_id,
        **({"usdc": v.reserve_usdc_units} if is_in_kind(e) else {}),
    }


cdef list leg_orders(Core* e, uint32_t i):
    cdef uint32_t slot
    found = []
    if e.legs[i].orders != NONE:
        slot = e.groups[e.legs[i].orders].first_order
        while slot != NONE:
            found.append(order_dict(e, slot))
            slot = e.cold[slot].next_order
    return found


cdef list unit_orders(Core* e, uint32_t u):
    cdef uint32_t i = e.units[u].first_leg
    found = []
    while i != NONE:
        found += leg_orders(e, i)
        i = e.legs[i].next_leg
    return found


cdef list account_orders(Core* e, uint32_t account):
    cdef uint32_t u = e.accounts[account].first_block
    found = unit_orders(e, e.accounts[account].unit)
    while u != NONE:
        found += unit_orders(e, u)
        u = e.units[u].next_block
    found.sort(key=itemgetter("order_id"))
    return found


cdef list book_levels(Market* m, Core* e, int side, int64_t wanted):
    cdef int64_t price = book_best(&m.book, side)
    cdef Cell* level
    cdef uint32_t slot, count
    found = []
    while price >= 0 and len(found) < wanted:
        level = book_level(&m.book, side, price)
        slot = level.head
        count = 0
        while slot != NONE:
            count += 1
            slot = e.pool.orders[slot].next
        found.append((price, count, level.qty_lots))
        price = book_next_level(&m.book, side, price)
    return found


cdef list adl_side(Core* e, uint32_t contract, int against_lots):
    """One side's queue of auto-deleveraging: [(side, account, isolation_id, lots, score)]."""
    cdef uint32_t n, i, count = adl_queue(e, contract, against_lots)
    cdef Leg* leg
    found = []
    for n in range(count):
        i = e.ranked[n].index
        leg = &e.legs[i]
        found.append((1 if leg.qty_lots > 0 else 2, leg.account, e.units[leg.unit].isolation_id,
                      abs(leg.qty_lots), adl_score(e, i)))
    return found


cdef object levels_of(Core* e, uint32_t contract):
    """Liquidation marks of all units with their one position on the contract, summed by mark."""
    cdef int64_t[:, ::1] rows = np.empty((e.markets[contract].live.position_count, 3), np.int64)
    cdef uint32_t u = next_unit(e, NONE), i
    cdef int64_t mark, count = 0
    while u != NONE:
        i = only_leg(e, u)
        if i != NONE and e.legs[i].contract == contract:
            mark = liquidation_mark(e, u, i)
            if mark:
                rows[count, 0] = 1 if e.legs[i].qty_lots > 0 else 2
                rows[count, 1] = mark
                rows[count, 2] = magnitude(e.legs[i].qty_lots)
                count += 1
        u = next_unit(e, u)
    found = np.asarray(rows)[:count]
    if count == 0:
        return found
    found = found[np.lexsort((found[:, 1], found[:, 0]))]
    first = np.flatnonzero(np.r_[True, (found[1:, :2] != found[:-1, :2]).any(axis=1)])
    levels = found[first]
    levels[:, 2] = np.add.reduceat(found[:, 2], first)
    return levels


cdef dict dump_contract(Core* e, uint32_t contract):
    cdef Market* m = &e.markets[contract]
    cdef ContractView v = view_contract(e, contract)
    cdef dict state = {
        "mark_ticks": v.mark_ticks, "mark_time_ns": v.mark_time_ns,
        "last_price_ticks": v.last_price_ticks, "state": v.state, "index_ticks": v.index_ticks,
        "funding_rate_e9": v.funding_rate_e9 if v.funding_pending else None,
        "inventory_lots": v.inventory_lots, "inventory_cost_units": v.inventory_cost_units,
        "buys": book_ids(m, e, 0), "sells": book_ids(m, e, 1),
    }
    if e.terms.fund_by_contract == FUND_BY_CONTRACT:
        state["sub_fund_units"] = big(e.sub_funds[contract])
    return state


cdef list book_ids(Market* m, Core* e, int side):
    """Ids of a side's orders, the first in turn first."""
    cdef int64_t price = book_best(&m.book, side)
    cdef uint32_t slot
    found = []
    while price >= 0:
        slot = book_level(&m.book, side, price).head
        while slot != NONE:
            found.append(e.pool.orders[slot].order_id)
            slot = e.pool.orders[slot].next
        price = book_next_level(&m.book, side, price)
    return found


cdef list dump_legs(Core* e, uint32_t u):
    cdef uint32_t i = e.units[u].first_leg
    found = []
    while i != NONE:
        if e.legs[i].qty_lots or e.legs[i].leverage:
            found.append({
                "contract": e.legs[i].contract, "qty_lots": e.legs[i].qty_lots,
                "cost_units": e.legs[i].cost_units,
                "opening_cost_units": e.legs[i].opening_cost_units,
                "leverage": e.legs[i].leverage,
            })
        i = e.legs[i].next_leg
    return found


cdef dict dump_account(Core* e, uint32_t account):
    cdef Unit* unit = &e.units[e.accounts[account].unit]
    return {
        "account": account, "profile": e.accounts[account].profile,
        "cash_units": unit.cash_units, "usdc_units": e.accounts[account].usdc_units,
        "session_pnl_units": unit.session_pnl_units, "kept_units": unit.kept_units,
        "margin_call": unit.flags & IN_MARGIN_CALL,
        "deficit_units": e.accounts[account].deficit_units,
        "cancel_after_ns": e.accounts[account].cancel_after_ns,
        "legs": dump_legs(e, e.accounts[account].unit),
    }


cdef dict dump_block(Core* e, uint32_t u):
    cdef Unit* unit = &e.units[u]
    cdef Leg* leg = &e.legs[unit.first_leg]
    return {
        "account": unit.account, "isolation_id": unit.isolation_id, "contract": leg.contract,
        "state": unit.state, "leverage": unit.leverage, "cash_units": unit.cash_units,
        "order_cash_units": unit.order_cash_units, "session_pnl_units": unit.session_pnl_units,
        "kept_units": unit.kept_units, "qty_lots": leg.qty_lots, "cost_units": leg.cost_units,
        "opening_cost_units": leg.opening_cost_units,
        **({"usdc_units": e.block_usdc[u].position_units,
            "order_usdc_units": e.block_usdc[u].order_units} if is_in_kind(e) else {}),
    }


cdef dict dump_state(Core* e):
    cdef uint32_t account, u, i
    cdef dict state = {
        "time_ns": e.h.time_ns, "seq": e.h.seq, "session": e.h.session,
        "next_isolation_id": e.h.next_isolation_id, "index_e6": e.h.index_e6,
        "fund_units": [big(e.h.fund_units[0]), big(e.h.fund_units[1])],
        "conversion_units": [big(e.h.conversion_units[0]), big(e.h.conversion_units[1])],
        "fees_units": big(e.h.fees_units), "carried_units": e.h.carried_units,
        "inventory_cash_units": e.h.inventory_cash_units,
        "deposits_units": [big(e.h.deposits_units[0]), big(e.h.deposits_units[1])],
        "withdrawals_units": [big(e.h.withdrawals_units[0]), big(e.h.withdrawals_units[1])],
        "contracts": [dump_contract(e, i) for i in range(e.h.contract_count)],
        "accounts": [dump_account(e, i) for i in range(e.h.account_count)],
    }
    blocks, orders = [], []
    for account in range(e.h.account_count):
        orders += account_orders(e, account)
        u = e.accounts[account].first_block
        while u != NONE:
            blocks.append(dump_block(e, u))
            u = e.units[u].next_block
    if e.terms.cover_limit_units:
        state["paid_units"], state["excess_units"] = e.h.covered_units, e.h.excess_units
    blocks.sort(key=itemgetter("isolation_id"))
    orders.sort(key=itemgetter("order_id"))
    state["blocks"], state["orders"] = blocks, orders
    return state
