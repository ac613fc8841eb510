"""The report's pictures and the numbers around them. Floats live here, for display only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from perpcore.cli import headline_rows
from perpcore.codes import Side
from perpcore.drive import Run
from perpcore.prices import utc_minute
from perpcore.scenario import LEVERAGE_WEIGHTS, MINUTES_BEFORE
from perpcore.statistics import Statistics, open_interest_units

INK, MUTED, GRID, PAPER = "#1f2933", "#6b7785", "#e6eaee", "#ffffff"
BLUE, AMBER, RED, GREEN = "#2b6cb0", "#d98324", "#c0392b", "#2f855a"
PALE_BLUE, PALE_RED = "#a9c7e8", "#e9b4ad"
_FONT = "Inter, 'Segoe UI', 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"
MINUS = "\N{MINUS SIGN}"
#: Price bins of the liquidation levels, and how far around the mark they reach.
_BINS, _REACH = 80, 0.20


def _money(units: int) -> str:
    """Money units as a short figure: 812 USD, 4.1 k USD, 12.3 M USD."""
    value = units / 1e8
    for limit, scale, suffix in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= limit:
            return f"{value / scale:,.2f} {suffix} USD".replace("-", MINUS)
    return f"{value:,.0f} USD".replace("-", MINUS)


def _when(timestamp_ns: int) -> str:
    """A time as `21 Jan 03:27`; the page's head has the year."""
    moment = datetime.fromtimestamp(timestamp_ns // 10**9, UTC)
    return f"{moment.day}\N{NO-BREAK SPACE}{moment:%b}\N{NO-BREAK SPACE}{moment:%H:%M}"


def _times(timestamps_ns: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return timestamps_ns.astype("datetime64[ns]").astype("datetime64[s]")


def _styled(figure: go.Figure, height: int) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 72, "r": 24, "t": 34, "b": 44},
        paper_bgcolor=PAPER,
        plot_bgcolor=PAPER,
        font={"family": _FONT, "size": 13, "color": INK},
        hoverlabel={"bgcolor": PAPER, "bordercolor": GRID, "font": {"family": _FONT, "color": INK}},
        legend={
            "orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom",
            "font": {"color": MUTED}, "traceorder": "normal",
        },
        bargap=0.12,
    )
    axis = {
        "gridcolor": GRID, "zeroline": False, "linecolor": "#c5ccd3", "ticks": "outside",
        "tickcolor": "#c5ccd3", "ticklen": 4, "tickfont": {"color": MUTED, "size": 12},
        "title_font": {"color": MUTED, "size": 12}, "title_standoff": 10,
    }
    figure.update_xaxes(**axis, showgrid=False)
    figure.update_yaxes(**axis, showline=False)
    return figure


def _fits(figure: go.Figure, narrow: dict[str, Any]) -> go.Figure:
    """Note what a narrow screen changes of the layout; the page's script applies it and undoes it.

    `narrow` has plotly's dotted names; what they hold now comes back on a wide screen.
    """
    wide = {name: figure.layout[name] for name in narrow}
    figure.layout.meta = {"narrow": narrow, "wide": wide}
    return figure


def _time_axis(figure: go.Figure, run: Run, **where: Any) -> None:
    """A time axis in UTC whose labels stay level; the page's head has the year."""
    figure.update_xaxes(
        tickformat="%H:%M\n%d %b", tickangle=0, title_text="UTC", title_standoff=4, **where
    )
    figure.update_xaxes(range=_window(run))


