"""Instances in this process and in Ray actors: one behaviour. What only Ray can do wrong stands below."""

from __future__ import annotations

import os
import queue
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

import runner
from runner.cluster import handle
from runner.cluster.base import Cluster, Handle, Placement
from runner.cluster.folder import KeeperFolder
from runner.cluster.join import KeptRay, join_keeper
from runner.cluster.keeper import ray_command, ray_environment
from runner.cluster.local import LocalCluster
from runner.cluster.processes import has_variable, list_processes, start_time_of
from runner.cluster.ray import RayCluster
from runner.dataset.saved_plan import save_plan
from runner.entity.lease import (
    Heartbeat,
    InstanceClosed,
    InstanceConfig,
    InstanceEvent,
    InstanceFailed,
    InstanceLost,
    InstanceReady,
    Lease,
    Report,
)
from runner.entity.parallel import MiniBatchSize, OutputSpec, ParallelSpec, SplitInput
from runner.errors import ArgumentInvalid, ClusterTooSmall, ClusterUnavailable
from runner.plan.make import make_plan

SCRIPT = """
import os, time
def run(mini_batch):
    print("a line of the script")
    open(os.environ["NOTES"], "a").write(f"{os.getpid()} {os.environ.get('COLOUR')}\\n")
    while os.path.exists(os.environ["NOTES"] + ".hold"):
        time.sleep(0.01)
    return [os.path.basename(path) for path in mini_batch]
"""
FILES = 6
Event = TypeVar("Event", bound=InstanceEvent)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptRay]:
    """One embedded Ray for all tests of this file."""
    home = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNNER_HOME", str(home))
        kept = join_keeper(home / "ray", lambda line: None)
    yield kept
    kept.release()
    eventually(lambda: not (home / "ray" / "keeper").exists())


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    return Job(tmp_path)


@pytest.fixture(params=["local", "ray"])
def cluster(request: pytest.FixtureRequest, job: Job) -> Iterator[Cluster]:
    if request.param == "local":
        made: Cluster = LocalCluster(job.events.put)
    else:
        shared: KeptRay = request.getfixturevalue("shared")
        made = RayCluster(job.events.put, shared.token_path.parent, None, job.said.append)
    yield made
    made.close()


@pytest.fixture
def ray(shared: KeptRay, job: Job) -> Iterator[RayCluster]:
    made = RayCluster(job.events.put, shared.token_path.parent, None, job.said.append)
    yield made
    made.close()


