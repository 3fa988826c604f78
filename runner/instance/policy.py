"""What becomes of a mini-batch whose try ended badly, and how a lease is divided: pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from runner.entity.status import FailureClass

MAX_TRIES = 65_536
"""As many as a ledger's word can count; `max_retries` beyond that means this."""

SCATTERED_RUNS = 32
"""At most so many finished runs leave a lease at once: a thousand scattered retries must not make a thousand parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times and sizes that hold for every job; tests make them small."""

    hold_s: float = 4.0
    """Finished mini-batches wait at most so long for unfinished ones before they are reported as pieces."""
    beat_s: float = 0.5
    silence_s: float = 30.0
    """Without a sign of the driver for so long, the workers are killed and the instance ends."""
    exit_s: float = 5.0
    """How long a worker may take to end after its `shutdown()`."""
    log_head_bytes: int = 16 << 20
    log_tail_bytes: int = 1 << 20
    """Of what one worker prints, so much from the begin and from the end is kept."""
    error_log_bytes: int = 8 << 20
    failures_bytes: int = 16 << 20
    """Texts of failures of one piece: with more, it is reported early and tracebacks are left out."""


class Verdict(Enum):
    """What to do with a mini-batch after a try that failed."""

    RETRY = "retry"
    RETRY_ALONE = "retry alone"
    """In a fresh worker, before anything else: it has cost a process already."""
    SET_ASIDE = "set aside"


def judge(cls: FailureClass, attempt: int, max_retries: int) -> Verdict:
    """Decide after try number `attempt`, counted from 0, has failed."""
    if attempt + 1 >= min(max_retries + 1, MAX_TRIES):
        return Verdict.SET_ASIDE
    if cls in (FailureClass.CRASH, FailureClass.TIMEOUT):
        return Verdict.RETRY_ALONE
    return Verdict.RETRY


def divide(first: int, is_final: npt.NDArray[np.bool_]) -> tuple[tuple[int, int, bool], ...]:
    """Divide a range into pieces (first, end, whether all is final), so that finished runs can be reported.

    Together the pieces are the range. Only the longest finished runs become pieces of their own.
    """
    if not len(is_final):
        return ()
    borders = np.flatnonzero(np.diff(is_final)) + 1
    starts = np.concatenate(([0], borders))
    ends = np.concatenate((borders, [len(is_final)]))
    runs = [(int(a), int(b)) for a, b in zip(starts, ends, strict=True) if is_final[a]]
    chosen = sorted(sorted(runs, key=lambda run: run[0] - run[1])[:SCATTERED_RUNS])
    pieces: list[tuple[int, int, bool]] = []
    at = 0
    for start, end in chosen:
        if at < start:
            pieces.append((first + at, first + start, False))
        pieces.append((first + start, first + end, True))
        at = end
    if at < len(is_final):
        pieces.append((first + at, first + len(is_final), False))
    return tuple(pieces)
