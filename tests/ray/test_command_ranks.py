"""Commands on Ray: placed all at once, ended all together, with their logs wherever they ran."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_kit import until
from command_kit import Commands, commands_in, is_running
from ray_hosts import HEAD, PORT, Hosts, two_hosts

from runner.cluster.join import KeptRay, join_keeper
from runner.cluster.processes import has_variable, list_processes
from runner.entity.command import Distribution

PYTORCH = Distribution(kind="pytorch")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptRay]:
    """An embedded Ray of another home, which is a configured cluster for the tests of this file."""
    home = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNNER_HOME", str(home))
        kept = join_keeper(home / "ray", lambda line: None)
    yield kept
    kept.release()
    until(lambda: not (home / "ray" / "keeper").exists())


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    with commands_in(tmp_path) as made:
        yield made


@pytest.fixture
def embedded(commands: Commands, shared: KeptRay) -> Commands:
    """As if this home had started the Ray of the other: starting one takes seconds."""
    commands.home.ray.symlink_to(shared.token_path.parent)
    return commands


def token(shared: KeptRay) -> dict[str, str]:
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(shared.token_path)}


def is_raylet_of(pid: int, home: Path) -> bool:
    name = Path(f"/proc/{pid}/comm").read_text().strip()
    return name == "raylet" and has_variable(pid, "RUNNER_HOME", str(home))


def test_ranks_on_the_embedded_ray_are_never_capped(embedded: Commands) -> None:
    cores = len(os.sched_getaffinity(0))
    done = embedded.run(
        "echo $RANK of $WORLD_SIZE on $NODE_RANK; echo $RANK > ${{outputs.o}}/$RANK; pwd >&2",
        distribution=PYTORCH,
        instance_count=cores + 1,
        compute="ray",
        outputs=(embedded.tree("o", "o"),),
    ).ok()
    for rank in range(cores + 1):
        assert done.log(f"std_log_process_{rank}.txt") == f"{rank} of {cores + 1} on {rank}\n"
    assert len(os.listdir(embedded.root / "o")) == cores + 1
    assert embedded.statuses()[-4:] == ["Queued", "Running", "Finalizing", "Completed"]


def test_one_that_fails_ends_the_others(embedded: Commands) -> None:
    done = embedded.run(
        f"echo $$ >> {embedded.note('pids')}; test $RANK = 1 && exit 4; exec sleep 1000",
        distribution=PYTORCH,
        instance_count=3,
        compute="ray",
    )
    assert "exit code 4" in done.failed("COMMAND_FAILED")
    assert not any(map(is_running, embedded.pids()))


@pytest.mark.parametrize("how", ["cancel", "time-out", "kill"])
def test_whatever_ends_it_ends_all_ranks(embedded: Commands, how: str) -> None:
    embedded.create(
        f"echo $$ >> {embedded.note('pids')}; trap '' TERM; setsid sleep 1000 & wait; wait",
        distribution=PYTORCH,
        instance_count=2,
        compute="ray",
        cancel_grace_s=0.2,
        timeout_s=1.0 if how == "time-out" else None,
    )
    driver = embedded.start()
    pids = embedded.pids(count=2)
    if how == "cancel":
        until(lambda: "Running" in embedded.statuses())
        embedded.store.request_cancel("job")
    elif how == "kill":
        driver.kill()
    done = embedded.finish(driver)
    if how == "time-out":
        done.failed("COMMAND_TIMED_OUT")
    elif how == "cancel":
        assert str(done.job.status) == "Canceled"
    until(lambda: not any(map(is_running, pids)))


def test_ranks_whose_ray_is_killed_run_again_on_another(commands: Commands) -> None:
    """Their own Ray: it is killed."""
    sign = commands.note("sign")
    commands.create(
        f"[ -e {sign} ] && exit; echo $$ >> {commands.note('pids')}; exec sleep 1000",
        distribution=PYTORCH,
        instance_count=2,
        compute="ray",
    )
    driver = commands.start()
    pids = commands.pids(count=2)
    sign.touch()
    for raylet, _ in list_processes(lambda pid: is_raylet_of(pid, commands.home.root)):
        os.kill(raylet, signal.SIGKILL)
    done = commands.finish(driver).ok()
    assert "it is tried again" in done.said
    assert not any(map(is_running, pids))


def test_ray_runs_a_command_once_which_finds_the_cluster(embedded: Commands) -> None:
    code = "import ray; ray.init(log_to_driver=False); print(ray.get(ray.remote(lambda: 6 * 7).remote()))"
    done = embedded.run(
        f"{sys.executable} -c '{code}'", distribution=Distribution(kind="ray"), instance_count=2, compute="ray"
    ).ok()
    assert done.out == "42\n"


def test_a_plain_command_on_a_configured_cluster_waits_for_room_with_its_clock_stopped(
    commands: Commands, shared: KeptRay
) -> None:
    cores = len(os.sched_getaffinity(0))
    go = commands.note("go")
    commands.create(
        f"echo $$ >> {commands.note('pids')}; while ! [ -e {go} ]; do sleep 0.05; done",
        "first",
        distribution=Distribution(kind="mpi", process_count_per_instance=cores),
        compute="ray",
        ray_address=shared.address,
    )
    commands.create(
        "echo $RUNNER_HERE$COLOUR; pwd; ls; echo a > ${{outputs.o}}",
        "second",
        compute="ray",
        ray_address=shared.address,
        code=str(commands.write("code/tool").parent),
        outputs=(commands.file("o", "o"),),
        environment_variables={"COLOUR": "blue"},
        timeout_s=1.0,
    )
    first = commands.start("first", token(shared))
    commands.pids(count=cores)
    second = commands.start("second", token(shared))
    until(lambda: "waiting for" in commands.store.get("second").message)
    assert str(commands.store.get("second").status) == "Queued"
    go.touch()
    commands.finish(first, "first").ok()
    done = commands.finish(second, "second").ok()
    assert done.out.split()[0] == "blue" and done.out.split()[2:] == ["logs", "outputs", "tool"]
    assert (commands.root / "o").read_text() == "a\n"


def test_a_cancel_is_heard_while_there_is_no_room(commands: Commands, shared: KeptRay) -> None:
    cores = len(os.sched_getaffinity(0))
    wide = Distribution(kind="mpi", process_count_per_instance=cores)
    settings = {"distribution": wide, "compute": "ray", "ray_address": shared.address}
    commands.create(f"echo $$ >> {commands.note('pids')}; exec sleep 1000", "first", **settings)
    commands.create("true", "second", **settings)
    first = commands.start("first", token(shared))
    commands.pids(count=cores)
    second = commands.start("second", token(shared))
    until(lambda: str(commands.store.get("second").status) == "Queued")
    commands.store.request_cancel("second")
    assert str(commands.finish(second, "second").job.status) == "Canceled"
    first.terminate()
    assert str(commands.finish(first, "first").job.status) == "Canceled"


def test_more_gpus_than_there_are_are_refused(embedded: Commands) -> None:
    done = embedded.run("true", instance_count=2, distribution=PYTORCH, compute="ray", gpu_count=500.0)
    assert "asks for 1000 GPUs" in done.failed("CLUSTER_TOO_SMALL")


def test_more_instances_than_nodes_are_refused(commands: Commands, shared: KeptRay) -> None:
    done = commands.run(
        "true", env=token(shared), distribution=PYTORCH, instance_count=2, compute="ray", ray_address=shared.address
    )
    assert "2 instances" in done.failed("CLUSTER_TOO_SMALL")


class FarCommands(Commands):
    """Drivers that run on the first of two hosts."""

    hosts: Hosts

    def start(self, name: str = "job", env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.hosts.inside("head", sys.executable, "-P", "-m", "runner.compose", "drive", name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.hosts.environment, "RUNNER_HOME": str(self.home.root), **(env or {})},
            start_new_session=True,
        )


def test_a_host_that_does_not_see_the_home_is_brought_the_code_and_sends_its_logs(tmp_path: Path) -> None:
    commands = FarCommands(tmp_path)
    settings = {"distribution": PYTORCH, "instance_count": 2, "compute": "ray", "ray_address": f"{HEAD}:{PORT}"}
    with two_hosts(hidden=commands.home.root) as hosts:
        commands.hosts = hosts
        code = commands.write("code/tool.sh", "echo tool $RANK at $MASTER_ADDR; echo to err >&2\n").parent
        done = commands.run(
            "sh tool.sh; echo $RANK > outputs/mine-$RANK; echo $RANK > ${{outputs.o}}/$RANK; cd $PWD",
            code=str(code),
            outputs=(commands.tree("o", "o"),),
            **settings,
        ).ok()
        for rank in range(2):
            assert done.log(f"std_log_process_{rank}.txt").startswith(f"tool {rank} at 10.231.77.")
            assert done.log(f"std_err_process_{rank}.txt") == "to err\n"
        assert sorted(os.listdir(commands.root / "o")) == ["0", "1"]
        assert sorted(os.listdir(done.folder.artifacts / "outputs")) == ["mine-0", "mine-1"]

        refused = commands.run("true", "kept", outputs=(commands.tree("k"),), **settings)
        assert "storage that all nodes share" in refused.failed("COMMAND_FAILED")

        commands.create(f"echo $$ >> {commands.note('pids')}; exec sleep 1000", "lost", **settings)
        driver = commands.start("lost")
        commands.pids(count=2)
        hosts.pull()
        done = commands.finish(driver, "lost")
        assert "2 instances, the cluster has 1 node" in done.failed("CLUSTER_TOO_SMALL")
        assert "is gone" in done.said
    commands.close()
