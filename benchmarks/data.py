"""The data of every benchmark: seeded, made once, kept in a cache folder.

Parquet, zstd, row groups of 125,000 rows, eight float32 and two int64 columns, a million rows a file.
Longer sets are hard links to the same files: what is measured is reading from the page cache.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_FILE = 1_000_000
ROW_GROUP = 125_000
DISTINCT_FILES = 10


def table_set(root: Path, rows: int) -> Path:
    """A folder with `rows` rows (a multiple of a million); made when it is not there."""
    folder = root / f"table-{rows}"
    count = rows // ROWS_PER_FILE
    if rows % ROWS_PER_FILE:
        raise ValueError("rows must be a multiple of 1,000,000")
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        target = folder / f"part-{i:05d}.parquet"
        if not target.exists():
            os.link(_distinct(root, i % DISTINCT_FILES), target)
    return folder


def _distinct(root: Path, number: int) -> Path:
    path = root / "distinct" / f"{number}.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        rng = np.random.default_rng(number)
        first = number * ROWS_PER_FILE
        columns: dict[str, object] = {
            "id": np.arange(first, first + ROWS_PER_FILE, dtype=np.int64),
            "group": rng.integers(0, 1000, ROWS_PER_FILE, dtype=np.int64),
        }
        columns |= {f"x{i}": rng.random(ROWS_PER_FILE, dtype=np.float32) for i in range(8)}
        pq.write_table(pa.table(columns), draft, compression="zstd", row_group_size=ROW_GROUP)
        draft.rename(path)
    return path
