"""The worker's loop: units of the open leases, streamed, drained, flushed; retries before fresh units, thefts after.

What comes first: single mini-batches that the instance suspects, then retries, then fresh units of the leases in the
order they were lent, then the far half of the longest free stretch of another worker's unit, if running it outweighs
reading it. Messages are looked at between drains, which return at least every quarter of a second or after the call
at hand.
"""

from __future__ import annotations

import gc
import importlib
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from runner.dataset.key_values import KeyValues
from runner.dataset.read import UnitReader
from runner.dataset.render import Renderer
from runner.dataset.saved_plan import check_file, load_plan
from runner.dataset.slabs import Slab
from runner.dispatch._board import IDLE, LOAD, Board
from runner.dispatch._loop import COUNT, DUE, FULL, ROWS, STOPPED, TEXT, Loop
from runner.entity.parallel import ParallelSpec
from runner.entity.plan import Plan, Unit
from runner.errors import InputChanged, InputUnreadable, OutputInvalid
from runner.worker.blame import describe
from runner.worker.context import MiniBatchContext
from runner.worker.control import Control
from runner.worker.entry import Entry
from runner.worker.messages import (
    Again,
    Drop,
    Dry,
    Failed,
    GoOn,
    Lend,
    Rest,
    Resting,
    Setup,
    Shutdown,
    Single,
    UnitFailed,
)
from runner.worker.open_lease import OpenLease
from runner.worker.singles import Singles
from runner.worker.spooling import Spooler
from runner.worker.stream import Stretch, UnitStream, UnreadableUnit

FLUSH_BYTES = 8 << 20
FLUSH_NS = 250_000_000
PREFETCH_BYTES = 128 << 20
"""Decoded data that waits for `run`, unless the job bounds its memory."""
READING_OVERHEAD_NS = 2_000_000
"""What starting to read somewhere costs at least."""
_MODES = {"count": COUNT, "text": TEXT, "rows": ROWS}


