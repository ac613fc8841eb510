"""Chapter 5: the checks of an order in their documented order, and its acceptance (O1-O6)."""

from __future__ import annotations

from dataclasses import dataclass

from .book import best_price, next_maker, reaches, rest_order
from .codes import Code, Done, Ev, Exec, MarketState, OrderType, Policy, Side, Stp, Tif
from .eligibility import require_eligible
from .margin import amounts, meets_initial, notional_of, side_reserves
from .matching import BOTH_END, OrderTaker, walk
from .posting import fund_orders, parts_of, return_order_cash
from .records import Command
from .reserves import add_order, end_order, end_orders, remove_order, shorten_reserve
from .state import Leg, Market, Order, Refused, State, Unit, fires_on_rise
from .units import NO_CONTRACT, ceil_of, wrap64

# At the largest marks an account's notional stays below this: sums over its legs always fit (U2).
LARGEST_ACCOUNT_UNITS = 2**61 - 1
STOP_REASONS = {
    Code.SELF_TRADE_PREVENTED: Done.SELF_TRADE,
    BOTH_END: Done.SELF_TRADE,
    Code.IMMEDIATE_LIQUIDATION: Done.MAINTENANCE,
    Code.BEYOND_BANKRUPTCY: Done.MAINTENANCE,
    Code.REDUCE_ONLY_REJECTED: Done.REDUCE_ONLY,
}


#: What a conditional order becomes when it is triggered.
BECOMES = {
    OrderType.STOP_LOSS: OrderType.MARKET,
    OrderType.STOP_LIMIT: OrderType.LIMIT,
    OrderType.TAKE_PROFIT: OrderType.MARKET,
    OrderType.TAKE_PROFIT_LIMIT: OrderType.LIMIT,
}
PASSIVE = Exec.POST_ONLY | Exec.SMART_POST_ONLY


@dataclass(slots=True)
class Ticket:
    """An order as it is asked for: new, amended or closing, all take the same way from here."""

    order_id: int
    account: int
    contract: int
    side: int
    order_type: int
    price: int
    lots: int
    time_in_force: int
    exec_flags: int
    stp: int = 0
    expiry_ns: int = 0
    client_order_id: int = 0
    isolation_id: int = 0
    leverage: int = 0
    explicit: int = 0
    filled: int = 0
    is_amended: bool = False
    is_whole_position: bool = False
    link: int = 0
    trigger_type: int = 0
    trigger_price: int = 0
    trigger_by: int = 0

    @property
    def sign(self) -> int:
        return 1 if self.side == Side.BUY else -1

    @property
    def is_isolated(self) -> bool:
        return bool(self.exec_flags & Exec.ISOLATED_MARGIN)

    @property
    def rises(self) -> bool:
        return fires_on_rise(self.trigger_type, self.side)

    @property
    def may_rest(self) -> bool:
        return self.time_in_force in (Tif.GTC, Tif.GTD)


@dataclass(frozen=True, slots=True)
class Reservation:
    """C3: the lots of an order that raise risk, and the money that they need."""

    lots: int = 0
    size: int = 0
    need: int = 0
    extra: int = 0


# ---- commands


def new_order(state: State, c: Command) -> None:
    check_form(state, c)
    order_type = BECOMES.get(c.order_type, c.order_type)
    ticket = Ticket(
        state.seq, c.account, c.contract, c.side, order_type, c.price_ticks, c.qty_lots,
        c.time_in_force or (Tif.GTC if order_type == OrderType.LIMIT else Tif.IOC), c.exec_flags,
        c.stp, c.expiry_ns, c.client_order_id, c.isolation_id, c.leverage,
        c.isolated_margin_units, link=c.order_id)
    if order_type == c.order_type:
        place(state, ticket)
        return
    ticket.trigger_type, ticket.trigger_by = c.order_type, c.scope
    ticket.trigger_price = c.trigger_price_ticks
    place_dormant(state, ticket)


