# cython: language_level=3
"""The stamps of rounds, near the end of their 32 bits."""
from libc.stdint cimport uint32_t
from libc.string cimport memset

from perpcore.arenas cimport core_free, core_init
from perpcore.records cimport VenueTerms
from perpcore.state cimport Core, forget_dirty, forget_touched, touch, unit_take


def rounds_that_pass_a_unit_over(uint32_t stamp):
    """How many rounds around a wrap take a unit, last touched long ago, for touched already."""
    cdef Core e
    cdef VenueTerms terms
    memset(&terms, 0, sizeof(VenueTerms))
    terms.account_capacity = terms.unit_capacity = terms.leg_capacity = 4
    terms.order_capacity = terms.page_capacity = 4
    if core_init(&e, &terms) != 0:
        raise MemoryError
    cdef uint32_t u = unit_take(&e), n, missed = 0
    e.units[u].touched = e.units[u].dirty = stamp
    e.epoch = e.command_epoch = 0xFFFFFFFE
    for n in range(8):
        forget_touched(&e)
        forget_dirty(&e)
        missed += e.units[u].touched == e.epoch or e.units[u].dirty == e.command_epoch
    touch(&e, u)
    missed += e.touched_count != 1 or e.dirty_count != 1
    core_free(&e)
    return missed
