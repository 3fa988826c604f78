"""Which processes a command consists of, and where."""

from __future__ import annotations

import json

import pytest

from runner.entity.command import CommandSpec, Distribution
from runner.instance.seat import Seat
from runner.schedule.rank_environment import log_suffix, port_count, rank_count, ranks_of, seat_count


def spec(distribution: Distribution | None, instances: int = 1) -> CommandSpec:
    return CommandSpec(
        name="job", root_name="job", command="true", code=None, distribution=distribution, instance_count=instances
    )


def seats(job: CommandSpec) -> list[Seat]:
    ports = port_count(job)
    return [
        Seat(host=f"node-{number}", address=f"10.0.0.{number}", ports=tuple(range(100 * number, 100 * number + ports)))
        for number in range(seat_count(job))
    ]


@pytest.mark.parametrize(
    ("distribution", "instances", "ranks", "places"),
    [
        (None, 3, 1, 1),
        (Distribution(kind="ray"), 3, 1, 1),
        (Distribution(kind="pytorch"), 3, 3, 3),
        (Distribution(kind="mpi", process_count_per_instance=4), 2, 8, 2),
        (Distribution(kind="tensorflow"), 2, 2, 2),
        (Distribution(kind="tensorflow", worker_count=3, parameter_server_count=2), 2, 5, 2),
        (Distribution(kind="tensorflow", worker_count=1), 4, 1, 1),
    ],
)
def test_so_many_processes_run_on_so_many_instances(
    distribution: Distribution | None, instances: int, ranks: int, places: int
) -> None:
    job = spec(distribution, instances)
    assert (rank_count(job), seat_count(job)) == (ranks, places)
    made = ranks_of(job, seats(job))
    assert [rank.number for rank in made] == list(range(ranks))
    assert {rank.instance for rank in made} == set(range(places))


def test_ranks_of_pytorch_fill_one_instance_after_the_other() -> None:
    job = spec(Distribution(kind="pytorch", process_count_per_instance=2), 2)
    told = [(rank.instance, rank.variables) for rank in ranks_of(job, seats(job))]
    assert [instance for instance, _ in told] == [0, 0, 1, 1]
    assert told[2][1]["RANK"] == "2" and told[2][1]["LOCAL_RANK"] == "0" and told[2][1]["NODE_RANK"] == "1"
    assert {one["MASTER_ADDR"] for _, one in told} == {"10.0.0.0"} and {one["MASTER_PORT"] for _, one in told} == {"0"}


def test_every_task_of_tensorflow_has_an_address_of_its_own() -> None:
    job = spec(Distribution(kind="tensorflow", worker_count=3, parameter_server_count=2), 2)
    told = [json.loads(rank.variables["TF_CONFIG"]) for rank in ranks_of(job, seats(job))]
    cluster = told[0]["cluster"]
    assert all(one["cluster"] == cluster for one in told)
    assert len({*cluster["worker"], *cluster["ps"]}) == 5
    assert [(one["task"]["type"], one["task"]["index"]) for one in told[2:]] == [("worker", 2), ("ps", 0), ("ps", 1)]


def test_without_parameter_servers_there_is_no_word_of_them() -> None:
    job = spec(Distribution(kind="tensorflow"), 2)
    assert "ps" not in json.loads(ranks_of(job, seats(job))[0].variables["TF_CONFIG"])["cluster"]


def test_logs_of_ranks_sort_by_their_number() -> None:
    job = spec(Distribution(kind="pytorch"), 12)
    made = ranks_of(job, seats(job))
    names = [log_suffix(rank, len(made), is_distributed=True) for rank in made]
    assert names[0] == "_process_00" and names == sorted(names)
    assert log_suffix(made[0], 1, is_distributed=False) == ""