class Work:
    """Everything between `init()` and `shutdown()`."""

    def __init__(
        self,
        control: Control,
        board: Board,
        setup: Setup,
        spec: ParallelSpec,
        entry: Entry,
        broken: Callable[[BaseException], None],
    ) -> None:
        self._control, self._board, self._slot, self._serial = control, board, setup.slot, setup.serial
        self._spec, self._plan_path = spec, setup.plan_path
        self._leases: dict[int, OpenLease] = {}
        self._shutdown: Shutdown | None = None
        self._is_resting = False
        self._stream: UnitStream | None = None
        self._may_be_fresh = False
        self._plan: Plan | None = None
        self._keys: KeyValues | None = None
        renderer = Renderer(spec.output)
        self._spooler = Spooler(control, board, self._slot, renderer, broken)
        self._loop = Loop(
            board,
            self._slot,
            entry.run,
            _MODES[renderer.mode],
            finish=renderer.finish,
            fail=self._on_failure,
            context=self._context if entry.takes_context else None,
            keep=bool(spec.output and spec.output.keep_columns),
            max_bytes=FLUSH_BYTES,
            max_ns=FLUSH_NS,
        )
        self._singles = Singles(
            control, board, self._slot, self._loop, self._spooler, self._read_one, may_keep=not spec.writable
        )
        self._spooler.begin(self._loop)
        self._read_ns = 0
        """What reading one mini-batch took lately, 0 while nothing is known."""
        if spec.mini_batch_format in ("pandas", "polars") and any(given.kind == "table" for given in spec.inputs):
            importlib.import_module(spec.mini_batch_format)  # while there is nothing else to do

    def run(self) -> Shutdown:
        """Work until told to end; the message that said so."""
        # What was imported and made by init() lives to the end: no collection need look at it between mini-batches.
        gc.freeze()
        while True:
            self._take_messages(wait=self._singles.awaits_word)
            if self._shutdown is not None:
                self._close_stream()
                return self._shutdown
            if self._is_resting:
                self._rest()
            elif not (self._singles.run_next(self._leases) or self._do_retries() or self._do_stream() or self._steal()):
                self._wait()

    # ---- messages -----------------------------------------------------------------------------------------------

    def _take_messages(self, *, wait: bool) -> None:
        while self._shutdown is None and (message := self._control.receive(wait=wait)) is not None:
            wait = False
            if isinstance(message, Lend):
                self._on_lend(message)
                wait = message.is_followed
            elif isinstance(message, Again):
                self._on_again(message)
            elif isinstance(message, Single):
                self._singles.add(message)
            elif isinstance(message, Rest):
                self._is_resting = True
            elif isinstance(message, GoOn):
                self._is_resting = False
                self._singles.forget()
            elif isinstance(message, Drop):
                self._leases.pop(message.lease, None)
            elif isinstance(message, Shutdown):
                self._shutdown = message
            else:
                raise TypeError(f"{type(message).__name__} has no place after the first message")

    def _on_lend(self, message: Lend) -> None:
        if self._plan is None:
            self._plan = load_plan(self._plan_path)
            self._keys = KeyValues(self._plan_path) if self._plan.keys else None
            self._reader = UnitReader(self._plan, self._spec)
            self._side_reader = UnitReader(self._plan, self._spec)
            self._schema = self._reader.schema if self._plan.kind == "table" else None
        try:
            self._leases[message.lease] = OpenLease(message, self._serial, self._slot, self._board.slot_count)
        except FileNotFoundError:
            return  # while this worker was starting, the others finished the lease and it was settled
        self._may_be_fresh = True

    def _on_again(self, message: Again) -> None:
        lease = self._leases.get(message.lease)
        if lease is not None:
            lease.generation = message.generation
            lease.is_told_dry = False
            lease.is_urgent = True
            self._may_be_fresh = True

    def _rest(self) -> None:
        """Hold as little memory as can be while another worker tries what memory did not suffice for."""
        self._close_stream()
        self._singles.forget()
        self._loop.hand_back_claims()
        self._spooler.flush()
        self._board.set_phase(self._slot, IDLE)
        gc.collect()
        self._control.send(Resting())
        while self._is_resting and self._shutdown is None:
            self._take_messages(wait=True)
        self._may_be_fresh = True
        for lease in self._leases.values():
            lease.is_told_dry = False

    def _wait(self) -> None:
        self._spooler.flush()
        # Else the last look for something to read would count as reading that takes too long.
        self._board.set_phase(self._slot, IDLE)
        for lease in self._leases.values():
            if not lease.is_told_dry:
                lease.is_told_dry = True
                self._control.send(Dry(lease=lease.id, generation=lease.generation))
        self._take_messages(wait=True)

    # ---- what to do next ----------------------------------------------------------------------------------------

    def _do_retries(self) -> bool:
        if self._stream is not None and not self._stream.is_between_units:
            return False
        done = False
        for lease in list(self._leases.values()):
            if lease.has_new_retries():
                for stretch in self._stretches(lease, lease.retried()):
                    for slab in self._read_now(stretch, wanted=stretch.is_wanted):
                        self._drain(lease, slab)
                    done = True
        return done

    def _do_stream(self) -> bool:
        if self._stream is None:
            if not self._may_be_fresh:
                return False
            self._may_be_fresh = False
            self._stream = UnitStream(self._reader, self._take_unit, self._budget_bytes())
        return self._step()

    def _steal(self) -> bool:
        for lease in self._leases.values():
            first, end = lease.ledger.fullest_stretch()
            if first == end:
                lease.is_urgent = False
                continue
            start = first if lease.is_urgent else end - (end - first + 1) // 2
            unit = self._unit_of(start)
            found = self._plan_units[unit]
            end = min(end, found.first_mini_batch + found.mini_batch_count)
            if lease.is_urgent or self._is_worth_reading(end - start, found.mini_batch_count):
                only = deque([Stretch(lease, unit, start, end)])
                pick = partial(_pop, only)
                self._stream = UnitStream(self._reader, pick, self._budget_bytes())
                return self._step()
        return False

    def _is_worth_reading(self, count: int, unit_count: int) -> bool:
        """Whether running so many takes longer than decoding what lies before them, perhaps a whole unit."""
        if not self._spooler.mini_batch_ns or not self._read_ns:
            return True
        return count * self._spooler.mini_batch_ns > unit_count * self._read_ns + READING_OVERHEAD_NS

    def _take_unit(self) -> Stretch | None:
        """In the consumer's or the reading thread."""
        for lease in list(self._leases.values()):
            found = lease.take_unit(self._slot)
            if found is not None:
                return Stretch(lease, self._unit_of(found[0]), *found)
        return None

    def _stretches(self, lease: OpenLease, numbers: Iterable[int]) -> Iterable[Stretch]:
        """Adjacent numbers of one unit together."""
        found: list[Stretch] = []
        for number in numbers:
            unit = self._unit_of(number)
            if found and found[-1].end == number and found[-1].unit == unit:
                found[-1] = Stretch(lease, unit, found[-1].first, number + 1)
            else:
                found.append(Stretch(lease, unit, number, number + 1))
        return found

    # ---- reading and running ------------------------------------------------------------------------------------

    def _step(self) -> bool:
        """Drain one slab of the stream."""
        stream = self._stream
        assert stream is not None
        try:
            if not stream.has_waiting:
                self._spooler.flush_stale(FLUSH_NS)
            first, end = stream.awaited()
            self._board.set_phase(self._slot, LOAD, first, -1, end - first)
            found = stream.next()
        except UnreadableUnit as error:
            self._close_stream()
            self._may_be_fresh = True
            self._on_unreadable(error)
            return True
        if found is None:
            self._close_stream()
        else:
            self._drain(found[0].lease, found[1])
        return True

    def _read_now(self, stretch: Stretch, *, wanted: object) -> Iterable[Slab]:
        """Slabs of a stretch, read by this thread; an unreadable one is reported."""
        at = stretch.first
        slabs = self._side_reader.slabs(stretch.unit, stretch.first, stretch.end, wanted)  # type: ignore[arg-type] # a predicate
        while True:
            self._board.set_phase(self._slot, LOAD, at, -1, stretch.end - at)
            try:
                slab = next(slabs, None)
            except Exception as error:  # noqa: BLE001 - whatever the file's bytes make the readers raise
                failed = UnreadableUnit(stretch, at)
                failed.__cause__ = error
                self._on_unreadable(failed)
                return
            if slab is None:
                return
            yield slab
            at = slab.end_mini_batch

    def _read_one(self, lease: OpenLease, number: int) -> Iterable[Slab]:
        stretch = Stretch(lease, self._unit_of(number), number, number + 1)
        return self._read_now(stretch, wanted=lambda first, end: True)

    def _drain(self, lease: OpenLease, slab: Slab) -> None:
        self._spooler.use(lease)
        while True:
            end = self._loop.drain(lease.ledger, slab)
            if end not in (FULL, DUE):
                break
            self._spooler.flush()
            self._take_messages(wait=False)
            if self._shutdown is not None or self._is_resting:
                return
        if end == STOPPED:
            self._leases.pop(lease.id, None)

    def _close_stream(self) -> None:
        if self._stream is not None:
            if self._stream.read_count:
                self._read_ns = self._stream.read_ns // self._stream.read_count
            self._stream.close()
            self._stream = None

    # ---- what goes wrong ----------------------------------------------------------------------------------------

    def _on_failure(
        self, mini_batch: int, attempt: int, first_item: int, item_count: int, error: BaseException
    ) -> None:
        if isinstance(error, InputChanged | OutputInvalid):
            raise error
        self._check_files(mini_batch)
        blame = describe(error)
        alone = self._singles.at_hand
        if alone is not None:
            self._singles.note_failed()
        self._control.send(
            Failed(
                lease=self._spooler.lease.id,
                mini_batch=mini_batch,
                attempt=attempt,
                first_item=alone.first_item if alone is not None else 0,
                item_count=item_count,
                is_range=alone is not None,
                is_read=isinstance(error, InputUnreadable),
                exception_type=blame.exception_type,
                message=blame.message,
                traceback=blame.traceback,
            )
        )

    def _check_files(self, mini_batch: int) -> None:
        """A file that is gone or changed is not the fault of the script: it ends the job, which can be resumed."""
        plan = self._plan
        if plan is not None and plan.kind == "files":
            span = plan.span_of(mini_batch)
            for file in plan.files[span.file : span.file + span.item_count]:
                check_file(file)

    def _on_unreadable(self, error: UnreadableUnit) -> None:
        cause, stretch = error.__cause__, error.stretch
        if cause is None or isinstance(cause, InputChanged) or not isinstance(cause, Exception):
            raise cause or error
        blame = describe(cause)
        self._control.send(
            UnitFailed(
                lease=stretch.lease.id,
                unit=stretch.unit,
                first=error.first,
                end=stretch.end,
                exception_type=blame.exception_type,
                message=blame.message,
                traceback="" if isinstance(cause, InputUnreadable) else blame.traceback,
            )
        )

    # ---- the plan -----------------------------------------------------------------------------------------------

    @property
    def _plan_units(self) -> tuple[Unit, ...]:
        assert self._plan is not None
        return self._plan.units

    def _unit_of(self, mini_batch: int) -> int:
        assert self._plan is not None
        return self._plan.unit_of(mini_batch)

    def _context(self, mini_batch: int, attempt: int) -> MiniBatchContext:
        plan = self._plan
        assert plan is not None
        given = 0 if len(plan.inputs) == 1 else plan.files[plan.units[plan.unit_of(mini_batch)].file].input
        keys = None if self._keys is None else self._keys.of(mini_batch)
        return MiniBatchContext(mini_batch, attempt, plan.inputs[given], keys, self._schema)

    def _budget_bytes(self) -> int:
        """Decoded data that may wait: a quarter of a worker's share of the job's memory, since `run` needs some too."""
        if self._spec.memory_bytes is None:
            return PREFETCH_BYTES
        return max(self._spec.memory_bytes // (4 * self._board.slot_count), 1)


def _pop(stretches: deque[Stretch]) -> Stretch | None:
    return stretches.popleft() if stretches else None
