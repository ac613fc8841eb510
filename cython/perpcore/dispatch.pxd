"""Floor 8.5: one command from its record to its last event (O5): the whole pipeline on one page.

time -> timers due -> structure -> the kind's own checks and work -> rounds -> thresholds filed ->
triggers that are reached, each a new order with rounds of its own.
A refused command leaves one REJECT event and a moved clock, nothing else.
"""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from perpcore.accounts cimport deposit, open_account, withdraw
from perpcore.administration cimport (
    set_eligibility, set_index, set_mark, set_market_state, top_up_fund,
)
from perpcore.amendments cimport amend, cancel, cancel_all, cancel_all_after, fire_timers
from perpcore.blocks cimport add_margin, remove_margin, set_leverage
from perpcore.codes cimport (
    ADD_MARGIN, ADMIN_FIRST, AMEND, CANCEL, CANCEL_ALL, CANCEL_ALL_AFTER, CLOSE_POSITION, DEPOSIT,
    FUNDING, FUND_OF_CONTRACT, FUND_TOP_UP, INDEX, INVALID_ACCOUNT, INVALID_ARGUMENT,
    INVALID_INSTRUMENT, MARK,
    MARKET_REDUCE_ONLY, NEW_ORDER, NO_CURRENCY, NOT_ADMINISTRATION, OK, OPEN_ACCOUNT, REJECT,
    REMOVE_MARGIN,
    FUNDING_AT_SETTLEMENT, SCOPE_ISOLATED, SETTLE_SESSION, SET_ELIGIBILITY, SET_LEVERAGE,
    SET_MARKET_STATE, TICK, TIME_GOES_BACK, TRIGGER_LAST, UNKNOWN_COMMAND, WITHDRAW,
)
from perpcore.liquidation cimport run_rounds
from perpcore.memory cimport CHECK
from perpcore.orders cimport Answer, close_position, is_conditional, new_order
from perpcore.policies cimport FUND_BY_CONTRACT
from perpcore.records cimport NONE, Command, Event
from perpcore.session cimport set_funding, settle
from perpcore.state cimport (
    NO_CONTRACT, Core, core_mark, core_rollback, event,
    forget_dirty, forget_touched,
)
from perpcore.thresholds cimport file_dirty
from perpcore.triggers cimport fire, new_conditional, next_reached
from perpcore.undo cimport undo_end

cdef enum Field:
    """Fields of a command beside kind, time and caller tag; one that its kind does not use is 0."""
    F_ORDER_ID = 1
    F_CLIENT_ID = 2
    F_PRICE = 4
    F_QTY = 8
    F_ACCOUNT = 16
    F_CONTRACT = 32
    F_SIDE = 64
    F_ISOLATION_ID = 128
    F_TYPE = 256
    F_TIF = 512
    F_FLAGS = 1024
    F_STP = 2048
    F_LEVERAGE = 4096
    F_SCOPE = 8192
    F_CURRENCY = 16384
    F_EXPIRY = 32768
    F_MARGIN = 65536
    F_AMOUNT = 131072
    F_MARK = 262144
    F_RATE = 524288
    F_PROFILE = 1048576
    F_TRIGGER = 2097152
    F_ORDER = F_PRICE | F_QTY | F_ACCOUNT | F_CONTRACT | F_ISOLATION_ID | F_TYPE | F_FLAGS


