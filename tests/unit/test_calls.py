"""Single calls: numbers read on a grid, one command by its fields, results read when asked for."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import perpcore as pc
from perpcore import commands
from perpcore.amounts import NotOnGrid, to_steps
from perpcore.codes import Kind
from perpcore.contracts import venue_terms
from perpcore.engine import Engine, EngineBusy, Steps
from perpcore.records import COMMAND, EVENT

KEY = 7
STEPS = [Decimal(step) for step in ("0.1", "0.0001", "0.00000001", "0.25", "5", "1E+1", "0.3", "1")]


# Numbers on a grid -----------------------------------------------------------------------------

plain_digits = st.from_regex(r"-?[0-9]{0,12}\.?[0-9]{0,9}", fullmatch=True)
anything = st.one_of(
    plain_digits,
    st.text(alphabet="0123456789.-+eE_ x\u0663", max_size=24),
    st.decimals(allow_nan=True, allow_infinity=True),
    st.integers(-(10**25), 10**25),
    st.floats(allow_nan=True),
    st.booleans(),
    st.none(),
)


@given(value=anything, step=st.sampled_from(STEPS))
def test_a_number_is_read_as_decimals_read_it_or_not_at_all(value: Any, step: Decimal) -> None:
    """U1: what is read without Decimal arithmetic is what exact decimals say."""
    count = Steps(step).count(value)
    if count is not None:
        assert count == to_steps(value, step, "number")


@given(count=st.integers(-(10**12), 10**12), step=st.sampled_from(STEPS))
def test_plain_digits_on_the_grid_are_read_at_once(count: int, step: Decimal) -> None:
    """U1: as str and as Decimal, so that no order pays for the slow way."""
    value = count * step
    assert Steps(step).count(format(value, "f")) == count
    if "E" not in str(value.normalize()):
        assert Steps(step).count(Decimal(format(value, "f"))) == count


@given(count=st.integers(-(10**12), 10**12), step=st.sampled_from(STEPS))
def test_a_number_between_two_steps_is_left_to_the_one_who_names_them(
    count: int, step: Decimal
) -> None:
    value = Decimal(count) / 1000
    try:
        expected = to_steps(value, step, "number")
    except NotOnGrid:
        assert Steps(step).count(format(value, "f")) is None
    else:
        assert Steps(step).count(format(value, "f")) == expected


@pytest.mark.parametrize(
    "value", ["", ".", "-", "-.", "1.2.3", "1e3", " 1", "+1", "1_0", True, 1.0]
)
def test_other_spellings_are_not_read_here(value: Any) -> None:
    assert Steps(Decimal("0.1")).count(value) is None


def test_an_int_counts_on_every_grid() -> None:
    assert Steps(Decimal("0.1")).count(60_000) == 600_000
    assert Steps(Decimal("5")).count(15) == 3
    assert Steps(Decimal("5")).count(16) is None
    assert Steps(Decimal("0.00000001")).count(10**12) is None


def test_a_step_of_too_many_digits_reads_nothing() -> None:
    assert Steps(Decimal("0.0333333333333333333333333333")).count("1") is None


# One command by its fields ---------------------------------------------------------------------


def engine() -> Engine:
    made = Engine(venue_terms(insurance_fund=1_000, accounts=10, orders=100), KEY)
    made.add_contract(pc.BTCUSD_PERP.terms(), KEY)
    return made


def history() -> np.ndarray[Any, Any]:
    """Administration, money, orders that rest, fill and are refused."""
    t = 10
    everything = pc.Eligibility().profile
    return commands.concat(
        commands.mark(contract=0, mark_ticks=600_000, timestamp_ns=t),
        commands.open_account(account=np.arange(2), timestamp_ns=t),
        commands.set_eligibility(account=np.arange(2), profile=everything, timestamp_ns=t),
        commands.deposit(account=np.arange(2), amount_units=10**13, timestamp_ns=t, caller_tag=5),
        commands.limit(account=0, contract=0, side="SELL", price_ticks=600_000, qty_lots=70,
                       timestamp_ns=t, client_order_id=2**64 - 1),
        commands.market(account=1, contract=0, side="BUY", qty_lots=50, timestamp_ns=t,
                        exec_inst="ISOLATED_MARGIN", leverage=20),
        commands.limit(account=1, contract=0, side="BUY", price_ticks=1, qty_lots=0,
                       timestamp_ns=t),
        commands.add_margin(account=1, isolation_id=1, amount_units=10**9, timestamp_ns=t),
        commands.mark(contract=0, mark_ticks=500_000, timestamp_ns=t + 1),
        commands.tick(timestamp_ns=3),
    )


def test_a_call_does_what_apply_does() -> None:
    """D1: the same events, byte for byte, the refusal's number, the same state."""
    batch, one, other = history(), engine(), engine()
    out = np.zeros(1_000, EVENT)
    codes = []
    for i, fields in enumerate(batch.tolist()):
        code, told = one.call(fields, KEY)
        _, written = other.apply(batch[i : i + 1], out, KEY)
        assert told == out[:written].tobytes()
        assert code == out["code"][:written].max()
        codes.append(code)
        assert one.state_hash() == other.state_hash()
    assert [code for code in codes if code] == [213, 40003]


