"""Writes down what is set aside: a mini-batch, or items of one, with the cause of the last try."""

from __future__ import annotations

import time
from dataclasses import replace

from runner.entity.lease import Failure
from runner.entity.plan import Plan
from runner.instance.bisect import Blame
from runner.instance.log_files import LogFiles
from runner.instance.policy import Limits
from runner.instance.tenure import Tenure


class Failings:
    """Makes the records of failures of one instance."""

    def __init__(self, node: str, limits: Limits, logs: LogFiles) -> None:
        self._node, self._limits, self._logs = node, limits, logs

    def shortened(self, tenure: Tenure, blame: Blame) -> Blame:
        """The same, with a traceback that may be held for long."""
        text = tenure.keep_text(blame.traceback, self._limits.failures_bytes)
        return blame if text is blame.traceback else replace(blame, traceback=text)

    def note(
        self,
        plan: Plan,
        tenure: Tenure,
        number: int,
        blame: Blame,
        attempts: int,
        *,
        items: tuple[int, int] | None = None,
        at_row: int = 0,
        at_byte: int = 0,
    ) -> None:
        """One more failure; of `items` (first, count) where it is not all that was asked for of the mini-batch.

        Its place counts from the begin of the mini-batch's results; the part is not there yet.
        """
        span = plan.span_of(number)
        first, count = items or (0, span.item_count)
        is_table = plan.kind == "table"
        failure = Failure(
            mini_batch=number,
            first_item=first,
            unit=span.unit,
            file="" if plan.keys else plan.files[span.file + (0 if is_table else first)].path,
            row=span.first_row + first if is_table and not plan.keys else None,
            key=plan.key_of(number),
            item_count=count,
            cls=blame.cls,
            exception_type=blame.exception_type,
            message=blame.message,
            traceback=tenure.keep_text(blame.traceback, self._limits.failures_bytes),
            attempts=attempts,
            instance=self._node,
            worker=blame.worker,
            time=time.time(),
            at_row=at_row,
            at_byte=at_byte,
        )
        tenure.note_failure(failure)
        what = f"mini-batch {number}" if items is None else f"{count} items of mini-batch {number} from {first} on"
        verb = "is" if items is None or count == 1 else "are"
        self._logs.write_main(
            "WARNING", f"{blame.worker}: {what} {verb} set aside ({blame.cls}) after {attempts} tries"
        )
