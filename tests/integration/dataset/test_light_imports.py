"""A job on numbers never pays for importing pandas: neither where data is read nor where results are written."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from types import SimpleNamespace
import numpy as np
import pyarrow as pa
from runner.dataset.glue import encode_parquet
from runner.dataset.columns import Arrays, arrays_table
from runner.dataset.plain_numbers import array_of, numbers_of

for name in ("i1", "u2", "i4", "u8", "f2", "f4", "f8"):
    numbers = np.arange(7).astype(name)
    array = array_of(numbers)
    assert array.type == pa.from_numpy_dtype(numbers.dtype), name
    assert numbers_of(array.slice(2, 3)).tolist() == [2, 3, 4], name
    assert not numbers_of(array).flags.writeable
assert numbers_of(array_of(np.empty(0))).tolist() == []
table = arrays_table([Arrays(("id", "score"), (np.arange(9), np.ones(9, np.float32)), True)])
encode_parquet(table, "none")
assert "pandas" not in sys.modules
"""


def test_numbers_are_read_and_written_without_pandas() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
