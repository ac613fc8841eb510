"""Chapter 1: the only writer of money (L1, L2), and money on its way (C5, I8, A4)."""

from __future__ import annotations

from .codes import Currency, Ev, Ledger, Policy, Reason
from .margin import conversion_rate, given_for, usdc_of
from .state import State, Unit
from .units import NO_CONTRACT, ceil_of, wrap64

# S4: money that only moves is no profit.
NOT_PROFIT = (Reason.DEPOSIT, Reason.WITHDRAW, Reason.ISOLATED_TRANSFER, Reason.AUTO_CONVERSION)
USD, USDC = 0, 1


def post_cash(state: State, unit: Unit, amount: int, reason: int, contract: int = NO_CONTRACT,
              order_id: int = 0) -> None:
    """USD of a main account, position_cash of a block."""
    if amount == 0:
        return
    unit.cash += amount
    if reason not in NOT_PROFIT:
        unit.session_pnl += amount
    state.touch(unit)
    state.emit_unit(Ev.BALANCE, unit, contract, reason=reason, order_id=order_id,
                    ledger=Ledger.BLOCK_POSITION if unit.is_block else Ledger.MAIN_USD,
                    amount_units=amount, balance_units=unit.cash)


def post_order_cash(state: State, unit: Unit, amount: int, order_id: int,
                    reason: int = Reason.ISOLATED_TRANSFER) -> None:
    """The money that a block holds for its orders."""
    if amount == 0:
        return
    unit.order_cash += amount
    state.touch(unit)
    state.emit_unit(Ev.BALANCE, unit, unit.contract, reason=reason, order_id=order_id,
                    ledger=Ledger.BLOCK_ORDER, amount_units=amount, balance_units=unit.order_cash)


def post_usdc(state: State, unit: Unit, amount: int, reason: int, contract: int = NO_CONTRACT,
              order_id: int = 0) -> None:
    """USDC of a main account, or of a block's position."""
    if amount == 0:
        return
    owner = unit if unit.is_block else state.accounts[unit.account]
    owner.usdc += amount
    state.touch(unit)
    state.emit_unit(Ev.BALANCE, unit, contract, reason=reason, order_id=order_id,
                    ledger=Ledger.BLOCK_POSITION_USDC if unit.is_block else Ledger.MAIN_USDC,
                    amount_units=amount, balance_units=owner.usdc)


def post_order_usdc(state: State, block: Unit, amount: int, order_id: int,
                    reason: int = Reason.ISOLATED_TRANSFER) -> None:
    """The USDC that a block holds for its orders."""
    if amount == 0:
        return
    block.order_usdc += amount
    state.touch(block)
    state.emit_unit(Ev.BALANCE, block, block.contract, reason=reason, order_id=order_id,
                    ledger=Ledger.BLOCK_ORDER_USDC, amount_units=amount,
                    balance_units=block.order_usdc)


def changed(pair: tuple[int, int], currency: int, amount: int) -> tuple[int, int]:
    return (pair[0] + amount, pair[1]) if currency == USD else (pair[0], pair[1] + amount)


def post_fund(state: State, amount: int, reason: int, contract: int = NO_CONTRACT,
              currency: int = USD) -> None:
    """With sub-funds a contract's gain is its own, and its loss as far as it has money (S1)."""
    if contract != NO_CONTRACT and state.venue.fund_by_contract == Policy.FUND_BY_CONTRACT:
        own = max(amount, -state.markets[contract].sub_fund)
        post_sub_fund(state, own, reason, contract)
        amount -= own
    if amount == 0:
        return
    state.fund = changed(state.fund, currency, amount)
    state.emit_venue(Ev.BALANCE, contract, reason=reason, amount_units=amount,
                     ledger=Ledger.FUND_USD if currency == USD else Ledger.FUND_USDC,
                     balance_units=wrap64(state.fund[currency]))


def post_sub_fund(state: State, amount: int, reason: int, contract: int) -> None:
    if amount == 0:
        return
    market = state.markets[contract]
    market.sub_fund += amount
    state.emit_venue(Ev.BALANCE, contract, reason=reason, ledger=Ledger.SUB_FUND,
                     amount_units=amount, balance_units=wrap64(market.sub_fund))


