"""The compiled venue: commands in, events out. `perpcore.Venue` is the readable way to it.

An Engine takes all its memory when it is made and never grows. It reads no clock and holds no
float; the same commands give the same bytes (SPEC D1). `apply` works without the GIL. One thread at
a time: a second one gets EngineBusy and nothing is done.
"""
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from perpcore.adl cimport adl_queue, adl_score
from perpcore.book cimport Cell, book_best, book_level, book_next_level
from perpcore.book cimport pool_find
from perpcore.checks cimport Audit, audit_state, first_fault, lots_of
from perpcore.digest cimport state_digest
from perpcore.fork cimport core_fork
from perpcore.host cimport (
    STATUS_BAD_ARGUMENT, STATUS_BAD_TERMS, STATUS_BUSY, STATUS_FULL, STATUS_NO_MEMORY,
    STATUS_NOT_ADMIN, STATUS_NOT_FOUND, STATUS_OK, Host, all_delivered, host_add_contract,
    host_apply, host_call, host_create, host_destroy, host_preview, owner_enter, owner_leave,
)
from perpcore.int128 cimport i128, magnitude
from perpcore.policies cimport FUND_BY_CONTRACT
from perpcore.records cimport NONE, Command, ContractTerms, Event, VenueTerms
from perpcore.snapshot cimport (
    AuditView, ContractView, OrderView, PositionView, UnitView, VenueView, liquidation_mark,
    rank_in_queue, view_audit, view_contract, view_order, view_position, view_unit, view_venue,
)
from perpcore.standing cimport counted_usdc, half_haircut_of
from perpcore.reserves cimport order_extra
from perpcore.state cimport (
    IN_MARGIN_CALL, Core, Leg, Market, Unit, block_by_id, is_in_kind, leg_of,
)
from perpcore.thresholds cimport only_leg
from perpcore.walks cimport next_unit

from operator import itemgetter

import numpy as np

include "capi.pxi"
include "calls.pxi"


class EngineBusy(RuntimeError):
    """A second thread entered the engine while a call was running; nothing was done."""


_BUSY = "another thread is in this venue: one at a time"
_UNREAD = "events of a full apply are not all read: call apply again first"

#: Why a contract is refused, by the number of contract.Breach (SPEC U2).
_BREACHES = {
    1: "only linear contracts are listed: kind must be 1 (an inverse contract is refused)",
    2: "a size is out of range: ticks, lots, multiplier, marks_per_tick, order and position "
       "limits, slices and prices must be at least 1 and smallest <= largest",
    3: "one mark tick x one lot x multiplier is not a whole number of 1e-8 USD: choose a coarser "
       "tick or lot, or fewer marks per tick",
    4: "max_price_ticks x marks_per_tick must stay below 2^31 - 1: choose a lower largest price",
    5: "largest price x largest order or position must stay below 2^60 money units (11.5 billion "
       "USD): choose smaller limits",
    6: "largest price x inventory_limit_lots must stay below 2^62 money units: choose a smaller "
       "limit",
    7: "a rate is not within 0 and 1 (maintenance_share_e4: 1 to 9,999)",
    8: "maintenance share + taker fee + liquidation fee reach 1: no margin could cover a position",
    9: "the rates have no common denominator below 2^60: use rounder ones",
    10: "max_leverage must be 1 to 1,000",
    11: "access_group must be 0 to 15",
    12: "maintenance share x unit margin rate x largest position exceed 1: choose a smaller "
        "max_position_lots or rate",
    13: "a contract of this symbol exists already: choose another",
    14: "brackets: 0 to 16; each cap 1 to 2^60 money units, maintenance rate above 0 and at most "
        "1 / leverage, leverage 1 to max_leverage; unused fields, maintenance_share_e4 and "
        "unit_margin_rate_e15 are 0",
    15: "brackets: caps must rise, maintenance rates must not fall, leverages must not rise",
    16: "brackets: the first cumulative amount is 0, each next one the last + cap x growth of the "
        "maintenance rate, a whole number of money units",
    17: "brackets: the last cap must reach max_position_lots at the largest mark: choose a smaller "
        "position limit",
}

