"""Cost against size, and latency histograms, as one page: out/plots.html.

    python benchmarks/plots.py        (after bench_latency.py: its out/latency.json is drawn too)

Each point is the median ratio to the limit loop beside it, `measure.ROUNDS` rounds; a flat line
is what should be seen. Sizes grow threefold up to PERPCORE_BENCH_SCALE times a million.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import limit_loop
import measure
import numpy as np
import plotly.graph_objects as go
import venue_loads
import workloads
from hdrh.histogram import HdrHistogram
from measure import Round, Yardstick
from plotly.subplots import make_subplots

LEAST, MOST = 60, measure.scaled(1_000_000, 600)
LEVELS = [measure.scaled(count, count // 10) for count in (100, 1_000, 10_000, 100_000)]
STRETCH = measure.scaled(20_000, 300)
RESTING = measure.scaled(workloads.RESTING, 200)
IDLE = measure.scaled(10_000, 20)
TAIL = np.concatenate([np.linspace(0, 99, 100), 100 - np.geomspace(0.9, 0.0003, 60)])

Facts = dict[str, Any]


def sizes() -> list[int]:
    """1 k, 3 k, 10 k, ... up to MOST."""
    steps = [measure.scaled(size, LEAST) for size in (1_000, 3_000, 10_000, 30_000, 100_000)]
    return sorted({*steps, measure.scaled(300_000, LEAST), MOST})


def by_accounts(library: Any, flow: workloads.Flow, accounts: int) -> Facts:
    """The venue batch."""
    traffic = venue_loads.Traffic(flow, accounts, measure.ROUNDS)
    yardstick = Yardstick(library, flow, measure.ROUNDS)
    return measure.rounds_of(lambda: Round(
        traffic.prepare(), traffic.stretch, yardstick.prepare(), yardstick.stretch, traffic.check
    ))  # fmt: skip


def by_blocks(library: Any, flow: workloads.Flow, blocks: int) -> Facts:
    """A mark that crosses nobody."""
    crowd = venue_loads.Crowd(blocks, 0, 1, 1, resting=200)
    yardstick = Yardstick(library, flow, measure.ROUNDS)
    return measure.rounds_of(lambda: Round(
        crowd.idle_marks(IDLE), IDLE, yardstick.prepare(), yardstick.stretch,
        lambda events, _: venue_loads.check_liquidations(events, 0),
    ))  # fmt: skip


def by_levels(library: Any, flow: workloads.Flow, levels: int) -> Facts:
    """The book on one order a level of 10 M ticks; takers sweep the best level, adds refill."""
    import bench_book

    made = workloads.sparse(STRETCH, resting=levels)
    yardstick = Yardstick(library, flow, measure.ROUNDS)

    def prepare() -> Round:
        run, book = bench_book.batch(made)

        def check(trades: Any, _: Any) -> None:
            assert len(trades) == len(made.timed) // 2
            assert book.order_count(workloads.Side.BUY) == 0

        return Round(run, len(made.timed), yardstick.prepare(), yardstick.stretch, check)

    return measure.rounds_of(prepare)


CURVES: tuple[tuple[str, str, Callable[..., Facts], list[int]], ...] = (
    ("venue batch, a command", "accounts", by_accounts, sizes()),
    ("mark that crosses nobody", "isolated blocks", by_blocks, sizes()),
    ("book batch, a command, one order a level", "levels", by_levels, LEVELS),
)


def measured() -> list[Facts]:
    """All curves: what, over what, and their points [size, ratio, ns, limit ns]."""
    flow = workloads.standard(STRETCH * measure.ROUNDS, resting=RESTING)
    curves = []
    with tempfile.TemporaryDirectory() as folder:
        library = limit_loop.build(Path(folder))
        for name, over, run, counts in CURVES:
            points = []
            for count in counts:
                facts = run(library, flow, count)
                points.append([count, facts["ratio"], facts["ns"], facts["limit_ns"]])
                print(f"{name}: {count:,} {over}: {facts['ratio']:.2f} limit loops")
            curves.append({"name": name, "over": over, "points": points})
    return curves


def cost_figure(curves: list[Facts]) -> go.Figure:
    figure = make_subplots(
        1, len(curves), subplot_titles=[curve["name"] for curve in curves], shared_yaxes=False
    )
    for column, curve in enumerate(curves, 1):
        size, ratio, ns, limit_ns = zip(*curve["points"], strict=True)
        figure.add_scatter(
            x=size, y=ratio, mode="lines+markers", name=curve["name"], row=1, col=column,
            customdata=list(zip(ns, limit_ns, strict=True)),
            hovertemplate="%{x:,}: %{y:.2f} limit loops"
            "<br>%{customdata[0]:.1f} ns, limit loop %{customdata[1]:.1f} ns<extra></extra>",
        )
        figure.update_xaxes(type="log", title_text=curve["over"], row=1, col=column)
    figure.update_yaxes(rangemode="tozero", title_text="limit loops", row=1, col=1)
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(title="Cost against size", showlegend=False, height=440)
    return figure


def latency_figure(latency: Facts) -> go.Figure:
    """Percentiles of all rounds; the axis stretches the tail, as HdrHistogram's plots do."""
    figure = go.Figure()
    for series in latency["series"]:
        histogram = HdrHistogram.decode(series["hdr_v2"].encode())
        figure.add_scatter(
            x=1 / (1 - TAIL / 100), y=[histogram.get_value_at_percentile(p) for p in TAIL],
            mode="lines", name=series["name"], customdata=TAIL,
            hovertemplate="p%{customdata:.4f}: %{y:,} ns<extra>%{fullData.name}</extra>",
        )
    marks = (0, 50, 90, 99, 99.9, 99.99, 99.999)
    figure.update_xaxes(
        type="log", title_text="percentile of commands",
        tickvals=[1 / (1 - p / 100) for p in marks], ticktext=[f"{p:g}" for p in marks],
    )
    figure.update_yaxes(type="log", title_text="ns a command")
    figure.update_layout(title="Latency of one command, called alone", height=480)
    return figure


def main() -> int:
    measure.OUT.mkdir(exist_ok=True)
    curves = measured()
    (measure.OUT / "cost_against_size.json").write_text(json.dumps(curves, indent=1))
    parts = [cost_figure(curves).to_html(full_html=False, include_plotlyjs=True)]
    latency = measure.OUT / "latency.json"
    if latency.is_file():
        drawn = latency_figure(json.loads(latency.read_text()))
        parts.append(drawn.to_html(full_html=False, include_plotlyjs=False))
    (measure.OUT / "plots.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>perpcore benchmarks</title>'
        f"<body>{''.join(parts)}</body></html>"
    )
    print(f"{measure.OUT / 'plots.html'} is written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
