"""What the soak found, shrunk (`perpcore shrink`) and told as a trader would: each once failed."""

from __future__ import annotations

from dataclasses import replace

from reference.codes import Ev, Ledger, Reason
from world import BTC, CAROL, ETH_PERP_50X, MAKER, World


def test_fees_of_the_first_slices_may_leave_the_last_one_short(venue: World) -> None:
    """O7, Q3, Q5: a voluntary close leaves equity, and yet the fund pays after it: never more than
    the fees that it got.

    CAROL, 1,000 USD: short 400 lots of 30 USD (fee 6.00), long 130 lots of 60 USD (fee 3.90);
    slices of 100 lots. The short's mark goes to 3,138: 990.10 - 552 = 438.10 of equity, and
    12,552 x 1.55 % + 7,800 x 3.05 % = 432.456 are asked for. She sells her BTC at 57,000, the
    band's edge: -390 and a fee of 3.705. What is left, 44.395, is not below 0, but below
    maintenance: four slices at the mark, each -138. The first three pay 15.69 of fee, the fourth
    finds 135.325 - 138 = -2.675.
    """
    contract = venue.add_contract(replace(ETH_PERP_50X, symbol="X", liquidation_slice_lots=100))
    venue.mark(contract, 30_000)
    venue.trade_short(CAROL, MAKER, 400, 30_000, contract)
    venue.trade(CAROL, MAKER, 130, 60_000)
    venue.mark(contract, 31_380)
    assert venue.qty(CAROL, contract) == -400
    venue.buy(MAKER, 130, 57_000)
    fund = venue.fund
    answer = venue.close(CAROL, contract=BTC)
    assert answer.code == 0
    assert [e.qty_lots for e in answer.of(Ev.TAKEN_OVER)] == [-100] * 4
    fees = [e.amount_units for e in answer.of(Ev.BALANCE)
            if (e.ledger, e.reason) == (Ledger.FUND_USD, Reason.LIQUIDATION_FEE)]
    assert fees == [15_69000000] * 3
    assert answer.paid(Ledger.MAIN_USD, Reason.INSURANCE_FUND, CAROL) == 2_67500000
    assert venue.fund - fund == 44_39500000
    assert venue.cash(CAROL) == 0
    assert venue.account(CAROL)["deficit_units"] == 2_67500000
