# Docstrings stand in native/runner/dispatch/_loop.pyx, beside what they promise.
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, final

import numpy as np
import numpy.typing as npt

from runner.dispatch._board import Board
from runner.dispatch._ledger import Ledger

# What becomes of a return: counted, rendered as text, kept as rows.
COUNT: int
TEXT: int
ROWS: int

# Why drain and call return.
DRY: int
FULL: int
DUE: int
STOPPED: int

# One per successful mini-batch: i8 mini_batch, item_count, length, succeeded, row_count, start_ns (since 1970),
# elapsed_ns (run only); i4 attempt, slot, flags (0; for whoever writes the reports), unused.
RECORD: np.dtype[np.void]

class Slab(Protocol):
    first_mini_batch: int
    end_mini_batch: int
    rows_per_mini_batch: int
    row_count: int
    first_item: int
    columns: tuple[tuple[str, npt.NDArray[Any]], ...] | None
    cut: Callable[[int, int, int], Any] | None
    kept: Any
    bounds: npt.NDArray[np.int64] | None

class Taken(NamedTuple):
    records: npt.NDArray[np.void]
    # ROWS: ("array", values) for a run of mini-batches or ("object", output, row_count); TEXT: bytes; COUNT: none.
    outputs: list[Any]
    # (slab.kept, start row, stop row)
    kept: list[tuple[Any, int, int]]

@final
class Loop:
    def __init__(
        self,
        board: Board,
        slot: int,
        run: Callable[..., Any],
        mode: int,
        *,
        finish: Callable[[Any, int, int], tuple[Any, int, int]],
        fail: Callable[[int, int, int, int, BaseException], None],
        context: Callable[[int, int], Any] | None = ...,
        keep: bool = ...,
        max_bytes: int = ...,
        max_ns: int = ...,
    ) -> None: ...
    def drain(self, ledger: Ledger, slab: Slab) -> int: ...
    def call(
        self, ledger: Ledger, slab: Slab, mini_batch: int, first_item: int = ..., item_count: int = ...
    ) -> int: ...
    def hand_back_claims(self) -> None: ...
    def hand_back_rest(self) -> int: ...
    @property
    def pending_count(self) -> int: ...
    @property
    def due_ns(self) -> int: ...
    def take(self) -> Taken: ...
