"""The command line: `perpcore cascade`, `verify`, `shrink`, `presets`: options and tables.

Every error that a user can cause ends in one line on stderr and exit code 2.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from perpcore.prices import InputError, bundled_prices, load_prices, utc_minute
from perpcore.scenario import CONTRACTS, MINUTES_BEFORE, Scenario, off_range

if TYPE_CHECKING:
    from perpcore.drive import Run
    from perpcore.presets import Preset
    from perpcore.statistics import Statistics

_SEE_HELP = "see perpcore cascade --help"


Callback = Callable[[click.Context, click.Parameter, str], Any]


def whole_number(low: int, high: int, example: int, unit: str = "") -> Callback:
    """A whole number within bounds; thousands may be set apart by commas or underscores."""

    def convert(_: click.Context, param: click.Parameter, value: str) -> int:
        text = value.replace(",", "").replace("_", "")
        if re.fullmatch(r"\d{1,30}", text) and low <= int(text) <= high:
            return int(text)
        of_unit = f" of {unit}" if unit else ""
        raise InputError(
            param.opts[0],
            f"{value!r} is not a whole number{of_unit} from {low:,} to {high:,}",
            f"try {param.opts[0]} {example}",
        )

    return convert


def contract_symbol(_: click.Context, param: click.Parameter, value: str) -> str:
    """The symbol of a contract that a scenario knows."""
    if value not in CONTRACTS:
        raise InputError(
            param.opts[0], f"{value!r} is not a contract", f"give {' or '.join(CONTRACTS)}"
        )
    return value


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 events that do not fit, or a log that fails; 2 a wrong input, "
    "in one line on stderr; 130 interrupted. In Python: help(perpcore).",
)
def cli() -> None:
    """The trading core of a perpetual-futures venue, from the command line."""


@cli.command()
@click.option("--prices", "prices_file", metavar="FILE", help="One-minute prices: CSV, Parquet or "
              "Feather with a time and a close column. Default: BTC, 2022-01-20 to 24 (bundled).")
@click.option("--contract", "symbol", callback=contract_symbol, default="BTCUSD-PERP",
              metavar="SYMBOL", show_default=True, help="Contract that the prices belong to.")
@click.option("--traders", callback=whole_number(1, 200_000, 20_000), default="20000",
              metavar="N", show_default=True,
              help="Number of traders; makers' capital and depth go with it.")
@click.option("--seed", callback=whole_number(0, 2**63 - 1, 7), default="7", metavar="N",
              show_default=True, help="Draws the traders. The same seed gives the same state hash.")
@click.option("--fund", callback=whole_number(0, 10_000_000_000, 5_000_000, "USD"),
              default="5000000", metavar="USD", show_default=True,
              help="Insurance fund at the start, in USD.")
@click.option("--out", "out_dir", metavar="DIR", help="Write events.parquet, summary.json and "
              "report.html there.")
def cascade(
    prices_file: str | None, symbol: str, traders: int, seed: int, fund: int, out_dir: str | None
) -> None:
    """Drive a venue through a crash.

    Thousands of traders with cross and isolated positions follow a price path through one venue:
    liquidations, insurance fund, sessions, socialized loss. Prints the tables of a risk officer;
    with --out also writes every event and a report that opens in a browser.
    """
    console = Console()
    for option, named in (("--prices", prices_file), ("--out", out_dir)):
        if named is not None and not named.strip():
            raise InputError(option, "names nothing", _SEE_HELP)
    out = Path(out_dir) if out_dir is not None else None
    if out is not None:
        from perpcore.report import check_out

        check_out(out)
    contract = CONTRACTS[symbol]
    path = bundled_prices() if prices_file is None else load_prices(
        prices_file, lambda price: off_range(contract, price)
    )
    scenario = Scenario(traders=traders, seed=seed, fund_usd=fund, contract=contract)
    started = time.perf_counter()
    run = _drive(console, scenario, path)
    from perpcore.statistics import summarize

    statistics = summarize(run)
    seconds = time.perf_counter() - started
    files: list[Path] = []
    if out is not None:
        from perpcore.report import write_output

        # Files first: a reader of the table who closes the pipe early still gets them.
        with console.status("writing events, summary and report"):
            files = write_output(out, run, statistics, seconds)
    print_summary(console, run, statistics, seconds)
    for file in files:
        console.print(f"wrote {file}", highlight=False, soft_wrap=True)


def _drive(console: Console, scenario: Scenario, path: Any) -> Run:
    from perpcore.drive import Drive

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} minutes"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    drive = Drive(scenario, path)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"{scenario.traders:,} traders", total=len(path))
        return drive.run(lambda done, total: progress.update(task, completed=done, total=total))


def usd(units: int, digits: int = 0) -> str:
    """Money units as USD with thousands set apart, rounded for display."""
    return f"{units / 1e8:,.{digits}f} USD"


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 unit, 1,200 units."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def millions(units: int) -> str:
    """Money units in millions of USD, for columns of large numbers."""
    return f"{units / 1e14:,.2f}"


def print_summary(console: Console, run: Run, statistics: Statistics, seconds: float) -> None:
    """The table a risk officer reads: headline figures, then leverage, then the worst hours."""
    console.print(_headline(run, statistics, seconds))
    console.print(_leverage_table(statistics))
    console.print(_hour_table(run, statistics))


def _headline(run: Run, s: Statistics, seconds: float) -> Table:
    contract, tape = run.scenario.contract, run.tape
    start = min(MINUTES_BEFORE, len(tape.timestamps_ns) - 1)
    table = Table(
        title=f"{contract.symbol}, {utc_minute(int(tape.timestamps_ns[start]))} to "
        f"{utc_minute(int(tape.timestamps_ns[-1]))} UTC, {run.scenario.traders:,} traders, "
        f"seed {run.scenario.seed}",
        title_justify="left", show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0),
    )
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in headline_rows(run, s):
        table.add_row(name, value)
    liquidated = len(s.liquidations.minute)
    table.add_row(
        "Speed",
        f"{run.commands:,} commands, {run.commands / max(run.engine_seconds, 1e-9):,.0f} a second "
        f"in the core ({run.engine_seconds:.1f} s), {run.commands / seconds:,.0f} and "
        f"{liquidated / seconds:,.0f} liquidations a second in all ({seconds:.1f} s)",
    )
    return table


def headline_rows(run: Run, s: Statistics) -> list[tuple[str, str]]:
    """(name, value) of each headline figure; the report and the terminal show the same ones."""
    price = run.scenario.contract.price_text
    fund, sessions, found = s.fund, s.sessions, s.liquidations
    isolated = int(found.isolated.sum())
    rows = [
        ("Index low", f"{price(s.index_low[0])} USD at {utc_minute(s.index_low[1])}; lowest mark "
         f"{price(s.mark_low[0])} USD"),
        ("Open interest", f"at most {usd(s.open_interest_peak[0])} "
         f"({utc_minute(s.open_interest_peak[1])}), {usd(s.open_interest_end_units)} at the end"),
        ("Liquidations", f"{count(len(found.minute), 'unit')} ({isolated:,} isolated, "
         f"{len(found.minute) - isolated:,} cross), {usd(int(found.notional_units.sum()))}"),
        ("Taken over by the fund", f"{count(int((found.taken_units > 0).sum()), 'unit')}, "
         f"{usd(int(found.taken_units.sum()))}, at a loss to the mark of "
         f"{usd(int(found.take_over_loss_units.sum()))}"),
        ("Margin calls", f"{s.margin_calls:,}"),
    ]
    worst = s.cascade
    if worst is not None:
        moved = worst.index_far_ticks / worst.index_before_ticks - 1
        rows.append(
            ("Worst cascade", f"{worst.last - worst.first + 1} minutes from "
             f"{utc_minute(worst.start_ns)}: {count(worst.liquidations, 'unit')}, "
             f"{usd(worst.notional_units)}, {count(worst.waves_max, 'wave')} in a minute, index "
             f"{moved:+.2%}, mark up to {price(worst.gap_ticks, '+')} USD off the index")
        )
    rows += [
        ("Insurance fund", f"start {usd(fund.start_units)}, minimum {usd(fund.minimum_units)} "
         f"({utc_minute(fund.minimum_ns)}), end {usd(fund.end_units)}"),
        ("Surpluses received", usd(fund.surplus_units)),
        ("Deficits paid", f"{usd(-fund.deficits_paid_units)}, and "
         f"{usd(-fund.inventory_units)} lost on positions taken over"
         if fund.inventory_units <= 0 else
         f"{usd(-fund.deficits_paid_units)}; {usd(fund.inventory_units)} won on positions "
         "taken over"),
        ("Uncovered loss", f"{usd(sessions.uncovered_units)} in {sessions.uncovered_sessions} of "
         f"{sessions.settled} sessions"),
        ("Socialized loss", f"{usd(sessions.socialized_units)} on "
         f"{count(sessions.socialized_owners, 'winner')}"),
        ("Profits locked", f"{usd(sessions.released_units)} released at settlement, at most "
         f"{usd(sessions.kept_peak_units)} kept after one, {usd(sessions.kept_end_units)} "
         f"kept now; {sessions.withdrawals_refused:,} withdrawals refused"),
        ("Audit residual", f"{run.audit['USD']} USD units, {run.audit['USDC']} USDC units, "
         f"positions {run.audit['positions'][0]} lots"),
        ("State hash", f"{run.state_hash:016x}"),
    ]
    if run.prices_rounded:
        rows.append(("Prices off the grid", f"{run.prices_rounded:,}, taken to the nearest "
                     f"{run.scenario.contract.mark_tick} USD"))
    return rows


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(columns):
        justify: Literal["left", "right"] = "left" if i == 0 else "right"
        table.add_column(column, justify=justify, header_style="dim", no_wrap=i == 0)
    return table


def _leverage_table(s: Statistics) -> Table:
    table = _table(
        "\nLiquidations by leverage", "leverage", "positions", "isolated", "cross", "liquidated",
        "M USD", "fund's loss, USD",
    )
    for row in s.by_leverage:
        share = (row.isolated + row.cross) / row.positions if row.positions else 0.0
        table.add_row(
            f"{row.leverage}x", f"{row.positions:,}", f"{row.isolated:,}", f"{row.cross:,}",
            f"{share:.1%}", millions(row.notional_units), f"{row.fund_loss_units / 1e8:,.0f}",
        )
    return table


def _hour_table(run: Run, s: Statistics, count: int = 8) -> Table:
    table = _table(
        f"\nThe {count} hours with the most liquidated", "hour (UTC)", "isolated", "cross",
        "book, M USD", "fund, M USD", "mark low", "waves",
    )
    worst = sorted(s.by_hour, key=lambda row: -(row.book_units + row.taken_units))[:count]
    for row in sorted(worst, key=lambda row: row.start_ns):
        if row.isolated + row.cross:
            table.add_row(
                utc_minute(row.start_ns), f"{row.isolated:,}", f"{row.cross:,}",
                millions(row.book_units), millions(row.taken_units),
                run.scenario.contract.price_text(row.mark_low_ticks), f"{row.waves_max}",
            )
    return table


@cli.command()
@click.argument("events_file", metavar="EVENTS")
@click.option("--summary", "summary_file", metavar="FILE",
              help="The summary.json of the same run: its figures are compared, too.")
def verify(events_file: str, summary_file: str | None) -> int:
    """Keep the books again from events alone.

    EVENTS is the events.parquet that perpcore cascade --out writes. Every balance, profit, funding
    payment and the ledger's sum is worked out anew, without the venue; exit code 1 at the first
    event that does not fit.
    """
    from perpcore.verify import Fold, against_summary, fold_events, read_rows, read_summary
    from perpcore.verify import table_rows as folded_rows

    summary = None if summary_file is None else read_summary(Path(summary_file))
    console, fold = Console(), Fold()
    with console.status("folding events"):
        finding = fold_events(read_rows(Path(events_file)), fold)
    if finding is not None:
        print(f"perpcore: {events_file}: {finding}", file=sys.stderr)
        return 1
    table = Table(title=f"{events_file}: every event fits", title_justify="left",
                  show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in folded_rows(fold):
        table.add_row(name, value)
    console.print(table)
    wrong = against_summary(fold, summary) if summary is not None else []
    for line in wrong:
        print(f"perpcore: {summary_file}: {line}", file=sys.stderr)
    return 1 if wrong else 0


@cli.command()
@click.argument("log_file", metavar="LOG")
@click.option("--check", "check", metavar="NAME", help="What fails: audit, verify, preview or "
              "split. Default: the first of them that does.")
@click.option("--command", "line", metavar="LINE", help="What fails instead: a program, "
              "'python prog.py {log}', whose exit code is not 0.")
@click.option("--out", "out_file", metavar="FILE", help="Where the short log goes. Default: beside "
              "LOG, with .min in its name.")
def shrink(log_file: str, check: str | None, line: str | None, out_file: str | None) -> int:
    """Make a failing command log short; exit code 1 with the shortest, 0 if it does not fail."""
    from perpcore.journal import Journal
    from perpcore.shrink import judge_of, listing
    from perpcore.shrink import shrink as shortest

    journal, judge = Journal.load(log_file), judge_of(check, line)
    out = Path(out_file) if out_file is not None else Path(log_file).with_suffix(".min.npz")
    if not out.parent.is_dir():
        raise InputError("--out", f"{str(out.parent)!r} is no directory", "make it first")
    if sys.stderr.isatty():
        print(f"shrinking {count(len(journal), 'command')}", file=sys.stderr)
    found = shortest(journal, judge)
    if found is None:
        print(f"{log_file}: {count(len(journal), 'command')}, and nothing fails")
        return 0
    short, failure = found
    short.save(out)
    for words in listing(short):
        print(words)
    print(f"{failure.text}\n{len(short):,} of {count(len(journal), 'command')}; wrote {out}")
    return 1


@cli.command()
def presets() -> None:
    """Show venues' policies side by side.

    Each value carries the number of its source; below stands what a venue does that no policy says.
    perpcore.Venue.create(preset="dydx") makes a venue of one of them.
    """
    from perpcore.presets import NAMES, load, path_of

    loaded = [load(name) for name in NAMES]
    sources = {e.source for preset in loaded for e in preset.entries() if e.source}
    number = {source: n for n, source in enumerate(sorted(sources), 1)}
    # A file or a pipe has no edge at which words would have to be broken.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(_preset_table(loaded, number))
    console.print("Without a number: not known of the venue; the default.")
    for preset in loaded:
        if preset.differs:
            console.print(f"\n{preset.title}: what no policy says")
        for name, entry in preset.differs.items():
            console.print(f"  {name}: {entry.text} ({number[entry.source or '']})", markup=False)
    console.print("\nSources")
    for source, n in number.items():
        console.print(f"  {n}  {source}", markup=False)
    console.print(f"\nfiles: {path_of(NAMES[0]).parent}", soft_wrap=True)


def _preset_table(loaded: list[Preset], number: dict[str, int]) -> Table:
    """A row for each policy and term; what has a source carries its number."""
    table = Table(title="Policies, and terms of contracts", title_justify="left", box=None,
                  pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for preset in loaded:
        table.add_column(preset.name, header_style="dim", overflow="fold")
    terms = dict.fromkeys(name for preset in loaded for name in preset.terms)
    for name in (*loaded[0].values, *terms):
        cells = []
        for preset in loaded:
            entry = preset.values.get(name, preset.terms.get(name))
            if entry is None:
                cells.append("")
            elif entry.source is None:
                cells.append(f"[dim]{entry.text}[/dim]")
            else:
                cells.append(f"{entry.text} ({number[entry.source]})")
        table.add_row(name, *cells)
    return table


def run_cli(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 for events that do not fit or a log that
    fails, 2 for a wrong input, 130 interrupted."""
    try:
        return int(cli.main(args=arguments, prog_name="perpcore", standalone_mode=False) or 0)
    except InputError as error:
        return _fail(str(error))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else _SEE_HELP, err=True)
        return 2
    except click.ClickException as error:
        words = sys.argv[1:] if arguments is None else arguments
        return _fail(f"{error.format_message().rstrip('.')}; {_cure(words)}")
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; nothing was written")
        return 130


def _cure(words: list[str]) -> str:
    """Where the words of a wrong call are explained."""
    if words and words[0] in cli.commands:
        return f"see perpcore {words[0]} --help"
    return f"give {', '.join(sorted(cli.commands))}, or see perpcore --help"


def _fail(message: str) -> int:
    print(f"perpcore: {' '.join(message.split())}", file=sys.stderr)
    return 2
