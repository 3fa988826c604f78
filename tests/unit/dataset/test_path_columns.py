"""Columns from folder names."""

from __future__ import annotations

import os

import pytest

from runner.dataset.path_columns import path_columns


@pytest.mark.parametrize(
    ("below", "columns"),
    [
        ("a.parquet", {}),
        ("year=2024/month=01/a.parquet", {"year": "2024", "month": "01"}),
        ("plain/k=v/a.parquet", {"k": "v"}),
        ("k=a%20b%2Fc/a.parquet", {"k": "a b/c"}),
        ("k=__HIVE_DEFAULT_PARTITION__/a.parquet", {"k": None}),
        ("k=/a.parquet", {"k": ""}),
        ("k=1=2/a.parquet", {"k": "1=2"}),
        ("=v/a.parquet", {}),
        ("k=v.parquet", {}),
    ],
)
def test_folders_with_an_equals_sign_are_columns(below: str, columns: dict[str, str | None]) -> None:
    assert path_columns("/data", f"/data/{below}") == columns


def test_folders_above_the_input_do_not_count() -> None:
    assert path_columns("/x=1/data", "/x=1/data/a.parquet") == {}
    assert path_columns("/x=1/a.parquet", "/x=1/a.parquet") == {}


def test_bytes_that_are_no_utf8_are_shown() -> None:
    assert path_columns("/d", "/d/k=" + os.fsdecode(b"\xff") + "/a") == {"k": "\\xff"}
    assert path_columns("/d", "/d/k=%FF/a") == {"k": "\\xff"}