def _price_figure(run: Run, s: Statistics) -> go.Figure:
    tape, tick = run.tape, float(run.scenario.contract.mark_tick)
    shown, form = slice(_path_start(run), None), _price_form(run)
    figure = make_subplots(
        rows=3, cols=1, shared_xaxes=True, row_heights=[0.5, 0.3, 0.2], vertical_spacing=0.05
    )
    figure.add_scatter(
        x=_times(tape.timestamps_ns[shown]), y=tape.mark_ticks[shown] * tick, row=1, col=1,
        mode="lines", line={"color": INK, "width": 1.3}, showlegend=False, name="Mark",
        hovertemplate="%{x|%d %b %H:%M}<br>mark %{y:" + form + "} USD<extra></extra>",
    )
    if s.cascade is not None:
        late = s.cascade.first > 0.85 * len(tape.timestamps_ns)
        figure.add_vrect(
            x0=utc_minute(s.cascade.start_ns - 30 * 60 * 10**9),
            x1=utc_minute(s.cascade.start_ns + 40 * 60 * 10**9),
            fillcolor=AMBER, opacity=0.22, line_width=0, row="all", col=1,
        )
        figure.add_annotation(
            x=utc_minute(s.cascade.start_ns), y=1, yref="y domain", text="worst cascade",
            showarrow=False, yanchor="top", xanchor="right" if late else "left",
            xshift=-12 if late else 14,
            font={"color": "#a35d10", "size": 12},
        )
    hours = [row for row in s.by_hour if row.start_ns >= tape.timestamps_ns[shown][0]]
    # Bars stand in the middle of their hour.
    middle = _times(np.array([row.start_ns + 1_800_000_000_000 for row in hours], np.int64))
    for name, color, units in (
        ("Filled in the book", BLUE, [row.book_units for row in hours]),
        ("Taken over by the fund", RED, [row.taken_units for row in hours]),
    ):
        figure.add_bar(
            x=middle, y=np.array(units) / 1e14, name=name, marker_color=color, row=2, col=1,
            marker_line_width=0,
            hovertemplate="%{x|%d %b %H:00}<br>%{y:,.2f} M USD<extra>" + name + "</extra>",
        )
    figure.add_scatter(
        x=_times(tape.timestamps_ns[shown]), y=open_interest_units(run)[shown] / 1e14, row=3, col=1,
        mode="lines", line={"color": MUTED, "width": 1.3}, showlegend=False, name="Open interest",
        hovertemplate="%{x|%d %b %H:%M}<br>open interest %{y:,.2f} M USD<extra></extra>",
    )
    _styled(figure, 620).update_layout(barmode="stack")
    figure.update_yaxes(title_text="Mark, USD", tickformat=form, row=1, col=1)
    figure.update_yaxes(title_text="Liquidated an<br>hour, M USD", row=2, col=1, rangemode="tozero")
    figure.update_yaxes(title_text="Open interest,<br>M USD", row=3, col=1, rangemode="tozero")
    _time_axis(figure, run, row=3, col=1)
    return _fits(figure, {"margin.l": 64, "margin.r": 8, "xaxis3.nticks": 4})


def _price_form(run: Run) -> str:
    """How plotly writes prices of the path: with the decimals that are worth showing."""
    return f",.{run.scenario.contract.digits(int(run.tape.index_ticks.min()))}f"


def _window(run: Run) -> list[str]:
    """The path from its first to its last minute, as limits of a time axis."""
    times = run.tape.timestamps_ns
    return [utc_minute(int(times[_path_start(run)])), utc_minute(int(times[-1]))]


def _path_start(run: Run) -> int:
    """The tape's minute at which the price path begins, after the hour of opening positions."""
    return min(MINUTES_BEFORE, len(run.tape.timestamps_ns) - 1)