class Job:
    """A planned job over six files, its folders, and what its instances said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: queue.Queue[InstanceEvent] = queue.Queue()
        self.said: list[str] = []
        self.notes = root / "notes"
        self.hold = root / "notes.hold"
        for name in ("code", "data", "job", "job/logs", "job/scratch", "staging"):
            (root / name).mkdir(parents=True)
        (root / "code" / "score.py").write_text(SCRIPT)
        for number in range(FILES):
            (root / "data" / f"{number}.txt").write_text("x")
        save_plan(make_plan(self.spec()), root / "job" / "plan")

    def spec(self, workers: int | None = 2, instances: int = 1, gpus: float = 0.0) -> ParallelSpec:
        return ParallelSpec(
            name="j",
            entry_script="score.py",
            code=str(self.root / "code"),
            inputs=(SplitInput(name="data", kind="files", path=str(self.root / "data")),),
            mini_batch_size=MiniBatchSize(kind="files", value=1),
            worker_count=workers,
            instance_count=instances,
            gpus_per_worker=gpus,
            output=OutputSpec(name="out", target=str(self.root / "out.txt"), is_folder=False),
        )

    def config(self, placement: Placement) -> InstanceConfig:
        return InstanceConfig(
            instance=placement.instance,
            spec_json=msgspec.json.encode(self.spec()),
            plan_path=str(self.root / "job" / "plan"),
            worker_count=placement.worker_count,
            scratch=str(self.root / "job" / "scratch" / str(placement.instance)),
            staging=str(self.root / "staging"),
            logs=str(self.root / "job" / "logs"),
            home=str(self.root),
            epoch=1,
        )

    def start(self, cluster: Cluster) -> Handle:
        (placement,) = cluster.place(self.spec(), self.said.append)
        return cluster.start(self.config(placement), placement)

    def await_event(self, kind: type[Event], within_s: float = 60.0) -> Event:
        deadline = time.monotonic() + within_s
        while True:
            event = self.events.get(timeout=max(0.01, deadline - time.monotonic()))
            if isinstance(event, kind):
                return event
            assert isinstance(event, Heartbeat | InstanceReady | Report), event

    def run_to_the_end(self, handle: Handle) -> list[Report]:
        handle.touch()
        handle.lend(Lease(first=0, end=FILES, epoch=1))
        self.await_event(InstanceReady)
        reports = [self.await_event(Report)]
        while sum(report.end - report.first for report in reports) < FILES:
            reports.append(self.await_event(Report))
        handle.close(run_shutdown=True, grace_s=5.0)
        self.await_event(InstanceClosed)
        return reports

    def workers(self) -> list[int]:
        """The processes that have begun a mini-batch."""
        return [int(line.split()[0]) for line in self.notes.read_text().splitlines()] if self.notes.exists() else []


def eventually(true: Callable[[], object], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_lease_is_run_and_reported(cluster: Cluster, job: Job) -> None:
    handle = job.start(cluster)
    assert handle.instance == 0
    reports = job.run_to_the_end(handle)
    assert sum(report.tally.item_count for report in reports) == FILES
    parts = [job.root / "staging" / report.part.file for report in reports if report.part]
    assert "".join(part.read_text() for part in parts) == "".join(f"{n}.txt\n" for n in range(FILES))
    assert list(job.root.rglob(".runner-probe-*")) == []


def test_after_a_kill_nothing_runs_and_nothing_is_said(cluster: Cluster, job: Job) -> None:
    job.hold.touch()
    handle = job.start(cluster)
    handle.touch()
    handle.lend(Lease(first=0, end=FILES, epoch=1))
    eventually(lambda: len(set(job.workers())) == 2)
    workers = job.workers()
    handle.kill()
    said = job.events.qsize()
    eventually(lambda: not any(map(start_time_of, workers)), 5.0)
    handle.kill()
    assert job.events.qsize() == said


def test_too_many_instances_are_capped_with_a_notice(cluster: Cluster, job: Job) -> None:
    cores = len(os.sched_getaffinity(0))
    placements = cluster.place(job.spec(workers=cores, instances=3), job.said.append)
    assert [placement.worker_count for placement in placements] == [cores]
    assert any("instance_count is 3" in line and "running 1" in line for line in job.said)


def test_a_gpu_that_is_not_there_is_refused(cluster: Cluster, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ClusterTooSmall, match=r"asks for 1000 GPUs for an instance"):
        cluster.place(job.spec(workers=1000, gpus=1.0), job.said.append)


def test_workers_get_the_environment_of_their_job_not_of_the_first(
    ray: RayCluster, shared: KeptRay, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray.close()
    monkeypatch.setenv("COLOUR", "blue")
    second = RayCluster(job.events.put, shared.token_path.parent, None, job.said.append)
    try:
        job.run_to_the_end(job.start(second))
    finally:
        second.close()
    assert {line.split()[1] for line in job.notes.read_text().splitlines()} == {"blue"}
    assert "RAY_AUTH_MODE" not in os.environ


def test_a_killed_actor_is_lost_at_once(ray: RayCluster, job: Job) -> None:
    job.hold.touch()
    handle = job.start(ray)
    handle.lend(Lease(first=0, end=FILES, epoch=1))
    eventually(lambda: len(set(job.workers())) == 2)
    workers = job.workers()
    began = time.monotonic()
    os.kill(parent_of(workers[0]), signal.SIGKILL)
    lost = job.await_event(InstanceLost)
    assert time.monotonic() - began < 5.0
    assert lost.what.startswith("instance 0 on ")
    eventually(lambda: not any(map(start_time_of, workers)), 5.0)


def test_a_stopped_actor_is_killed_before_it_is_said_to_be_lost(
    ray: RayCluster, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle, "SILENCE_S", 2.0)
    job.hold.touch()
    instance = job.start(ray)
    instance.lend(Lease(first=0, end=FILES, epoch=1))
    eventually(lambda: len(set(job.workers())) == 2)
    workers = job.workers()
    actor = parent_of(workers[0])
    os.kill(actor, signal.SIGSTOP)
    lost = job.await_event(InstanceLost)
    assert "silent for 2 s" in lost.what
    assert not start_time_of(actor)
    eventually(lambda: not any(map(start_time_of, workers)), 5.0)


def test_an_instance_waits_for_room_says_so_and_can_be_closed_or_killed(
    ray: RayCluster, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handle, "_DOUBT_S", 0.5)
    cores = max(2, len(os.sched_getaffinity(0)))
    (placement,) = ray.place(job.spec(workers=cores), job.said.append)
    first = ray.start(job.config(placement), placement)
    job.await_event(InstanceReady)
    late = [Placement(instance=n, host="here", node="", worker_count=cores, cpu_count=cores) for n in (1, 2)]
    began = time.monotonic()
    second, third = (ray.start(job.config(place), place) for place in late)
    assert time.monotonic() - began < 2.0
    for number in (1, 2):
        line = f"waiting for {cores} CPUs on Ray: 0 of {cores} CPUs are free (instance {number})"
        eventually(lambda line=line: line in job.said)
    second.close(run_shutdown=True, grace_s=30.0)
    assert job.await_event(InstanceClosed).instance == 1
    third.kill()
    first.close(run_shutdown=False, grace_s=1.0)
    assert job.await_event(InstanceClosed).instance == 0


def test_a_lost_ray_is_replaced_and_its_instances_are_said_to_be_lost(home: Path, job: Job) -> None:
    cluster = RayCluster(job.events.put, home / "ray", None, job.said.append)
    try:
        job.hold.touch()
        instance = job.start(cluster)
        instance.lend(Lease(first=0, end=FILES, epoch=1))
        eventually(lambda: len(set(job.workers())) == 2)
        workers = job.workers()
        record = KeeperFolder(home / "ray").read_record()
        assert record is not None
        os.kill(record.pid, signal.SIGKILL)
        job.await_event(InstanceLost)
        eventually(lambda: not any(map(start_time_of, workers)), 10.0)
        job.hold.unlink()
        (placement,) = cluster.place(job.spec(), job.said.append)
        assert len(job.run_to_the_end(cluster.start(job.config(placement), placement))) >= 1
    finally:
        cluster.close()
    eventually(lambda: not (home / "ray" / "keeper").exists())


def test_a_killed_driver_leaves_no_actor_and_no_worker(shared: KeptRay, job: Job, tmp_path: Path) -> None:
    job.hold.touch()
    driver = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        import msgspec
        from runner.cluster.ray import RayCluster
        from runner.entity.lease import InstanceConfig, Lease
        from runner.entity.parallel import ParallelSpec
        config = msgspec.json.decode(Path(sys.argv[2]).read_bytes(), type=InstanceConfig)
        cluster = RayCluster(lambda event: None, Path(sys.argv[1]), None, print)
        (placement,) = cluster.place(msgspec.json.decode(config.spec_json, type=ParallelSpec), print)
        cluster.start(config, placement).lend(Lease(first=0, end=2, epoch=1))
        time.sleep(1000)
        """
    )
    placement = Placement(instance=0, host="h", node="", worker_count=2)
    (tmp_path / "config").write_bytes(msgspec.json.encode(job.config(placement)))
    with subprocess.Popen(
        [sys.executable, "-c", driver, str(shared.token_path.parent), str(tmp_path / "config")], start_new_session=True
    ) as process:
        try:
            eventually(lambda: len(set(job.workers())) == 2)
            actor_and_workers = {parent_of(worker) for worker in job.workers()} | set(job.workers())
        finally:
            process.kill()
    eventually(lambda: not any(map(start_time_of, actor_and_workers)), 10.0)


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({}, "asks for a token, and the one shown is missing or wrong; set RAY_AUTH_MODE=token"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "wrong"}, "the one shown is missing or wrong"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "nowhere"}, "nowhere: No such file or directory"),
    ],
)
def test_a_missing_or_wrong_token_is_told_at_once(
    shared: KeptRay,
    job: Job,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    why: str,
) -> None:
    (tmp_path / "wrong").write_text("0" * 64)
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cluster = RayCluster(job.events.put, tmp_path, shared.address, job.said.append)
    began = time.monotonic()
    with pytest.raises(ClusterUnavailable) as refused:
        cluster.place(job.spec(), job.said.append)
    assert time.monotonic() - began < 10.0
    assert why in str(refused.value)
    assert shared.address in str(refused.value)
    cluster.close()


