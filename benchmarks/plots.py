"""Draws what a run has measured as one page: cost against size, and latency histograms.

    python benchmarks/plots.py        (after `make bench`: out/bench.json becomes out/plots.html)

Each point of a curve is the median ratio to the limit loop beside it; a flat line is what should be
seen.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import measure
import numpy as np
import plotly.graph_objects as go
from hdrh.histogram import HdrHistogram
from plotly.subplots import make_subplots

TAIL = np.concatenate([np.linspace(0, 99, 100), 100 - np.geomspace(0.9, 0.0003, 60)])

Facts = dict[str, Any]


def cost_figure(curves: list[Facts]) -> go.Figure:
    figure = make_subplots(
        2, 2, subplot_titles=[curve["name"] for curve in curves], shared_yaxes=False
    )
    for number, curve in enumerate(curves):
        row, column = number // 2 + 1, number % 2 + 1
        size, ratio, ns, limit_ns = zip(*curve["points"], strict=True)
        figure.add_scatter(
            x=size, y=ratio, mode="lines+markers", name=curve["name"], row=row, col=column,
            customdata=list(zip(ns, limit_ns, strict=True)),
            hovertemplate="%{x:,}: %{y:.2f} limit loops"
            "<br>%{customdata[0]:.1f} ns, limit loop %{customdata[1]:.1f} ns<extra></extra>",
        )
        figure.update_xaxes(type="log", title_text=curve["over"], row=row, col=column)
    figure.update_yaxes(rangemode="tozero", title_text="limit loops")
    figure.update_layout(title="Cost against size", showlegend=False, height=880)
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
    """Draw every curve and every histogram that the run has."""
    found = json.loads((measure.OUT / "bench.json").read_text())["benchmarks"]
    curves = [bench["extra_info"]["curve"] for bench in found if "curve" in bench["extra_info"]]
    latencies = [bench["extra_info"] for bench in found if "series" in bench["extra_info"]]
    figures = [cost_figure(curves)] if curves else []
    figures += [latency_figure(latency) for latency in latencies]
    parts = [
        figure.to_html(full_html=False, include_plotlyjs=number == 0)
        for number, figure in enumerate(figures)
    ]
    (measure.OUT / "plots.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>perpcore benchmarks</title>'
        f"<body>{''.join(parts)}</body></html>"
    )
    print(f"{measure.OUT / 'plots.html'} is written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
