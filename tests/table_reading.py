"""Jobs over tables of any format, planned and read whole: what `run` would get, and which mini-batches cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from runner.dataset.read import UnitReader
from runner.entity.parallel import MiniBatchFormat, MiniBatchSize, ParallelSpec, SplitInput
from runner.entity.plan import Plan
from runner.entity.table import TableOptions
from runner.errors import InputUnreadable
from runner.plan.make import make_plan

Rows = list[dict[str, Any]]


def table_job(
    *paths: Path,
    rows: int = 1_000,
    options: TableOptions | Sequence[TableOptions] = TableOptions(),  # noqa: B008 - it is frozen
    columns: tuple[str, ...] | None = None,
    mini_batch_format: MiniBatchFormat = "arrow",
) -> ParallelSpec:
    """A job whose mini-batches have so many rows."""
    each = [options] * len(paths) if isinstance(options, TableOptions) else options
    return ParallelSpec(
        name="job",
        entry_script="score.py",
        code=None,
        inputs=tuple(
            SplitInput(name=f"data{number}", kind="table", path=str(path), table=table)
            for number, (path, table) in enumerate(zip(paths, each, strict=True))
        ),
        mini_batch_size=MiniBatchSize(kind="rows", value=rows),
        mini_batch_format=mini_batch_format,
        columns=columns,
    )


def read_all(spec: ParallelSpec, plan: Plan, *, units: Sequence[int] | None = None) -> dict[int, Rows | str]:
    """For each mini-batch its rows, or why there are none."""
    reader = UnitReader(plan, spec)
    got: dict[int, Rows | str] = {}
    for number in range(len(plan.units)) if units is None else units:
        unit = plan.units[number]
        end = unit.first_mini_batch + unit.mini_batch_count
        for slab in reader.slabs(number, unit.first_mini_batch, end, lambda _lo, _hi: True):
            for mini_batch in range(slab.first_mini_batch, slab.end_mini_batch):
                assert mini_batch not in got
                try:
                    table = slab.get(mini_batch)
                except InputUnreadable as error:
                    got[mini_batch] = str(error)
                    continue
                assert table.num_rows == plan.span_of(mini_batch).item_count
                got[mini_batch] = table.to_pylist()
    reader.close()
    assert sorted(got) == list(range(plan.mini_batch_count))
    return got


def rows_of(spec: ParallelSpec) -> Rows:
    """All rows, in order."""
    got = read_all(spec, make_plan(spec))
    rows: Rows = []
    for number in range(len(got)):
        found = got[number]
        assert not isinstance(found, str), found
        rows.extend(found)
    return rows


def types_of(spec: ParallelSpec) -> dict[str, pa.DataType]:
    """The types of the columns, as `run` sees them."""
    schema = UnitReader(make_plan(spec), spec).schema
    return dict(zip(schema.names, schema.types, strict=True))