def test_fields_left_out_at_the_end_are_zero() -> None:
    one, other = engine(), engine()
    assert one.call((5, 0, 0, 0, 0, 0, 0, int(Kind.TICK)), KEY) == other.call(
        commands.tick(timestamp_ns=5)[0].item(), KEY
    )
    assert one.state_hash() == other.state_hash()


def test_a_call_without_a_time_is_one_nanosecond_after_the_last() -> None:
    one = engine()
    one.call((41, 0, 0, 0, 0, 0, 0, int(Kind.TICK)), KEY)
    one.call((None, 0, 0, 0, 0, 0, 0, int(Kind.TICK)), KEY)
    assert one.time_ns == 42


@pytest.mark.parametrize("place", range(len(COMMAND.names or ())))
@pytest.mark.parametrize(
    ("value", "error"),
    [(1.5, TypeError), ("1", TypeError), (2**64, OverflowError), (-(2**63) - 1, OverflowError)],
)
def test_a_field_takes_whole_numbers_of_its_size_only(
    place: int, value: Any, error: type[Exception]
) -> None:
    one = engine()
    fields: list[Any] = [5, 0, 0, 0, 0, 0, 0, int(Kind.TICK), *[0] * 17]
    fields[place] = value
    before = one.state_hash()
    with pytest.raises(error):
        one.call(tuple(fields), KEY)
    assert one.state_hash() == before


@pytest.mark.parametrize("count", [0, 26])
def test_a_call_takes_no_other_number_of_fields(count: int) -> None:
    with pytest.raises(TypeError, match="1 to 25 fields"):
        engine().call((0,) * count)


def test_a_call_waits_for_the_events_of_a_full_apply() -> None:
    one, out, batch = engine(), np.zeros(1, EVENT), history()
    orders = np.flatnonzero(batch["kind"] == Kind.NEW_ORDER)
    for fields in batch[: orders[1]].tolist():
        one.call(fields, KEY)
    assert one.apply(batch[orders[1] :], out, KEY) == (1, 1)
    with pytest.raises(RuntimeError, match="not all read"):
        one.call(batch[orders[1] + 1].item(), KEY)
    while one.apply(batch[:0], out, KEY)[1]:
        pass
    assert one.call(batch[orders[1] + 1].item(), KEY)[0] == 213


def test_who_claims_an_engine_has_it_alone() -> None:
    one = engine()
    one.claim()
    with pytest.raises(EngineBusy):
        one.claim()
    with pytest.raises(EngineBusy):
        one.call((5, 0, 0, 0, 0, 0, 0, int(Kind.TICK)), KEY)
    one.release()
    assert one.call((5, 0, 0, 0, 0, 0, 0, int(Kind.TICK)), KEY)[0] == 0


def test_calls_of_two_threads_never_mix_and_lose_nothing() -> None:
    one, done = engine(), [0, 0]

    def run(mine: int) -> None:
        while done[mine] < 2_000:
            try:
                one.call((None, 0, 0, 0, 0, 0, 0, int(Kind.TICK)), KEY)
            except EngineBusy:
                continue
            done[mine] += 1

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (one.seq, one.time_ns) == (4_000, 4_000)


LIMITS = {
    name: (int(np.iinfo(field[0]).min), int(np.iinfo(field[0]).max))
    for name, field in (COMMAND.fields or {}).items()
}


