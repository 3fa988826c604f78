"""The core's decisions, event by event: to whom is lent, who is told to forget, what a loss costs, when a job ends."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import pytest

from runner.entity.lease import (
    Heartbeat,
    InFlight,
    InstanceClosed,
    InstanceEvent,
    InstanceLost,
    InstanceReady,
    Lease,
    LeaseCut,
    LeaseProgress,
    LeaseSplit,
    Report,
    Tally,
)
from runner.entity.parallel import MiniBatchSize, OutputSpec, ParallelSpec, SplitInput
from runner.entity.plan import Plan, PlanFile, Unit
from runner.entity.status import FailureClass
from runner.errors import ClusterUnavailable, ThresholdExceeded
from runner.schedule.actions import Action, Close, CommitNow, Forget, Kill, Lend, Retract, Run, Settle, Start
from runner.schedule.book import Ledgerbook
from runner.schedule.core import Core
from runner.schedule.leases import LeaseTable
from runner.schedule.policy import CHARGES_IN_A_ROW, LOSSES_IN_A_ROW, UNREADY_IN_A_ROW
from runner.schedule.suspects import INFRASTRUCTURE_LOSSES, STRIKES

TOTAL = 100


def make_plan(total: int = TOTAL) -> Plan:
    return Plan(
        kind="table",
        inputs=("in",),
        files=(PlanFile(path="/in/a", size_bytes=1, mtime_ns=1, row_count=total * 2, rows_per_mini_batch=2),),
        units=(Unit(file=0, first_mini_batch=0, mini_batch_count=total, row_count=total * 2),),
        mini_batch_count=total,
        item_count=total * 2,
        fingerprint="f",
    )


def make_spec(**more: object) -> ParallelSpec:
    return ParallelSpec(
        name="job",
        entry_script="score.py",
        code=None,
        inputs=(SplitInput(name="in", kind="table", path="/in"),),
        mini_batch_size=MiniBatchSize(kind="rows", value=2),
        output=OutputSpec(name="o", target="/o", is_folder=False),
        **more,  # type: ignore[arg-type]
    )


class Stage:
    """A core with its instances, whose words the test speaks."""

    def __init__(self, instances: int = 1, *, total: int = TOTAL, workers: int = 2, **spec: object) -> None:
        self.table = LeaseTable(total=total, epoch=1)
        self.book = Ledgerbook()
        self.core = Core(make_spec(**spec), make_plan(total), self.table, self.book)
        self.now = 0.0
        self.leases: dict[int, list[Lease]] = {}
        self.said: list[Action] = []
        self.take(self.core.begin([workers] * instances, self.now))

    def take(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self.said.append(action)
            if isinstance(action, Lend):
                self.leases.setdefault(action.instance, []).append(action.lease)

    def hear(self, *events: InstanceEvent, after: float = 0.0) -> list[Action]:
        """A turn of the shell: what was done in it."""
        self.now += after
        self.said = []
        for event in events:
            self.take(self.core.on(event, self.now))
        if reports := self.core.take_commit():
            for report in reports:
                self.book.enter(report.first, report.end, report.tally, -1)
            self.take(self.core.on_committed())
        self.take(self.core.tick(self.now))
        return self.said

    def ready(self, *instances: int) -> list[Action]:
        return self.hear(*(InstanceReady(instance=number, host="h", pid=1) for number in instances))

    def did(self, kind: type) -> list[Action]:
        return [action for action in self.said if isinstance(action, kind)]


def report(lease: Lease, instance: int, failed: int = 0) -> Report:
    count = lease.end - lease.first
    return Report(
        instance=instance,
        first=lease.first,
        end=lease.end,
        epoch=lease.epoch,
        lending=lease.lending,
        part=None,
        tally=Tally(
            mini_batch_count=count,
            failed_mini_batch_count=failed,
            item_count=2 * count,
            failed_item_count=2 * failed,
            row_count=count,
            failed_by_class={FailureClass.USER_ERROR: failed} if failed else {},
        ),
    )


def beat(
    instance: int, *, flying: Sequence[int] = (), leases: Sequence[LeaseProgress] = (), live: int = 0
) -> Heartbeat:
    return Heartbeat(
        instance=instance,
        live=Tally(mini_batch_count=live, failed_mini_batch_count=live, item_count=live, failed_item_count=live),
        attempt_count=0,
        worker_count=2,
        in_flight=tuple(InFlight(worker="process000", phase="run", mini_batch=n, running_s=1.0) for n in flying),
        leases=tuple(leases),
    )


def progress(lease: Lease, unstarted: int, final: int = 0, *, is_held: bool = False) -> LeaseProgress:
    return LeaseProgress(
        first=lease.first, end=lease.end, final_count=final, unstarted_count=unstarted, is_held=is_held
    )


# ---- lending ---------------------------------------------------------------------------------------------------


def test_the_only_instance_is_lent_to_while_it_starts() -> None:
    stage = Stage(1)
    stage.hear()
    assert len(stage.leases[0]) == 2


def test_of_several_instances_only_those_that_are_ready_are_lent_to() -> None:
    stage = Stage(2)
    stage.hear()
    assert stage.leases == {}
    assert stage.did(Run) == [] and Run() in stage.ready(1)
    assert set(stage.leases) == {1}
    assert not any(isinstance(action, Run) for action in stage.ready(0)), "said once"


def test_the_first_instance_does_not_take_everything() -> None:
    stage = Stage(2, total=8)
    stage.ready(0, 1)
    assert [lease.first for lease in stage.leases[0]] == [0] and [lease.first for lease in stage.leases[1]] == [4]


def test_a_commit_settles_and_lends_on() -> None:
    stage = Stage(1)
    stage.ready(0)
    lease = stage.leases[0][0]
    stage.hear(report(lease, 0), after=1.0)
    assert stage.did(Settle) == [Settle(0, lease.first, lease.end)] and len(stage.leases[0]) == 3


def test_the_job_closes_when_everything_is_committed_and_is_over_when_all_have_closed() -> None:
    stage = Stage(2, total=8)
    stage.ready(0, 1)
    stage.hear(report(stage.leases[0][0], 0), report(stage.leases[1][0], 1), after=1.0)
    assert {action.instance for action in stage.did(Close)} == {0, 1}  # type: ignore[union-attr]
    assert not stage.core.is_over
    stage.hear(InstanceClosed(instance=0), InstanceClosed(instance=1))
    assert stage.core.is_over and stage.core.error is None


def test_an_instance_that_does_not_close_is_killed() -> None:
    stage = Stage(1, total=4)
    stage.ready(0)
    stage.hear(report(stage.leases[0][0], 0))
    stage.hear(after=1000.0)
    assert stage.did(Kill) == [Kill(0)] and stage.core.is_over


# ---- losses ----------------------------------------------------------------------------------------------------


def test_a_lost_instance_is_replaced_and_its_leases_are_lent_again() -> None:
    stage = Stage(1)
    stage.ready(0)
    lost = stage.leases[0]
    stage.hear(InstanceLost(instance=0, what="gone"))
    assert stage.did(Start) == [Start(1, 0)]
    stage.ready(1)
    assert [(one.first, one.end, one.lending) for one in stage.leases[1]] == [(o.first, o.end, 1) for o in lost]


def test_a_report_that_came_before_the_loss_counts() -> None:
    stage = Stage(1)
    stage.ready(0)
    first, second = stage.leases[0]
    stage.hear(report(first, 0), InstanceLost(instance=0, what="gone"))
    assert stage.table.committed_count == 4 and stage.leases[1][0].first == second.first


def test_a_mini_batch_in_flight_at_three_losses_is_charged_and_the_job_goes_on() -> None:
    stage = Stage(1, total=8)
    for instance in range(3):
        stage.ready(instance)
        stage.hear(beat(instance, flying=[1]))
        stage.hear(InstanceLost(instance=instance, what="node gone"), after=1.0)
    assert [(lease.first, lease.end) for lease in (*stage.leases[1], *stage.leases[2])] == [(1, 2), (1, 2)]
    assert stage.book.tally.failed_by_class == {FailureClass.CRASH: 1} and stage.book.tally.failed_item_count == 2
    assert stage.core.error is None
    stage.ready(3)
    assert [(lease.first, lease.end) for lease in stage.leases[3]] == [(0, 1), (2, 4)]


def test_losses_without_any_commit_end_the_job() -> None:
    stage = Stage(1, total=10**6)
    for instance in itertools.count():
        stage.ready(instance)
        stage.hear(InstanceLost(instance=instance, what="gone"))
        if stage.core.error is not None:
            break
    assert isinstance(stage.core.error, ClusterUnavailable)
    # So many until its mini-batches are lent one at a time, and then two for each that is charged.
    assert instance + 1 == INFRASTRUCTURE_LOSSES + 1 + STRIKES * (CHARGES_IN_A_ROW + 1)
    assert stage.book.tally.failed_mini_batch_count == CHARGES_IN_A_ROW + 1


def test_losses_between_commits_never_end_the_job() -> None:
    stage = Stage(1, total=10**6)
    for instance in range(5 * LOSSES_IN_A_ROW):
        stage.ready(instance)
        stage.hear(report(stage.leases[instance][0], instance), after=1.0)
        stage.hear(InstanceLost(instance=instance, what="preempted"))
    assert stage.core.error is None and stage.book.tally.failed_mini_batch_count == 0


def test_a_place_where_none_gets_ready_is_given_up_while_others_work() -> None:
    stage = Stage(2)
    stage.ready(0)
    numbers = [1]
    while numbers:
        stage.hear(InstanceLost(instance=numbers.pop(), what="no such file"))
        numbers = [action.instance for action in stage.did(Start)]  # type: ignore[union-attr]
    assert stage.core.error is None and max(stage.core.roster.members, default=-1) == 0
    stage.hear(InstanceLost(instance=0, what="gone"))
    assert stage.did(Start), "the place that worked is tried again"


def test_the_job_ends_when_no_instance_gets_ready() -> None:
    stage = Stage(1)
    for instance in range(UNREADY_IN_A_ROW + 1):
        assert stage.core.error is None
        stage.hear(InstanceLost(instance=instance, what="no such file"))
    assert "before they were ready" in str(stage.core.error)


# ---- stragglers ------------------------------------------------------------------------------------------------


def slow_and_idle(**spec: object) -> tuple[Stage, Lease, int, int]:
    """Two instances; one has shown its pace and is idle, the other sits on what is left."""
    stage = Stage(2, total=8, **spec)
    stage.ready(0, 1)
    stage.hear(report(stage.leases[0][0], 0), after=0.5)
    return stage, stage.leases[1][0], 1, 0


def test_the_tail_of_a_slow_lease_is_taken_back_and_lent_to_the_idle_instance() -> None:
    stage, lease, slow, idle = slow_and_idle()
    stage.hear(beat(slow, leases=[progress(lease, unstarted=3)]), after=5.0)
    (asked,) = stage.did(Retract)
    assert isinstance(asked, Retract) and (asked.instance, asked.first, asked.end) == (slow, lease.first, lease.end)
    assert lease.first < asked.limit < lease.end
    stage.hear(after=1.0)
    assert not stage.did(Retract), "it is asked once"
    answer = LeaseCut(instance=slow, first=lease.first, end=lease.end, epoch=1, limit=asked.limit)
    stage.hear(answer)
    assert [one.first for one in stage.leases[idle][1:]] == [asked.limit]


def test_a_lease_far_beyond_its_peers_is_lent_twice_and_the_loser_told_to_forget_it() -> None:
    stage, lease, slow, idle = slow_and_idle()
    stage.hear(beat(slow, leases=[progress(lease, unstarted=0)]), after=60.0)
    copy = stage.leases[idle][-1]
    assert (copy.first, copy.end, copy.lending) == (lease.first, lease.end, lease.lending + 1)
    stage.hear(report(copy, idle), after=1.0)
    assert stage.did(Forget) == [Forget(slow, lease.first, lease.end)]
    assert stage.table.is_finished and stage.book.tally.mini_batch_count == 8


@pytest.mark.parametrize("held_back", ["a retry", "unknown", "by the job"])
def test_what_must_not_run_twice_is_not_lent_twice(held_back: str) -> None:
    stage, lease, slow, _ = slow_and_idle(speculate=False if held_back == "by the job" else None)
    told = [] if held_back == "unknown" else [progress(lease, unstarted=0, is_held=held_back == "a retry")]
    stage.hear(beat(slow, leases=told), after=60.0)
    assert not stage.did(Lend)


def test_a_report_that_is_not_wanted_is_to_be_forgotten() -> None:
    stage = Stage(1)
    stage.ready(0)
    lease = stage.leases[0][0]
    stage.hear(report(lease, 0))
    stage.hear(report(lease, 0))
    assert stage.did(Forget) == [Forget(0, lease.first, lease.end)] and stage.book.tally.mini_batch_count == 4


def test_a_report_of_another_epoch_changes_nothing_for_who_has_its_number_now() -> None:
    stage = Stage(1)
    stage.ready(0)
    old = Lease(first=0, end=4, epoch=0)
    stage.hear(report(old, 0))
    assert not stage.did(Forget) and stage.book.tally.mini_batch_count == 0


def test_pieces_are_committed_one_by_one() -> None:
    stage = Stage(1)
    stage.ready(0)
    lease = stage.leases[0][0]
    pieces = ((0, 1), (1, 4))
    stage.hear(LeaseSplit(instance=0, lease=lease, pieces=pieces), report(Lease(first=0, end=1, epoch=1), 0))
    assert stage.did(Settle) == [Settle(0, 0, 1)]


# ---- thresholds ------------------------------------------------------------------------------------------------


def test_a_threshold_trips_on_committed_counts_and_live_ones_only_hurry_reports() -> None:
    stage = Stage(1, mini_batch_error_threshold=2)
    stage.ready(0)
    first, second = stage.leases[0]
    stage.hear(report(first, 0, failed=2), after=1.0)
    assert stage.core.error is None
    stage.hear(beat(0, live=1), after=1.0)
    assert stage.did(CommitNow) == [CommitNow(0)] and stage.core.error is None
    stage.hear(report(second, 0, failed=1), after=1.0)
    assert isinstance(stage.core.error, ThresholdExceeded) and stage.did(Close)


def test_a_cancel_closes_at_once() -> None:
    stage = Stage(1)
    stage.ready(0)
    stage.core.cancel()
    stage.hear()
    assert stage.did(Close) and not stage.did(Lend)