def check_form(state: State, c: Command) -> None:
    """Step 1."""
    if c.side not in (Side.BUY, Side.SELL):
        raise Refused(Code.INVALID_SIDE)
    order_type = BECOMES.get(c.order_type, c.order_type)
    if order_type not in (OrderType.LIMIT, OrderType.MARKET):
        raise Refused(Code.INVALID_ORDER_TYPE)
    is_limit = order_type == OrderType.LIMIT
    allowed = (Tif.NONE, Tif.GTC, Tif.IOC, Tif.FOK, Tif.GTD) if is_limit else (Tif.NONE, Tif.IOC)
    is_dated = c.time_in_force == Tif.GTD
    date_fits = c.expiry_ns > state.time_ns if is_dated else c.expiry_ns == 0
    if c.time_in_force not in allowed or not date_fits:
        raise Refused(Code.INVALID_TIME_IN_FORCE)
    rests = is_limit and c.time_in_force in (Tif.NONE, Tif.GTC, Tif.GTD)
    passive = c.exec_flags & (Exec.POST_ONLY | Exec.SMART_POST_ONLY)
    known = PASSIVE | Exec.REDUCE_ONLY | Exec.ISOLATED_MARGIN
    if c.exec_flags & ~known or (passive and not rests) or passive == PASSIVE:
        raise Refused(Code.INVALID_EXEC_INST)
    is_isolated = c.exec_flags & Exec.ISOLATED_MARGIN
    has_isolated_fields = c.isolation_id or c.leverage or c.isolated_margin_units
    is_explicit_trigger = c.isolated_margin_units and order_type != c.order_type
    if (c.stp > Stp.BOTH or c.isolated_margin_units < 0 or is_explicit_trigger
            or (has_isolated_fields and not is_isolated)):
        raise Refused(Code.INVALID_ARGUMENT)


def close_position(state: State, c: Command) -> None:
    """O2: a reduce-only order of the opposite side, at most the position."""
    if c.order_type not in (OrderType.LIMIT, OrderType.MARKET):
        raise Refused(Code.INVALID_ORDER_TYPE)
    release = c.exec_flags & Exec.RELEASE_MARGIN
    if c.exec_flags & ~Exec.RELEASE_MARGIN or (release and not c.isolation_id):
        raise Refused(Code.INVALID_EXEC_INST)
    unit = open_block(state, c.account, c.isolation_id, c.contract) if c.isolation_id else (
        state.main(c.account))
    leg = unit.legs.get(c.contract)
    if leg is None or leg.qty == 0:
        raise Refused(Code.NO_POSITION)
    held = abs(leg.qty)
    lots = min(c.qty_lots, held) if c.qty_lots else held
    flags = Exec.REDUCE_ONLY | release | (Exec.ISOLATED_MARGIN if unit.is_block else 0)
    place(state, Ticket(
        state.seq, c.account, c.contract, Side.SELL if leg.qty > 0 else Side.BUY, c.order_type,
        c.price_ticks, lots, Tif.GTC if c.order_type == OrderType.LIMIT else Tif.IOC, flags,
        isolation_id=c.isolation_id, is_whole_position=lots == held))


def live_order(state: State, c: Command) -> Order:
    """By order id, or by client order id where that is 0; else 212."""
    for order in state.account_orders(c.account):
        if c.order_id:
            if order.order_id == c.order_id:
                return order
        elif c.client_order_id and order.client_order_id == c.client_order_id:
            return order
    raise Refused(Code.INVALID_ORDER_ID)


def cancel(state: State, c: Command) -> None:
    end_order(state, live_order(state, c), Done.USER)


def cancel_all(state: State, c: Command) -> None:
    wanted = {0: (False, True), 1: (False,), 2: (True,)}[c.scope]
    end_orders(state, [o for o in state.account_orders(c.account)
                       if c.contract in (o.contract, NO_CONTRACT)
                       and bool(o.isolation_id) in wanted], Done.USER)


