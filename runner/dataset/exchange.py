"""Rows to groups by key: scattered by the high bits of a hash into spill files, then grouped bucket by bucket.

Buckets are ranges of the hash, so how many there are never shows: groups are numbered by their hash, those of equal
hash by their first row, and rows keep the order of the input. What fits the budget stays in memory. A bucket that is
larger than the budget is scattered again by further bits; one that holds a single hash is in order as it is, and is
only copied. Nothing here is named by the journal: until the plan is stored it can be made anew, and afterwards the
files of groups are its input.

Two threads hash rows and put them into their new order while this one reads and writes.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from runner.dataset._keys import order_by_hash
from runner.dataset.key_hash import Words, differs_from_next, hashes_of, keys_as_tuples
from runner.dataset.storage import telling

HASH = "\0hash"
"""The column of hashes in spill files; no input has a name with a zero byte."""
SCATTER_BYTES = 16 << 20
"""At most so much is put into the order of its buckets at once; a bucket's share is one write."""
MOST_BUCKET_BYTES = 1 << 30
BATCH_ROWS = 65_536
CACHE_BYTES = 1 << 20
"""About as large are buckets that are grouped in memory: then they fit a core's cache."""
LEAST_BITS, MOST_BITS = 2, 8
HASH_BITS = 64
THREADS = 2
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class GroupFile:
    """Grouped rows of one range of hashes, in an Arrow IPC file."""

    path: str
    row_count: int
    byte_count: int


@dataclass(frozen=True, slots=True)
class Groups:
    """All groups in the order of their numbers."""

    files: tuple[GroupFile, ...]
    counts: npt.NDArray[np.int64]
    """Rows of each group."""
    keys: pa.Table
    """One row of key values for each group."""