cdef inline uint32_t fields_of(int kind) noexcept nogil:
    """The fields that a kind uses; 0: no such kind, or one that needs none."""
    if kind == NEW_ORDER:
        return (F_ORDER | F_CLIENT_ID | F_SIDE | F_TIF | F_STP | F_LEVERAGE | F_EXPIRY | F_MARGIN
                | F_ORDER_ID)
    if kind == CANCEL:
        return F_ACCOUNT | F_ORDER_ID | F_CLIENT_ID
    if kind == AMEND:
        return F_ACCOUNT | F_ORDER_ID | F_CLIENT_ID | F_PRICE | F_QTY | F_TRIGGER
    if kind == CANCEL_ALL:
        return F_ACCOUNT | F_CONTRACT | F_SCOPE
    if kind == CLOSE_POSITION:
        return F_ORDER
    if kind == CANCEL_ALL_AFTER:
        return F_ACCOUNT | F_EXPIRY
    if kind == SET_LEVERAGE:
        return F_ACCOUNT | F_CONTRACT | F_LEVERAGE | F_ISOLATION_ID | F_FLAGS
    if kind == ADD_MARGIN or kind == REMOVE_MARGIN:
        return F_ACCOUNT | F_ISOLATION_ID | F_AMOUNT | F_CURRENCY
    if kind == WITHDRAW or kind == DEPOSIT:
        return F_ACCOUNT | F_AMOUNT | F_CURRENCY
    if kind == OPEN_ACCOUNT:
        return F_ACCOUNT
    if kind == MARK:
        return F_CONTRACT | F_MARK
    if kind == INDEX:
        return F_MARK | F_CURRENCY
    if kind == FUNDING:
        return F_CONTRACT | F_RATE | F_SCOPE
    if kind == SET_ELIGIBILITY:
        return F_ACCOUNT | F_PROFILE
    if kind == SET_MARKET_STATE:
        return F_CONTRACT | F_SCOPE
    if kind == FUND_TOP_UP:
        return F_AMOUNT | F_CURRENCY | F_SCOPE
    return 0


cdef inline uint32_t fields_used(const Command* c) noexcept nogil:
    """The fields that this command uses: of some kinds a type or a currency uses more."""
    cdef uint32_t used = fields_of(c.kind)
    if c.kind == NEW_ORDER and is_conditional(c.order_type):
        return used | F_TRIGGER | F_SCOPE
    if c.kind == INDEX and c.currency == NO_CURRENCY:
        return used | F_CONTRACT
    if c.kind == FUND_TOP_UP and c.scope == FUND_OF_CONTRACT:
        return used | F_CONTRACT
    return used


cdef inline uint32_t field_if(bint is_set, uint32_t field) noexcept nogil:
    return field if is_set else 0


cdef inline uint32_t fields_set(const Command* c) noexcept nogil:
    """The fields that are not 0."""
    cdef uint32_t found = field_if(c.order_id != 0, F_ORDER_ID)
    found |= field_if(c.client_order_id != 0, F_CLIENT_ID)
    found |= field_if(c.price_ticks != 0, F_PRICE) | field_if(c.qty_lots != 0, F_QTY)
    found |= field_if(c.account != 0, F_ACCOUNT) | field_if(c.contract != 0, F_CONTRACT)
    found |= field_if(c.side != 0, F_SIDE) | field_if(c.isolation_id != 0, F_ISOLATION_ID)
    found |= field_if(c.order_type != 0, F_TYPE) | field_if(c.time_in_force != 0, F_TIF)
    found |= field_if(c.exec_flags != 0, F_FLAGS) | field_if(c.stp != 0, F_STP)
    found |= field_if(c.leverage != 0, F_LEVERAGE) | field_if(c.scope != 0, F_SCOPE)
    found |= field_if(c.currency != 0, F_CURRENCY) | field_if(c.expiry_ns != 0, F_EXPIRY)
    found |= field_if(c.isolated_margin_units != 0, F_MARGIN)
    found |= field_if(c.amount_units != 0, F_AMOUNT) | field_if(c.mark_ticks != 0, F_MARK)
    found |= field_if(c.rate_e9 != 0, F_RATE) | field_if(c.profile != 0, F_PROFILE)
    return found | field_if(c.trigger_price_ticks != 0, F_TRIGGER)


cdef inline int structure_code(const Command* c, bint is_administration) noexcept nogil:
    """What is wrong with the record itself, whoever sent it; its time apart."""
    if is_plain_order(c) or is_plain_cancel(c) or (is_administration and is_plain_mark(c)):
        return OK
    return form_of(c, fields_used(c), is_administration)


