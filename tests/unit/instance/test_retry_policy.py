"""What becomes of a failed try, how a lease is divided, which GPU is whose: pure functions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.entity.lease import InstanceConfig
from runner.entity.parallel import MiniBatchSize, OutputSpec, ParallelSpec
from runner.entity.status import FailureClass
from runner.instance.environment import gpus_of, output_folder, worker_environment
from runner.instance.policy import MAX_TRIES, SCATTERED_RUNS, Verdict, divide, judge

C = FailureClass


@pytest.mark.parametrize("cls", list(FailureClass))
@pytest.mark.parametrize("max_retries", [0, 1, 2, 7])
def test_tries_are_one_more_than_retries(cls: FailureClass, max_retries: int) -> None:
    verdicts = [judge(cls, attempt, max_retries) for attempt in range(max_retries + 1)]
    assert verdicts[-1] is Verdict.SET_ASIDE
    assert Verdict.SET_ASIDE not in verdicts[:-1]


def test_only_what_has_cost_a_process_is_tried_again_alone() -> None:
    alone = {cls for cls in FailureClass if judge(cls, 0, 5) is Verdict.RETRY_ALONE}
    assert alone == {C.CRASH, C.TIMEOUT}


def test_retries_without_end_end_where_the_ledger_cannot_count_on() -> None:
    assert judge(C.USER_ERROR, MAX_TRIES - 2, 2**31) is Verdict.RETRY
    assert judge(C.USER_ERROR, MAX_TRIES - 1, 2**31) is Verdict.SET_ASIDE


@given(st.integers(0, 10**9), st.lists(st.booleans(), max_size=300))
def test_pieces_cover_the_range_and_finished_ones_hold_only_what_is_final(first: int, final: list[bool]) -> None:
    pieces = divide(first, np.array(final, dtype=bool))
    if not final:
        assert pieces == ()
        return
    assert pieces[0][0] == first
    assert pieces[-1][1] == first + len(final)
    assert all(a[1] == b[0] for a, b in pairwise(pieces))
    assert all(not (a[2] and b[2]) for a, b in pairwise(pieces)), "adjacent finished runs are one piece"
    for start, end, is_final in pieces:
        assert start < end
        if is_final:
            assert all(final[start - first : end - first])
    runs = [bool(a) for a in final]
    if sum(1 for a, b in pairwise([False, *runs]) if b and not a) <= SCATTERED_RUNS:
        assert sum(end - start for start, end, is_final in pieces if is_final) == sum(final)


def test_a_thousand_scattered_retries_do_not_make_a_thousand_pieces() -> None:
    final = np.ones(100_000, dtype=bool)
    final[::100] = False
    pieces = divide(0, final)
    assert sum(is_final for _, _, is_final in pieces) == SCATTERED_RUNS


@pytest.mark.parametrize(
    ("per_worker", "expected"),
    [
        (0.0, [("0",), ("1",), ("2",), ("3",), ()]),
        (1.0, [("0",), ("1",), ("2",), ("3",), ()]),
        (2.0, [("0", "1"), ("2", "3"), (), (), ()]),
        (0.5, [("0",), ("0",), ("1",), ("1",), ("2",)]),
        (0.3, [("0",), ("0",), ("0",), ("0",), ("1",)]),
    ],
)
def test_gpus_are_handed_out_until_there_are_none(per_worker: float, expected: list[tuple[str, ...]]) -> None:
    found = [gpus_of(slot, ("0", "1", "2", "3"), per_worker) for slot in range(5)]
    assert found == expected


def spec(**values: object) -> ParallelSpec:
    return ParallelSpec(
        name="job",
        entry_script="score.py",
        code="/code",
        inputs=(),
        mini_batch_size=MiniBatchSize(kind="files", value=1),
        **values,  # type: ignore[arg-type] # by name
    )


def environment(
    given: ParallelSpec, base: dict[str, str], gpu_ids: tuple[str, ...] = (), slot: int = 0
) -> dict[str, str]:
    config = InstanceConfig(
        instance=3, spec_json=b"", plan_path="", worker_count=1, scratch="", staging=None, logs="", gpu_ids=gpu_ids
    )
    return worker_environment(base, config, given, slot=slot, name="process007", token="t", entry_logs="/logs")


def test_the_users_variables_win_over_all_but_the_jobs_name() -> None:
    given = spec(environment_variables={"PATH": "/mine", "AZUREML_RUN_ID": "x", "AZUREML_CR_NODE_RANK": "9"})
    found = environment(given, {"PATH": "/bin", "HOME": "/root"})
    assert found["PATH"] == "/mine"
    assert found["HOME"] == "/root"
    assert found["AZUREML_RUN_ID"] == "job"
    assert found["AZUREML_CR_NODE_RANK"] == "9"


def test_a_worker_without_a_gpu_of_its_own_gets_no_variable() -> None:
    base = {"CUDA_VISIBLE_DEVICES": "0,1"}
    assert environment(spec(), base, ("0",), slot=1).get("CUDA_VISIBLE_DEVICES") is None
    assert environment(spec(), base, ("5",), slot=0)["CUDA_VISIBLE_DEVICES"] == "5"
    assert environment(spec(), base)["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_the_output_folder_is_that_of_append_row_to_else_a_side_output() -> None:
    assert output_folder(spec()) is None
    assert output_folder(spec(side_outputs={"a": "/side"})) == "/side"
    assert output_folder(spec(output=OutputSpec(name="o", target="/out/a.txt", is_folder=False))) == "/out"
    assert output_folder(spec(output=OutputSpec(name="o", target="/out/f", is_folder=True))) == "/out/f"