def test_the_token_of_the_users_home_is_shown_as_ray_would(
    shared: KeptRay, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ray").mkdir()
    shutil.copy(shared.token_path, tmp_path / ".ray" / "auth_token")
    monkeypatch.setenv("HOME", str(tmp_path))
    cluster = RayCluster(job.events.put, tmp_path, shared.address, job.said.append)
    try:
        assert len(cluster.place(job.spec(), job.said.append)) == 1
    finally:
        cluster.close()
    assert "RAY_AUTH_MODE" not in os.environ


def test_addresses_that_cannot_work_are_refused(job: Job, tmp_path: Path) -> None:
    for address, kind in (("ray://head:10001", ArgumentInvalid), ("127.0.0.1:1", ClusterUnavailable)):
        cluster = RayCluster(job.events.put, tmp_path, address, job.said.append)
        with pytest.raises(kind):
            cluster.place(job.spec(), job.said.append)
        cluster.close()


def test_a_configured_cluster_is_checked_for_nodes_and_versions_and_then_used(
    shared: KeptRay, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(shared.token_path))
    cluster = RayCluster(job.events.put, tmp_path, shared.address, job.said.append)
    try:
        with pytest.raises(ClusterTooSmall, match=r"asks for 2 instances, the cluster has 1 node for them"):
            cluster.place(job.spec(instances=2), job.said.append)
        with monkeypatch.context() as patch:
            patch.setattr(runner, "__version__", "99.9")
            misfit = job.start(cluster)
            failed = job.await_event(InstanceFailed)
            assert failed.reason == ClusterUnavailable.reason
            assert re.search(r"every node needs runner 99\.9, but \S+ has 0\.\d.* install", failed.message)
            misfit.close(run_shutdown=True, grace_s=5.0)
            job.await_event(InstanceClosed)
        job.run_to_the_end(job.start(cluster))
    finally:
        cluster.close()
    assert not list_processes(lambda pid: has_variable(pid, "RUNNER_HOME", str(tmp_path)))


def can_unshare() -> bool:
    return (
        os.geteuid() == 0
        and subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture
def apart(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a Ray that sees neither the job's folder nor its code, as another machine would."""
    if not can_unshare():
        pytest.skip("needs root, for a mount namespace")
    temp_dir = tempfile.mkdtemp(prefix="runner-ray-", dir="/tmp")
    token = tmp_path / "token"
    token.write_text(secrets.token_hex(32))
    hide = f'mount -t tmpfs none {job.root}/job && mount -t tmpfs none {job.root}/code && exec "$@"'
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", hide, "sh", *ray_command(temp_dir, 2)],
        env=ray_environment(os.environ, token, temp_dir),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=str(Path(runner.__file__).parents[1]),
    ) as process:
        try:
            written = Path(temp_dir, "ray_current_cluster")
            eventually(lambda: (written.exists() and written.read_text().strip()) or process.poll() is not None, 60.0)
            monkeypatch.setenv("RAY_AUTH_MODE", "token")
            monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
            yield written.read_text().strip()
        finally:
            process.terminate()
    shutil.rmtree(temp_dir)


def test_an_instance_on_another_machine_is_brought_code_and_plan_and_ships_its_logs(
    apart: str, job: Job, tmp_path: Path
) -> None:
    shipped: dict[str, bytes] = {}

    def take(event: InstanceEvent) -> None:
        if isinstance(event, Heartbeat):
            for path, chunk in event.log_chunks:
                shipped[path] = shipped.get(path, b"") + chunk
        job.events.put(event)

    cluster = RayCluster(take, tmp_path, apart, job.said.append)
    try:
        (placement,) = cluster.place(job.spec(), job.said.append)
        hidden = replace(job.config(placement), staging=str(job.root / "job"))
        failed = cluster.start(hidden, placement)
        event = job.await_event(InstanceFailed)
        assert event.reason == "STORAGE_FAILED"
        assert f"cannot see the staging folder {job.root}/job of the output" in event.message
        failed.kill()
        reports = job.run_to_the_end(cluster.start(job.config(placement), placement))
    finally:
        cluster.close()
    parts = [job.root / "staging" / report.part.file for report in reports if report.part]
    assert sum(len(part.read_text().splitlines()) for part in parts) == FILES
    assert b"a line of the script" in b"".join(shipped.values())
    assert not list(Path(tempfile.gettempdir()).glob("runner-instance-*"))


def test_what_the_autoscaler_can_add_counts_and_is_told(
    shared: KeptRay, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(shared.token_path))
    cluster = RayCluster(job.events.put, tmp_path, shared.address, job.said.append)
    try:
        cluster.place(job.spec(), job.said.append)
        from ray._raylet import GCS_AUTOSCALER_CLUSTER_CONFIG_KEY, GCS_AUTOSCALER_STATE_NAMESPACE, GcsClient
        from ray.core.generated import autoscaler_pb2

        config = autoscaler_pb2.ClusterConfig()
        group = config.node_group_configs.add(name="workers", max_count=3)
        group.resources["CPU"] = 4
        at = (GCS_AUTOSCALER_CLUSTER_CONFIG_KEY.encode(), GCS_AUTOSCALER_STATE_NAMESPACE.encode())
        head = GcsClient(address=shared.address)
        head.internal_kv_put(at[0], config.SerializeToString(), True, namespace=at[1])
        try:
            placements = cluster.place(job.spec(instances=3), job.said.append)
            with pytest.raises(ClusterTooSmall, match="has 1 node for them, and its autoscaler can make that 3"):
                cluster.place(job.spec(instances=4), job.said.append)
        finally:
            head.internal_kv_del(at[0], False, namespace=at[1])
        assert [(bool(placement.node), placement.cpu_count) for placement in placements] == [
            (True, 2),
            (False, 4),
            (False, 4),
        ]
    finally:
        cluster.close()
