"""Prints what the venue asks for memory while orders flow: run by bench_latency.py under steady.c.

    LD_PRELOAD=steady.so python benchmarks/steady.py steady.so

A line of JSON: allocations and page faults of each of the last stretches, a call each, after as
many that were not counted. The commands and the buffer of events are touched before.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bench_latency
import measure
import numpy as np
import probe
import venue_loads
import workloads


def main() -> int:
    shim = ctypes.CDLL(sys.argv[1])
    names = ("steady_allocations", "steady_faults")
    addresses = [ctypes.cast(getattr(shim, name), ctypes.c_void_p).value for name in names]
    laps = 2 * measure.ROUNDS
    flow = workloads.standard(bench_latency.STRETCH * laps, resting=bench_latency.RESTING)
    traffic = venue_loads.Traffic(
        flow, bench_latency.ACCOUNTS["20k"], laps, probe.engine().Engine, half_isolated=True
    )
    grown = []
    for lap in range(laps):
        counters = np.array(addresses, np.uint64)
        applied, _ = probe.engine().counted_apply(
            traffic.engine, traffic.next_stretch(), traffic.out, counters
        )
        assert applied == traffic.stretch
        if lap >= measure.ROUNDS:
            grown.append(counters.tolist())
    # A counter that nothing moves would say 0 of anything.
    before = shim.steady_allocations()
    ctypes.CDLL(None).malloc(1 << 20)
    assert shim.steady_allocations() > before
    venue_loads.check(traffic.engine)
    print(json.dumps({"stretch": traffic.stretch, "grown": grown}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
