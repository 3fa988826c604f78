"""The native loop and the spool do not know each other, but must mean the same record."""

from __future__ import annotations

from runner.dataset.spool import ENTRY, RECORD
from runner.dispatch import _loop


def test_the_spool_keeps_the_record_of_the_native_loop() -> None:
    assert RECORD == _loop.RECORD


def test_an_entry_begins_with_the_record() -> None:
    assert RECORD.names is not None
    assert ENTRY[list(RECORD.names)].fields == RECORD.fields
    assert ENTRY.itemsize % 8 == 0
