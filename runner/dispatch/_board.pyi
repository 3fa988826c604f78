# Docstrings stand in native/runner/dispatch/_board.pyx, beside what they promise.
# Slots are 0..8191. What is no slot of the file is a ValueError, and so is everything but close() after close().
from typing import NamedTuple, final

# Phases of a slot.
IDLE: int
LOAD: int
RUN: int
RETURN: int
FLUSH: int

class Slot(NamedTuple):
    phase: int
    mini_batch: int
    first_item: int
    item_count: int
    started_ns: int
    call_number: int
    done_count: int
    failed_count: int
    item_count_done: int
    item_count_failed: int

@final
class Board:
    @staticmethod
    def create(path: str, slot_count: int) -> Board: ...
    @staticmethod
    def open(path: str) -> Board: ...
    @property
    def slot_count(self) -> int: ...
    def read(self, slot: int) -> Slot: ...
    # The worker of that slot only.
    def set_phase(
        self, slot: int, phase: int, mini_batch: int = ..., first_item: int = ..., item_count: int = ...
    ) -> None: ...
    # The instance, after waitpid.
    def clear(self, slot: int) -> None: ...
    def close(self) -> None: ...