class Exchange:
    """Groups the rows of a table by `keys`, with at most about `budget_bytes` of them in memory at a time.

    A bucket is joined and put in order by copies, so it may have a quarter of the budget, and never so much that the
    offsets of text would not fit 32 bits.
    """

    def __init__(
        self,
        schema: pa.Schema,
        keys: Sequence[str],
        folder: Path,
        budget_bytes: int,
        hashes: Callable[[Sequence[pa.Array]], Words] = hashes_of,
    ) -> None:
        self._schema, self._keys, self._folder = schema, tuple(keys), folder
        self._bucket_bytes = max(min(budget_bytes // 4, MOST_BUCKET_BYTES), 1)
        self._hashes = hashes
        self._files: list[GroupFile] = []
        self._counts: list[npt.NDArray[np.int64]] = []
        self._key_tables: list[pa.Table] = []
        self._spill_count = 0

    def run(self, batches: Iterable[pa.RecordBatch], byte_count: int) -> Groups:
        """Group all rows, of which there are about `byte_count` bytes. What lies in the folder is removed first.

        Raises:
            StorageFailed: the disk said no.
        """
        with telling(self._folder, "rows cannot be grouped by key"):
            if self._folder.exists():
                shutil.rmtree(self._folder)
            self._folder.mkdir(parents=True)
            with ThreadPoolExecutor(THREADS, "exchange") as self._threads:
                self._split(self._hashed(batches), byte_count, 0)
        keys = pa.schema([self._schema.field(name) for name in self._keys])
        return Groups(
            tuple(self._files),
            np.concatenate(self._counts) if self._counts else np.empty(0, np.int64),
            pa.concat_tables(self._key_tables) if self._key_tables else keys.empty_table(),
        )

    def _hashed(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        def hashed(batch: pa.RecordBatch) -> pa.RecordBatch:
            hashes = self._hashes([batch.column(name) for name in self._keys])
            return batch.append_column(HASH, pa.array(hashes))

        return self._ahead(hashed, (batch for batch in batches if batch.num_rows))

    def _ahead(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """`map` with as many calls under way as there are threads."""
        waiting: deque[Future[R]] = deque()
        for item in items:
            if len(waiting) == THREADS:
                yield waiting.popleft().result()
            waiting.append(self._threads.submit(work, item))
        while waiting:
            yield waiting.popleft().result()

    # ---- buckets ----------------------------------------------------------------------------------------
    def _split(self, batches: Iterator[pa.RecordBatch], byte_count: int, used_bits: int) -> None:
        """Scatter by the next bits of the hash: in memory what fits the budget, else into files."""
        bits = (byte_count // min(CACHE_BYTES, self._bucket_bytes)).bit_length()
        bits = min(max(bits, LEAST_BITS if byte_count > self._bucket_bytes else 0), MOST_BITS, HASH_BITS - used_bits)
        scattered = self._scattered(batches, bits, used_bits)
        held: list[_Scattered] = []
        size = 0
        for one in scattered:
            held.append(one)
            size += one.rows.nbytes
            if size > self._bucket_bytes and used_bits < HASH_BITS:
                break
        else:
            self._group(held, bits, used_bits + bits)
            return
        spills = [self._spill() for _ in range(1 << bits)]
        # Rows are written before the next are put in order, so nothing small keeps something large in memory.
        for one in chain(_drained(held), scattered):
            for number, part in one.parts():
                spills[number].add(part)
        for spill in spills:
            spill.finish()
        for spill in spills:
            if spill.row_count:
                self._bucket(spill, used_bits + bits)
            spill.remove()

    def _scattered(self, batches: Iterator[pa.RecordBatch], bits: int, used_bits: int) -> Iterator[_Scattered]:
        shift = np.uint64(max(HASH_BITS - used_bits - bits, 0))
        mask = np.uint64((1 << bits) - 1)

        def in_order(batch: pa.RecordBatch) -> _Scattered:
            if not bits:
                return _Scattered(batch, [batch.num_rows])
            bucket = ((batch.column(HASH).to_numpy() >> shift) & mask).astype(np.uint8)
            order = np.argsort(bucket, kind="stable")  # of such small numbers this is a radix sort
            counts = np.bincount(bucket, minlength=1 << bits)
            return _Scattered(batch.take(pa.array(order)), np.cumsum(counts).tolist())

        # As many are waiting and in work as there are threads, each beside its copy.
        at_once = max(min(SCATTER_BYTES, self._bucket_bytes // (2 * THREADS)), 1)
        return self._ahead(in_order, _joined_to(batches, at_once))

    def _spill(self) -> _Spill:
        self._spill_count += 1
        return _Spill(self._folder / f"spill-{self._spill_count:06d}")

    def _bucket(self, spill: _Spill, used_bits: int) -> None:
        if spill.byte_count > self._bucket_bytes and spill.lowest == spill.highest:
            self._copy(spill)
        else:
            self._split(spill.read(), spill.byte_count, used_bits)

    # ---- groups -----------------------------------------------------------------------------------------
    def _group(self, held: list[_Scattered], bits: int, used_bits: int) -> None:
        """Write the rows of all buckets by their hashes, and within each in the order of the input."""
        buckets: list[list[pa.RecordBatch]] = [[] for _ in range(1 << bits)]
        for one in _drained(held):
            for number, part in one.parts():
                buckets[number].append(part)

        def tables() -> Iterator[pa.Table]:
            filled = (bucket for bucket in buckets if bucket)
            for table, starts in self._ahead(lambda bucket: self._grouped(bucket, used_bits), filled):
                self._key_tables.append(table.select(self._keys).take(pa.array(starts)))
                self._counts.append(np.diff(np.append(starts, table.num_rows)).astype(np.int64))
                yield table.drop_columns(HASH)

        if any(buckets):
            self._write(tables())

    def _grouped(self, parts: list[pa.RecordBatch], used_bits: int) -> tuple[pa.Table, npt.NDArray[np.int64]]:
        """The rows of one bucket in the order of groups, and the row that each group begins with."""
        batch = pa.concat_batches(parts)
        parts.clear()
        table = pa.Table.from_batches([batch.take(pa.array(order_by_hash(batch.column(HASH).to_numpy(), used_bits)))])
        del batch
        hashes = table.column(HASH).to_numpy()
        same_hash = hashes[1:] == hashes[:-1]
        columns = [_whole(table.column(name)) for name in self._keys]
        differs = differs_from_next(columns)
        if (differs & same_hash).any():
            table = table.take(pa.array(_apart(columns, differs, same_hash)))
            differs = differs_from_next([_whole(table.column(name)) for name in self._keys])
        return table, np.concatenate([[0], np.flatnonzero(differs | ~same_hash) + 1])

    def _copy(self, spill: _Spill) -> None:
        """One hash, and so but for collisions one group, larger than the budget: its rows stand in order already."""
        first = next(spill.read()).slice(0, 1)
        own = [first.column(name) for name in self._keys]
        others = self._spill()
        count = 0

        def rows() -> Iterator[pa.RecordBatch]:
            nonlocal count
            for batch in spill.read():
                is_own = self._is_key(own, batch)
                if not is_own.all():
                    others.add(batch.filter(pa.array(~is_own)))
                    batch = batch.filter(pa.array(is_own))
                count += batch.num_rows
                yield batch.drop_columns([HASH])

        self._write(pa.Table.from_batches([batch]) for batch in rows())
        others.finish()
        self._key_tables.append(pa.Table.from_batches([first]).select(self._keys))
        self._counts.append(np.array([count], np.int64))
        if others.row_count:
            self._copy(others)
            others.remove()

    def _is_key(self, own: Sequence[pa.Array], batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """For each row whether it has these keys: each is put behind one that has, and compared with it."""
        pairs = np.repeat(np.arange(batch.num_rows + 1), 2)[1:-1]
        pairs[::2] = 0
        columns = []
        for key, name in zip(own, self._keys, strict=True):
            columns.append(pa.concat_arrays([key, batch.column(name)]).take(pa.array(pairs)))
        return ~differs_from_next(columns)[::2]

    def _write(self, tables: Iterable[pa.Table]) -> None:
        path = self._folder / f"groups-{len(self._files):05d}.arrow"
        rows = 0
        with pa.OSFile(os.fsencode(path), "wb") as sink, pa.ipc.new_file(sink, self._schema) as writer:
            for table in tables:
                rows += table.num_rows
                writer.write_table(table, max_chunksize=BATCH_ROWS)
        self._files.append(GroupFile(str(path), rows, path.stat().st_size))


@dataclass(frozen=True, slots=True)
class _Scattered:
    """Rows in the order of their buckets, and where those end."""

    rows: pa.RecordBatch
    ends: list[int]

    def parts(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The buckets that have rows."""
        start = 0
        for number, end in enumerate(self.ends):
            if end > start:
                yield number, self.rows.slice(start, end - start)
            start = end


def _drained(held: list[_Scattered]) -> Iterator[_Scattered]:
    """All of a list, each given back before the next."""
    held.reverse()
    while held:
        yield held.pop()


class _Spill:
    """The rows of one bucket on their way, as a stream of batches in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sink: pa.NativeFile | None = None
        self._writer: pa.RecordBatchStreamWriter | None = None
        self.row_count = 0
        self.byte_count = 0
        self.lowest, self.highest = 2**64, -1

    def add(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        hashes = batch.column(HASH).to_numpy()
        self.lowest, self.highest = min(self.lowest, int(hashes.min())), max(self.highest, int(hashes.max()))
        self.row_count += batch.num_rows
        self.byte_count += batch.nbytes
        if self._writer is None:
            self._sink = pa.OSFile(os.fsencode(self._path), "wb")
            self._writer = pa.ipc.new_stream(self._sink, batch.schema)
        self._writer.write_batch(batch)

    def finish(self) -> None:
        """Nothing more comes."""
        if self._writer is not None and self._sink is not None:
            self._writer.close()
            self._sink.close()

    def read(self) -> Iterator[pa.RecordBatch]:
        """The rows in the order in which they came."""
        with pa.OSFile(os.fsencode(self._path), "rb") as source, pa.ipc.open_stream(source) as reader:
            yield from reader

    def remove(self) -> None:
        """Give the space back."""
        self._path.unlink(missing_ok=True)


def _joined_to(batches: Iterable[pa.RecordBatch], byte_count: int) -> Iterator[pa.RecordBatch]:
    """Neighbours together, up to so many bytes."""
    gathered: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        gathered.append(batch)
        size += batch.nbytes
        if size >= byte_count:
            yield pa.concat_batches(gathered)
            gathered, size = [], 0
    if gathered:
        yield pa.concat_batches(gathered)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _apart(
    columns: Sequence[pa.Array], differs: npt.NDArray[np.bool_], same_hash: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """An order that keeps rows of one hash together but those of each key apart, by the first row of each key."""
    order = np.arange(len(same_hash) + 1)
    run = np.concatenate([[0], np.cumsum(~same_hash)])
    for number in np.unique(run[1:][differs & same_hash]):
        start, end = np.searchsorted(run, [number, number + 1])
        keys = keys_as_tuples([column.slice(start, end - start) for column in columns])
        ranks: dict[tuple[bytes | int, ...], int] = {}
        numbers = [ranks.setdefault(key, len(ranks)) for key in keys]
        order[start:end] = start + np.argsort(numbers, kind="stable")
    return order
