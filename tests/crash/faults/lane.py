"""A process that drives one job again and again, each time with another fault, and says how it ended.

    LD_PRELOAD=faults.so python -m faults.lane text|parquet FOLDER < faults > results

Everything is imported once; each driver is a fork of this process, armed by itself, so that a point costs little more
than its worker's start. The faults are real all the same: SIGKILL, and operations of the C library that fail.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from faults.library import Fault, Harm, Point, environment, is_hit
from faults.world import NAME, World
from runner.compose.driver import drive
from runner.errors import JobStatusConflict
from runner.schedule.tidy import tidy_up
from runner.server.jobs import Jobs
from runner.store.home import Home
from runner.store.store import Store

for module in ("runner.cluster.local", "runner.schedule.driver"):
    import_module(module)  # what a driver imports at work, so that no fork does it again

HUNG_S = 200.0
HUNG = -1000
RESUMES = 3
"""A fault may also hit the end of a run that has done its work; nothing needs more than one or two."""


def in_child(work: Callable[[], Any], talk: Path) -> dict[str, Any]:
    """Run `work` in a fork; its exit status (negative for a signal), and what it gave or what went wrong."""
    hear, say = os.pipe()
    child = os.fork()
    if not child:
        os.setsid()
        out = os.open(talk, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        try:
            told: dict[str, Any] = {"gave": work()}
        except BaseException:  # noqa: BLE001 - told to the parent
            told = {"raised": traceback.format_exc()}
        os.write(say, json.dumps(told).encode())
        os._exit(0)
    os.close(say)
    status = waited(child)
    with os.fdopen(hear, "rb") as file:
        told = json.loads(file.read() or b"{}")
    return {"exit": status, **told}


def waited(child: int) -> int:
    """The exit status of a child; one that hangs is killed and told as such."""
    pidfd = os.pidfd_open(child)
    is_hung = not select.select([pidfd], [], [], HUNG_S)[0]
    os.close(pidfd)
    if is_hung:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return HUNG if is_hung else status


class Lane:
    """One world, one driver at a time."""

    def __init__(self, folder: Path, kind: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.world = World(folder, kind)
        self.log = folder / "operations"
        os.environ["RUNNER_HOME"] = str(self.world.home)

    def drive(self, fault: Fault | None, *, record: bool = False) -> dict[str, Any]:
        """One driver from its start to its end, or to the fault."""

        def work() -> int:
            if fault is not None or record:
                os.environ.update(environment([self.world.live], self.log, fault))
                ctypes.CDLL(None).faults_arm()
            return drive(NAME)

        return in_child(work, self.world.talk)

    def resume(self) -> dict[str, Any]:
        """What `runner resume` does; a driver that died before it had the lock is only started again."""

        def work() -> Any:
            jobs = Jobs(Home(self.world.home), launch=lambda name: None)
            try:
                jobs.resume(NAME)
            except JobStatusConflict as refusal:
                if "just starting" not in str(refusal):
                    return f"refused: {refusal}"
            finally:
                jobs.close()
            return drive(NAME)

        return in_child(work, self.world.talk)

    def status(self) -> str:
        """The job's status, as a reader sees it."""

        def work() -> str:
            jobs = Jobs(Home(self.world.home), launch=lambda name: None)
            try:
                job = jobs.get(NAME)
                return f"{job.status} {job.error.reason if job.error else ''}".strip()
            finally:
                jobs.close()

        return str(in_child(work, self.world.talk).get("gave"))

    def tidy(self) -> None:
        """What the next driver or service of the home does for one that was killed right after it recorded its end."""
        home = Home(self.world.home)
        store = Store(home)
        tidy_up(home, store)
        store.close()

    def suffer(self, fault: Fault, harm: Harm | None = None) -> dict[str, Any]:
        """Drive with a fault, do the journal harm, resume until the job is completed, and look."""
        self.world.restore()
        for file in (self.log, self.world.talk):
            file.unlink(missing_ok=True)
        ends = [self.drive(fault)]
        hit = self.log.exists() and is_hit(self.log.read_text())
        before = harm.do(self.world.journal) if harm else b""
        statuses = [self.status()]
        while statuses[-1] != "Completed" and len(ends) <= RESUMES and not is_refusal(ends[-1], statuses[-1]):
            ends.append(self.resume())
            statuses.append(self.status())
        if statuses[0] == "Completed":
            in_child(self.tidy, self.world.talk)
        seen = in_child(self.world.see, self.world.talk)
        talk = self.world.talk.read_text(errors="replace") if self.world.talk.exists() else ""
        harmed = {"journal": before.decode(), "is_kept": harm is None or harm.is_as_left(self.world.journal)}
        return {"hit": hit, "ends": ends, "statuses": statuses, "seen": seen, "talk": talk[-6000:], **harmed}


def is_refusal(end: dict[str, Any], status: str) -> bool:
    """Whether another resume would say the same."""
    return str(end.get("gave")).startswith("refused") or status == "Failed JOURNAL_DAMAGED"


def tell(what: dict[str, Any]) -> None:
    """One answer, as a line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    os.environ.pop("LD_PRELOAD", None)  # not for the workers
    kind, folder = sys.argv[1], Path(sys.argv[2])
    lane = Lane(folder, kind)
    made = in_child(lane.world.make, lane.world.talk)
    if "gave" not in made:
        raise SystemExit(made.get("raised"))
    calm: dict[str, Any] = {"end": lane.drive(None, record=True), "seen": in_child(lane.world.see, lane.world.talk)}
    calm |= {"operations": lane.log.read_text(), "talk": lane.world.talk.read_text()}
    tell(calm)
    for line in sys.stdin:
        asked = json.loads(line)
        fault = Fault(asked["action"], Point(*asked["point"]), asked["number"], asked["is_lasting"])
        harm = Harm(**asked["harm"]) if asked["harm"] else None
        tell(lane.suffer(fault, harm))


if __name__ == "__main__":
    main()
