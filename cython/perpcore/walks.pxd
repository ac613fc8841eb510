"""Floor 3.2: the walks over units in the venue's order: by account, main first, then its blocks."""
from libc.stdint cimport uint32_t

from perpcore.memory cimport prefetch
from perpcore.records cimport NONE
from perpcore.state cimport Core, is_block, prefetch_unit
from perpcore.unitset cimport unitset_has

cdef enum:
    # By how many accounts a walk over all units loads them, and their units and positions, early.
    AHEAD_ACCOUNTS = 48
    AHEAD_UNITS = 32
    AHEAD_LEGS = 16


cdef inline bint settles(Core* e, uint32_t u) noexcept nogil:
    """Whether a settlement or funding can change a unit; told without its record."""
    return unitset_has(e.settling, u) or unitset_has(e.needy, u)


cdef inline void ahead_of_account(Core* e, uint32_t account) noexcept nogil:
    """Start loading the units of coming accounts that `settles`, and their positions."""
    cdef uint32_t u
    if account + AHEAD_UNITS >= e.h.account_count:
        return
    prefetch(&e.accounts[account + AHEAD_ACCOUNTS])
    u = e.accounts[account + AHEAD_UNITS].unit
    if settles(e, u):
        prefetch_unit(e, u)
    u = e.accounts[account + AHEAD_UNITS].first_block
    if u != NONE:
        prefetch_unit(e, u)
    u = e.accounts[account + AHEAD_LEGS].unit
    if settles(e, u) and e.units[u].first_leg != NONE:
        prefetch(&e.legs[e.units[u].first_leg])


cdef inline uint32_t next_of_account(Core* e, uint32_t u) noexcept nogil:
    """The unit after `u` of the same account, or NONE."""
    if is_block(&e.units[u]):
        return e.units[u].next_block
    return e.accounts[e.units[u].account].first_block


cdef inline uint32_t next_of(Core* e, uint32_t u, bint all_of_them) noexcept nogil:
    """The unit after `u`; without `all_of_them` main accounts that do not settle are left out."""
    cdef uint32_t account = 0, after
    if u != NONE:
        after = next_of_account(e, u)
        if after != NONE:
            return after
        account = e.units[u].account + 1
    while account < e.h.account_count:
        ahead_of_account(e, account)
        after = e.accounts[account].unit
        if all_of_them or settles(e, after):
            return after
        after = e.accounts[account].first_block
        if after != NONE:
            return after
        account += 1
    return NONE


cdef inline uint32_t next_unit(Core* e, uint32_t u) noexcept nogil:
    """The unit after `u` by account, then isolation id; NONE starts and ends the row."""
    return next_of(e, u, True)


cdef inline uint32_t next_settling(Core* e, uint32_t u) noexcept nogil:
    """next_unit without the main accounts that neither funding nor a settlement can change."""
    return next_of(e, u, False)
