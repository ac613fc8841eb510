"""Files of a run: every event as Parquet, a summary as JSON, one self-contained HTML report.

All files are made in a directory of their own beside the target and moved in when they are whole:
a run that fails leaves nothing half written.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from perpcore import scenario
from perpcore.codes import Code, EventKind
from perpcore.drive import BASIS_PARTS, MARK_BOUND_E4, Run, Tape
from perpcore.prices import InputError
from perpcore.scenario import LEVERAGE_WEIGHTS
from perpcore.statistics import Statistics, minutes_of

EVENTS_FILE, SUMMARY_FILE, REPORT_FILE = "events.parquet", "summary.json", "report.html"
_EXTRA = "pip install 'perpcore[report]'"


def check_out(out: Path) -> None:
    """Raise InputError before the run if its files could not be written to `out` after it."""
    try:
        import jinja2  # noqa: F401
        import plotly  # noqa: F401
        import pyarrow  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError("--out", f"{error.name} is not installed", _EXTRA) from None
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}", "is an existing file", "name a directory, new or existing")
    for name in (EVENTS_FILE, SUMMARY_FILE, REPORT_FILE):
        if (out / name).is_dir():
            raise InputError(
                f"--out {out}", f"{name} in it is a directory", "remove it, or name another place"
            )
    nearest = out.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InputError(f"--out {out}", f"{nearest} is a file", "name a directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"--out {out}", f"{nearest} cannot be written to", "name another place")


def write_output(out: Path, run: Run, statistics: Statistics, seconds: float) -> list[Path]:
    """Write events, summary and report into `out`; returns their paths.

    `out` is made if it is absent; other files in it are left alone. Raises InputError when the
    disk refuses, with nothing half written.
    """
    check_out(out)
    staged: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.absolute().parent))
        write_events(staged / EVENTS_FILE, run.tape)
        summary = summary_dict(run, statistics, seconds)
        text = json.dumps(summary, indent=2) + "\n"
        (staged / SUMMARY_FILE).write_text(text, encoding="utf-8")
        page = report_html(run, statistics)
        (staged / REPORT_FILE).write_text(page, encoding="utf-8")
        out.mkdir(exist_ok=True)
        for name in (EVENTS_FILE, REPORT_FILE, SUMMARY_FILE):
            os.replace(staged / name, out / name)
    except OSError as error:
        raise InputError(
            f"--out {out}", f"cannot be written ({error.strerror})", "make room, or name another"
        ) from None
    finally:
        if staged is not None:
            shutil.rmtree(staged, ignore_errors=True)
    return [out / name for name in (EVENTS_FILE, SUMMARY_FILE, REPORT_FILE)]


def write_events(file: Path, tape: Tape) -> None:
    """Write all events to Parquet: the fields of EVENT, the time (to the minute), kind by name."""
    import pyarrow as pa
    from pyarrow import parquet

    events = tape.events
    names: tuple[str, ...] = events.dtype.names or ()
    minute_ns = tape.timestamps_ns[minutes_of(tape, events)]
    kinds = {int(kind): kind.name for kind in EventKind}
    kind_names = pa.array([kinds.get(i, "") for i in range(max(kinds) + 1)])
    columns: dict[str, Any] = {
        "time": pa.array(minute_ns, pa.timestamp("ns", tz="UTC")),
        "kind_name": pa.DictionaryArray.from_arrays(
            pa.array(events["kind"].astype(np.int8)), kind_names
        ),
    }
    columns |= {name: pa.array(np.ascontiguousarray(events[name])) for name in names}
    # Dictionaries where values repeat; on the others they only cost time.
    repeating = ["time", "kind_name", "account", "contract", "kind", "reason", "ledger", "flags"]
    parquet.write_table(
        pa.table(columns), file, compression="zstd", compression_level=1, use_dictionary=repeating
    )


def usd_text(units: int) -> str:
    """Money units as exact decimal USD, the way JSON should carry money."""
    sign, (whole, rest) = "-" if units < 0 else "", divmod(abs(units), 10**8)
    return f"{sign}{whole}.{rest:08d}"


def _plain(value: Any, name: str = "") -> Any:
    """Statistics as JSON values: money as exact strings, other numbers as they are."""
    if isinstance(value, dict):
        return {
            key.replace("_units", "_usd"): _plain(item, key) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(item, name) for item in value]
    if isinstance(value, np.integer):
        value = int(value)
    return usd_text(value) if name.endswith("_units") else value


def summary_dict(run: Run, s: Statistics, seconds: float) -> dict[str, Any]:
    """The run as JSON values; all but `speed` is the same for the same seed and prices."""
    contract, found = run.scenario.contract, s.liquidations
    return {
        "scenario": {
            "contract": contract.symbol,
            "prices": run.path_name,
            "traders": run.scenario.traders,
            "seed": run.scenario.seed,
            "fund_usd": run.scenario.fund_usd,
            "leverage_weights_percent": {str(lev): weight for lev, weight in LEVERAGE_WEIGHTS},
            "assumptions": assumptions(),
            "mark_rule": mark_rule(),
            "mark_tick_usd": str(contract.mark_tick),
            "prices_rounded": run.prices_rounded,
        },
        "index_low": {"ticks": s.index_low[0], "time_ns": s.index_low[1]},
        "mark_low": {"ticks": s.mark_low[0], "time_ns": s.mark_low[1]},
        "open_interest": {
            "peak_usd": usd_text(s.open_interest_peak[0]),
            "peak_ns": s.open_interest_peak[1],
            "end_usd": usd_text(s.open_interest_end_units),
        },
        "liquidations": {
            "liquidated": len(found.minute),
            "isolated": int(found.isolated.sum()),
            "cross": int((~found.isolated).sum()),
            "notional_usd": usd_text(int(found.notional_units.sum())),
            "taken_over": int((found.taken_units > 0).sum()),
            "taken_over_usd": usd_text(int(found.taken_units.sum())),
            "taken_over_loss_usd": usd_text(int(found.take_over_loss_units.sum())),
            "by_leverage": [_plain(asdict(row)) for row in s.by_leverage],
            "by_hour": [_plain(asdict(row)) for row in s.by_hour],
            "worst_cascade": None if s.cascade is None else _plain(asdict(s.cascade)),
        },
        "fund": _plain(asdict(s.fund)),
        "sessions": _plain(asdict(s.sessions)),
        "margin_calls": s.margin_calls,
        "largest_losers": [_plain(asdict(row)) for row in s.losers],
        "liquidated_block_margin": {
            "blocks": s.waterfall.blocks,
            "steps": [{"step": name, "usd": usd_text(units)} for name, units in s.waterfall.steps],
        },
        "result": {
            "traders_usd": usd_text(s.traders_pnl_units),
            "makers_usd": usd_text(s.makers_pnl_units),
            "trading_fees_usd": usd_text(s.fees_units),
        },
        "refusals": {f"{code} {Code(code).name}": count for code, count in s.rejects.items()},
        "audit": run.audit,
        "state_hash": f"{run.state_hash:016x}",
        "events": len(run.tape.events),
        "commands": run.commands,
        "speed": {
            "seconds": round(seconds, 3),
            "core_seconds": round(run.engine_seconds, 3),
            "commands_per_second": round(run.commands / seconds),
            "liquidations_per_second": round(len(found.minute) / seconds),
        },
    }


def assumptions() -> dict[str, int]:
    """The numbers of scenario.py that decide most, with their units in their names."""
    return {
        "isolated_percent": scenario.ISOLATED_PERCENT,
        "cross_percent": scenario.CROSS_PERCENT,
        "long_first_percent": scenario.LONG_FIRST_PERCENT,
        "long_later_percent": scenario.LONG_LATER_PERCENT,
        "notional_max_usd": scenario.NOTIONAL_MAX_USD,
        "makers": scenario.MAKERS,
        "maker_capital_usd_a_trader": scenario.MAKER_CAPITAL_USD,
        "makers_depth_usd_a_trader_and_side": scenario.MAKER_DEPTH_USD,
        "work_off_cents_a_trader_and_mark": scenario.WORK_OFF_CENTS,
    }


def mark_rule() -> str:
    """The mark rule of a scenario in one sentence."""
    return (
        "The mark is the median of index, last price, and index + basis, at most "
        f"{MARK_BOUND_E4 / 100:g} % from the index; the basis moves by 1/{BASIS_PARTS} toward "
        "(last - index) at each mark."
    )


def report_html(run: Run, statistics: Statistics) -> str:
    """The report as one HTML page that needs no network: plotly.js is inside, once."""
    import jinja2
    from plotly.offline import get_plotlyjs

    from perpcore.plots import figures, report_context

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("cascade.html.j2")
    context = report_context(run, statistics)
    return template.render(
        plotly_js=get_plotlyjs(), figures=figures(run, statistics), mark_rule=mark_rule(), **context
    )
