"""Files in columns are the same sequence as the files one by one."""

from __future__ import annotations

from array import array

import pytest

from runner.entity.plan import FileList, PlanFile

NAMES = ["/a", "/b\udcff", "/c d"]
ONE_BY_ONE = tuple(PlanFile(path=name, size_bytes=n, mtime_ns=2**60 + n, input=n % 2) for n, name in enumerate(NAMES))


def _columns() -> FileList:
    return FileList(NAMES, array("q", range(3)), array("q", (2**60 + n for n in range(3))), [0, 1, 0])


def test_items_slices_and_length_are_those_of_the_files() -> None:
    files = _columns()
    assert (len(files), list(files), files[-1]) == (3, list(ONE_BY_ONE), ONE_BY_ONE[-1])
    assert files[1:] == ONE_BY_ONE[1:] and files[5:9] == ()
    with pytest.raises(IndexError):
        files[3]


def test_columns_equal_any_sequence_of_the_same_files() -> None:
    assert _columns() == _columns() == ONE_BY_ONE
    assert ONE_BY_ONE == _columns()  # noqa: SIM300 - a tuple is asked first, and asks the other
    assert _columns() != ONE_BY_ONE[:2] and _columns() != ONE_BY_ONE[::-1] and _columns() != 3
