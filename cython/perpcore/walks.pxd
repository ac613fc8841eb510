"""Floor 3.2: the walk over all units in the venue's order: by account, main first, then its blocks.
"""
from libc.stdint cimport uint32_t

from perpcore.memory cimport prefetch
from perpcore.records cimport NONE
from perpcore.state cimport Core, is_block

cdef enum:
    # By how many accounts a walk over all units loads them, and their units and positions, early.
    AHEAD_ACCOUNTS = 48
    AHEAD_UNITS = 32
    AHEAD_LEGS = 16


cdef inline void ahead_of_account(Core* e, uint32_t account) noexcept nogil:
    cdef uint32_t u
    if account + AHEAD_UNITS >= e.h.account_count:
        return
    prefetch(&e.accounts[account + AHEAD_ACCOUNTS])
    prefetch(&e.units[e.accounts[account + AHEAD_UNITS].unit])
    u = e.accounts[account + AHEAD_UNITS].first_block
    if u != NONE:
        prefetch(&e.units[u])
    u = e.units[e.accounts[account + AHEAD_LEGS].unit].first_leg
    if u != NONE:
        prefetch(&e.legs[u])
    u = e.accounts[account + AHEAD_LEGS].first_block
    if u != NONE:
        prefetch(&e.legs[e.units[u].first_leg])


cdef inline uint32_t next_unit(Core* e, uint32_t u) noexcept nogil:
    """The unit after `u` by account, then isolation id; NONE starts and ends the row."""
    cdef uint32_t account = 0, after
    if u != NONE:
        account = e.units[u].account
        after = e.units[u].next_block if is_block(&e.units[u]) else e.accounts[account].first_block
        if after != NONE:
            return after
        account += 1
    ahead_of_account(e, account)
    return e.accounts[account].unit if account < e.h.account_count else <uint32_t>NONE
