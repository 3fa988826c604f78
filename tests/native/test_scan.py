"""The native scan agrees with its obvious twin, with the reader that parses what it found, and with Python's csv."""

from __future__ import annotations

import csv
import io
import threading
import time

import pyarrow as pa
import pyarrow.csv as pc_csv
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scan_oracle import marks_of, records_of

from runner.dataset._scan import RecordScan

pa.enable_signal_handlers(False)  # as in the reader of text, see there

COMMA, QUOTE, NONE = ord(","), ord('"'), -1
LETTERS = {
    "csv": (COMMA, QUOTE),
    "tsv": (ord("\t"), QUOTE),
    "unquoted": (COMMA, NONE),
    "json lines": (NONE, NONE),
}
hostile = st.lists(st.sampled_from([b'"', b",", b"\n", b"\r", b"a", b"\t", b" ", b'""', b'","', b'"\n"', b"x" * 61]))
hostile_text = hostile.map(b"".join)


def _scanned(text: bytes, letters: tuple[int, int], cuts: list[int], mark_bytes: int, offset: int = 0) -> RecordScan:
    records = RecordScan(*letters, mark_bytes=mark_bytes, offset=offset)
    ends = sorted({min(cut, len(text)) for cut in cuts} | {len(text)})
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        records.feed(text[start:end])
    return records


@pytest.mark.parametrize("kind", LETTERS)
@given(text=hostile_text, cuts=st.lists(st.integers(0, 400), max_size=6), mark_bytes=st.integers(1, 200))
@example(text=b'a"b,"c\n' * 40, cuts=[], mark_bytes=1)
@example(text=b'"a""b","c\r\n"\r\n' * 40, cuts=[63, 64, 65], mark_bytes=64)
def test_any_cut_into_blocks_gives_what_the_twin_gives(
    kind: str, text: bytes, cuts: list[int], mark_bytes: int
) -> None:
    letters = LETTERS[kind]
    begins, is_in_quotes = records_of(text, *letters)
    records = _scanned(text, letters, cuts, mark_bytes)
    assert records.row_count == len(begins)
    assert records.marks == marks_of(begins, mark_bytes)
    assert records.last_mark == (records.marks[-1] if begins else None)
    assert records.is_in_quotes == is_in_quotes


@pytest.mark.parametrize("kind", LETTERS)
@given(data=st.binary(max_size=600), mark_bytes=st.integers(1, 100))
def test_any_bytes_are_scanned_like_the_twin_does(kind: str, data: bytes, mark_bytes: int) -> None:
    begins, is_in_quotes = records_of(data, *LETTERS[kind])
    records = _scanned(data, LETTERS[kind], [], mark_bytes)
    assert (records.marks, records.is_in_quotes) == (marks_of(begins, mark_bytes), is_in_quotes)


def _rows_read(text: bytes) -> int:
    """Records that the reader sees, ragged ones included."""
    ragged = []
    names = [f"c{number}" for number in range(3)]
    table = pc_csv.read_csv(
        io.BytesIO(text),
        read_options=pc_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1),
        parse_options=pc_csv.ParseOptions(
            newlines_in_values=True, invalid_row_handler=lambda row: ragged.append(row) or "skip"
        ),
        convert_options=pc_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.binary())),
    )
    return table.num_rows + len(ragged)


@given(text=hostile_text)
@example(text=b'"ab"c"\nx,y,z\n')
@example(text=b'a,b"c\nd",e,f\n')
@example(text=b"\r\n\r\r\n\n")
def test_records_are_those_of_the_reader(text: bytes) -> None:
    records = _scanned(text, LETTERS["csv"], [], 1)
    if records.is_in_quotes or not text:
        return
    assert records.row_count == _rows_read(text)


@given(text=hostile_text, mark_bytes=st.integers(1, 100))
def test_parsing_can_begin_at_every_mark(text: bytes, mark_bytes: int) -> None:
    records = _scanned(text, LETTERS["csv"], [], mark_bytes)
    if records.is_in_quotes:
        return
    ends = [*records.marks[1:], (records.row_count, len(text))]
    for (row, start), (end_row, end) in zip(records.marks, ends, strict=False):
        assert _rows_read(text[start:end]) == end_row - row


fields = st.text(st.sampled_from('ab",\n\r é'), max_size=12)


@given(
    rows=st.lists(st.lists(fields, min_size=2, max_size=2), max_size=30),
    line_end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
)
def test_records_of_well_formed_text_are_those_of_pythons_csv(
    rows: list[list[str]], line_end: str, quoting: int
) -> None:
    if quoting == csv.QUOTE_MINIMAL:  # which leaves a carriage return bare where lines end without one
        rows = [[field.replace("\r", "") for field in row] for row in rows]
    written = io.StringIO()
    csv.writer(written, lineterminator=line_end, quoting=quoting).writerows(rows)
    text = written.getvalue().encode()
    assert list(csv.reader(io.StringIO(written.getvalue(), newline=""))) == rows
    assert _scanned(text, LETTERS["csv"], [17, 64], 8).row_count == len(rows)


def test_a_record_larger_than_many_marks_has_one() -> None:
    text = b"a,b\n" + b'"' + b"x\n" * 5_000 + b'",1\nc,d\n'
    assert _scanned(text, LETTERS["csv"], [100, 5_000], 4).marks == [(0, 0), (1, 4), (2, len(text) - 4)]


def test_offsets_count_from_where_scanning_began() -> None:
    assert _scanned(b"a\nb\n", LETTERS["csv"], [], 1, offset=10).marks == [(0, 10), (1, 12)]


def test_lines_of_white_space_are_records_of_csv_and_none_of_json_lines() -> None:
    text = b"  \n\t\n {}\n" * 20
    assert _scanned(text, LETTERS["csv"], [], 1).row_count == 60
    assert _scanned(text, LETTERS["json lines"], [], 1).row_count == 20


def test_marks_need_a_distance() -> None:
    with pytest.raises(ValueError, match="marks every 0 bytes"):
        RecordScan(COMMA, QUOTE, mark_bytes=0)


def test_others_run_while_a_block_is_scanned() -> None:
    """A scan that kept the GIL would let nothing happen between its beginning and its end."""
    block = b'"ab","c""d"\n' * (1 << 22)
    ticks: list[float] = []
    is_over = threading.Event()

    def tick() -> None:
        while not is_over.wait(0.0005):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.monotonic()
    RecordScan(COMMA, QUOTE, mark_bytes=len(block)).feed(block)
    end = time.monotonic()
    is_over.set()
    thread.join()
    assert [moment for moment in ticks if start < moment < end]
