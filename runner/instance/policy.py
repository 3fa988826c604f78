"""What becomes of a mini-batch whose try ended badly, and how a lease is divided: pure functions."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from runner.dispatch._ledger import CLAIMED, FREE
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


def held_back(
    words: npt.NDArray[np.uint64], first: int, searched: Collection[int], long_calls: Collection[int]
) -> tuple[int, int, bool]:
    """Of a stretch of a ledger: how many are open, how many nobody has begun, and whether the stretch is held back.

    It is when all that is left are retries, mini-batches that are run range by range, and at most one long call:
    to run these in another place as well would not bring the end nearer.
    """
    states = words & 7
    is_open = (states == FREE) | (states == CLAIMED)
    is_first_try = is_open & ((words >> 3 & 0xFFFF) == 0)
    unstarted = int(np.count_nonzero(is_first_try & (states == FREE)))
    at_hand = np.flatnonzero(is_first_try & (states == CLAIMED))
    is_held = False
    if is_open.any() and not unstarted and len(at_hand) <= len(searched) + 1:
        others = [number for number in (at_hand + first).tolist() if number not in searched]
        is_held = not others or (len(others) == 1 and others[0] in long_calls)
    return int(np.count_nonzero(is_open)), unstarted, is_held


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