def post_conversion(state: State, amount: int, currency: int) -> None:
    if amount == 0:
        return
    state.conversion = changed(state.conversion, currency, amount)
    state.emit_venue(Ev.BALANCE, reason=Reason.AUTO_CONVERSION, amount_units=amount,
                     ledger=Ledger.CONVERSION_USD if currency == USD else Ledger.CONVERSION_USDC,
                     balance_units=wrap64(state.conversion[currency]))


def post_inventory(state: State, amount: int, reason: int, contract: int = NO_CONTRACT) -> None:
    if amount == 0:
        return
    state.inventory_cash += amount
    state.emit_venue(Ev.BALANCE, contract, reason=reason, ledger=Ledger.INVENTORY,
                     amount_units=amount, balance_units=state.inventory_cash)


def charge_trade_fee(state: State, unit: Unit, fee: int, contract: int, order_id: int = 0) -> None:
    """The fee account has no events: the payer's event stands for both."""
    post_cash(state, unit, -fee, Reason.TRADE_FEE, contract, order_id)
    state.fees += fee


def deposit(state: State, currency: int, amount: int) -> None:
    """Money came from outside; the caller says who gets it."""
    state.deposits = changed(state.deposits, currency - Currency.USD, amount)


def withdraw(state: State, currency: int, amount: int) -> None:
    state.withdrawals = changed(state.withdrawals, currency - Currency.USD, amount)


# ---- conversion (A4)


def convert_usdc(state: State, unit: Unit, missing: int) -> None:
    """The unit's own USDC gives exactly what USD lacks, or all that it is worth."""
    own = usdc_of(state, unit)
    rate = conversion_rate(state)
    if missing <= 0 or rate == 0:
        return
    qty, given = ceil_of(missing / rate), missing
    if qty > own:
        qty, given = own, given_for(state, own)
    if given == 0:
        return  # nothing is taken for nothing
    post_usdc(state, unit, -qty, Reason.AUTO_CONVERSION, unit.contract)
    post_conversion(state, qty, USDC)
    post_conversion(state, -given, USD)
    post_cash(state, unit, given, Reason.AUTO_CONVERSION, unit.contract)


def cover_negative_usd(state: State, unit: Unit) -> None:
    convert_usdc(state, unit, -unit.cash)


def convert_everything(state: State, block: Unit) -> None:
    """A block's USDC becomes USD before it is liquidated, to the last unit; forfeit money too."""
    qty, given = block.usdc, given_for(state, block.usdc)
    post_usdc(state, block, -qty, Reason.AUTO_CONVERSION, block.contract)
    post_conversion(state, qty, USDC)
    post_conversion(state, -given, USD)
    post_cash(state, block, given, Reason.AUTO_CONVERSION, block.contract)
    qty, given = block.order_usdc, given_for(state, block.order_usdc)
    post_order_usdc(state, block, -qty, 0, Reason.AUTO_CONVERSION)
    post_conversion(state, qty, USDC)
    post_conversion(state, -given, USD)
    post_order_cash(state, block, given, 0, Reason.AUTO_CONVERSION)


# ---- transfers between main and block (C5: the profit lock follows the money)


def move_lock(payer: Unit, payee: Unit, amount: int) -> None:
    """So much locked profit goes along: the session's first, then what was kept."""
    profit = min(max(0, payer.session_pnl), amount)
    kept = min(payer.kept, amount - profit)
    payer.session_pnl -= profit
    payee.session_pnl += profit
    payer.kept -= kept
    payee.kept += kept


def parts_of(state: State, main: Unit, amount: int) -> tuple[int, int]:
    """An amount that goes into a block as USD and USDC: USD first, the rest in kind or none."""
    if state.venue.block_collateral != Policy.IN_KIND:
        return amount, 0
    usd = min(amount, max(0, main.cash))
    if usd == amount:
        return amount, 0
    qty = ceil_of((amount - usd) / conversion_rate(state))
    return usd, min(qty, usdc_of(state, main))