#: Names of checks.Fault.
_FAULTS = {
    1: "L1: the ledger identity has a residual",
    2: "L1: the positions of a contract do not sum to 0",
    3: "Q1: a unit rests below its maintenance margin",
    4: "C4: reserved orders rest below initial margin",
    5: "Q4: a unit is in liquidation between commands",
    6: "I1: a block's state does not fit its position and orders",
    7: "I2: a block's order cash is not the sum of its orders' reserves",
    8: "C3: sums over a unit's orders are wrong",
    9: "O1: a live order is not where it should be",
    10: "Q2: a position is not filed though a mark can cross it",
    11: "Q2: a position is filed behind the mark at which it has to be looked at",
    12: "Q2: a filed position is not in its bucket",
    13: "counters of orders, blocks or positions are wrong",
    14: "O1: a reached order waits and nothing makes the venue look at it",
    15: "S1: a contract's own fund paid more than it had",
    16: "S3, S5: a settlement would not look at a unit",
}


cdef object big(i128 value):
    """A 128-bit whole number as a Python int."""
    return (int(value.hi) << 64) + int(value.lo)


cdef const uint8_t[::1] bytes_of(array, int64_t size, str what, bint single):
    """A structured array's bytes; its records must have the core's size."""
    if not isinstance(array, np.ndarray) or array.dtype.itemsize != size:
        raise TypeError(f"{what}: an array of records of {size} bytes is needed")
    if array.ndim != 1 or not array.flags.c_contiguous or (single and len(array) != 1):
        raise ValueError(f"{what}: a contiguous ({'1' if single else 'n'},) array is needed")
    return array.view(np.uint8)


cdef const uint8_t[::1] room_of(out):
    """The bytes of a caller's buffer of events: one at least, and not read-only."""
    cdef const uint8_t[::1] room = bytes_of(out, sizeof(Event), "out", False)
    if len(out) == 0:
        raise ValueError("out must have room for one event at least")
    if not out.flags.writeable:
        raise ValueError("out is read-only: events are written into it")
    return room


