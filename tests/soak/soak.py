"""`make soak`: model and engine side by side for SOAK_MINUTES (30), on all cores.

    SOAK_MINUTES=30 SOAK_SEED=1000 .venv/bin/python tests/soak/soak.py

Each seed is a world and a swarm: it turns some kinds of commands off and others up, so that what a
fixed mix seldom meets is met often. Half of the seeds are played command by command, with a preview
before each and all invariants after it; the others in batches that are cut at random. Prints what
was compared and the coverage matrix; exit code 1 if the sides ever differ (the trace is shrunk and
written to out/soak as Python), 2 if they agree but a cell that can be reached never was.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import conftest  # noqa: F401  puts the driver beside this directory on the path
from cells import Cell, cell, holes, show
from driver import Divergence, EngineSide, ModelSide, Pair, Report, Side
from reference.codes import Ev, Exec, Kind, OrderType, Reason, Tif
from rulebook import draw_rulebook
from shrink import Failure, failure_of, guarded, journal_of, replayer, shrink
from shrink import show as program
from valid_commands import FULL_PROFILE, TRADERS, Fields
from workload import Workload
from worlds import BUY, SELL, Position, Step, World, make_world

COMMANDS = 1_500  # of a seed
ALWAYS = {"quote", "mark", "deposit", "account", "eligibility"}  # without these nothing happens


def world_of(seed: int) -> World:
    """With policies, brackets and triggers in some."""
    return draw_rulebook(make_world(seed), seed)


class Swarm(Workload):
    """A workload with its own mix of commands for each seed."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(world, seed)
        rng = random.Random(f"swarm {seed}")

        def mixed(table: tuple[tuple[int, Any], ...]) -> tuple[tuple[int, Any], ...]:
            found = tuple((weight * rng.choice((0, 1, 1, 1, 3, 6)), maker)
                          if maker.__name__ not in ALWAYS else (weight, maker)
                          for weight, maker in table)
            return found if any(weight for weight, _ in found) else table

        self.valid, self.boundaries = mixed(self.valid), mixed(self.boundaries)
        self.boundaries += ((rng.choice((1, 4)), self.barred), (1, self.crowded),
                            (1, self.astray), (1, self.idle_block), (1, self.called_to_reduce))
        if world.venue.leg_capacity < 100:
            self.boundaries += ((rng.choice((0, 0, 1)), self.roomless),)

    def barred(self) -> list[Fields]:
        """An account may do no more what it did; it tries everything that raises its risk (A2)."""
        owners = [row["account"] for row in self.view.blocks] * 2 + list(TRADERS)
        account = self.rng.choice(owners)
        contract = self.contract()
        profile = self.rng.choice((
            FULL_PROFILE | 1, FULL_PROFILE & ~2, FULL_PROFILE & ~4, FULL_PROFILE & ~8,
            FULL_PROFILE & ~16, FULL_PROFILE & (2**48 - 1), FULL_PROFILE & ~0xFF00 | 1 << 8,
            FULL_PROFILE))
        who = {"kind": Kind.SET_ELIGIBILITY, "account": account}
        where = {"kind": Kind.SET_MARKET_STATE, "contract": contract}
        shut = profile == FULL_PROFILE  # instead the market takes only what reduces
        tries: list[Fields] = [
            {"kind": Kind.SET_LEVERAGE, "account": account, "contract": contract,
             "leverage": self.world.contracts[contract].max_leverage},
            {"kind": Kind.SET_LEVERAGE, "account": account, "contract": contract, "leverage": 1},
            {"kind": Kind.WITHDRAW, "account": account, "currency": 1, "amount_units": 1}]
        for block in self.view.blocks_by(account):
            its = {"account": account, "isolation_id": block["isolation_id"]}
            tries += [
                {**its, "kind": Kind.REMOVE_MARGIN, "amount_units": 1},
                {**its, "kind": Kind.SET_LEVERAGE, "contract": block["contract"],
                 "leverage": min(block["leverage"] + 1,
                                 self.world.contracts[block["contract"]].max_leverage)},
                self.order_of_block(account, block["contract"], block["isolation_id"])]
        self.rng.shuffle(tries)
        change = {**where, "scope": 2} if shut else {**who, "profile": profile}
        back = {**where, "scope": 0} if shut else {**who, "profile": FULL_PROFILE}
        return [change, *tries, back]

    def crowded(self) -> list[Fields]:
        """As many small orders as an account may have, and one more; client ids come twice."""
        account, contract = self.rng.choice(TRADERS), self.contract()
        price = self.view.price(contract)
        block = self.view.block_on(account, contract)
        flags = Exec.ISOLATED_MARGIN if self.rng.random() < 0.6 else 0
        one: Fields = {
            "kind": Kind.NEW_ORDER, "account": account, "contract": contract, "side": BUY,
            "qty_lots": 2, "order_type": OrderType.LIMIT, "price_ticks": max(1, price * 97 // 100),
            "time_in_force": Tif.GTC, "exec_flags": flags}
        if flags and block is not None:
            one["isolation_id"] = block["isolation_id"]
        elif flags:
            one["leverage"] = 1
        count = self.world.venue.max_orders_per_account + 1 if not flags or block else 1
        twice = {**one, "client_order_id": self.client_ids or 1}
        return [twice, *[one] * count, {"kind": Kind.CANCEL_ALL, "account": account,
                                        "contract": 65535}]

    def order_of_block(self, account: int, contract: int, number: int) -> Fields:
        return {**self.order(account, contract, self.rng.choice((BUY, SELL)), 2),
                "exec_flags": Exec.ISOLATED_MARGIN, "isolation_id": number}

    def astray(self) -> list[Fields]:
        """Orders for blocks that are not there: where no mark is yet, and where the market is
        halted, something else is said first."""
        account, contract = self.rng.choice(TRADERS), self.contract()
        gone = self.view.dump["next_isolation_id"] + self.rng.choice((-1, 0, 1))
        unmarked = [c for c in range(len(self.world.contracts)) if not self.view.mark(c)]
        where = {"kind": Kind.SET_MARKET_STATE, "contract": contract}
        return [*(self.order_of_block(account, c, gone) for c in unmarked),
                {**where, "scope": 1}, self.order_of_block(account, contract, gone),
                {**where, "scope": 0}]

    def idle_block(self) -> list[Fields]:
        """What a block without a position refuses, and its orders while the market is halted."""
        idle = [block for block in self.view.blocks if not block["qty_lots"]]
        if not idle:
            return []
        block = self.rng.choice(idle)
        contract = block["contract"]
        its = {"account": block["account"], "contract": contract,
               "isolation_id": block["isolation_id"]}
        where = {"kind": Kind.SET_MARKET_STATE, "contract": contract}
        amends = [{"kind": Kind.AMEND, "account": order["account"], "order_id": order["order_id"],
                   "price_ticks": order["price"] + 1} for order in self.view.orders
                  if order["isolation_id"] == block["isolation_id"]]
        return [{**its, "kind": Kind.CLOSE_POSITION, "order_type": OrderType.MARKET},
                {**its, "kind": Kind.SET_LEVERAGE, "leverage": 2, "exec_flags": Exec.POST_ONLY},
                {**where, "scope": 1}, *amends, {**where, "scope": 0}]

    def called_to_reduce(self) -> list[Fields]:
        """Whoever has a margin call sends orders that only reduce."""
        called = [row["account"] for row in self.view.accounts if row["margin_call"]]
        if not called:
            return self.edge_of_margin_call()
        account = self.rng.choice(called)
        return [{**self.order(account, contract, side, 2), "exec_flags": Exec.REDUCE_ONLY}
                for contract in range(len(self.world.contracts)) for side in (BUY, SELL)]

    def roomless(self) -> list[Fields]:
        """Every account sets a leverage on every contract, until no record is left for it."""
        if self.rng.random() < 0.8:
            return []
        return [{"kind": Kind.SET_LEVERAGE, "account": row["account"], "contract": contract,
                 "leverage": 2} for row in self.view.accounts
                for contract in range(len(self.world.contracts))]

    def add_to(self, position: Position, more: int) -> list[Fields]:
        """Or an order that rests already is amended, so that it takes (304)."""
        steps = super().add_to(position, more)
        if not steps or self.rng.random() < 0.6:
            return steps
        mark, quote, order = steps
        away = max(1, quote["price_ticks"] // 50)
        self.client_ids += 1
        rests = {**order, "order_type": OrderType.LIMIT, "client_order_id": self.client_ids,
                 "price_ticks": max(1, quote["price_ticks"] - away if order["side"] == BUY
                                    else quote["price_ticks"] + away)}
        return [rests, mark, quote,
                {"kind": Kind.AMEND, "account": order["account"],
                 "client_order_id": self.client_ids, "price_ticks": quote["price_ticks"]}]

    def edge_close(self) -> list[Fields]:
        """Or an order of the other side closes (310)."""
        steps = super().edge_close()
        if not steps or self.rng.random() < 0.6:
            return steps
        close, quote = steps[-1], steps[-2]
        order: Fields = {"kind": Kind.NEW_ORDER, "account": close["account"],
                         "contract": close["contract"], "side": 3 - quote["side"],
                         "order_type": OrderType.MARKET, "qty_lots": quote["qty_lots"]}
        if close["isolation_id"]:
            order.update(isolation_id=close["isolation_id"], exec_flags=Exec.ISOLATED_MARGIN)
        return [*steps[:-1], order]


@dataclass
class Found:
    """What a seed gives back."""

    seed: int
    report: Report = field(default_factory=Report)
    cells: Counter[Cell] = field(default_factory=Counter)
    failure: Failure | None = None


def play(seed: int, count: int, other: Callable[[World], Side] = EngineSide) -> Found:
    """`count` commands of a seed on both sides."""
    world = world_of(seed)
    pair, workload, found = Pair(world, other(world)), Swarm(world, seed), Found(seed)
    steps = workload.opening()
    closely = seed // 4 % 2 == 0  # half of each kind of world
    try:
        while len(pair.trace) < count:
            for step in steps if closely else ():
                before = pair.state
                codes = Counter(pair.report.pairs)
                pair.play_closely(step)
                note(found, step, pair.report.pairs - codes, before)
            if steps and not closely:
                before, codes = pair.state, Counter(pair.report.pairs)
                pair.play(steps)
                pair.compare()
                if len(steps) == 1:
                    note(found, steps[0], pair.report.pairs - codes, before)
            steps = workload.next(pair.state, pair.model.ask)
    except Divergence as error:
        found.failure = failure_of(error)
    found.report = pair.report
    return found


def note(found: Found, step: Step, pairs: Counter[tuple[int, int]], before: Any) -> None:
    for _, code in pairs:
        found.cells[cell(step.command, code, before)] += 1


def worker(pipe: Connection, count: int) -> None:
    """Play the seeds that come through a pipe."""
    while True:
        seed = pipe.recv()
        if seed is None:
            return
        pipe.send(play(seed, count))


def trace_of(seed: int, count: int) -> list[Step]:
    """The commands of a seed, by the model alone."""
    world = world_of(seed)
    model, workload = ModelSide(world), Swarm(world, seed)
    trace, steps = [], workload.opening()
    while len(trace) < count:
        model.apply(steps)
        trace += steps
        steps = workload.next(model.dump(), model.ask)
    return trace


def hunt(first: int, step: int, seconds: int) -> int:
    """Play every `step`-th seed until the sides differ: exit code 1; 0 when the time is over."""
    until, seed, commands = time.monotonic() + seconds, first, 0
    while time.monotonic() < until:
        print(f"{commands} commands, seed {seed}", flush=True)
        found = play(seed, COMMANDS)
        commands += found.report.pairs.total()
        if found.failure is not None:
            print(f"{commands} commands, seed {seed}: {found.failure.key}", flush=True)
            return 1
        seed += step
    return 0


def written(seed: int, failure: Failure, out: Path, other: Callable[[World], Side] = EngineSide,
            ) -> Path:
    """The failing trace, shrunk, as a program that fails again, and beside it as a command log for
    `perpcore shrink`. A worker that died has left no trace: then it is that of the model."""
    world, steps = world_of(seed), failure.steps or trace_of(seed, COMMANDS)
    short = shrink(journal_of(world, steps), guarded(replayer(other)))
    world, failure = short or (world, replace(failure, steps=tuple(steps)))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"seed_{seed}.py"
    path.write_text(program(world, failure), encoding="utf-8")
    journal_of(world, failure.steps).save(path.with_suffix(".npz"))
    return path


@dataclass
class Soak:
    """All seeds together."""

    first: int
    minutes: float
    jobs: int
    count: int = COMMANDS
    seeds: int = 0
    report: Report = field(default_factory=Report)
    cells: Counter[Cell] = field(default_factory=Counter)
    failures: list[tuple[int, Failure]] = field(default_factory=list)

    def run(self) -> None:
        context, until = get_context("spawn"), time.monotonic() + self.minutes * 60
        busy: dict[Any, tuple[Any, int]] = {}
        told = time.monotonic()

        def start() -> None:
            pipe, end = context.Pipe()
            process = context.Process(target=worker, args=(end, self.count), daemon=True)
            process.start()
            end.close()
            give(pipe, process)

        def give(pipe: Any, process: Any) -> None:
            pipe.send(self.first + self.seeds)
            busy[pipe] = process, self.first + self.seeds
            self.seeds += 1

        for _ in range(self.jobs):
            start()
        while busy:
            for pipe in wait(list(busy)):
                process, seed = busy.pop(pipe)
                try:
                    self.take(pipe.recv())
                except EOFError:
                    self.failures.append((seed, Failure(("signal",), "a worker ended", ())))
                    if time.monotonic() < until:
                        start()
                    continue
                if time.monotonic() < until:
                    give(pipe, process)
                else:
                    pipe.send(None)
            if time.monotonic() - told > 60:
                told = time.monotonic()
                print(f"{max(0, until - told) / 60:.0f} min left: {self.line()}", flush=True)

    def take(self, found: Found) -> None:
        self.report += found.report
        self.cells += found.cells
        if found.failure is not None:
            self.failures.append((found.seed, found.failure))
            print(f"seed {found.seed} differs: {found.failure.text}", flush=True)

    def line(self) -> str:
        events, reasons = self.report.events, self.report.reasons
        return (f"{self.report.pairs.total():,} commands compared in {self.seeds:,} seeds, "
                f"{events[Ev.LIQUIDATED]:,} liquidations, "
                f"{events[Ev.SESSION_SETTLED]:,} sessions, "
                f"{events[Ev.LOSS_UNCOVERED]:,} uncovered losses, "
                f"{reasons[Reason.SOCIALIZED_LOSS]:,} shares of socialized loss, "
                f"{len(self.failures)} failures")


def main() -> int:
    environment = os.environ.get
    soak = Soak(int(environment("SOAK_SEED", "1000")), float(environment("SOAK_MINUTES", "30")),
                os.cpu_count() or 1)
    soak.run()
    print("\n".join(["", "command, code: unit state and how often", *show(soak.cells), "",
                     soak.line()]))
    for seed, failure in soak.failures:
        print(f"seed {seed}: {failure.text}\nwritten: {written(seed, failure, Path('out/soak'))}",
              flush=True)
    missing = holes(soak.cells)
    if missing:
        print(f"{len(missing)} cells that can be reached were not: {', '.join(missing)}")
    return 1 if soak.failures else 2 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
