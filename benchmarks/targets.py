"""What the benchmarks are to reach, case by case, and when a case has reached it.

A time in a target belongs to a machine whose limit loop takes REFERENCE_NS a command on the
standard mix. Here it means so many limit loops: 250 ns are 250 / 16 = 15.6, whatever either side
takes on the machine of this run. What is a ratio or a count in itself is taken as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: Nanoseconds of the limit loop where the targets were set: 14 to 18.
REFERENCE_NS = 16.0
NS = {"ns": 1, "us": 1_000, "ms": 1_000_000}


@dataclass(frozen=True)
class Target:
    """At most (or at least) `bound`, in ns, us or ms, in "limit loops", or in a unit of its own."""

    bound: float
    unit: str
    at_least: bool = False

    @property
    def is_time(self) -> bool:
        return self.unit in NS

    @property
    def value(self) -> float:
        """What a figure's value is compared with; times in limit loops."""
        return self.bound * NS[self.unit] / REFERENCE_NS if self.is_time else self.bound

    @property
    def words(self) -> str:
        """As it was set: "<= 250 ns"."""
        return f"{'>=' if self.at_least else '<='} {self.bound:g} {self.unit}".rstrip()

    def is_met(self, value: float) -> bool:
        return value >= self.value if self.at_least else value <= self.value


LOOPS = "limit loops"

#: By case: a benchmark's name in words, and ": " with the figure's name where it has several.
TARGETS: dict[str, Target] = {
    "book batch in the standard mix": Target(1.3, LOOPS),
    "book one call an order in the standard mix": Target(130, "ns"),
    "venue batch in the standard mix, 1k, half isolated": Target(4, LOOPS),
    "venue batch in the standard mix, 20k, half isolated": Target(5, LOOPS),
    "venue batch in the standard mix, 1M, half isolated": Target(8, LOOPS),
    "latency: book, p99": Target(1.5, "x the limit's"),
    "latency: book, p99.9": Target(1.5, "x the limit's"),
    "latency: venue, 1k, p99.9": Target(1.5, "us"),
    "latency: venue, 20k, p99.9": Target(1.5, "us"),
    "mark that crosses nobody, 1M": Target(25, "ns"),
    "mark that crosses nobody 10M to 1k blocks": Target(1.3, "x 1k blocks"),
    "mark that liquidates 10k with 100 makers, 1M": Target(250, "ns"),
    "mark that liquidates 10k with 100 makers, 10M": Target(250, "ns"),
    "mark that liquidates 10k with 10k isolated makers, 1M": Target(600, "ns"),
    "mark that liquidates 10k with 10k isolated makers, 10M": Target(600, "ns"),
    "mark as one python call": Target(250, "ns"),
    "rekey of a threshold in a batch, 1M": Target(60, "ns"),
    "rekey of a threshold in a batch, 10M": Target(60, "ns"),
    "minutes over cross accounts, 1 to 3 contracts: re-test": Target(400, "ns"),
    "minutes over cross accounts, 1 to 10 contracts: p99 tick": Target(100, "ns"),
    "minutes over cross accounts, 1 to 10 contracts: mean re-tests a tick": Target(100, ""),
    "venue under a storm, amends": Target(3, "x the standard mix"),
    "venue under a storm, self trades": Target(3, "x the standard mix"),
    "venue under a storm, repeated cancels": Target(3, "x the standard mix"),
    "book under hostile flow, jumping": Target(3, "x the standard mix"),
    "book under hostile flow, sparse": Target(4, "x the standard mix"),
    "book under hostile flow, crash": Target(3, "x the standard mix"),
    "book under hostile flow, crowded": Target(4, "x the standard mix"),
    "book under hostile flow, storm": Target(4, "x the standard mix"),
    "book under hostile flow, amends": Target(3, "x the standard mix"),
    "book under hostile flow, repeated": Target(3, "x the standard mix"),
    "steady state: allocations": Target(0, ""),
    "steady state: page faults": Target(0, ""),
    "create order, str": Target(1.5, "us"),
    "create order, Decimal": Target(1.5, "us"),
    "import over importing numpy, the package: import": Target(25, "ms"),
    "import over importing numpy, all that a venue needs: import": Target(25, "ms"),
    "two venues in two threads: venues at once to limit loops at once": Target(
        0.95, "x", at_least=True
    ),
    "margin batch of liquidatable flags": Target(2.5, "ns"),
    "margin batch of im mm and mb": Target(8, "ns"),
    "margin batch with the liquidation price": Target(20, "ns"),
    "margin of one position, is_below_maintenance": Target(150, "ns"),
    "margin of one position, liquidation_mark": Target(150, "ns"),
    "memory of records, 1M: threshold of a block": Target(8, "B"),
    "memory of records, 10M: book order": Target(32, "B"),
    "memory of records, 10M: venue order with all ids": Target(128, "B"),
    "memory of records, 10M: block": Target(128, "B"),
    "memory of records, 10M: threshold of a block": Target(8, "B"),
    "funding": Target(60, "ns"),
    "session settlement with a socialized loss": Target(60, "ns"),
}


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure of a case and its target, if it has one.

    value: in limit loops where `ns` is given, else in `unit`.
    """

    case: str
    one: str
    value: float
    unit: str
    ns: float | None
    limit_ns: float | None
    target: Target | None

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "PASS" if self.target.is_met(self.value) else "short"

    def facts(self) -> dict[str, Any]:
        """For the JSON."""
        return {
            "case": self.case, "one": self.one, "value": self.value, "unit": self.unit,
            "ns": self.ns, "limit_ns": self.limit_ns,
            "target": self.target and self.target.words,
            "target_value": self.target and self.target.value, "verdict": self.verdict,
        }  # fmt: skip


def words(name: str) -> str:
    """A benchmark's name for a person: "test_venue_batch[1k-cross]" is "venue batch, 1k, cross"."""
    name, _, parameters = name.removeprefix("test_").partition("[")
    return ", ".join([name.replace("_", " "), *parameters.rstrip("]").split("-")]).rstrip(", ")


def rows_of(name: str, info: dict[str, Any]) -> Iterator[Row]:
    """The lines of one benchmark: its own ratio if it has one, then its further figures.

    The points of a curve are drawn, not listed.
    """
    case = words(name)
    if "curve" in info:
        return
    if "ratio" in info:
        yield row(case, info["per"], info)
    for figure, facts in info.get("figures", {}).items():
        yield row(f"{case}: {figure}", facts.get("per", ""), facts)


def row(case: str, one: str, facts: dict[str, Any]) -> Row:
    """A figure is {"ratio", "ns", "limit_ns"} beside the limit loop, or {"value", "unit"}."""
    target = TARGETS.get(case)
    if "value" in facts:
        return Row(case, one, facts["value"], facts["unit"], None, None, target)
    beside = facts.get("beside")
    return Row(
        case, one, facts["ratio"], f"x {beside}" if beside else LOOPS, facts["ns"],
        facts["limit_ns"], target,
    )  # fmt: skip
