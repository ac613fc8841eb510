"""Floor 0.5: the choices that differ between venues: the numbers of VenueTerms' policy fields.

0 is always the first value that the rule names and the default; here are the others by name. Names
are the rule's own words; the shell's are in perpcore.policies.
"""
from perpcore.records cimport VenueTerms

cdef enum HaircutIn:             # A4
    HAIRCUT_IN_MARGIN = 0
    HAIRCUT_IN_VALUE = 1

cdef enum BlockCollateral:       # A4
    COLLATERAL_CONVERTED = 0
    COLLATERAL_IN_KIND = 1

cdef enum Removal:               # I9
    REMOVAL_IN_PROFIT = 0
    REMOVAL_FREE = 1

cdef enum PartialClose:          # I10
    PARTIAL_CLOSE_KEEPS = 0
    PARTIAL_CLOSE_RELEASES = 1

cdef enum IsolatedFlip:          # I12
    FLIP_ALLOWED = 0
    FLIP_CLIPPED = 1
    FLIP_REJECTED = 2

cdef enum LiquidationLimit:      # Q3
    LIMIT_IS_BANKRUPTCY = 0
    LIMIT_IS_BAND = 1

cdef enum OrderMarginInLiquidation:   # Q3
    ORDER_MARGIN_RETURNS = 0
    ORDER_MARGIN_IS_FORFEIT = 1

cdef enum Backstop:              # Q4
    BACKSTOP_FUND = 0
    BACKSTOP_ADL = 1

cdef enum AdlRank:               # Q4
    ADL_BY_PROFIT_LEVERAGE = 0
    ADL_PRO_RATA = 1
    ADL_QUEUE_AT_MARK = 2

cdef enum AdlPrice:              # Q4
    ADL_AT_BANKRUPTCY = 0
    ADL_AT_MARK = 1

cdef enum SurplusTo:             # Q6
    SURPLUS_TO_FUND = 0
    SURPLUS_TO_TRADER = 1

cdef enum Deficit:               # Q6
    DEFICIT_FORGIVEN = 0
    DEFICIT_RECEIVABLE = 1

cdef enum SocializeBy:           # S4
    SOCIALIZE_BY_UNIT = 0
    SOCIALIZE_BY_TRADER = 1

cdef enum SocializedLoss:        # S4
    LOSS_PRO_RATA = 0
    LOSS_ONE_PERCENT = 1

cdef enum UnlockRequires:        # S5
    UNLOCK_POSITIVE = 0
    UNLOCK_NONNEGATIVE = 1

cdef enum UnlockAt:              # S5
    UNLOCK_AT_OWN_SETTLEMENT = 0
    UNLOCK_AT_NEXT_SETTLEMENT = 1


cdef enum FundByContract:        # S1
    ONE_FUND = 0
    FUND_BY_CONTRACT = 1


cdef inline bint policies_fit(const VenueTerms* t) noexcept nogil:
    """Every policy is one that the venue knows."""
    cdef int i
    for i in range(7):
        if t.spare[i]:
            return False
    return (t.haircut_in <= HAIRCUT_IN_VALUE and t.block_collateral <= COLLATERAL_IN_KIND
            and t.removal <= REMOVAL_FREE and t.partial_close <= PARTIAL_CLOSE_RELEASES
            and t.isolated_flip <= FLIP_REJECTED and t.liquidation_limit <= LIMIT_IS_BAND
            and t.order_margin_in_liquidation <= ORDER_MARGIN_IS_FORFEIT
            and t.backstop <= BACKSTOP_ADL and t.adl_rank <= ADL_QUEUE_AT_MARK
            and t.adl_price <= ADL_AT_MARK and t.surplus_to <= SURPLUS_TO_TRADER
            and t.deficit <= DEFICIT_RECEIVABLE and t.socialize_by <= SOCIALIZE_BY_TRADER
            and t.socialized_loss <= LOSS_ONE_PERCENT
            and t.unlock_requires <= UNLOCK_NONNEGATIVE
            and t.unlock_at <= UNLOCK_AT_NEXT_SETTLEMENT and t.fund_by_contract <= FUND_BY_CONTRACT
            and t.cover_limit_units >= 0)
