"""The price map, the order pool and the undo log, each against a dict and byte for byte."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from probes import build_probe

ROOT = Path(__file__).parents[2]
CYTHON_ROOT = ROOT / "cython"


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """The probe module, compiled from the installed rooms as an embedder would compile it."""
    return build_probe("pricemap_probe", tmp_path_factory.mktemp("probe"))


@pytest.mark.parametrize(
    ("max_tick", "pages", "code"),
    [
        (0, 1, 0),
        ((1 << 31) - 1, 1, 0),
        (1 << 31, 1, -1),
        (-1, 1, -1),
        (100, 0, -1),
    ],
)
def test_a_map_takes_ticks_below_two_to_the_31_and_needs_a_page(probe, max_tick, pages, code):
    assert probe.init_code(max_tick, pages) == code


def test_an_empty_map_has_no_minimum_and_no_next(probe):
    m = probe.Map(1000, 4)
    assert (m.minimum(), m.after(0), m.after(1000), m.get(5)) == (-1, -1, -1, None)


@pytest.mark.parametrize("max_tick", [0, 1, 63, 64, 4095, 4096, 262_143, 262_144, 16_777_216])
def test_the_ends_of_every_bitmap_word_are_found(probe, max_tick):
    edges = {0, max_tick} | {
        tick
        for size in (64, 64**2, 64**3, 64**4)
        for tick in (size - 1, size, size + 1, max_tick - size)
        if 0 <= tick <= max_tick
    }
    m = probe.Map(max_tick, 32)
    for tick in edges:
        assert m.put(tick, tick % 1000 + 1) == 0
    assert m.ticks() == sorted(edges)
    for tick in sorted(edges):
        assert m.minimum() == tick
        m.erase(tick)
    assert (m.minimum(), m.pages_used()) == (-1, 0)


def test_the_last_tick_of_the_largest_map_is_reached(probe):
    last = (1 << 31) - 1
    m = probe.Map(last, 2)
    m.put(0, 1)
    m.put(last, 2)
    assert m.ticks() == [0, last]
    m.erase(0)
    assert m.minimum() == last


def test_without_a_page_there_is_room_only_where_a_page_is(probe):
    m = probe.Map(1000, 1)
    assert m.has_room(70)
    m.put(70, 1)
    assert m.has_room(64)
    assert m.has_room(127)
    assert not m.has_room(63)
    assert not m.has_room(128)
    m.erase(70)
    assert m.has_room(128)


def test_a_cell_is_zero_again_when_its_tick_comes_back(probe):
    m = probe.Map(1000, 2)
    m.put(5, 77)
    m.put(6, 78)
    m.erase(5)
    assert m.put(5, 1) == 0
    m.erase(5)
    m.erase(6)
    assert m.put(133, 1) == 0


def test_marks_nest_and_roll_back_newest_first(probe):
    m = probe.Map(1000, 4)
    m.begin()
    start = m.image()
    m.put(100, 1)
    middle, mark = m.image(), m.mark()
    m.put(100, 2)
    m.put(700, 3)
    m.erase(100)
    m.roll_back(mark)
    assert m.image() == middle
    m.roll_back(0)
    assert m.image() == start


@pytest.mark.parametrize(
    ("max_tick", "pages", "steps"),
    [(0, 1, 50), (63, 1, 200), (64, 2, 200), (4095, 10, 300), (5000, 3, 300), (300_000, 40, 100)],
)
def test_random_use_equals_a_dict_and_a_rolled_back_stretch_leaves_no_byte(
    probe, max_tick, pages, steps
):
    rng = random.Random(max_tick)
    m, model = probe.Map(max_tick, pages), {}
    for _ in range(steps):
        is_undone = rng.random() < 0.3
        if is_undone:
            m.begin()
            image, saved = m.image(), dict(model)
        for _ in range(rng.randint(1, 8)):
            tick = rng.choice([rng.randint(0, max_tick), rng.randint(0, min(200, max_tick))])
            if model and rng.random() < 0.5:
                tick = rng.choice(list(model))
                m.erase(tick)
                del model[tick]
            elif m.has_room(tick):
                value = rng.randint(1, 1 << 30)
                assert m.put(tick, value) == model.get(tick, 0)
                model[tick] = value
        if is_undone:
            m.roll_back(0)
            m.end()
            model = saved
            assert m.image() == image
        m.check(model, [0, max_tick, rng.randint(0, max_tick), *list(model)[:3]])


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("near", lambda rng: rng.randint(0, 60)),
        ("any", lambda rng: rng.getrandbits(64)),
        ("same low half", lambda rng: rng.choice([0, 5, 7]) | rng.randint(0, 40) << 32),
        ("strided", lambda rng: rng.randint(0, 60) << 20),
    ],
)
@pytest.mark.parametrize("capacity", [1, 5, 16, 40])
def test_the_pool_finds_what_a_dict_finds_and_rolls_back_every_byte(probe, name, draw, capacity):
    rng = random.Random(capacity)
    pool, model = probe.Pool(capacity), {}
    for _ in range(300):
        is_undone = rng.random() < 0.3
        if is_undone:
            pool.begin()
            image, saved = pool.image(), dict(model)
        for _ in range(rng.randint(1, 6)):
            number = draw(rng)
            if model and rng.random() < 0.45:
                pool.release(model.pop(rng.choice(list(model))))
            elif number not in model:
                slot = pool.take(number)
                assert (slot == probe.NONE) == (len(model) == capacity)
                if slot != probe.NONE:
                    model[number] = slot
        if is_undone:
            pool.roll_back()
            model = saved
            assert pool.image() == image
        assert len(pool) == len(model)
        assert len(set(model.values())) == len(model)
        for number in [*model, draw(rng)]:
            assert pool.find(number) == model.get(number, probe.NONE)
