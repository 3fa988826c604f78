"""The driver: one process that runs one job from plan to publication.

Order of events: take the job's lock; replay the journal or begin one; start instances, and plan meanwhile; lend and
commit until every mini-batch is committed; close the instances; publish. The journal alone says what is done, so a
driver may die at any point and the next one goes on from there. What a crash can lose is the work of open leases.
"""

from __future__ import annotations

import logging
import shutil
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from runner.cluster.base import Placement
from runner.dataset.saved_plan import check_unchanged, load_plan, save_plan
from runner.entity.asset import Asset, OutputRecord
from runner.entity.job import JobError, Progress
from runner.entity.lease import InstanceConfig, Tally
from runner.entity.parallel import ParallelSpec
from runner.entity.plan import Plan
from runner.entity.status import JobStatus
from runner.errors import InputChanged, StorageFailed
from runner.schedule.arrival import Arrival, Connect
from runner.schedule.book import Ledgerbook, read_book
from runner.schedule.commit import Committer
from runner.schedule.contents import Contents, asset_names, assets_of, records_of
from runner.schedule.grounds import Grounds
from runner.schedule.job_logs import JobLogs
from runner.schedule.leases import LeaseTable
from runner.schedule.opening import Redrive, count_ends, open_journal, reopen, was_completed
from runner.schedule.policy import exceeded_threshold, nothing_succeeded
from runner.schedule.release import Release, tell_failures
from runner.schedule.shell import Ending, Shell
from runner.schedule.shift import Shift
from runner.schedule.tidy import begin_tidying, end_tidying, tidy_up
from runner.store.home import Home, JobFolder

log = logging.getLogger(__name__)

GROUPING_S = 2.0
CLUSTER_END_S = 5.0
"""How long the news that a job has failed waits for the end of what still runs of it."""