def _fund_figure(run: Run, s: Statistics) -> go.Figure:
    minute, balance = s.fund_series
    # Of each minute the lowest balance and the last one.
    first = np.flatnonzero(np.append(True, np.diff(minute) > 0))
    last = np.append(first[1:], len(minute)) - 1
    shown = np.column_stack([np.minimum.reduceat(balance, first), balance[last]]).ravel()
    moments = np.repeat(_times(run.tape.timestamps_ns[minute[last]]), 2)
    scale, unit = _scale(int(np.abs(balance).max()))
    figure = go.Figure()
    figure.add_scatter(
        x=moments, y=shown / scale, mode="lines",
        line={"color": GREEN, "width": 1.8, "shape": "hv"}, showlegend=False,
        hovertemplate="%{x|%d %b %H:%M}<br>%{y:,.3f} " + unit + "<extra></extra>",
    )
    lowest, highest = s.fund.minimum_units, int(balance.max())
    if lowest < highest // 3:
        figure.add_hline(y=0, line={"color": "#8a949e", "width": 1})
    figure.add_hline(
        y=s.fund.start_units / scale, line={"color": MUTED, "width": 1, "dash": "dot"},
        annotation={"text": "at the start", "font": {"color": MUTED, "size": 12}},
        annotation_position="bottom right",
    )
    figure.add_scatter(
        x=_times(np.array([s.fund.minimum_ns], np.int64)), y=[lowest / scale], mode="markers",
        marker={"color": RED, "size": 8}, showlegend=False, hoverinfo="skip", cliponaxis=False,
    )
    figure.add_annotation(
        x=utc_minute(s.fund.minimum_ns), y=lowest / scale, text=f"lowest: {_money(lowest)}",
        showarrow=False, yanchor="top", yshift=-8, font={"color": RED, "size": 12},
        xanchor="left" if s.fund.minimum_ns < run.tape.timestamps_ns.mean() else "right",
    )
    # Room below the lowest point for its label.
    floor = min(0, lowest) if lowest < highest // 3 else lowest
    room = max(highest - floor, 1) / scale * 0.18
    bottom = floor / scale - room
    _styled(figure, 300)
    figure.update_layout(margin_t=10)
    limits = [bottom, highest / scale + room]
    figure.update_yaxes(title_text=f"Insurance fund, {unit}", range=limits)
    _time_axis(figure, run)
    return _fits(figure, {"margin.l": 56, "margin.r": 8, "xaxis.nticks": 4})


def _levels_around(run: Run, s: Statistics) -> list[tuple[str, int, NDArray[np.int64]]]:
    """The snapshots of liquidation levels just before and just after the worst cascade."""
    first = (s.cascade.first if s.cascade else 0) - MINUTES_BEFORE
    last = (s.cascade.last if s.cascade else 0) - MINUTES_BEFORE
    before = [snap for snap in run.levels if snap[0] <= first] or run.levels[:1]
    after = [snap for snap in run.levels if snap[0] > last] or run.levels[-1:]
    return [("Before", *before[-1]), ("After", *after[0])]


