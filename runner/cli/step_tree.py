"""The steps of a pipeline as lines of a tree whose inner nodes are sub-pipelines, and how each is told in a line."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runner.cli.pace import clock
from runner.entity.job import JobState
from runner.entity.pipeline import KEY_JOINT
from runner.entity.status import JobStatus

NAMED = 4
"""So many steps that run are told by name in a line of counts."""
Branches = dict[str, "Branches | str"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One line of a tree: what stands in front of the label, and the key of the step; none for a sub-pipeline."""

    prefix: str
    label: str
    key: str | None

    @property
    def text(self) -> str:
        return self.prefix + self.label


def branches_of(keys: Iterable[str]) -> list[Branch]:
    """The lines of the tree of these keys, in their order; the steps of a sub-pipeline stand together."""
    root: Branches = {}
    for key in keys:
        *groups, last = key.split(KEY_JOINT)
        inner = root
        for group in groups:
            below = inner.setdefault(group, {})
            assert isinstance(below, dict), f"{group} is a step and a sub-pipeline"
            inner = below
        inner[last] = key
    return _lines(root, "")


def _lines(branches: Branches, indent: str) -> list[Branch]:
    lines = []
    for number, (label, below) in enumerate(branches.items(), 1):
        is_last = number == len(branches)
        is_step = isinstance(below, str)
        prefix = indent + ("└─ " if is_last else "├─ ")
        lines.append(Branch(prefix=prefix, label=label, key=below if isinstance(below, str) else None))
        if not is_step:
            assert isinstance(below, dict)
            lines += _lines(below, indent + ("   " if is_last else "│  "))
    return lines


def is_live(step: JobState) -> bool:
    """Whether the step has begun and not ended."""
    return step.status is not JobStatus.NOT_STARTED and not step.status.is_terminal


def counts_line(steps: Sequence[JobState]) -> str:
    """`2/4 steps done, 1 running (train), 0 failed`, and how many of those done were reused."""
    live = [step.step for step in steps if is_live(step)]
    done = sum(step.status.is_terminal for step in steps)
    failed = sum(step.status is JobStatus.FAILED for step in steps)
    named = ", ".join(live[:NAMED]) + (f" and {len(live) - NAMED} more" if len(live) > NAMED else "")
    running = f"{len(live)} running ({named})" if live else "0 running"
    reused = sum(bool(step.reused_from) for step in steps)
    line = f"{done}/{len(steps)} steps done, {running}, {failed} failed"
    return f"{line}, {reused} reused" if reused else line


def ends_line(steps: Sequence[JobState]) -> str:
    """How the steps have ended: `4 steps: 2 completed (1 reused), 1 failed, 1 not run`."""
    of = Counter(step.status for step in steps)
    reused = sum(bool(step.reused_from) for step in steps)
    parts = [f"{of[JobStatus.COMPLETED]} completed" + (f" ({reused} reused)" if reused else "")]
    parts += [
        f"{of[status]} {word}"
        for status, word in (
            (JobStatus.FAILED, "failed"),
            (JobStatus.CANCELED, "canceled"),
            (JobStatus.NOT_STARTED, "not run"),
        )
        if of[status]
    ]
    return f"{len(steps)} step{'' if len(steps) == 1 else 's'}: {', '.join(parts)}"


def lasted(step: JobState, now: float | None = None) -> str:
    """How long a step ran, or has run by now; `-` where it did not."""
    if step.start_time is None or step.reused_from:
        return "-"
    until = step.end_time if step.end_time is not None else (time.time() if now is None else now)
    seconds = max(0.0, until - step.start_time)
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def why(step: JobState) -> str:
    """What is worth knowing of a step in one line: why it failed, how far it is, why it was reused or was not."""
    if step.error is not None:
        return first_line(step.error.message)
    if is_live(step) and step.progress.mini_batch_count is not None:
        return step.progress.line
    if step.reuse_reason:
        return first_line(step.reuse_reason)
    return first_line(step.message)


def first_line(text: str, width: int = 160) -> str:
    """The first line of a text, cut where it is too long for one of ours."""
    line = text.strip().partition("\n")[0]
    return line if len(line) <= width else f"{line[: width - 3]}..."
