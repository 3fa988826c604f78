"""A worker from start to end: set up, import, `init()`, work, `shutdown()`.

The order matters. The first acts make sure that the process cannot outlive its instance. Then everything that the
script may look at while it is imported becomes final: `sys.argv`, `sys.path`, logging; environment and working
directory were set when the process was made. Heavy modules of our own come after `init()`, while the driver plans.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

import msgspec

from runner.entity.parallel import ParallelSpec
from runner.errors import EntryInvalid, RunnerError
from runner.worker.blame import describe
from runner.worker.control import Control
from runner.worker.entry import Entry, load_entry, prepare_path
from runner.worker.messages import Broken, Imported, InitFailed, Ready, Setup, Shutdown, ShutdownDone, ShuttingDown
from runner.worker.script_logging import flush_streams, set_up_logging

_own_path = tuple(sys.path)
_PR_SET_PDEATHSIG = 1
_SHIM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shim")


def bind_to_parent(parent: int) -> None:
    """Die when the thread of `parent` that made this process ends; at once if it has ended already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def main(control_fd: int, parent: int) -> NoReturn:
    """Live as a worker; the process ends here, whatever happens."""
    bind_to_parent(parent)
    faulthandler.enable()  # a segfault then leaves the script's own frames in its stderr
    _volunteer_for_oom()
    control = Control(control_fd)
    setup = control.receive(wait=True)
    if not isinstance(setup, Setup):
        raise TypeError(f"the first message is Setup, not {type(setup).__name__}")
    with open(setup.spec_path, "rb") as file:
        spec = msgspec.json.decode(file.read(), type=ParallelSpec)
    entry = _begin(control, spec)
    try:
        shutdown = _work(control, setup, spec, entry)
    except (SystemExit, KeyboardInterrupt, GeneratorExit) as error:
        # The script asked for the end of its process: at once, with the slot still naming the mini-batch.
        flush_streams()
        os._exit(_exit_code(error))
    except BaseException as error:  # noqa: BLE001 - the edge of the process
        _break(control, error)
    _end(control, entry, shutdown)


def _begin(control: Control, spec: ParallelSpec) -> Entry:
    """Import the script and run its `init()`."""
    sys.argv = [spec.entry_script, *spec.argv]
    prepare_path(spec.entry_script, spec.code, _SHIM)
    set_up_logging(spec.logging_level)
    try:
        entry = load_entry(spec.entry_script, spec.code)
    except EntryInvalid as error:
        _fail(control, InitFailed(is_import=True, what=error.what, traceback=error.traceback))
    control.send(Imported())
    if entry.init is not None:
        try:
            entry.init()
        except BaseException as error:  # noqa: BLE001 - also SystemExit: no work without init()
            blame = describe(error)
            _fail(control, InitFailed(is_import=False, what=blame.what, traceback=blame.traceback))
    control.send(Ready())
    return entry


def _work(control: Control, setup: Setup, spec: ParallelSpec, entry: Entry) -> Shutdown:
    with _own_modules_first():
        from runner.dispatch._board import Board
        from runner.worker.work import Work

    return Work(control, Board.open(setup.board_path), setup, spec, entry, partial(_break, control)).run()


@contextmanager
def _own_modules_first() -> Iterator[None]:
    """Import as if the code folder were not there: a `queue.py` in it is the script's, not ours."""
    found = sys.path[:]
    sys.path[:] = [*_own_path, *found]
    try:
        yield
    finally:
        sys.path[:] = found


def _end(control: Control, entry: Entry, shutdown: Shutdown) -> NoReturn:
    """Run `shutdown()`, say how it went, and let the interpreter end as usual, with the script's exit handlers."""
    done = ShutdownDone()
    control.send(ShuttingDown())
    if shutdown.run and entry.shutdown is not None:
        try:
            entry.shutdown()
        except BaseException as error:  # noqa: BLE001 - the script's own
            blame = describe(error)
            print(blame.traceback, end="", file=sys.stderr)  # noqa: T201 - the script's own stderr
            done = ShutdownDone(what=blame.what, traceback=blame.traceback)
    flush_streams()
    control.send(done)
    sys.exit(0)


def _fail(control: Control, message: InitFailed) -> NoReturn:
    print(message.traceback or message.what, file=sys.stderr)  # noqa: T201 - the script's own stderr
    flush_streams()
    control.send(message)
    os._exit(1)


def _break(control: Control, error: BaseException) -> NoReturn:
    """The job cannot go on: say why and end."""
    if isinstance(error, RunnerError):
        message = Broken(reason=error.reason, message=str(error))
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        message = Broken(reason="STORAGE_FAILED", message=f"{where}{error.strerror or error}")
    else:
        what = f"a worker failed: {describe(error).what}"
        message = Broken(reason="INTERNAL", message=what, traceback=_whole_traceback(error))
    flush_streams()
    control.send(message)
    os._exit(1)


def _whole_traceback(error: BaseException) -> str:
    import traceback

    from runner.worker.blame import TRACEBACK_BYTES, cut_text

    return cut_text("".join(traceback.format_exception(error)), TRACEBACK_BYTES)


def _exit_code(error: BaseException) -> int:
    if not isinstance(error, SystemExit):
        return 130
    code = error.code
    return code & 0xFF if isinstance(code, int) else int(code is not None)


def _volunteer_for_oom() -> None:
    """When memory runs out, the kernel should end a worker, whose mini-batch can be tried again, not its instance."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")
    except OSError:
        pass  # not allowed here; then the kernel chooses as it likes