def pay_from_main(state: State, main: Unit, block: Unit, amount: int, order_id: int = 0) -> None:
    """Main's side of a transfer of USD: what it lacks from USDC; unlocked money first."""
    convert_usdc(state, main, amount - max(0, main.cash))
    locked = amount - max(0, main.cash - main.lock)
    if locked > 0:
        move_lock(main, block, locked)
    post_cash(state, main, -amount, Reason.ISOLATED_TRANSFER, block.contract, order_id)


def fund_orders(state: State, block: Unit, parts: tuple[int, int], order_id: int) -> None:
    """From main to the block's orders: USD, then USDC."""
    main, (usd, usdc) = state.main(block.account), parts
    if usd > 0:
        pay_from_main(state, main, block, usd, order_id)
        post_order_cash(state, block, usd, order_id)
    post_usdc(state, main, -usdc, Reason.ISOLATED_TRANSFER, block.contract, order_id)
    post_order_usdc(state, block, usdc, order_id)


def fund_position(state: State, block: Unit, parts: tuple[int, int]) -> None:
    """From main to the block's position: USD, then USDC."""
    main, (usd, usdc) = state.main(block.account), parts
    if usd > 0:
        pay_from_main(state, main, block, usd)
        post_cash(state, block, usd, Reason.ISOLATED_TRANSFER, block.contract)
    post_usdc(state, main, -usdc, Reason.ISOLATED_TRANSFER, block.contract)
    post_usdc(state, block, usdc, Reason.ISOLATED_TRANSFER, block.contract)


def return_order_cash(state: State, block: Unit, parts: tuple[int, int], order_id: int) -> None:
    """From orders to main, each currency as it is: locked profit goes back first."""
    main, (usd, usdc) = state.main(block.account), parts
    if usd > 0:
        move_lock(block, main, usd)
        post_order_cash(state, block, -usd, order_id)
        post_cash(state, main, usd, Reason.ISOLATED_TRANSFER, block.contract, order_id)
    post_order_usdc(state, block, -usdc, order_id)
    post_usdc(state, main, usdc, Reason.ISOLATED_TRANSFER, block.contract, order_id)


def return_position_cash(state: State, block: Unit, amount: int, order_id: int = 0) -> None:
    """From position_cash to main: locked profit goes back first."""
    if amount <= 0:
        return
    main = state.main(block.account)
    move_lock(block, main, amount)
    post_cash(state, block, -amount, Reason.ISOLATED_TRANSFER, block.contract, order_id)
    post_cash(state, main, amount, Reason.ISOLATED_TRANSFER, block.contract, order_id)


def return_usdc(state: State, block: Unit, amount: int, order_id: int = 0) -> None:
    """The position's USDC, or a part of it, to main."""
    main = state.main(block.account)
    post_usdc(state, block, -amount, Reason.ISOLATED_TRANSFER, block.contract, order_id)
    post_usdc(state, main, amount, Reason.ISOLATED_TRANSFER, block.contract, order_id)


def return_everything(state: State, block: Unit, order_id: int = 0) -> None:
    """A flat position's money goes to main with the block's session PnL, losses too (I11).

    Money that stays for its orders keeps the locked profit that it is: as with any transfer, what
    goes back takes the locked first (C5).
    """
    main = state.main(block.account)
    cover_negative_usd(state, block)
    if block.order_cash:
        move_lock(block, main, max(0, block.cash))
        loss = min(0, block.session_pnl)
        main.session_pnl += loss
        block.session_pnl -= loss
    else:
        main.session_pnl += block.session_pnl
        main.kept += block.kept
        block.session_pnl = 0
        block.kept = 0
    amount = block.cash
    post_cash(state, block, -amount, Reason.ISOLATED_TRANSFER, block.contract, order_id)
    post_cash(state, main, amount, Reason.ISOLATED_TRANSFER, block.contract, order_id)
    return_usdc(state, block, block.usdc, order_id)


def slice_to_position(state: State, block: Unit, parts: tuple[int, int], order_id: int) -> None:
    """A filled order's slice becomes margin of the position, inside the block."""
    usd, usdc = parts
    post_order_cash(state, block, -usd, order_id)
    post_cash(state, block, usd, Reason.ISOLATED_TRANSFER, block.contract, order_id)
    post_order_usdc(state, block, -usdc, order_id)
    post_usdc(state, block, usdc, Reason.ISOLATED_TRANSFER, block.contract, order_id)
