"""Floor 4: who may raise risk (A2), from the 64 bits that administration sets on an account."""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from perpcore.codes cimport (
    ACCOUNT_SUSPENDED, CONTRACT_NOT_ALLOWED, INSTRUMENT_NOT_TRADABLE, INVALID_LEVERAGE,
    MARKET_REDUCE_ONLY, NO_DERIVATIVES_ACCOUNT, NO_DERIVATIVES_USER, NO_ISOLATED_ACCESS, OK,
    PROFILE_ADVANCED, PROFILE_DERIVATIVES, PROFILE_ISOLATED, PROFILE_SUSPENDED, PROFILE_USD,
    PROFILE_USDC,
)
from perpcore.int128 cimport not_below_zero
from perpcore.records cimport VenueTerms
from perpcore.state cimport Core

cdef enum:
    PROFILE_FLAGS = 63
    LEVERAGE_SHIFT = 8
    CITIZENSHIP_SHIFT = 16
    RESIDENCE_SHIFT = 32
    GROUPS_SHIFT = 48


cdef inline bint is_excluded(const VenueTerms* t, uint64_t citizenship,
                             uint64_t residence) noexcept nogil:
    """Whether either country is on its list; 0 is no country."""
    cdef uint16_t citizen = <uint16_t>citizenship, resident = <uint16_t>residence
    cdef uint16_t found_citizen = 0, found_resident = 0
    cdef int i
    # Without a way out of the loop it is a few vector instructions.
    for i in range(16):
        found_citizen |= t.excluded_citizenship[i] == citizen
        found_resident |= t.excluded_residence[i] == resident
    return (citizen and found_citizen) or (resident and found_resident)


cdef inline int standing_code(Core* e, uint64_t profile) noexcept nogil:
    """202, 411 or 412 of an account's profile; 0 when it may trade derivatives."""
    if profile & PROFILE_SUSPENDED:
        return ACCOUNT_SUSPENDED
    if not profile & PROFILE_ADVANCED:
        return NO_DERIVATIVES_USER
    if is_excluded(&e.terms, (profile >> CITIZENSHIP_SHIFT) & 0xFFFF,
                   (profile >> RESIDENCE_SHIFT) & 0xFFFF):
        return NO_DERIVATIVES_USER
    if not profile & PROFILE_DERIVATIVES:
        return NO_DERIVATIVES_ACCOUNT
    return OK


cdef inline bint group_allowed(Core* e, uint64_t profile, uint32_t contract) noexcept nogil:
    cdef int64_t group = e.markets[contract].terms.terms.access_group
    return (profile >> (GROUPS_SHIFT + group)) & 1


cdef inline bint collateral_allowed(Core* e, uint32_t account, int64_t units) noexcept nogil:
    """Money into a block leaves USD first, then USDC; each must be allowed where it is used."""
    cdef uint64_t profile = e.accounts[account].profile
    cdef int64_t cash = e.units[e.accounts[account].unit].cash_units
    if cash > 0 and units > 0 and not profile & PROFILE_USD:
        return False
    return units <= not_below_zero(cash) or (profile & PROFILE_USDC) != 0


cdef inline int eligibility_code(Core* e, uint32_t account, uint32_t contract, bint isolated,
                                 int64_t leverage, int64_t units) noexcept nogil:
    """Step 10 of the precedence. leverage 0 is not looked at; units: money into a block, or 0."""
    cdef uint64_t profile = e.accounts[account].profile
    cdef int64_t largest = <int64_t>((profile >> LEVERAGE_SHIFT) & 0xFF)
    cdef int code = standing_code(e, profile)
    if code:
        return code
    if not group_allowed(e, profile, contract):
        return CONTRACT_NOT_ALLOWED
    if units and not collateral_allowed(e, account, units):
        return CONTRACT_NOT_ALLOWED
    if isolated and not profile & PROFILE_ISOLATED:
        return NO_ISOLATED_ACCESS
    if largest and leverage > largest:
        return INVALID_LEVERAGE
    if e.markets[contract].live.state == MARKET_REDUCE_ONLY:
        return INSTRUMENT_NOT_TRADABLE
    return OK