@given(
    values=st.fixed_dictionaries({name: st.integers(*ends) for name, ends in LIMITS.items()}),
    name=st.sampled_from(list(LIMITS)),
)
def test_a_record_of_numbers_is_the_record_of_arrays_with_one_number(
    values: dict[str, int], name: str
) -> None:
    one = commands.build(**values)
    assert one.tobytes() == commands.build(**values | {name: np.array([values[name]])}).tobytes()
    assert one[0].item() == tuple(values[field] for field in COMMAND.names or ())
    assert one.tobytes() == commands.record(one[0].item()).tobytes()
    for value in (LIMITS[name][0] - 1, LIMITS[name][1] + 1):
        with pytest.raises(ValueError, match=f"{name}: .* is not within"):
            commands.build(**values | {name: value})


# create_order and its result -------------------------------------------------------------------


@pytest.fixture
def ann() -> pc.Account:
    venue, _ = pc.Venue.demo()
    return venue.account("ann", deposit={"USD": 100_000})


def order(ann: pc.Account, **more: Any) -> pc.OrderResult:
    return ann.create_order("BTCUSD-PERP", "BUY", "0.5", type="MARKET", **more)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"client_oid": 1.5}, TypeError, "client_order_id: whole numbers are needed"),
        ({"client_oid": -1}, ValueError, "client_order_id: -1 is not within 0 to"),
        ({"client_oid": 2**64}, ValueError, "client_order_id"),
        ({"leverage": 20.0}, TypeError, "leverage: whole numbers are needed"),
        ({"leverage": 2**16}, ValueError, "leverage: .* is not within 0 to 65535"),
        ({"isolation_id": "3"}, TypeError, "isolation_id"),
        ({"timestamp_ns": "now"}, TypeError, "timestamp_ns"),
        ({"exec_inst": ["POST_ONLY", "SOON"]}, pc.Unknown, "219 .*'SOON' is not one of"),
        ({"stp_inst": "X"}, pc.Unknown, "stp_inst: 'X' is not one of"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_sent(
    ann: pc.Account, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    before = ann._core.engine.seq
    with pytest.raises(error, match=words):
        order(ann, **options)
    assert ann._core.engine.seq == before


def test_numpy_integers_are_numbers_too(ann: pc.Account) -> None:
    result = order(ann, client_oid=np.uint64(9), exec_inst="ISOLATED_MARGIN", leverage=np.int64(20))
    assert result.client_oid == 9
    assert ann.isolated("BTCUSD-PERP").leverage == 20


def test_words_are_read_in_either_case_and_as_several(ann: pc.Account) -> None:
    result = ann.create_order(
        "BTCUSD-PERP", "buy", "0.5", price=50_000, time_in_force="gtc",
        exec_inst=["post_only", "ISOLATED_MARGIN"], leverage=5,
    )
    (live,) = ann.open_orders
    assert (result.side, live.exec_inst) == ("BUY", ("POST_ONLY", "ISOLATED_MARGIN"))


def test_a_result_is_what_its_events_say_whenever_it_is_read(ann: pc.Account) -> None:
    early, late = order(ann), order(ann)
    assert early.order_id + 1 == late.order_id
    names = [field.name for field in dataclasses.fields(pc.OrderResult)]
    told = {name: getattr(early, name) for name in names}
    order(ann)
    assert {name: getattr(early, name) for name in names} == told
    assert (early.status, early.quantity, early.cumulative_quantity) == (
        "FILLED", Decimal("0.5"), Decimal("0.5")
    )
    assert isinstance(early.events, pc.Events)
    assert early.events.applied == 1
    assert set(early.events["seq"]) == {early.order_id}


def test_a_result_is_a_value_that_nobody_changes(ann: pc.Account) -> None:
    result = order(ann)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.status = "ACTIVE"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="no attribute 'state'"):
        result.state  # noqa: B018
    for twin in (copy.copy(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result)),
                 dataclasses.replace(result)):
        assert twin == result
        assert hash(twin) == hash(result)
        assert repr(twin) == repr(result)
    assert dataclasses.replace(result, status="ACTIVE") != result


def test_the_number_of_a_result_is_that_of_its_order_whatever_else_happened(
    ann: pc.Account,
) -> None:
    """O6: what is due ends first, and its events come before the order's own."""
    now = ann._core.engine.time_ns
    ann.create_order("BTCUSD-PERP", "BUY", 1, price=50_000, time_in_force="GTD", expiry_ns=now + 9)
    result = ann.create_order("BTCUSD-PERP", "BUY", 1, price=50_001, timestamp_ns=now + 9)
    (live,) = ann.open_orders
    amended = ann.amend_order(live.order_id, new_price=50_002)
    assert result.order_id == amended.order_id == live.order_id
    assert (result.quantity, amended.order_id) == (1, live.order_id)