def amend(state: State, c: Command) -> None:
    """O2: less quantity keeps the place in the queue, anything else goes to its end."""
    order = live_order(state, c)
    is_empty = not (c.price_ticks or c.qty_lots or c.trigger_price_ticks)
    if is_empty or (c.trigger_price_ticks and not order.trigger_type):
        raise Refused(Code.INVALID_ARGUMENT)
    total_now = order.filled + order.left
    price, total = c.price_ticks or order.price, c.qty_lots or total_now
    if total <= order.filled:
        smallest = state.markets[order.contract].terms.terms.min_order_lots
        raise Refused(Code.INVALID_ORDER_QTY,
                      lots=smallest if order.trigger_type else order.filled + 1)
    if order.trigger_type:
        amend_dormant(state, order, price, total, c.trigger_price_ticks or order.trigger_price)
    elif price == order.price and total < total_now:
        shorten(state, order, total)
    else:
        requeue(state, order, price, total)


def shorten(state: State, order: Order, total: int) -> None:
    """Reserved lots go first, with their money."""
    check_smallest(state, order, total)
    unit, fewer = state.unit_of(order), order.filled + order.left - total
    freed = shorten_reserve(state, order, min(fewer, order.reserved))
    order.left -= fewer
    state.touch(unit)
    emit_amended(state, order)
    if unit.is_block:
        return_order_cash(state, unit, freed, order.order_id)


def check_smallest(state: State, order: Order, total: int) -> None:
    smallest = state.markets[order.contract].terms.terms.min_order_lots
    if total < smallest:
        raise Refused(Code.BELOW_MIN_ORDER_SIZE, lots=smallest)


def amend_dormant(state: State, order: Order, price: int, lots: int, trigger: int) -> None:
    """All checks of its acceptance but for fewer lots; its place among equal triggers is its id."""
    market, unit = state.markets[order.contract], state.unit_of(order)
    if (price, trigger) == (order.price, order.trigger_price) and lots < order.left:
        check_smallest(state, order, lots)
    else:
        ticket = Ticket(
            order.order_id, order.account, order.contract, order.side,
            BECOMES[order.trigger_type], price, lots, order.time_in_force, order.exec_flags,
            trigger_type=order.trigger_type, trigger_price=trigger, trigger_by=order.trigger_by)
        check_dormant(state, market, ticket)
        check_reduces(unit, ticket)
        if is_reached(market, ticket):
            raise Refused(Code.INVALID_TRIGGER)
    order.price, order.left, order.trigger_price = price, lots, trigger
    state.touch(unit)
    emit_amended(state, order)


def requeue(state: State, order: Order, price: int, total: int) -> None:
    """Cancel and new in one step, under the same id."""
    unit = state.unit_of(order)
    remove_order(state, order)
    if unit.is_block:
        return_order_cash(state, unit, (order.reserve, order.usdc), order.order_id)
    if order.link:
        state.orders[order.link].link = 0
    place(state, Ticket(
        order.order_id, order.account, order.contract, order.side, OrderType.LIMIT, price,
        total - order.filled, order.time_in_force, order.exec_flags, order.stp, order.expiry_ns,
        order.client_order_id, order.isolation_id, filled=order.filled, is_amended=True,
        link=order.link))


def emit_amended(state: State, order: Order) -> None:
    """With the money that the order holds; a dormant one holds none, and says its trigger."""
    state.emit_unit(Ev.AMENDED, state.unit_of(order), order.contract, order_id=order.order_id,
                    price_ticks=order.price, qty_lots=order.left, amount_units=order.reserve,
                    balance_units=order.trigger_price)


# ---- the checks from step 2 on


def place(state: State, t: Ticket) -> None:
    market = state.markets[t.contract]
    check_size(market, t)
    check_price(market, t)
    check_market(state, market, t)
    check_client_id(state, t)
    slide(market, t)
    check_band(market, t)
    unit = find_unit(state, t)
    check_link(state, unit, t)
    reservation = reserve_for(state, market, unit, t)
    if t.explicit and not reservation.lots:
        raise Refused(Code.MARGIN_WITHOUT_RISK)
    if reservation.lots:
        check_risk(state, market, unit, t, reservation)
    check_room(state, market, unit, t)
    match(state, accept(state, market, unit, t, reservation), t.link)