def _levels_figure(run: Run, s: Statistics) -> go.Figure:
    contract, form = run.scenario.contract, _price_form(run)
    tick, v = float(contract.mark_tick), contract.value_units
    snaps = _levels_around(run, s)
    rows_of = [
        min(minute + MINUTES_BEFORE, len(run.tape.mark_ticks)) - 1 for _, minute, _ in snaps
    ]
    marks = [int(run.tape.mark_ticks[max(0, row)]) for row in rows_of]
    low, high = min(marks) * tick * (1 - _REACH), max(marks) * tick * (1 + _REACH)
    edges = np.linspace(low, high, _BINS + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    titles = [
        f"{name}, {_when(int(run.tape.timestamps_ns[max(0, row)]))}"
        for (name, _, _), row in zip(snaps, rows_of, strict=True)
    ]
    figure = make_subplots(
        rows=2, cols=1, shared_xaxes=True, shared_yaxes="all", vertical_spacing=0.13,
        subplot_titles=titles,
    )
    tallest = 0.0
    for i, ((_, _, levels), mark) in enumerate(zip(snaps, marks, strict=True), start=1):
        for name, side, color in (
            ("Long positions", Side.BUY, BLUE), ("Short positions", Side.SELL, AMBER),
        ):
            mine = levels[levels[:, 0] == side]
            notional = np.abs(mine[:, 2]) * (mine[:, 1] * float(v)) / 1e14
            height, _ = np.histogram(mine[:, 1] * tick, edges, weights=notional)
            tallest = max(tallest, float(height.max()))
            figure.add_bar(
                x=middle, y=height, name=name, marker_color=color, marker_line_width=0, row=i,
                col=1, showlegend=i == 1,
                hovertemplate=(
                    "%{x:" + form + "} USD<br>%{y:,.2f} M USD<extra>" + name + "</extra>"
                ),
            )
        figure.add_vline(
            x=mark * tick, line={"color": INK, "width": 1.2}, row=i, col=1,
            annotation={"text": f"mark {contract.price_text(mark)}", "yanchor": "top",
                        "font": {"color": INK, "size": 12}, "xanchor": "left", "xshift": 3},
        )
    _styled(figure, 500).update_layout(barmode="stack", bargap=0.05)
    figure.update_layout(legend_y=1.07, margin_t=58)
    figure.update_annotations({"font_size": 12})
    for title in figure.layout.annotations[:2]:
        title.update(x=0, xanchor="left", font={"size": 13, "color": INK})
    # Room above the bars for the mark's label.
    figure.update_yaxes(title_text="M USD a bar", range=[0, max(tallest, 0.01) * 1.22])
    figure.update_xaxes(tickformat=form, tickangle=0, showticklabels=True)
    figure.update_xaxes(title_text="Liquidation mark, USD", row=2, col=1)
    return _fits(figure, {
        "margin.l": 56, "margin.r": 8, "xaxis.nticks": 4, "xaxis2.nticks": 4,
        "legend.entrywidth": 90,
    })


def _loser_figure(s: Statistics) -> go.Figure:
    losers = s.losers[::-1]
    labels = [f"{row.account:,} \N{MIDDLE DOT} {row.leverage}x {row.mode}" for row in losers]
    most = max((-row.pnl_units / 1e11 for row in losers), default=1.0)
    figure = go.Figure()
    figure.add_bar(
        x=[row.pnl_units / 1e11 for row in losers], y=labels, orientation="h",
        marker_color=PALE_RED, marker_line_width=0, showlegend=False, width=0.68,
        text=[f"{_signed(round(row.pnl_units / 1e11))} k" for row in losers],
        textposition="outside", textfont={"color": INK, "size": 12}, cliponaxis=False,
        hovertemplate="%{y}<br>%{x:,.1f} k USD<extra></extra>",
    )
    _styled(figure, 420)
    figure.update_layout(margin={"l": 150, "t": 12})
    # Room for the figures left of the longest bar.
    figure.update_xaxes(title_text="Result over the run, k USD", tickformat=",", tickangle=0,
                        showgrid=True, range=[-1.2 * most, 0], nticks=5)
    figure.update_yaxes(ticks="", showgrid=False, tickfont={"color": INK, "size": 12})
    return _fits(figure, {
        "margin.l": 136, "margin.r": 12, "xaxis.range": [-1.5 * most, 0], "xaxis.nticks": 3,
    })


def _waterfall_figure(s: Statistics) -> go.Figure:
    steps = [step for step in s.waterfall.steps if step[1]]
    scale, unit = _scale(max((abs(units) for _, units in steps), default=0))
    figure = go.Figure()
    figure.add_waterfall(
        orientation="h",
        y=[name for name, _ in steps] + ["Left in the blocks"],
        x=[units / scale for _, units in steps] + [0],
        measure=["relative"] * len(steps) + ["total"],
        increasing_marker_color=GREEN, decreasing_marker_color=RED, totals_marker_color=INK,
        connector_line={"color": "#b6bec6", "width": 1},
        text=[_signed(units / scale) for _, units in steps] + ["0"],
        textposition="outside", textfont={"size": 12}, cliponaxis=False, showlegend=False,
        hovertemplate="%{y}<br>%{delta:,.3f} " + unit + "<extra></extra>",
    )
    _styled(figure, 420)
    figure.update_layout(margin={"l": 160, "t": 12, "r": 48})
    # Labels of falling steps stand left of them: room beyond zero keeps them off the names.
    reach = max((abs(units) for _, units in steps), default=1) / scale
    figure.update_xaxes(
        title_text=unit, showgrid=True, tickangle=0, range=[-0.24 * reach, 1.18 * reach]
    )
    figure.update_yaxes(
        autorange="reversed", ticks="", showgrid=False, tickfont={"color": INK, "size": 12}
    )
    return _fits(figure, {
        "margin.l": 136, "margin.r": 8, "xaxis.range": [-0.5 * reach, 1.5 * reach],
        "xaxis.nticks": 4,
    })


def _signed(value: float) -> str:
    digits = 2 if abs(value) < 100 and value != round(value) else 0
    return f"{value:+,.{digits}f}".replace("-", MINUS)


def _scale(units: int) -> tuple[float, str]:
    """What to divide money units by for an axis that reaches `units`, and the axis's unit."""
    value = abs(units) / 1e8
    if value >= 1e6:
        return 1e14, "M USD"
    return (1e11, "k USD") if value >= 1e4 else (1e8, "USD")


def figures(run: Run, statistics: Statistics) -> dict[str, str]:
    """Each figure as an HTML fragment that finds plotly.js already loaded, by name."""
    made = {
        "price": _price_figure(run, statistics),
        "fund": _fund_figure(run, statistics),
        "levels": _levels_figure(run, statistics),
        "losers": _loser_figure(statistics),
        "waterfall": _waterfall_figure(statistics),
    }
    config = {"displaylogo": False, "responsive": True, "displayModeBar": False}
    return {
        name: figure.to_html(
            full_html=False, include_plotlyjs=False, div_id=f"figure-{name}", config=config
        )
        for name, figure in made.items()
    }


def report_context(run: Run, s: Statistics) -> dict[str, Any]:
    """Everything the page says in words and tables."""
    tape, found = run.tape, s.liquidations
    start = _path_start(run)
    fund = s.fund
    bridge = [
        ("At the start", fund.start_units, True),
        ("Liquidation fees", fund.liquidation_fees_units, False),
        ("Surplus of liquidated units", fund.surplus_units, False),
        ("Deficits paid", fund.deficits_paid_units, False),
        ("Positions taken over", fund.inventory_units, False),
        ("Socialized loss received", fund.socialized_units, False),
        ("Rounding and other", fund.other_units, False),
        ("At the end", fund.end_units, True),
    ]
    worst = sorted(s.by_hour, key=lambda row: -(row.book_units + row.taken_units))[:8]
    return {
        "symbol": run.scenario.contract.symbol,
        "base": run.scenario.contract.base,
        "window": f"{utc_minute(int(tape.timestamps_ns[start]))} to "
        f"{utc_minute(int(tape.timestamps_ns[-1]))} UTC",
        "traders": f"{run.scenario.traders:,}",
        "seed": run.scenario.seed,
        "path_name": run.path_name,
        "tiles": _tiles(run, s),
        "headline": headline_rows(run, s),
        "leverage": [
            (f"{row.leverage}x", f"{row.positions:,}", f"{row.isolated:,}", f"{row.cross:,}",
             f"{(row.isolated + row.cross) / max(1, row.positions):.1%}",
             f"{row.notional_units / 1e14:,.2f}", f"{row.fund_loss_units / 1e8:,.0f}")
            for row in s.by_leverage
        ],
        "hours": [
            (_when(row.start_ns), f"{row.isolated:,}", f"{row.cross:,}",
             f"{row.book_units / 1e14:,.2f}", f"{row.taken_units / 1e14:,.2f}",
             run.scenario.contract.price_text(row.mark_low_ticks), f"{row.waves_max}")
            for row in sorted(worst, key=lambda row: row.start_ns) if row.isolated + row.cross
        ],
        "bridge": [(name, f"{units / 1e8:,.2f}", total) for name, units, total in bridge],
        "blocks": f"{s.waterfall.blocks:,}",
        "weights": ", ".join(f"{lev}x {weight} %" for lev, weight in LEVERAGE_WEIGHTS),
        "count": f"{len(found.minute):,}",
    }


def _tiles(run: Run, s: Statistics) -> list[tuple[str, str, str]]:
    """(what, figure, note) of the six figures on top of the page."""
    found, worst, fund = s.liquidations, s.cascade, s.fund
    fall = s.index_low[0] / int(run.tape.index_ticks[0]) - 1
    notional = int(found.notional_units.sum())
    return [
        ("Index low", f"{run.scenario.contract.price_text(s.index_low[0])} USD",
         f"{fall:+.1%} from the start, {_when(s.index_low[1])}".replace("-", MINUS)),
        ("Liquidated", _money(notional), f"{len(found.minute):,} units, "
         f"{int(found.isolated.sum()):,} of them isolated"),
        ("Worst 10 minutes", _money(worst.notional_units) if worst else "none",
         f"{worst.liquidations:,} units from {_when(worst.start_ns)}" if worst else ""),
        ("Insurance fund", _money(fund.end_units),
         f"from {_money(fund.start_units)}, lowest {_money(fund.minimum_units)}"),
        ("Socialized loss", _money(s.sessions.socialized_units),
         f"of {_money(s.sessions.uncovered_units)} uncovered"),
        ("Audit residual", f"{run.audit['USD']}", "money units, over all accounts and the fund"),
    ]
