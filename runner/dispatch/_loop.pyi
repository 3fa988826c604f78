from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, final

import numpy as np
import numpy.typing as npt

from runner.dispatch._ledger import Board, Ledger

COUNT: int
TEXT: int
ROWS: int

DRY: int
FULL: int
DUE: int
STOPPED: int

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

class Taken(NamedTuple):
    records: npt.NDArray[np.void]
    outputs: list[Any]
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
    def call(self, ledger: Ledger, slab: Slab, mini_batch: int) -> int: ...
    def hand_back_claims(self) -> None: ...
    @property
    def pending_count(self) -> int: ...
    @property
    def due_ns(self) -> int: ...
    def take(self) -> Taken: ...