def place_dormant(state: State, t: Ticket) -> None:
    """A conditional order waits outside the book and holds no money; the band waits with it.

    One for a block that is still to be made makes it, empty, at the leverage of the command.
    """
    market = state.markets[t.contract]
    check_dormant(state, market, t)
    check_client_id(state, t)
    unit = find_unit(state, t)
    check_link(state, unit, t)
    check_reduces(unit, t)
    if unit is None:
        require_eligible(state, t.account, t.contract, isolated=True, leverage=t.leverage)
        check_blocks(state, t.account)
    if is_reached(market, t):
        raise Refused(Code.INVALID_TRIGGER)
    if len(state.account_orders(t.account)) >= state.venue.max_orders_per_account:
        raise Refused(Code.EXCEEDS_MAX_ORDERS)
    has_leg = unit is not None and t.contract in unit.legs
    state.require_room(units=int(unit is None), legs=int(not has_leg), orders=1)
    accept(state, market, unit, t, Reservation())
    link_orders(state, state.orders[t.order_id], t.link)


def check_dormant(state: State, market: Market, t: Ticket) -> None:
    """Steps 2 to 4, the trigger after the price; step 6 comes when it fires."""
    check_size(market, t)
    check_price(market, t)
    largest = market.terms.terms.max_price_ticks
    if not 1 <= t.trigger_price <= largest:
        raise Refused(Code.INVALID_PRICE, price=min(max(t.trigger_price, 1), largest))
    check_market(state, market, t)


def check_reduces(unit: Unit | None, t: Ticket) -> None:
    """Step 8: a REDUCE_ONLY order needs a position of its own unit to reduce."""
    leg = unit.legs.get(t.contract) if unit else None
    if t.exec_flags & Exec.REDUCE_ONLY and (leg is None or leg.qty * t.sign >= 0):
        raise Refused(Code.REDUCE_ONLY_REJECTED)


def is_reached(market: Market, order: Order | Ticket) -> bool:
    """Whether what a dormant order looks at stands at its trigger or beyond; never if unknown."""
    k = market.terms.k
    now = (market.mark, market.index, market.last_price * k)[order.trigger_by]
    at = order.trigger_price * k
    return now > 0 and (now >= at if order.rises else now <= at)


def slide(market: Market, t: Ticket) -> None:
    """SMART_POST_ONLY: a price that would take becomes the best that does not."""
    opposite = Side.SELL if t.side == Side.BUY else Side.BUY
    best = best_price(market, opposite)
    if not t.exec_flags & Exec.SMART_POST_ONLY or best is None or not reaches(
            t.side, t.price, best):
        return
    t.price = best - t.sign
    try:
        check_price(market, t)
        check_band(market, t)
    except Refused:
        raise Refused(Code.POST_ONLY_WOULD_TAKE) from None


def check_link(state: State, unit: Unit | None, t: Ticket) -> None:
    """One cancels other: a live order of the same unit and contract that has no link yet."""
    if not t.link:
        return
    other = state.orders.get(t.link)
    if (unit is None or other is None or other.key != unit.key or other.contract != t.contract
            or other.link):
        raise Refused(Code.INVALID_ORDER_ID)


def link_orders(state: State, order: Order, link: int) -> None:
    """After the matching: whichever is gone takes the other along."""
    if not link:
        return
    other = state.orders.get(link)
    is_live = order.order_id in state.orders
    if is_live and other is not None:
        order.link, other.link = link, order.order_id
    elif other is not None:
        end_order(state, other, Done.LINKED)
    elif is_live:
        end_order(state, order, Done.LINKED)


def check_client_id(state: State, t: Ticket) -> None:
    """Step 5."""
    if t.client_order_id and any(o.client_order_id == t.client_order_id
                                 for o in state.account_orders(t.account)):
        raise Refused(Code.DUPLICATE_CLIENT_ORDER_ID)


def check_size(market: Market, t: Ticket) -> None:
    """Step 2. Of an amended order what is left counts, as for any new order."""
    terms = market.terms.terms
    if t.lots < 1:
        raise Refused(Code.INVALID_ORDER_QTY, lots=terms.min_order_lots)
    if t.lots < terms.min_order_lots and not t.is_whole_position:
        raise Refused(Code.BELOW_MIN_ORDER_SIZE, lots=terms.min_order_lots)
    if t.lots > terms.max_order_lots:
        raise Refused(Code.EXCEEDS_MAX_ORDER_SIZE, lots=terms.max_order_lots)


