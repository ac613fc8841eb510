"""Run after `python setup.py build_ext --inplace`: a price slide, driven from C++."""

import numpy as np
import price_slide

import perpcore

USD = 100_000_000

result = price_slide.run()
events = np.frombuffer(result["events"], perpcore.EVENT)
gain = result["fund_after_units"] - result["fund_before_units"]
print(f"{len(events)} events of {len(result['commands']) // perpcore.COMMAND.itemsize} commands")
print(f"block: {result['qty_lots']} lots with a margin of {result['margin_units'] / USD:.2f} USD,")
print(f"       liquidated from mark {result['liquidation_mark_ticks'] / 10:.1f} USD down")
print(f"main account after the slide: {result['main_cash_units'] / USD:.2f} USD")
print(f"the insurance fund gained {gain / USD:.2f} USD; residuals {result['residuals']}")
