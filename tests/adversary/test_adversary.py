"""Three colluding accounts take nothing out of the fund that the rules do not give away.

The search is the same that runs for as long as anybody likes: `tests/adversary/actor.py`.
"""

from __future__ import annotations

from collections import Counter

import actor
import pytest
import reference.matching
import reference.money
from actor import Allowed, Game, allowed_loss, make_world, play, search, shortest
from driver import ModelSide
from reference.codes import Kind, Tif
from reference.records import Command
from worlds import BUY, SELL

USD = 10**8


def test_three_friends_win_nothing_beyond_market_gap_and_work_off() -> None:
    """O7, Q3 to Q6, S2, C5: after every command of every game."""
    by_rule: Counter[str] = Counter()
    for seed in range(1, 6):
        result = search(seed, lambda games: games >= 120)
        assert not result.game.hole, actor.show(result.game)
        assert result.score <= actor.DUST * 100
        by_rule |= result.by_rule
    # They did reach the fund by every way there is, so that a hole would have shown.
    assert min(by_rule[name] for name in ("market", "gap", "work_off")) > 10 * USD


def test_a_venue_without_o7_is_robbed_and_the_search_finds_how(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted hole: whoever reduces may leave a debt."""
    monkeypatch.setattr(reference.matching, "is_solvent", lambda *_: True)
    result = search(2, lambda games: games >= 400, make_side=ModelSide)
    assert result.game.hole
    moves = shortest(result.game.world, result.moves, ModelSide)
    assert len(moves) <= 4
    game = play(result.game.world, moves, ModelSide)
    assert "the fund lost" in game.hole
    assert game.fund_loss() > 0


def test_a_venue_that_lets_margin_be_withdrawn_is_robbed_too(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted hole in C5."""
    monkeypatch.setattr(reference.money, "withdrawable_usd",
                        lambda _, unit: max(0, unit.cash))
    result = search(2, lambda games: games >= 400, make_side=ModelSide)
    assert result.game.hole


def test_a_gap_costs_the_fund_exactly_the_deficit() -> None:
    """Q6: 100 lots, 6,000 USD, 100x; a mark 10 % lower leaves 600 USD loss less the margin."""
    game = Game(make_world(1_000))
    for account, side in ((0, BUY), (1, SELL)):
        game.send(kind=Kind.NEW_ORDER, account=account, contract=0, side=side, qty_lots=100,
                  order_type=1, price_ticks=60_000, time_in_force=Tif.GTC,
                  exec_flags=4 if side == BUY else 0, leverage=100 if side == BUY else 0)
    cash = game.books.dump["blocks"][0]["cash_units"]
    gap = Command(kind=Kind.MARK, contract=0, mark_ticks=540_000)
    assert allowed_loss(game.books, gap) == Allowed(0, 600 * USD - cash, 0)
    game.send(kind=Kind.MARK, contract=0, mark_ticks=540_000)
    assert game.fund_loss() == 600 * USD - cash
    assert not game.hole