cdef inline bint is_plain_order(const Command* c) noexcept nogil:
    """A NEW_ORDER in form, as nearly all are: what its kind does not use (fields_of) is 0.

    Some words are joined instead of each field being asked for: it is every other command.
    """
    return (c.kind == NEW_ORDER and not is_conditional(c.order_type)
            and (c.amount_units | c.mark_ticks | c.rate_e9 | <int64_t>c.profile
                 | c.trigger_price_ticks | c.scope | c.currency) == 0)


cdef inline bint is_plain_cancel(const Command* c) noexcept nogil:
    """A CANCEL in form: what its kind does not use (fields_of) is 0."""
    return (c.kind == CANCEL
            and (c.price_ticks | c.qty_lots | <int64_t>c.isolation_id | c.expiry_ns
                 | c.isolated_margin_units | c.amount_units | c.mark_ticks | c.rate_e9
                 | <int64_t>c.profile | c.trigger_price_ticks | c.contract | c.side
                 | c.order_type | c.time_in_force | c.exec_flags | c.stp | c.leverage
                 | c.scope | c.currency) == 0)


cdef inline bint is_plain_mark(const Command* c) noexcept nogil:
    """A MARK in form: what its kind does not use (fields_of) is 0."""
    return (c.kind == MARK
            and (<int64_t>c.order_id | <int64_t>c.client_order_id | c.price_ticks | c.qty_lots
                 | <int64_t>c.isolation_id | c.expiry_ns | c.isolated_margin_units
                 | c.amount_units | c.rate_e9 | <int64_t>c.profile | c.trigger_price_ticks
                 | c.account | c.side | c.order_type | c.time_in_force | c.exec_flags | c.stp
                 | c.leverage | c.scope | c.currency) == 0)


cdef inline int form_of(const Command* c, uint32_t used, bint is_administration) noexcept nogil:
    """structure_code of a command whose kind uses these fields."""
    if used == 0 and c.kind != SETTLE_SESSION and c.kind != TICK:
        return UNKNOWN_COMMAND
    if c.kind >= ADMIN_FIRST and not is_administration:
        return NOT_ADMINISTRATION
    if fields_set(c) & ~used:
        return INVALID_ARGUMENT
    if used & F_AMOUNT and c.amount_units <= 0:
        return INVALID_ARGUMENT
    if c.kind == FUNDING and c.scope > FUNDING_AT_SETTLEMENT:
        return INVALID_ARGUMENT
    if c.kind == CANCEL_ALL and c.scope > SCOPE_ISOLATED:
        return INVALID_ARGUMENT
    if c.kind == NEW_ORDER and c.scope > TRIGGER_LAST:
        return INVALID_ARGUMENT
    if c.kind == SET_MARKET_STATE and c.scope > MARKET_REDUCE_ONLY:
        return INVALID_ARGUMENT
    if c.kind == FUND_TOP_UP and c.scope > FUND_OF_CONTRACT:
        return INVALID_ARGUMENT
    if c.profile & 0xC0:                             # bits 6 and 7 mean nothing
        return INVALID_ARGUMENT
    return OK


cdef inline int target_code(Core* e, const Command* c) noexcept nogil:
    """210 and 209: the account and the contract exist; 40001 of a fund that there is not (S1)."""
    cdef uint32_t used = fields_used(c)
    if c.kind == FUND_TOP_UP and c.scope and e.terms.fund_by_contract != FUND_BY_CONTRACT:
        return INVALID_ARGUMENT
    if used & F_ACCOUNT and c.kind != OPEN_ACCOUNT and c.account >= e.h.account_count:
        return INVALID_ACCOUNT
    if used & F_CONTRACT and c.contract >= e.h.contract_count:
        if c.kind != CANCEL_ALL or c.contract != NO_CONTRACT:
            return INVALID_INSTRUMENT
    return OK


