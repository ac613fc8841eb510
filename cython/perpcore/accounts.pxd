"""Floor 6: main accounts: opening, deposit, withdrawal (A1, C5)."""
from libc.stdint cimport int64_t, uint32_t

from perpcore.codes cimport (
    ACCOUNT_OPENED, ACCOUNT_SUSPENDED, CAPACITY, EXCEEDS_WITHDRAWABLE, INVALID_ACCOUNT,
    INVALID_ARGUMENT, INVALID_CURRENCY, NO_MARK_PRICE, OK, PROFILE_SUSPENDED, R_DEPOSIT,
    R_INSURANCE_FUND, R_WITHDRAW, USD, USDC,
)
from perpcore.contract cimport MAX_DEPOSITS
from perpcore.int128 cimport i128, i128_add, i128_cmp, i128_from, smaller, sub64
from perpcore.orders cimport Answer, mark_code
from perpcore.policies cimport DEFICIT_RECEIVABLE
from perpcore.posting cimport (
    USD_LEDGER, USDC_LEDGER, book_deposit, book_withdrawal, post_cash, post_fund, post_usdc,
)
from perpcore.records cimport NONE, Command
from perpcore.standing cimport Amounts, amounts, most_usdc_out, withdrawable_usd
from perpcore.state cimport (
    NO_CONTRACT, Account, Core, edit_account, event, has_room, touch, unit_take,
)

cdef extern from *:
    """
    // USDC counts at an index of up to 10 USD, and its value must fit like USD.
    static const int64_t PERPCORE_MAX_USDC_DEPOSITS = 1LL << 57;
    """
    const int64_t MAX_USDC_DEPOSITS "PERPCORE_MAX_USDC_DEPOSITS"


cdef inline int open_account(Core* e, const Command* c) noexcept nogil:
    """The next number; it holds money but has no eligibility yet."""
    cdef Account* account
    cdef uint32_t u
    if c.account != e.h.account_count:
        return INVALID_ACCOUNT
    if e.h.account_count >= e.terms.account_capacity or not has_room(e, 1, 0, 0):
        return CAPACITY
    u = unit_take(e)
    e.units[u].account = c.account
    account = edit_account(e, c.account)
    account.usdc_units = account.deficit_units = 0
    account.profile = 0
    account.unit = u
    account.first_block = NONE
    account.order_count = account.block_count = 0
    account.cancel_after_ns = 0
    account.timer = NONE
    e.h.account_count += 1
    event(e, ACCOUNT_OPENED).account = c.account
    return OK


cdef inline bint deposit_fits(Core* e, int currency, int64_t units) noexcept nogil:
    """Whether the venue's deposits in the currency stay countable (U1)."""
    cdef i128 total = i128_add(e.h.deposits_units[currency], i128_from(units))
    return i128_cmp(total, i128_from(
        MAX_DEPOSITS if currency == USD_LEDGER else MAX_USDC_DEPOSITS)) < 0


cdef inline void repay(Core* e, uint32_t account, int64_t deposited_units) noexcept nogil:
    """A deposit pays first what the fund bore for its owner, where that is a debt (Q6)."""
    cdef int64_t debt = e.accounts[account].deficit_units
    cdef int64_t paid = smaller(deposited_units, debt)
    if e.terms.deficit != DEFICIT_RECEIVABLE or paid <= 0:
        return
    edit_account(e, account).deficit_units = sub64(debt, paid)
    post_cash(e, e.accounts[account].unit, -paid, R_INSURANCE_FUND, NO_CONTRACT, 0)
    post_fund(e, USD_LEDGER, paid, R_INSURANCE_FUND, NO_CONTRACT)


cdef inline int deposit(Core* e, const Command* c) noexcept nogil:
    """Money from outside into main."""
    if c.currency != USD and c.currency != USDC:
        return INVALID_CURRENCY
    if c.currency == USDC and e.h.index_e6 == 0:
        return NO_MARK_PRICE
    if not deposit_fits(e, c.currency - USD, c.amount_units):
        return INVALID_ARGUMENT
    book_deposit(e, c.currency - USD, c.amount_units)
    if c.currency == USD:
        post_cash(e, e.accounts[c.account].unit, c.amount_units, R_DEPOSIT, NO_CONTRACT, 0)
        repay(e, c.account, c.amount_units)
    else:
        post_usdc(e, c.account, c.amount_units, R_DEPOSIT, NO_CONTRACT, 0)
    return OK


cdef inline int marks_code(Core* e, uint32_t u) noexcept nogil:
    """207 or 222 of the first contract on which the unit has a position."""
    cdef uint32_t i = e.units[u].first_leg
    cdef int code
    while i != NONE:
        if e.legs[i].qty_lots:
            code = mark_code(e, e.legs[i].contract)
            if code:
                return code
        i = e.legs[i].next_leg
    return OK


cdef inline int withdraw(Core* e, const Command* c, Answer* a) noexcept nogil:
    """C5: at most what is withdrawable leaves the venue."""
    cdef uint32_t u = e.accounts[c.account].unit
    cdef int64_t available
    cdef Amounts now
    cdef int code
    if c.currency != USD and c.currency != USDC:
        return INVALID_CURRENCY
    if e.accounts[c.account].profile & PROFILE_SUSPENDED:
        return ACCOUNT_SUSPENDED
    code = marks_code(e, u)
    if code:
        return code
    now = amounts(e, u)
    available = withdrawable_usd(e, u, &now) if c.currency == USD else most_usdc_out(e, u, &now)
    if c.amount_units > available:
        a.needed_units = c.amount_units
        a.available_units = available
        return EXCEEDS_WITHDRAWABLE
    book_withdrawal(e, c.currency - USD, c.amount_units)
    if c.currency == USD:
        post_cash(e, u, -c.amount_units, R_WITHDRAW, NO_CONTRACT, 0)
    else:
        post_usdc(e, c.account, -c.amount_units, R_WITHDRAW, NO_CONTRACT, 0)
    return OK
