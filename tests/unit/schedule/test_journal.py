"""The journal: whole records are kept, a torn tail is cut off, any other damage is refused with its offset."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import JournalDamaged
from runner.schedule.journal import Begun, Committed, Journal, Opened, Record, Schema, encode, part_of, replay

RECORDS: list[Record] = [
    Begun(1, "job", "abc"),
    Opened(1, 1.5, "host", 42),
    Schema(0, "schema text"),
    Committed(
        epoch=1, first=0, end=10, part="p-0", size=3, sha256="00", rows=5, schema=0, items=10, failed={"crash": 1}
    ),
    Committed(epoch=1, first=10, end=12, items=2),
]


def written(path: Path) -> list[int]:
    """A journal of RECORDS; the offset at which each record ends."""
    journal = Journal(path, 0)
    ends = []
    for record in RECORDS:
        journal.append([record])
        ends.append(path.stat().st_size)
    journal.close()
    return ends


def test_records_come_back_as_they_were_appended(tmp_path: Path) -> None:
    ends = written(tmp_path / "journal")
    said = replay(tmp_path / "journal")
    assert said.records == RECORDS and said.length == ends[-1] and said.torn_bytes == 0


def test_an_absent_journal_is_empty(tmp_path: Path) -> None:
    assert replay(tmp_path / "journal").records == []


def test_a_tail_torn_at_any_byte_is_cut_off_and_appending_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    ends = written(path)
    whole = path.read_bytes()
    for length in range(ends[-2] + 1, ends[-1]):
        path.write_bytes(whole[:length])
        said = replay(path)
        assert said.records == RECORDS[:-1] and said.length == ends[-2] and said.torn_bytes == length - ends[-2]
    journal = Journal(path, said.length)
    journal.append([RECORDS[-1]])
    journal.close()
    assert path.read_bytes() == whole


def test_any_changed_byte_of_a_whole_record_is_refused_with_its_offset(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    ends = written(path)
    whole = path.read_bytes()
    for index, start in ((0, 0), (3, ends[2]), (4, ends[3])):
        for at in (start, start + 4, start + 20):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(JournalDamaged) as caught:
                replay(path)
            assert caught.value.offset == start, index
            assert str(caught.value).startswith(f"journal: byte {start}: ")


def test_a_record_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    line = encode(RECORDS[0])
    from zlib import crc32

    body = b'{"kind":"later"}'
    path.write_bytes(line + b"%08x %s\n" % (crc32(body), body))
    with pytest.raises(JournalDamaged, match=rf"journal: byte {len(line)}: the record is of no known form"):
        replay(path)


def test_a_journal_that_does_not_begin_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(encode(RECORDS[1]))
    with pytest.raises(JournalDamaged, match="which job"):
        replay(tmp_path / "journal")


def test_a_schema_is_written_once_and_found_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", 0)
    assert journal.number_schema("") == (-1, [])
    number, news = journal.number_schema("a schema")
    assert news == [Schema(number, "a schema")] and journal.number_schema("a schema") == (number, [])
    other = Journal(tmp_path / "other", 0)
    other.know_schema(number, "a schema")
    assert other.number_schema("a schema") == (number, []) and other.number_schema("new")[0] != number
    part = part_of(Committed(epoch=1, first=0, end=1, part="p", schema=number), {number: "a schema"})
    assert part is not None and part.schema == "a schema"
    journal.close()
    other.close()
