"""Run after `python setup.py build_ext --inplace`: the same fall of a price, in steps and at once.

1,000 leveraged longs; at every step the positions whose liquidation mark is crossed are sold into
bids that start at the new price.
"""

import fund_stress
import numpy as np

TICK_VALUE = 1_000  # money units of 0.1 USD x 0.0001 BTC
USD = 100_000_000
MAX_TICKS = 10_000_000

rng = np.random.default_rng(7)
entry = rng.integers(598_000, 602_000, 1_000)  # ticks of 0.1 USD
lots = rng.integers(100, 5_000, 1_000)  # lots of 0.0001 BTC
cost = entry * lots * TICK_VALUE
cash = cost // rng.integers(10, 51, 1_000)  # leverage 10 to 50

marks = np.zeros(1_000, np.int64)
fund_stress.liquidation_marks(
    lots, cost, cash, marks, value_units=TICK_VALUE, rate_num=105, rate_den=10_000,
    max_mark_ticks=MAX_TICKS,
)
order = np.argsort(-marks, kind="stable")  # the highest mark is crossed first

for steps in (40, 4, 1):
    gain = loss = unsold = 0
    done = 0
    for price in np.linspace(600_000, 560_000, steps + 1).astype(np.int64)[1:]:
        crossed = order[done : int((marks >= price).sum())]
        done += len(crossed)
        bids = fund_stress.Bids(max_ticks=MAX_TICKS, capacity=256)
        bids.rest(price - 20 * np.arange(256), np.full(256, 20_000))
        result = fund_stress.fund_result(
            bids, lots[crossed], cost[crossed], cash[crossed], value_units=TICK_VALUE,
            fee_e9=500_000,
        )
        gain, loss, unsold = gain + result[0], loss + result[1], unsold + result[2]
    print(
        f"60,000 to 56,000 USD in {steps:2} steps: {done} liquidated, the fund gains "
        f"{gain / USD:10,.2f} and pays {loss / USD:10,.2f} USD, {unsold / 10_000:.1f} BTC unsold"
    )