def check_price(market: Market, t: Ticket) -> None:
    """Step 3."""
    largest = market.terms.terms.max_price_ticks
    if t.order_type == OrderType.MARKET:
        if t.price != 0:
            raise Refused(Code.INVALID_PRICE)
    elif not 1 <= t.price <= largest:
        raise Refused(Code.INVALID_PRICE, price=min(max(t.price, 1), largest))


def check_market(state: State, market: Market, t: Ticket) -> None:
    """Step 4."""
    if market.state == MarketState.HALTED:
        raise Refused(Code.MARKET_NOT_OPEN)
    state.require_mark(t.contract)


def check_band(market: Market, t: Ticket) -> None:
    """Step 6 (O4). A MARKET order gets the edge of the aggressive band as its limit."""
    contract, mark = market.terms, market.mark
    aggressive, passive = contract.terms.band_aggressive_e9, contract.terms.band_passive_e9
    if t.order_type == OrderType.MARKET:
        t.price = contract.worst_price(t.side, mark, aggressive)
        return
    if t.side == Side.BUY:
        highest, lowest = contract.highest(mark, aggressive), contract.lowest(mark, passive)
        too_aggressive, edge, is_far, far = (
            Code.PRICE_ABOVE_LIMIT, highest, t.price < lowest, lowest)
        is_over = t.price > highest
    else:
        lowest, highest = contract.lowest(mark, aggressive), contract.highest(mark, passive)
        too_aggressive, edge, is_far, far = (
            Code.PRICE_BELOW_LIMIT, lowest, t.price > highest, highest)
        is_over = t.price < lowest
    if is_over:
        raise Refused(too_aggressive, price=edge)
    if is_far:
        raise Refused(Code.FAR_AWAY_PRICE, price=far)


def open_block(state: State, account: int, isolation_id: int, contract: int | None = None) -> Unit:
    """An open block of this account (and contract); else 613."""
    block = state.units.get((account, isolation_id)) if isolation_id else None
    if block is None or contract not in (None, block.contract):
        raise Refused(Code.INVALID_ISOLATION_ID)
    return block


def find_unit(state: State, t: Ticket) -> Unit | None:
    """Step 7: the unit that the order is for; None: a block that is still to be made."""
    if not t.is_isolated:
        main = state.main(t.account)
        t.leverage = main.legs[t.contract].leverage if t.contract in main.legs else 0
        return main
    if t.isolation_id:
        block = open_block(state, t.account, t.isolation_id, t.contract)
        if t.leverage not in (0, block.leverage):
            raise Refused(Code.INVALID_LEVERAGE)
        t.leverage = block.leverage
        return block
    if any(block.contract == t.contract for block in state.blocks_of(t.account)):
        raise Refused(Code.BLOCK_EXISTS)
    if not 1 <= t.leverage <= state.markets[t.contract].terms.terms.max_leverage:
        raise Refused(Code.INVALID_LEVERAGE)
    return None


def reserve_for(state: State, market: Market, unit: Unit | None, t: Ticket) -> Reservation:
    """Steps 8 and 9 (C3): which lots raise risk, and what they need."""
    leg = unit.legs.get(t.contract) if unit else None
    qty = leg.qty if leg else 0
    held = abs(qty) if qty * t.sign < 0 else 0
    if t.exec_flags & Exec.REDUCE_ONLY:
        if not held:
            raise Refused(Code.REDUCE_ONLY_REJECTED)
        return Reservation()
    resting = [o for o in state.orders_of(unit, t.contract)
               if o.side == t.side and not o.trigger_type] if unit else []
    raising = max(0, t.lots - max(0, held - sum(o.unreserved for o in resting)))
    if raising and held and unit is not None and unit.is_block:
        raising = cut_flip(state, t, raising)
    if not raising:
        return Reservation()
    same_side = abs(qty) if qty * t.sign > 0 else 0
    size = same_side + sum(o.reserved for o in resting) + raising
    contract = market.terms
    rate = contract.margin_rate(size, market.mark, t.leverage)
    extra = 0
    if same_side:
        more = rate - contract.margin_rate(same_side, market.mark, t.leverage)
        extra = max(0, ceil_of(notional_of(market, qty) * more) - sum(o.extra for o in resting))
    need = contract.reserve(raising, t.price, market.mark, t.side, rate) + extra
    return Reservation(raising, size, need, extra)


