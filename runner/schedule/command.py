"""The driver of a command: one process that runs a command to the publication of its outputs.

Order of events: fork the warden, while this process has one thread and holds nothing; take the lock; make an attempt's
folders; have the warden start the processes; wait for their ends, a cancel or the time-out; record how they ended; put
the outputs in their places. A driver may die anywhere: the warden then kills what runs, and the next driver makes a new
attempt, or only publishes where the end of a good one was recorded.
"""

from __future__ import annotations

import logging
import os
import shutil

import msgspec

from runner.entity.command import PARAMETER_PROPERTY, CommandSpec
from runner.entity.job import JobError
from runner.entity.status import JobStatus
from runner.errors import CommandFailed, CommandLost, OutputNotMade, StorageFailed
from runner.instance.ward import Ward
from runner.schedule.attempt import Attempt, Result, attempts_of, end_leftovers
from runner.schedule.command_run import CommandRun, Crew
from runner.schedule.contents import Contents, assets_of, records_of
from runner.schedule.mlflow_run import MlflowRun
from runner.schedule.publication import check_made, check_targets, is_made, publish
from runner.schedule.rank_environment import needs_ray
from runner.schedule.shell import Ending, Shell
from runner.store.home import Home

log = logging.getLogger(__name__)

LOSSES = 3
"""How often a command may lose what watches over its processes, and is tried again without that being its fault."""


class CommandDriver:
    """Runs the command job `name` of a home; neither Ray nor pyarrow is imported for one process on this machine."""

    _crew: Crew
    _spec: CommandSpec

    def __init__(self, home: Home, name: str) -> None:
        self._home, self._name = home, name
        self._shell = Shell(home, name)
        self._folder = home.job(name)
        self._attempt: Attempt | None = None
        self._mlflow: MlflowRun | None = None
        self._environment = dict(os.environ)  # before anything of Ray's is put there

    def run(self) -> int:
        """Run the job to a terminal status and return its exit code; 0 without a word when another driver runs it."""
        with Ward.fork() as ward:
            self._crew = ward
            return self._shell.run(self)

    def cancel(self) -> None:
        """Ask for a cancel, as a signal handler does."""
        self._shell.cancelled.set()

    # ---- the journey ------------------------------------------------------------------------------------
    def travel(self) -> None:
        """Make attempts until one is good or none is left, and publish what it has made."""
        self._spec = msgspec.json.decode(self._folder.spec.read_bytes(), type=CommandSpec)
        for notice in self._spec.notices:
            log.info(notice)
        self._shell.move(JobStatus.PREPARING)
        before = attempts_of(self._spec, self._folder)
        if before and (count := end_leftovers(self._folder)):
            log.warning("%d processes of an earlier run were still there and have been killed", count)
        self._mlflow = MlflowRun(self._home, self._name, self._spec.experiment_name)
        if before and _is_good(before[-1]):
            log.info("attempt %d had ended well; only its outputs are published", before[-1].number)
            self._attempt = before[-1]
            self._shell.move(JobStatus.RUNNING)
        else:
            self._mlflow.begin()
            self._try_until_good(before[-1].number if before else 0)
        self._shell.cancelled.check()
        self._shell.move(JobStatus.FINALIZING)
        assert self._attempt is not None
        publish(self._attempt)

    def arrive(self, status: JobStatus, error: JobError | None) -> Ending:
        """Keep the artifacts, and say what the outputs are."""
        if self._mlflow is not None:
            self._keep_parameters(self._mlflow.end(status))
        if self._attempt is not None:
            self._attempt.keep_artifacts()
            for attempt in attempts_of(self._spec, self._folder):
                attempt.clear_nurseries()
        if status is not JobStatus.COMPLETED:
            return Ending()
        job = self._shell.store.get(self._name)
        names = {one.name: (one.asset_name, one.asset_version) for one in self._spec.outputs if one.asset_name}
        return Ending(
            # A job of its own is no source of reuse; whoever reads its outputs digests what is there then.
            records=records_of(job.outputs, Contents(self._shell.store)) if job.parent else (),
            assets=assets_of(job.outputs, names, self._name),
        )

    def leave(self, status: JobStatus) -> None:
        """Remove the working folder of what has completed: artifacts and outputs have been moved out of it."""
        if status is JobStatus.COMPLETED and self._attempt is not None:
            for name in ("work", "inputs", "outputs", "data"):
                shutil.rmtree(self._attempt.root / name, ignore_errors=True)

    def close(self) -> None:
        """Nothing of the command outlives the lock."""
        self._crew.close()

    # ---- attempts ---------------------------------------------------------------------------------------
    def _try_until_good(self, number: int) -> None:
        runs = CommandRun(self._shell, self._spec, {} if self._spec.ray_address else self._environment)
        retries, losses = self._spec.max_retries, LOSSES
        if needs_ray(self._spec):
            self._replace_crew()
        while True:
            number += 1
            attempt = Attempt(self._spec, self._folder, number)
            check_targets(attempt)
            self._prepare(attempt)
            try:
                self._run(runs, attempt)
                return
            except (CommandFailed, OutputNotMade) as error:
                _record_failure(attempt, error)
                if not retries:
                    raise
                retries -= 1
                why: Exception = error
            except CommandLost as error:
                if not losses:
                    raise CommandLost(f"{error.what}, as {LOSSES} times before") from error
                losses -= 1
                why = error
                self._replace_crew()
            log.warning("attempt %d: %s; it is tried again", number, why)
            attempt.clear_nurseries()

    def _prepare(self, attempt: Attempt) -> None:
        try:
            attempt.prepare(self._shell.cancelled.check)
        except BaseException:
            attempt.clear_nurseries()
            shutil.rmtree(attempt.root, ignore_errors=True)  # what is half made only takes up room
            raise
        self._attempt = attempt

    def _run(self, runs: CommandRun, attempt: Attempt) -> None:
        assert self._mlflow is not None
        codes = runs.run(attempt, self._crew, self._mlflow.variables)
        check_made(attempt)
        attempt.fill_artifacts()
        attempt.record(Result(is_good=True, codes=codes))

    def _replace_crew(self) -> None:
        """Another warden, or actors, for the one there is."""
        self._crew.close()
        if not needs_ray(self._spec):
            self._crew = Ward.spawn()
            return
        from runner.cluster.ranks import RayRanks

        spec, said = self._spec, self._spec.distribution
        self._crew = RayRanks(
            self._home.ray,
            spec.ray_address,
            self._shell.pulse.say,
            cpu_count=1 if said is None else said.process_count_per_instance,
            gpu_count=spec.gpu_count,
            is_light=said is not None and said.kind == "ray",
        )

    def _keep_parameters(self, found: dict[str, str]) -> None:
        if found:
            properties = {f"{PARAMETER_PROPERTY}{name}": value for name, value in found.items()}
            self._shell.store.update(self._name, properties=properties)


def _record_failure(attempt: Attempt, error: Exception) -> None:
    """For people to read; a full disk must not hide why the command failed."""
    try:
        attempt.record(Result(is_good=False, what=str(error)))
    except StorageFailed as trouble:
        log.warning("%s", trouble)


def _is_good(attempt: Attempt) -> bool:
    """Whether only publication is left to be done for it."""
    result = attempt.result
    return result is not None and result.is_good and is_made(attempt)