class Driver:
    """Runs job `name` of a home. The cluster comes from outside: this room knows no Ray."""

    def __init__(self, home: Home, name: str, connect: Connect) -> None:
        self._home, self._name, self._connect = home, name, connect
        self._shell = Shell(home, name)
        self._folder: JobFolder = self._shell.folder
        self._has_journal = False
        self._told_time = 0.0
        self._records: tuple[OutputRecord, ...] = ()
        self._assets: tuple[Asset, ...] = ()

    def run(self) -> int:
        """Run the job to a terminal status and return its exit code; 0 without a word when another driver runs it."""
        return self._shell.run(self)

    def cancel(self) -> None:
        """Ask for a cancel, as a signal handler does."""
        self._shell.cancelled.set()

    # ---- how it ends ------------------------------------------------------------------------------------
    def arrive(self, status: JobStatus, error: JobError | None) -> Ending:
        """Write what is told of the end, and take back what a job without results has made."""
        if status is not JobStatus.COMPLETED and hasattr(self, "_arrival"):
            self._arrival.close(wait_s=CLUSTER_END_S)
        self._shell.pulse.stop()
        # Before the journal is open, what an earlier run has told is nearer to the truth than nothing.
        progress = self._progress(None) if self._has_journal else self._shell.store.get(self._name).progress
        told = tell_failures(self._spec, self._folder) if self._has_journal else ""
        if hasattr(self, "_logs"):
            self._logs.end(status, error, progress, self._folder)
        if status is not JobStatus.COMPLETED:
            if hasattr(self, "_grounds") and self._book.is_empty and not self._is_in_doubt:
                self._grounds.take_back()
            return Ending(progress=progress)
        self._folder.redrive.unlink(missing_ok=True)
        begin_tidying(self._home, self._name)
        return Ending(message=told, progress=progress, records=self._records, assets=self._assets)

    def leave(self, status: JobStatus) -> None:
        """Remove what a crash before the record would have needed."""
        if status is JobStatus.COMPLETED:
            self._grounds.remove_staging()
            # Instances clean up behind themselves; one that was killed, and had no successor, has not.
            shutil.rmtree(self._folder.scratch, ignore_errors=True)
            if not self._book.tally.failed_mini_batch_count:  # else a redrive reads them again
                shutil.rmtree(self._folder.groups, ignore_errors=True)
            end_tidying(self._home, self._name)
            tidy_up(self._home, self._shell.store)

    def close(self) -> None:
        """Let go of the cluster."""
        if hasattr(self, "_arrival"):
            self._arrival.close(wait_s=None)

    @property
    def _is_in_doubt(self) -> bool:
        """Whether the journal may name parts although nothing counts as committed: a resume would look for them."""
        return self._has_journal and self._journal.is_broken

    # ---- the journey ------------------------------------------------------------------------------------
    def travel(self) -> None:
        """From the plan to the publication."""
        self._logs = JobLogs(self._folder.logs)
        self._book = Ledgerbook()
        self._spec = msgspec.json.decode(self._folder.spec.read_bytes(), type=ParallelSpec)
        for notice in self._spec.notices:
            log.info(notice)
        self._shell.move(JobStatus.PREPARING)
        said = read_book(self._folder.journal)
        self._book = said.book
        redrive = Redrive.read(self._folder)
        if redrive is not None and redrive.code is not None:
            self._spec = replace(self._spec, code=str(self._folder.root / redrive.code))
        self._arrival = Arrival(self._connect, self._spec, self._shell.pulse.say)
        self._epoch = said.epoch + 1
        if is_new := said.begun is None:
            # Without leases, which are lent when the journal has been opened, instances of this epoch do no harm.
            self._grounds = Grounds(self._spec, self._folder)
            staging = self._grounds.prepare(is_new=True)
            self._arrival.begin(lambda placement: self._config(placement, staging))
        self._plan = self._make_plan()
        ends = count_ends(self._shell.store, self._name)
        committer = open_journal(self._folder, self._name, self._plan, said, ends)
        self._has_journal, self._journal = True, committer.journal
        table = LeaseTable(total=self._plan.mini_batch_count, epoch=self._epoch, unit_starts=self._plan.unit_starts)
        try:
            table.restore(self._book.ranges())
            if not is_new:
                self._grounds = Grounds(self._spec, self._folder)
                staging = self._grounds.prepare(is_new=self._book.is_empty)
            release = self._release(staging, redrive)
            if release is None or release.is_open:
                places = release.places if release is not None else {}
                table.mend(reopen(self._folder, self._plan, said, committer, ends, redrive, places))
            self._check_thresholds()
            with Shift(self._spec, self._plan, table, committer, self._shell.pulse, self._shell.cancelled) as shift:
                shift.on_progress = self._show
                shift.on_logs = self._log_chunks
                shift.on_running = lambda: self._shell.move(JobStatus.RUNNING)
                if not table.is_finished:
                    # With the totals: they are told before the first mini-batch can end.
                    self._shell.move(JobStatus.QUEUED, self._progress(Tally()))
                    self._connect_and_run(shift, staging)
                else:
                    self._shell.move(JobStatus.RUNNING)  # only publication is left; the way there is the same
        finally:
            committer.close()
        if (error := nothing_succeeded(self._spec, self._book.tally, self._book.causes.first)) is not None:
            raise error
        self._shell.cancelled.check()
        self._logs.begin_report(self._folder)
        self._publish(release, committer)

    def _check_thresholds(self) -> None:
        """What the run before has committed may be too much already; it died before it could say so."""
        error = exceeded_threshold(self._spec, self._book.judged, self._plan.mini_batch_count, self._book.causes.first)
        if error is not None:
            raise error

    def _connect_and_run(self, shift: Shift, staging: Path | None) -> None:
        self._arrival.tell(shift.emit)
        self._arrival.begin(lambda placement: self._config(placement, staging))
        try:
            placements = self._arrival.place(self._spec, self._shell.pulse.say)
            shift.run(self._arrival, [(self._config(p, staging), p) for p in placements])
        finally:
            self._arrival.close()

    def _release(self, staging: Path | None, redrive: Redrive | None) -> Release | None:
        output = self._spec.output
        if output is None or staging is None:
            return None
        release = Release(output, self._folder, staging, self._name)
        if redrive is not None and release.layout is None and was_completed(self._shell.store, self._name):
            what = "is not there, so nothing can be put into the output: an earlier version has published it"
            raise StorageFailed(str(self._folder.layout), f"{what}; submit the job again")
        if release.layout is not None:
            release.check()
        return release

    def _publish(self, release: Release | None, committer: Committer) -> None:
        self._shell.move(JobStatus.FINALIZING)
        if release is not None and self._spec.output is not None:
            self._shell.pulse.say(f"publishing to {self._spec.output.target}")
            release.publish(committer, self._epoch)
        self._keep()

    def _keep(self) -> None:
        """Look at what outlives the job, while the pulse still beats: digests of large outputs take a while.

        A job of its own is no source of reuse, and whoever reads its outputs digests what he finds: only steps do it.
        """
        job = self._shell.store.get(self._name)
        if job.parent:
            self._shell.pulse.say("recording what its outputs are")
            self._records = records_of(job.outputs, Contents(self._shell.store))
        known = {asset.name for asset in self._shell.store.assets.of_job(self._name)}  # of a run before a redrive
        made = assets_of(job.outputs, asset_names(job.document), self._name)
        self._assets = tuple(asset for asset in made if asset.name not in known)

    def _make_plan(self) -> Plan:
        path = self._folder.plan
        if path.exists():
            plan = load_plan(path)
            if (listed := self._folder.listed).exists():
                check_unchanged(load_plan(listed))
                return self._groups_of(plan)
            check_unchanged(plan)
            return plan
        plan = self._plan_anew()
        log.info("planned %d mini-batches of %d items", plan.mini_batch_count, plan.item_count)
        self._logs.planned(plan)
        return plan

    def _plan_anew(self) -> Plan:
        self._shell.pulse.say("planning")
        from runner.plan.make import make_plan  # half of what a driver loads, and not before instances start

        plan = make_plan(self._spec, self._folder.plan, self._tell_grouping)
        save_plan(plan, self._folder.plan)
        return plan

    def _groups_of(self, plan: Plan) -> Plan:
        """The plan with the files of its groups; those that are gone are made anew from the unchanged input."""
        try:
            check_unchanged(plan)
        except InputChanged as error:
            log.info("the rows are grouped by key once more: %s", error)
        else:
            return plan
        bounds = bytes(memoryview(plan.bounds))  # type: ignore[arg-type] # an array of int64
        anew = self._plan_anew()
        if anew.fingerprint != plan.fingerprint or bytes(memoryview(anew.bounds)) != bounds:  # type: ignore[arg-type]
            what = "has lost rows that were grouped by key, and the input gives others now"
            raise InputChanged(str(self._folder.groups), what)
        return anew

    def _tell_grouping(self, row_count: int) -> None:
        """Rows are being grouped by key, which may take long."""
        self._shell.cancelled.check()
        now = time.monotonic()
        if now - self._told_time >= GROUPING_S:
            self._told_time = now
            self._shell.pulse.say(f"grouping rows by key: {row_count} read")

    def _config(self, placement: Placement, staging: Path | None) -> InstanceConfig:
        return InstanceConfig(
            instance=placement.instance,
            spec_json=msgspec.json.encode(self._spec),
            plan_path=str(self._folder.plan),
            worker_count=placement.worker_count,
            scratch=str(self._folder.scratch / f"instance-{placement.instance}"),
            staging=str(staging) if staging else None,
            logs=str(self._folder.logs),
            home=str(self._home.root),
            gpu_ids=placement.gpu_ids,
            epoch=self._epoch,
        )

    # ---- what is told -----------------------------------------------------------------------------------
    def _show(self, live: Tally, instance_count: int, worker_count: int) -> None:
        progress = self._progress(live, instance_count, worker_count)
        self._shell.pulse.show(progress)
        self._logs.progress(progress)

    def _log_chunks(self, chunks: Sequence[tuple[str, bytes]]) -> None:
        for path, data in chunks:
            self._logs.append(path, data)

    def _progress(self, live: Tally | None, instance_count: int = 0, worker_count: int = 0) -> Progress:
        """While a run goes on, what it tries again is neither done nor failed; in the end (`live` None) all counts."""
        book = getattr(self, "_book", Ledgerbook())
        plan: Plan | None = getattr(self, "_plan", None)
        tally = book.tally if live is None else book.judged + live
        return Progress(
            item_count=plan.item_count if plan else None,
            done_item_count=tally.item_count,
            failed_item_count=tally.failed_item_count,
            mini_batch_count=plan.mini_batch_count if plan else None,
            done_mini_batch_count=tally.mini_batch_count,
            failed_mini_batch_count=tally.failed_mini_batch_count,
            failed_by_class={str(k): v for k, v in tally.failed_by_class.items()},
            first_failures=book.causes.lines,
            instance_count=instance_count,
            worker_count=worker_count,
        )


def drive(home: Home, name: str, connect: Connect) -> int:
    """Run a job to its end in this process; the door for compose. Never raises."""
    try:
        return Driver(home, name, connect).run()
    except Exception:  # noqa: BLE001 - the edge of the process: what is left to say goes to the driver's log
        traceback.print_exc()
        return 1