cdef inline int perform(Core* e, const Command* c, Answer* a) noexcept nogil:
    """The kind's own checks and work; a code other than 0 has changed nothing."""
    if c.kind == NEW_ORDER:
        return new_conditional(e, c, a) if is_conditional(c.order_type) else new_order(e, c, a)
    if c.kind == CANCEL:
        return cancel(e, c)
    if c.kind == AMEND:
        return amend(e, c, a)
    if c.kind == MARK:
        return set_mark(e, c)
    if c.kind == CANCEL_ALL:
        return cancel_all(e, c)
    if c.kind == CLOSE_POSITION:
        return close_position(e, c, a)
    if c.kind == CANCEL_ALL_AFTER:
        return cancel_all_after(e, c)
    if c.kind == SET_LEVERAGE:
        return set_leverage(e, c, a)
    if c.kind == ADD_MARGIN:
        return add_margin(e, c, a)
    if c.kind == REMOVE_MARGIN:
        return remove_margin(e, c, a)
    if c.kind == WITHDRAW:
        return withdraw(e, c, a)
    if c.kind == OPEN_ACCOUNT:
        return open_account(e, c)
    if c.kind == DEPOSIT:
        return deposit(e, c)
    if c.kind == INDEX:
        return set_index(e, c)
    if c.kind == FUNDING:
        return set_funding(e, c)
    if c.kind == SETTLE_SESSION:
        return settle(e)
    if c.kind == SET_ELIGIBILITY:
        return set_eligibility(e, c)
    if c.kind == SET_MARKET_STATE:
        return set_market_state(e, c)
    if c.kind == FUND_TOP_UP:
        return top_up_fund(e, c)
    return OK                                        # TICK: its time has done its work


cdef inline void refuse(Core* e, const Command* c, int code, const Answer* a) noexcept nogil:
    cdef Event* ev = event(e, REJECT)
    ev.account = c.account
    ev.contract = c.contract
    ev.isolation_id = <uint32_t>c.isolation_id
    ev.code = <uint16_t>code
    ev.order_id = c.order_id
    ev.amount_units = a.needed_units
    ev.balance_units = a.available_units
    ev.price_ticks = a.price_ticks
    ev.qty_lots = a.qty_lots


cdef inline void begin(Core* e) noexcept nogil:
    """Nobody is touched, nothing is to be filed."""
    forget_touched(e)
    forget_dirty(e)


cdef inline void conclude(Core* e) noexcept nogil:
    """Test and close out whom the work touched, and file every changed unit anew."""
    run_rounds(e)
    if e.dirty_count:                                # three commands of four change no key
        file_dirty(e)
    CHECK(e.h.residual[0] == 0 and e.h.residual[1] == 0)


cdef inline void fire_triggers(Core* e) noexcept nogil:
    """Fire what is reached, one by one, each with its rounds, at most so many a command (O1)."""
    cdef uint32_t fired = 0, slot = next_reached(e)
    while slot != NONE and fired < e.terms.timers_per_command:
        begin(e)
        fire(e, slot)
        conclude(e)
        fired += 1
        slot = next_reached(e)


cdef inline int apply_one(Core* e, const Command* c, bint is_administration) noexcept nogil:
    """One command; its events are in e.events[0..event_count). Returns its code."""
    cdef Answer answer
    cdef int code = structure_code(c, is_administration)
    e.event_count = 0
    e.h.seq += 1
    begin(e)
    if code != UNKNOWN_COMMAND and code != NOT_ADMINISTRATION and c.timestamp_ns < e.h.time_ns:
        code = TIME_GOES_BACK
    if c.timestamp_ns >= e.h.time_ns:
        e.h.time_ns = c.timestamp_ns
        if fire_timers(e):
            conclude(e)
            begin(e)
    memset(&answer, 0, sizeof(Answer))
    if code == OK:
        code = target_code(e, c)
    if code == OK:
        code = perform(e, c, &answer)
    if code == OK:
        conclude(e)
    else:
        refuse(e, c, code, &answer)
    if e.h.dormant_count:
        fire_triggers(e)
    return code


cdef inline int preview_one(Core* e, const Command* c, bint is_administration) noexcept nogil:
    """Apply and roll back: the events are what they would be, everything else is as it was (X1)."""
    cdef uint64_t mark, count
    cdef int code
    e.keep_undo = True
    mark = core_mark(e)
    code = apply_one(e, c, is_administration)
    count = e.event_count
    core_rollback(e, mark, count)
    e.keep_undo = False
    undo_end(&e.undo)
    return code