cdef class Engine:
    """One venue: (1,) VENUE_TERMS and the administration's secret number (u64, not 0).

    Raises ValueError for terms out of range, MemoryError when memory is short.
    """

    cdef Host* host
    cdef bint claimed            # under the GIL

    def __cinit__(self, terms, admin_key):
        cdef const uint8_t[::1] row = bytes_of(terms, sizeof(VenueTerms), "terms", True)
        cdef int status = STATUS_OK
        if not 0 < admin_key < 1 << 64:
            raise ValueError("admin_key must be a number from 1 to 2^64 - 1")
        self.host = host_create(<const VenueTerms*>&row[0], &status)
        if status == STATUS_BAD_ARGUMENT:
            raise ValueError(
                "venue terms are out of range: fund openings 0 or more, haircut within 0 and 1, "
                "limits 0 or more, capacities 1 to 2^31 - 1, legs and twice the units together "
                "below 2^31 - 3, policies those of perpcore.Policies")
        if self.host == NULL:
            raise MemoryError("no memory for a venue of these capacities")
        self.host.core.admin_key = admin_key

    def __dealloc__(self):
        host_destroy(self.host)

    cdef Core* enter(self) except NULL:
        if not owner_enter(&self.host.busy):
            raise EngineBusy(_BUSY)
        return &self.host.core

    cdef void leave(self) noexcept:
        owner_leave(&self.host.busy)

    def claim(self):
        """Keep the engine for several calls in a row; EngineBusy when somebody does already.

        Until `release` every `call` is refused with EngineBusy; the claimer uses `apply`.
        """
        if self.claimed:
            raise EngineBusy(_BUSY)
        self.claimed = True

    def release(self):
        """Give back what `claim` has taken."""
        self.claimed = False

    # ---- commands ----

    def add_contract(self, terms, admin_key):
        """List a contract, (1,) CONTRACT_TERMS; returns its number. Takes no sequence number.

        Raises PermissionError for a wrong key, ValueError that names the limit it breaks (U2).
        """
        cdef const uint8_t[::1] row = bytes_of(terms, sizeof(ContractTerms), "terms", True)
        cdef uint64_t key = admin_key
        cdef uint32_t number = 0
        cdef int breach = 0, status
        self.enter()
        status = host_add_contract(self.host, <const ContractTerms*>&row[0], key, &number, &breach)
        self.leave()
        if status == STATUS_NOT_ADMIN:
            raise PermissionError("add_contract is administration: give the venue's admin_key")
        if status == STATUS_FULL:
            raise ValueError("the venue has as many contracts as it can hold")
        if status == STATUS_NO_MEMORY:
            raise MemoryError("no memory for the contract's book")
        if status == STATUS_BAD_TERMS:
            raise ValueError(_BREACHES[breach])
        return number

    def apply(self, commands, out, admin_key=0):
        """Apply (n,) COMMAND in order, events into (m,) EVENT `out`; without the GIL.

        Returns (applied, written). When `out` is full it stops: events of the last applied command
        that did not fit come first in the next call, so that none is lost; `written < m` says that
        all are delivered.
        """
        cdef const uint8_t[::1] rows = bytes_of(commands, sizeof(Command), "commands", False)
        cdef const uint8_t[::1] room = room_of(out)
        cdef uint64_t count = len(commands), capacity = len(out), applied = 0, written = 0
        cdef uint64_t key = admin_key
        cdef const Command* first = <const Command*>&rows[0] if count else NULL
        cdef Event* events
        events = <Event*>&room[0]
        self.enter()
        with nogil:
            host_apply(self.host, first, count, events, capacity, key, &applied, &written)
        self.leave()
        return applied, written

    def call(self, tuple fields, admin_key=0):
        """Apply one command given by its fields: whole numbers in the order of COMMAND.

        Fields at the end that are 0 may be left out. timestamp_ns None: one nanosecond after the
        last command. Returns (code, events): 0 or the refusal's number, and all the command's EVENT
        records as bytes. Without the GIL, as `apply`. Raises TypeError and OverflowError for what
        is no number of its field, EngineBusy, and RuntimeError while events of a full `apply` are
        still to be read.
        """
        cdef Command c
        cdef Core* e
        cdef uint64_t key = admin_key
        cdef object when
        cdef int code
        if not 0 < len(fields) <= FIELDS:
            raise TypeError(f"a command has 1 to {FIELDS} fields, not {len(fields)}")
        memset(&c, 0, sizeof(Command))
        read_command(fields, &c)
        when = fields[0]
        if when is not None:
            c.timestamp_ns = whole(when)
        if self.claimed:
            raise EngineBusy(_BUSY)
        e = self.enter()
        if not all_delivered(self.host):
            self.leave()
            raise RuntimeError(_UNREAD)
        if when is None:
            c.timestamp_ns = e.h.time_ns + 1
        with nogil:
            code = host_call(self.host, &c, key)
        try:
            return code, PyBytes_FromStringAndSize(<const char*>e.events,
                                                   e.event_count * sizeof(Event))
        finally:
            e.event_count = 0
            self.leave()

    def preview(self, command, out, admin_key=0):
        """The events that one (1,) COMMAND would have, into (m,) EVENT `out`; returns how many.

        It is applied and rolled back (X1). When m is returned there may be more: repeat with more
        room. Raises RuntimeError while events of a full `apply` are still to be read.
        """
        cdef const uint8_t[::1] row = bytes_of(command, sizeof(Command), "command", True)
        cdef const uint8_t[::1] room = room_of(out)
        cdef uint64_t capacity = len(out), written = 0, key = admin_key
        cdef const Command* one = <const Command*>&row[0]
        cdef Event* events
        cdef bint ready
        events = <Event*>&room[0]
        self.enter()
        ready = all_delivered(self.host)
        if ready:
            with nogil:
                written = host_preview(self.host, one, events, capacity, key)
        self.leave()
        if not ready:
            raise RuntimeError(_UNREAD)
        return written

    def fork(self):
        """A second engine that stands where this one stands and goes its own way (X3).

        Same contracts, accounts, orders, administration's number and hash; events of a full `apply`
        that are still to be read stay with this one. Raises MemoryError when memory is short.
        """
        cdef Core* e = self.enter()
        cdef Engine twin
        cdef int status
        try:
            row = (<const char*>&e.terms)[:sizeof(VenueTerms)]
            twin = Engine.__new__(
                Engine, np.frombuffer(row, np.dtype((np.void, sizeof(VenueTerms)))), e.admin_key)
            with nogil:
                status = core_fork(&twin.host.core, e)
        finally:
            self.leave()
        if status != 0:
            raise MemoryError("no memory for a second venue of these capacities")
        return twin

    # ---- trust ----

    def audit(self):
        """Residuals of the ledger identity, summed in full (L1): {"USD", "USDC", "positions"}."""
        cdef Core* e = self.enter()
        cdef Audit sums
        cdef uint32_t i
        with nogil:
            sums = audit_state(e)
        positions = [lots_of(e, i) for i in range(e.h.contract_count)]
        self.leave()
        return {"USD": big(sums.residual[0]), "USDC": big(sums.residual[1]), "positions": positions}

    def running_residual(self):
        """The residuals that posting keeps, (USD, USDC), modulo 2^64: 0 after every command."""
        cdef Core* e = self.enter()
        cdef uint64_t usd = e.h.residual[0], usdc = e.h.residual[1]
        self.leave()
        return usd, usdc

    def check(self):
        """Walk every invariant of the state in full; [] or the first that does not hold, in words.

        Ledger, positions, margins (every unit tested, as if there were no index), orders, reserves,
        links, and the index of thresholds against a scan of all units (Q2).
        """
        cdef Core* e = self.enter()
        cdef uint32_t culprit = NONE
        cdef int fault
        with nogil:
            fault = first_fault(e, &culprit)
        self.leave()
        if fault == 0:
            return []
        return [_FAULTS[fault] + ("" if culprit == NONE else f" (record {culprit})")]

    def state_hash(self):
        """Hash of the whole live state in one canonical order (D1)."""
        cdef Core* e = self.enter()
        cdef uint64_t digest
        with nogil:
            digest = state_digest(e)
        self.leave()
        return digest

    # ---- queries ----

    cdef uint32_t find(self, Core* e, uint32_t account, uint64_t isolation_id) except? NONE:
        """The unit's place; KeyError when there is none."""
        cdef uint32_t u = NONE
        if account < e.h.account_count:
            u = e.accounts[account].unit
            if isolation_id:
                u = block_by_id(e, account, isolation_id)
        if u == NONE:
            raise KeyError(f"account {account} has no open unit {isolation_id}")
        return u

    cdef uint32_t listed(self, Core* e, uint32_t contract) except? NONE:
        if contract >= e.h.contract_count:
            raise KeyError(f"contract {contract} is not listed: there are {e.h.contract_count}")
        return contract

    def unit(self, account, isolation_id=0):
        """A main account, or one of its open blocks, and its positions; KeyError if none."""
        cdef Core* e = self.enter()
        try:
            return unit_dict(e, self.find(e, account, isolation_id))
        finally:
            self.leave()

    def blocks(self, account):
        """isolation ids of an account's open blocks, oldest first."""
        cdef Core* e = self.enter()
        cdef uint32_t u
        try:
            self.find(e, account, 0)
            found = []
            u = e.accounts[<uint32_t>account].first_block
            while u != NONE:
                found.append(e.units[u].isolation_id)
                u = e.units[u].next_block
            return found
        finally:
            self.leave()

    def orders(self, account):
        """The account's live orders, by id."""
        cdef Core* e = self.enter()
        try:
            self.find(e, account, 0)
            return account_orders(e, account)
        finally:
            self.leave()

    def order(self, order_id):
        """A live order, or None."""
        cdef Core* e = self.enter()
        cdef uint32_t slot = pool_find(&e.pool, order_id)
        try:
            return None if slot == NONE else order_dict(e, slot)
        finally:
            self.leave()

    def book(self, contract, side, levels):
        """The best `levels` levels of a side (codes.Side): [(price_ticks, orders, lots)]."""
        cdef Core* e = self.enter()
        try:
            return book_levels(&e.markets[self.listed(e, contract)], e, side - 1, levels)
        finally:
            self.leave()

    def liquidation_levels(self, contract):
        """(n, 3) int64 rows (side, mark ticks, lots) by side and mark: where positions liquidate.

        side: codes.Side of the positions. Units with positions on one contract only.
        """
        cdef Core* e = self.enter()
        try:
            return levels_of(e, self.listed(e, contract))
        finally:
            self.leave()

    def adl_rank(self, contract):
        """Who auto-deleveraging would close, first first: longs, then shorts (Q4).

        [(side, account, isolation_id, lots, score)]; side: codes.Side of the position. The queue of
        profit_leverage, whatever the policy: pro_rata closes a part of each.
        """
        cdef Core* e = self.enter()
        cdef uint32_t number
        try:
            number = self.listed(e, contract)
            return adl_side(e, number, -1) + adl_side(e, number, 1)
        finally:
            self.leave()

    def contract_terms(self, contract):
        """The terms as bytes of one CONTRACT_TERMS record."""
        cdef Core* e = self.enter()
        try:
            return (<const char*>&e.markets[self.listed(e, contract)].terms.terms)[
                :sizeof(ContractTerms)]
        finally:
            self.leave()

    def contract_state(self, contract):
        """What changes of a contract: prices, state, inventory, pending funding."""
        cdef Core* e = self.enter()
        cdef ContractView v
        try:
            v = view_contract(e, self.listed(e, contract))
            return dict(v)
        finally:
            self.leave()

    def fund_units(self, currency):
        """The insurance fund's balance, money units of a currency (codes.Currency)."""
        cdef Core* e = self.enter()
        try:
            if currency not in (1, 2):
                raise KeyError(f"currency {currency} is neither USD (1) nor USDC (2)")
            return big(e.h.fund_units[<int>currency - 1])
        finally:
            self.leave()

    def usdc_counts(self, usdc_units):
        """What so much USDC adds to a unit's side of the maintenance test, at the index of now.

        Its value less half of the haircut, or less all of it, as the venue's policy is (A4).
        """
        cdef Core* e = self.enter()
        cdef int64_t units = usdc_units
        try:
            return counted_usdc(e, units) - half_haircut_of(e, units)
        finally:
            self.leave()

    def sub_fund_units(self, contract):
        """A contract's own part of the fund, money units of USD; 0 where there is none (S1)."""
        cdef Core* e = self.enter()
        try:
            return big(e.sub_funds[self.listed(e, contract)])
        finally:
            self.leave()

    def dump(self):
        """The whole live state in plain numbers, in canonical order: for comparisons and tests."""
        cdef Core* e = self.enter()
        try:
            return dump_state(e)
        finally:
            self.leave()

    @property
    def seq(self):
        """Number of the last command."""
        return self.host.core.h.seq

    @property
    def time_ns(self):
        """Time of the last accepted command, ns."""
        return self.host.core.h.time_ns

    @property
    def session(self):
        """Number of the running session, from 1."""
        return self.host.core.h.session

    @property
    def next_isolation_id(self):
        return self.host.core.h.next_isolation_id

    @property
    def accounts(self):
        """How many accounts are open."""
        return self.host.core.h.account_count

    @property
    def contracts(self):
        """How many contracts are listed."""
        return self.host.core.h.contract_count

    @property
    def carried_units(self):
        """Uncovered loss that waits for later profits (S4)."""
        return self.host.core.h.carried_units


include "views.pxi"