def cut_flip(state: State, t: Ticket, raising: int) -> int:
    """I12, policy isolated_flip: whether an order of a block may go beyond its position."""
    if state.venue.isolated_flip == Policy.FLIP_REJECT:
        raise Refused(Code.MARGIN_WITHOUT_RISK)
    if state.venue.isolated_flip == Policy.FLIP_CLIP:
        t.lots -= raising
        if t.lots == 0:
            raise Refused(Code.REDUCE_ONLY_REJECTED)
        return 0
    return raising


def check_risk(state: State, market: Market, unit: Unit | None, t: Ticket,
               r: Reservation) -> None:
    """Steps 10 to 12, for orders that raise risk."""
    amount = t.explicit or r.need
    # A main account that set no leverage trades at the contract's maximum.
    leverage = t.leverage or market.terms.terms.max_leverage
    require_eligible(state, t.account, t.contract, isolated=t.is_isolated, leverage=leverage,
                     amount=amount if t.is_isolated else 0)
    main = state.main(t.account)
    if not t.is_isolated and not meets_initial(state, main):
        raise Refused(Code.ACCOUNT_IN_MARGIN_CALL)
    if unit is None:
        check_blocks(state, t.account)
    check_limits(state, market, unit, t, r.lots)
    now = amounts(state, main)
    if t.is_isolated:
        if t.explicit and t.explicit < r.need:
            raise Refused(Code.EXCEEDS_INITIAL_MARGIN, r.need, t.explicit)
        if amount > now.transferable:
            raise Refused(Code.INSUFFICIENT_BALANCE, amount, now.payable)
        return
    held = side_reserves(state, main, t.contract)
    before = max(held.values())
    held[t.side] += r.need
    more = max(held.values()) - before
    if now.free < more:
        raise Refused(Code.INSUFFICIENT_BALANCE, more, now.free)


def check_blocks(state: State, account: int) -> None:
    """Step 12: one block more than the account may have."""
    if len(state.accounts[account].blocks) >= state.venue.max_blocks_per_account:
        raise Refused(Code.EXCEEDS_MAX_BLOCKS)


def exposure(state: State, unit: Unit, leg: Leg, side: int) -> int:
    """Lots of a side that a unit holds or may come to hold: the position and reserved orders."""
    sign = 1 if side == Side.BUY else -1
    return max(0, sign * leg.qty) + sum(
        o.reserved for o in state.orders_of(unit, leg.contract) if o.side == side)


def check_limits(state: State, market: Market, unit: Unit | None, t: Ticket, raising: int) -> None:
    """319 and 303: cross and isolated together, at the mark and at the largest mark (U2)."""
    legs = [(u, u.legs[c]) for u in state.units_of(t.account) for c in sorted(u.legs)]
    lots = sum(exposure(state, u, leg, t.side) for u, leg in legs if leg.contract == t.contract)
    largest = market.terms.terms.max_position_lots
    if lots + raising > largest:
        raise Refused(Code.EXCEEDS_MAX_POSITION, lots=largest)
    held = [] if unit and t.contract in unit.legs else [(market, raising)]
    for u, leg in legs:
        sides = {side: exposure(state, u, leg, side) for side in (Side.BUY, Side.SELL)}
        if u is unit and leg.contract == t.contract:
            sides[t.side] += raising
        held.append((state.markets[leg.contract], max(sides.values())))
    total = sum(notional_of(m, most) for m, most in held)
    limit = state.venue.account_notional_limit_units
    if limit and total > limit:
        raise Refused(Code.EXCEEDS_ACCOUNT_NOTIONAL, wrap64(total), limit)
    total = sum(most * m.terms.v * m.terms.max_mark for m, most in held)
    if total > LARGEST_ACCOUNT_UNITS:
        raise Refused(Code.EXCEEDS_ACCOUNT_NOTIONAL, wrap64(total), LARGEST_ACCOUNT_UNITS)


