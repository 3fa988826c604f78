"""How fast a job is by what was seen of it lately, and how long it may still take. Pure: the caller has the clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from runner.entity.job import Progress

WINDOW_S = 20.0
"""What is older says little about what comes."""
LEAST_S = 1.0
"""A shorter look gives no rate."""


@dataclass(slots=True)
class Pace:
    """Sightings of the last seconds: time, items and mini-batches done."""

    _seen: deque[tuple[float, int, int]] = field(default_factory=deque)

    def note(self, now: float, progress: Progress) -> None:
        """Take a sighting in."""
        self._seen.append((now, progress.done_item_count, progress.done_mini_batch_count))
        # The first sighting that is kept is the newest of those that are older than the window.
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW_S:
            self._seen.popleft()

    @property
    def items_per_s(self) -> float | None:
        """Items done per second; None while nothing is known."""
        return self._rate(1)

    def left_s(self, progress: Progress) -> float | None:
        """Seconds until the last mini-batch, at this pace; None while that cannot be said."""
        rate = self._rate(2)
        if not rate or progress.mini_batch_count is None:
            return None
        return (progress.mini_batch_count - progress.done_mini_batch_count) / rate

    def _rate(self, which: int) -> float | None:
        if not self._seen:
            return None
        first, last = self._seen[0], self._seen[-1]
        elapsed = last[0] - first[0]
        done = last[which] - first[which]
        return done / elapsed if elapsed >= LEAST_S and done > 0 else None


def clock(seconds: float) -> str:
    """`0:01:05`, with hours beyond a day counted on."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
