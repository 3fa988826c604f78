"""What is told of exceptions, and what is said between worker and instance."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.worker.blame import MESSAGE_BYTES, TRACEBACK_BYTES, cut_text, describe
from runner.worker.context import MiniBatchContext
from runner.worker.entry import takes_context
from runner.worker.messages import MAX_PACKET_BYTES, Failed, Lend, decode_from_worker, decode_to_worker, encode


@given(st.text(), st.integers(100, 300))
def test_texts_are_cut_to_printable_utf8_of_bounded_size(text: str, limit: int) -> None:
    cut = cut_text(text * 20, limit)
    assert len(cut.encode()) <= limit + 8
    assert all(c >= " " or c in "\n\t" for c in cut)


def test_short_texts_stay_as_they_are() -> None:
    assert cut_text("a line\n\tand ünïcode", 100) == "a line\n\tand ünïcode"


def test_begin_and_end_of_a_long_text_are_kept() -> None:
    cut = cut_text("begin" + "x" * 10_000 + "end", 1000)
    assert cut.startswith("begin")
    assert cut.endswith("end")
    assert "left out" in cut


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as found:  # noqa: BLE001 - the test's own
        return found


class Nasty(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


def test_an_exception_whose_text_raises_is_told_all_the_same() -> None:
    blame = describe(raised(Nasty()))
    assert "Nasty" in blame.exception_type
    assert "raised RuntimeError" in blame.message
    assert "test_texts.py" in blame.traceback


def test_builtin_types_have_their_plain_name_and_others_their_module() -> None:
    assert describe(raised(ValueError("x"))).exception_type == "ValueError"
    assert describe(raised(Nasty())).exception_type.endswith("test_texts.Nasty")


def test_causes_and_groups_are_part_of_the_traceback() -> None:
    error = raised(ValueError("outer"))
    error.__cause__ = raised(KeyError("inner"))
    assert "KeyError: 'inner'" in describe(error).traceback
    group = raised(ExceptionGroup("several", [raised(KeyError("one")), raised(OSError("two"))]))  # type: ignore[list-item] # exceptions
    assert "two" in describe(group).traceback


def test_a_chain_without_end_is_told() -> None:
    first, second = raised(ValueError("a")), raised(ValueError("b"))
    first.__cause__, second.__cause__ = second, first
    assert "ValueError: a" in describe(first).traceback


@given(st.text(min_size=1))
def test_the_longest_failure_fits_a_packet(text: str) -> None:
    message = Failed(
        lease=2**60,
        mini_batch=2**60,
        attempt=65_535,
        item_count=2**60,
        is_read=True,
        exception_type=cut_text(text * 1000, 256),
        message=cut_text('"' * 10**6, MESSAGE_BYTES),
        traceback=cut_text('\\"' * 10**6, TRACEBACK_BYTES),
    )
    packet = encode(message)
    assert len(packet) < MAX_PACKET_BYTES
    assert decode_from_worker(packet) == message


def test_messages_name_their_kind() -> None:
    lend = Lend(lease=1, ledger_path="/l", spool="/s", payload="", first=0, end=9)
    assert decode_to_worker(encode(lend)) == lend
    assert b'"type":"lend"' in encode(lend)


def test_a_context_prints_and_pickles() -> None:
    context = MiniBatchContext(7, 2, "data", {"Store": "1"})
    again = pickle.loads(pickle.dumps(context))
    assert (again.minibatch_index, again.retry_count, again.dataset) == (7, 2, "data")
    assert again.partition_key_value == {"Store": "1"}
    assert "minibatch_index=7" in str(again)


class Callable:
    def __call__(self, batch: Any, context: Any) -> None: ...
    def method(self, batch: Any) -> None: ...


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (lambda batch: None, False),
        (lambda batch, context: None, True),
        (lambda batch, any_name=None: None, True),
        (lambda batch, *, context=None: None, False),
        (lambda batch, **more: None, False),
        (lambda batch, *more: None, False),
        (lambda *batches: None, False),
        (Callable(), True),
        (Callable().method, False),
        (len, False),
    ],
)
def test_the_context_is_for_a_second_positional_parameter(run: Any, expected: bool) -> None:
    assert takes_context(run) is expected