def check_room(state: State, market: Market, unit: Unit | None, t: Ticket) -> None:
    """Step 13."""
    live = state.account_orders(t.account)
    if t.may_rest and len(live) >= state.venue.max_orders_per_account:
        raise Refused(Code.EXCEEDS_MAX_ORDERS)
    has_leg = unit is not None and t.contract in unit.legs
    state.require_room(units=int(unit is None), legs=int(not has_leg), orders=1)
    if t.exec_flags & Exec.POST_ONLY and next_maker(state, market, t.side, t.price) is not None:
        raise Refused(Code.POST_ONLY_WOULD_TAKE)


# ---- acceptance and the end


def accept(state: State, market: Market, unit: Unit | None, t: Ticket, r: Reservation) -> Order:
    """The order is live: its event, a new block if it needs one, its money."""
    is_new_block = unit is None
    if unit is None:
        unit = make_block(state, t)
    state.leg(unit, t.contract)
    order = make_order(state, market, unit, t, r)
    if unit.is_block:
        order.reserve, order.usdc = parts_of(state, state.main(t.account), order.reserve)
    add_order(state, order)
    if t.is_amended:
        emit_amended(state, order)
    else:
        emit_accepted(state, order)
    if is_new_block:
        state.emit_unit(Ev.BLOCK_PENDING, unit, t.contract)
    if unit.is_block:
        fund_orders(state, unit, (order.reserve, order.usdc), t.order_id)
    return order


def make_order(state: State, market: Market, unit: Unit, t: Ticket, r: Reservation) -> Order:
    return Order(
        state.journal, order_id=t.order_id, account=t.account, isolation_id=unit.isolation_id,
        contract=t.contract, side=t.side, price=t.price, left=t.lots, filled=t.filled,
        client_order_id=t.client_order_id, time_in_force=t.time_in_force,
        exec_flags=t.exec_flags, stp=t.stp, expiry_ns=t.expiry_ns,
        leverage=0 if t.trigger_type else t.leverage,
        accept_mark=market.mark, size=r.size, reserved_total=r.lots, reserved_used=0,
        reserve=t.explicit or r.need, usdc=0, extra=r.extra, explicit=int(t.explicit > 0),
        resting=False, link=0, trigger_type=t.trigger_type, trigger_price=t.trigger_price,
        trigger_by=t.trigger_by)


def emit_accepted(state: State, order: Order) -> None:
    state.emit_unit(Ev.ACCEPTED, state.unit_of(order), order.contract, order_id=order.order_id,
                    price_ticks=order.price, qty_lots=order.left, amount_units=order.reserve)


def make_block(state: State, t: Ticket) -> Unit:
    block = Unit(state.journal, t.account, state.next_isolation_id, t.contract, t.leverage)
    state.next_isolation_id += 1
    state.units[block.key] = block
    account = state.accounts[t.account]
    account.blocks = (*account.blocks, block.isolation_id)
    return block


def match(state: State, order: Order, link: int) -> None:
    """Step 14, what becomes of the rest, and the link."""
    fill_or_rest(state, order)
    link_orders(state, order, link)


def fill_or_rest(state: State, order: Order) -> None:
    filled_before = order.filled
    stop = walk(state, order.contract, OrderTaker(state, order))
    if order.left == 0:
        remove_order(state, order)
        return
    if order.time_in_force == Tif.FOK:
        raise Refused(Code.FOK_NOT_FILLED)
    rests = order.time_in_force in (Tif.GTC, Tif.GTD)
    if order.filled == filled_before:
        if stop > 0:
            raise Refused(stop)
        if not stop and not rests:
            raise Refused(Code.IOC_NOT_FILLED)
    if stop:
        end_order(state, order, STOP_REASONS[stop])
    elif rests:
        rest_order(state, order)
    else:
        end_order(state, order, Done.REST)
