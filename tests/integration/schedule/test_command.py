"""What a command sees and what becomes of what it makes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_kit import Commands, commands_in

from runner.entity.command import CommandInput, Distribution


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    with commands_in(tmp_path) as made:
        yield made


def variables(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_a_command_goes_through_all_statuses_and_its_streams_are_kept_apart(commands: Commands) -> None:
    done = commands.run("echo moored\necho fog >&2").ok()
    assert (done.out, done.err) == ("moored\n", "fog\n")
    expected = "NotStarted Starting Preparing Queued Running Finalizing Completed"
    assert commands.statuses() == expected.split()
    assert done.job.start_time is not None and done.job.end_time is not None


def test_it_works_in_a_fresh_copy_of_its_code(commands: Commands) -> None:
    script = commands.write("code/sub/tool.sh", "echo from $1 > made-here\ncat sub/tool.sh | wc -l\n")
    os.chmod(script, 0o555)
    (commands.root / "code/link").symlink_to("sub/tool.sh")
    done = commands.run(
        "./sub/tool.sh it; readlink link; ls; echo more >> sub/tool.sh", code=str(commands.root / "code")
    ).ok()
    assert done.out.split() == ["2", "sub/tool.sh", "link", "logs", "made-here", "outputs", "sub"]
    assert script.read_text().endswith("wc -l\n") and not (commands.root / "code/made-here").exists()
    assert not (done.folder.attempts / "1/work").exists(), "nobody needs it any more"


def test_outputs_and_logs_are_there_before_and_kept_as_artifacts(commands: Commands) -> None:
    done = commands.run("echo a > outputs/a.txt; mkdir logs/deep; echo b > logs/deep/b.txt; exit 3")
    assert "exit code 3" in done.failed("COMMAND_FAILED") and done.code == 1
    assert (done.folder.artifacts / "outputs/a.txt").read_text() == "a\n"
    assert (done.folder.artifacts / "logs/deep/b.txt").read_text() == "b\n"


def test_artifacts_are_those_of_the_last_attempt_and_the_earlier_ones_keep_theirs(commands: Commands) -> None:
    command = (
        f"echo x >> {commands.note('tries')}; wc -l < {commands.note('tries')} > outputs/n; test $(cat outputs/n) = 3"
    )
    commands.run(command).failed("COMMAND_FAILED")
    commands.resume().failed("COMMAND_FAILED")
    done = commands.resume().ok()
    assert (done.folder.artifacts / "outputs/n").read_text() == "3\n"
    assert [(done.folder.attempts / f"{n}/work/outputs/n").read_text() for n in (1, 2)] == ["1\n", "2\n"]


def test_inputs_come_by_their_mode(commands: Commands) -> None:
    list_file, tree = commands.write("data/list.txt", "berth"), commands.write("data/tree/deep/x", "tide").parents[1]
    done = commands.run(
        "cat ${{inputs.list}}; echo; echo ${{inputs.list}} ${{inputs.copy}} ${{ inputs.uri }} [${{inputs.word}}]\n"
        "cat ${{inputs.copies}}/deep/x; echo changed > ${{inputs.copies}}/deep/x; echo changed > ${{inputs.copy}}",
        inputs=(
            commands.data("list", list_file),
            commands.data("copy", list_file, "download"),
            commands.data("copies", tree, "download"),
            CommandInput(name="uri", type="uri_file", text="https://harbour.example/x", mode="direct"),
            CommandInput(name="word", type="string", text="", mode="literal"),
        ),
    ).ok()
    lines = done.out.splitlines()
    mounted, copied, uri, word = lines[1].split()
    assert lines[0] == "berth" and lines[2] == "tide"
    assert (mounted, uri, word) == (str(list_file), "https://harbour.example/x", "[]")
    assert copied != str(list_file) and Path(copied).name == "list.txt"
    assert (list_file.read_text(), (tree / "deep/x").read_text()) == ("berth", "tide")


def test_a_private_copy_holds_what_links_lead_to(commands: Commands) -> None:
    tree = commands.write("tree/a", "berth").parent
    commands.write("far/deep/b", "tide")
    (tree / "link").symlink_to("../far/deep/b")
    (tree / "folder").symlink_to("../far")
    (tree / "up").symlink_to("..")
    (tree / "nowhere").symlink_to("gone")
    command = "cd ${{inputs.tree}}; cat a link folder/deep/b; find . -type l | sort; rm link folder/deep/b"
    done = commands.run(command, inputs=(commands.data("tree", tree, "download"),)).ok()
    assert done.out == "berthtidetide./nowhere\n./up\n"
    assert (commands.root / "far/deep/b").read_text() == "tide"


def test_an_input_that_is_gone_is_named(commands: Commands) -> None:
    gone = commands.root / "gone.txt"
    done = commands.run("touch ran", inputs=(commands.data("list", gone),))
    assert str(gone) in done.failed("EMPTY_INPUT")
    assert not (done.folder.attempts / "1").exists()


def test_outputs_are_published_when_it_has_ended_well(commands: Commands) -> None:
    outputs = (commands.file("line", "out/line.csv.gz"), commands.tree("tree", "out/tree"), commands.tree("kept"))
    done = commands.run(
        "test -d ${{outputs.tree}} && test -d ${{outputs.kept}} && ! test -e ${{outputs.line}} &&\n"
        "basename ${{outputs.line}} && echo a > ${{outputs.line}} && echo b > ${{outputs.tree}}/b",
        outputs=outputs,
    ).ok()
    assert done.out == "line.csv.gz\n", "tools look at the extension"
    out = commands.root / "out"
    assert (out / "line.csv.gz").read_text() == "a\n" and (out / "tree/b").read_text() == "b\n"
    assert sorted(os.listdir(out)) == ["line.csv.gz", "tree"], "nothing else is left beside them"
    assert os.listdir(outputs[2].target) == [], "an empty folder is an output"


def test_nothing_is_at_the_target_of_what_failed_and_what_it_made_stays(commands: Commands) -> None:
    done = commands.run("echo half > ${{outputs.line}}; exit 1", outputs=(commands.file("line", "out/line"),))
    done.failed("COMMAND_FAILED")
    assert not (commands.root / "out/line").exists()
    (left,) = (commands.root / "out").rglob("line")
    assert left.read_text() == "half\n"


def test_a_file_that_was_not_written_fails_it(commands: Commands) -> None:
    done = commands.run(
        "mkdir ${{outputs.line}}", outputs=(commands.file("line", "line"), commands.tree("tree", "tree"))
    )
    assert "'line'" in done.failed("OUTPUT_NOT_MADE")
    assert not (commands.root / "tree").exists(), "all or nothing"


@pytest.mark.parametrize("kind", ["file", "full folder"])
def test_what_is_at_a_target_is_refused_before_anything_runs(commands: Commands, kind: str) -> None:
    output = commands.file("o", "old") if kind == "file" else commands.tree("o", "old")
    old = commands.write("old" if kind == "file" else "old/x", "mine")
    done = commands.run(f"touch {commands.note('ran')}", outputs=(output,))
    assert output.target in done.failed("TARGET_EXISTS")
    assert old.read_text() == "mine" and not commands.note("ran").exists()


def test_an_empty_folder_at_the_target_is_nothing(commands: Commands) -> None:
    (commands.root / "tree").mkdir()
    commands.run("echo a > ${{outputs.o}}/a", outputs=(commands.tree("o", "tree"),)).ok()
    assert (commands.root / "tree/a").read_text() == "a\n"


def test_a_target_that_is_taken_meanwhile_is_left_alone(commands: Commands) -> None:
    output = commands.file("o", "late")
    done = commands.run(f"echo new > ${{{{outputs.o}}}}; echo theirs > {output.target}", outputs=(output,))
    assert output.target in done.failed("TARGET_EXISTS")
    assert Path(output.target).read_text() == "theirs\n"
    Path(output.target).unlink()
    commands.resume().ok()
    assert Path(output.target).read_text() == "new\n", "only publication was left to be done"
    assert len(os.listdir(done.folder.attempts)) == 1


def test_overwrite_replaces_all_of_the_old(commands: Commands) -> None:
    commands.write("tree/old", "old")
    line = commands.write("line", "old")
    outputs = (commands.tree("t", "tree"), commands.file("f", "line"))
    seen = f"cat {line} {commands.root}/tree/old; echo new > ${{{{outputs.f}}}}; echo new > ${{{{outputs.t}}}}/new"
    done = commands.run(seen, outputs=outputs, overwrite=True).ok()
    assert done.out == "oldold", "until then the old is there"
    assert line.read_text() == "new\n" and os.listdir(commands.root / "tree") == ["new"]
    assert sorted(os.listdir(commands.root)) == ["line", "tree"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_overwrite_does_not_replace_what_is_of_another_kind(commands: Commands, kind: str) -> None:
    output = commands.file("o", "old") if kind == "folder" else commands.tree("o", "old")
    old = commands.write("old" if kind == "file" else "old/x", "mine")
    message = commands.run("true", outputs=(output,), overwrite=True).failed("TARGET_EXISTS")
    assert output.target in message and old.read_text() == "mine"


def test_a_link_to_an_empty_folder_is_filled(commands: Commands) -> None:
    (commands.root / "far/tree").mkdir(parents=True)
    (commands.root / "tree").symlink_to("far/tree")
    commands.run("echo a > ${{outputs.o}}/a", outputs=(commands.tree("o", "tree"),)).ok()
    assert (commands.root / "far/tree/a").read_text() == "a\n" and (commands.root / "tree").is_symlink()
    assert sorted(os.listdir(commands.root)) == ["far", "tree"] and os.listdir(commands.root / "far") == ["tree"]


def test_the_old_stays_when_an_overwriting_command_fails(commands: Commands) -> None:
    line = commands.write("line", "old")
    commands.run("echo new > ${{outputs.f}}; false", outputs=(commands.file("f", "line"),), overwrite=True).failed(
        "COMMAND_FAILED"
    )
    assert line.read_text() == "old"


def test_the_environment(commands: Commands) -> None:
    done = commands.run(
        "env -u _ ; ls $AZUREML_CR_DATA_CAPABILITY_PATH; pwd",
        root_name="voyage",
        experiment_name="tides",
        instance_count=1,
        inputs=(
            CommandInput(name="Berth_No", type="integer", text="7", mode="literal"),
            commands.data("list", commands.write("list.txt")),
        ),
        outputs=(commands.tree("line"),),
        environment_variables={
            "TIDE": "at ${{inputs.Berth_No}} m in ${{ outputs.line }}",
            "AZUREML_RUN_ID": "mine",
            "AZUREML_ARM_PROJECT_NAME": "mine too",
            "MLFLOW_EXPERIMENT_NAME": "mine as well",
        },
    ).ok()
    seen = variables(done.out)
    assert seen["AZUREML_RUN_ID"] == "job" and seen["AZUREML_ROOT_RUN_ID"] == "voyage"
    assert seen["AZUREML_ARM_PROJECT_NAME"] == "mine too" and seen["MLFLOW_EXPERIMENT_NAME"] == "mine as well"
    assert seen["AZUREML_EXPERIMENT_NAME"] == "tides"
    assert {"AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME"} <= set(seen)
    assert not {"AZUREML_SERVICE_ENDPOINT", "AZUREML_DISCOVERY_SERVICE_ENDPOINT", "AZUREML_RUN_TOKEN"} & set(seen)
    assert (
        seen["AZURE_ML_INPUT_Berth_No"] == seen["AZUREML_PARAMETER_Berth_No"] == seen["AZUREML_INPUT_Berth_No"] == "7"
    )
    assert seen["AZURE_ML_INPUT_list"] == str(commands.root / "list.txt") and "AZUREML_PARAMETER_list" not in seen
    written = seen["AZURE_ML_OUTPUT_line"]
    assert seen["TIDE"] == f"at 7 m in {written}" and Path(written).name == "line"
    assert seen["AZUREML_CR_EXECUTION_WORKING_DIR_PATH"] == seen["PWD"] == done.out.splitlines()[-1]
    assert done.out.splitlines()[-3:-1] == ["INPUT_list", "line"]
    assert seen["AZUREML_OUTPUT_DIRECTORY"] == "outputs" and seen["AZUREML_PROCESS_NAME"] == "main"
    assert seen["MLFLOW_RUN_ID"] == "job" and seen["MLFLOW_TRACKING_URI"] == (commands.home.root / "mlruns").as_uri()


def test_bash_runs_it_and_the_last_line_decides(commands: Commands) -> None:
    done = commands.run("false\necho [[ $BASH_VERSION ]] && echo {1..3} | tr ' ' , \n\n \n").ok()
    assert done.out.splitlines()[-1] == "1,2,3"


def test_a_literal_is_put_in_raw(commands: Commands) -> None:
    word = CommandInput(name="w", type="string", text="a  b; echo c", mode="literal")
    assert commands.run("echo ${{inputs.w}}", inputs=(word,)).ok().out == "a b\nc\n"


def test_a_very_long_command_runs_too(commands: Commands) -> None:
    done = commands.run(f"# {'x' * 200_000}\necho ${{#0}} > /dev/null; echo ran").ok()
    assert done.out == "ran\n"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("exit 7", "exit code 7"),
        ("no-such-tool --now", "exit code 127: .*no-such-tool: command not found"),
        ("/etc/passwd", "exit code 126: .*/etc/passwd: Permission denied"),
        ("kill -KILL $$", "killed by SIGKILL"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("(kill -ABRT $BASHPID); exit $?", "exit code 134: what it ran was killed by SIGABRT"),
        ("kill 0; sleep 60", "killed by SIGTERM"),
    ],
)
def test_how_it_ended_is_told(commands: Commands, command: str, expected: str) -> None:
    import re

    message = commands.run(command).failed("COMMAND_FAILED")
    assert re.search(expected, message), message


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("AZUREML_SUCCESSFUL_RETURN_CODE_CONDITION", "ZeroOrGreater", 9),
        ("AZUREML_SUCCESSFUL_ADDITIONAL_RETURN_CODES", "[3, 4]", 4),
    ],
)
def test_other_exit_codes_can_be_successes(commands: Commands, name: str, value: str, code: int) -> None:
    commands.run(f"exit {code}", environment_variables={name: value}).ok()


def test_retries_make_new_attempts_in_fresh_folders(commands: Commands) -> None:
    note = commands.note("tries")
    done = commands.run(
        f"ls outputs ${{{{outputs.o}}}}; echo x >> {note}; touch outputs/mine; n=$(wc -l < {note})\n"
        "echo $n > ${{outputs.o}}/try-$n; test $n = 3",
        outputs=(commands.tree("o", "out"),),
        max_retries=2,
    ).ok()
    assert os.listdir(commands.root / "out") == ["try-3"]
    assert "mine" not in done.out
    assert commands.statuses().count("Running") == 1


def test_retries_come_to_an_end(commands: Commands) -> None:
    note = commands.note("tries")
    done = commands.run(f"echo x >> {note}; exit 5", max_retries=2)
    assert "exit code 5" in done.failed("COMMAND_FAILED") and note.read_text() == "x\n" * 3


def test_mlflow_finds_a_run_and_its_parameters_come_back(commands: Commands) -> None:
    # MLflow itself is not installed here: what matters is that it is found, and what its file store looks like.
    commands.write("site/mlflow/__init__.py")
    done = commands.run(
        "cd ${MLFLOW_TRACKING_URI#file://}/$MLFLOW_EXPERIMENT_ID/$MLFLOW_RUN_ID\n"
        "cat meta.yaml ../meta.yaml; printf 0.1 > params/rate",
        env={"PYTHONPATH": str(commands.root / "site")},
        experiment_name="tides",
    ).ok()
    assert 'run_id: "job"\n' in done.out and "status: 1\n" in done.out and 'name: "tides"\n' in done.out
    assert done.job.properties == {"mlflow.parameters.rate": "0.1"}
    meta = next((commands.home.root / "mlruns").glob("*/job/meta.yaml")).read_text()
    assert "status: 3\n" in meta and "end_time: null" not in meta
    assert done.said.count("mlflow is not installed") == 0


def test_without_mlflow_there_is_one_notice(commands: Commands) -> None:
    done = commands.run("true", max_retries=1).ok()
    assert done.said.count("mlflow is not installed") == 1


def test_a_command_needs_no_heavy_module(commands: Commands) -> None:
    commands.create("true")
    probe = (
        "import sys; from runner.compose.driver import drive\n"
        "code = drive('job')\n"
        "heavy = {'ray', 'pyarrow', 'numpy', 'grpc', 'yaml', 'pandas', 'mlflow', 'runner.plan'} & set(sys.modules)\n"
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    environment = {**os.environ, "RUNNER_HOME": str(commands.home.root)}
    done = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("pytorch", ["RANK=3 WORLD_SIZE=4 LOCAL_RANK=1 NODE_RANK=1", "MASTER_ADDR=127.0.0.1"]),
        ("mpi", ["OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=1"]),
    ],
)
def test_ranks_know_of_each_other(commands: Commands, kind: str, expected: list[str]) -> None:
    done = commands.run(
        "env; echo $RANK$OMPI_COMM_WORLD_RANK > outputs/$AZUREML_PROCESS_NAME; "
        "test $AZUREML_PROCESS_NAME != rank_0 || echo zero > ${{outputs.o}}",
        distribution=Distribution(kind=kind, process_count_per_instance=2),  # type: ignore[arg-type]
        instance_count=2,
        outputs=(commands.file("o", "o"),),
    ).ok()
    seen = variables(done.log("std_log_process_3.txt"))
    for line in expected:
        assert {pair.partition("=")[0]: pair.partition("=")[2] for pair in line.split()}.items() <= seen.items()
    assert sorted(os.listdir(done.folder.artifacts / "outputs")) == ["rank_0", "rank_1", "rank_2", "rank_3"]
    if kind == "pytorch":
        ports = {variables(done.log(f"std_log_process_{rank}.txt"))["MASTER_PORT"] for rank in range(4)}
        assert len(ports) == 1 and int(ports.pop()) > 0


def test_tensorflow_tasks_are_told_of_the_cluster(commands: Commands) -> None:
    import json

    done = commands.run(
        'printf %s "$TF_CONFIG"',
        distribution=Distribution(kind="tensorflow", parameter_server_count=1),
        instance_count=2,
    ).ok()
    told = [json.loads(done.log(f"std_log_process_{number}.txt")) for number in range(3)]
    assert [one["task"] for one in told] == [
        {"type": "worker", "index": 0},
        {"type": "worker", "index": 1},
        {"type": "ps", "index": 0},
    ]
    addresses = [*told[0]["cluster"]["worker"], *told[0]["cluster"]["ps"]]
    assert len(set(addresses)) == 3 and told[0]["environment"] == "cloud"


def test_one_rank_that_fails_ends_all(commands: Commands) -> None:
    done = commands.run(
        "test $RANK = 1 && exit 4; exec sleep 1000", distribution=Distribution(kind="pytorch"), instance_count=3
    )
    assert "process 1" in (message := done.failed("COMMAND_FAILED")) and "exit code 4" in message


def test_ray_runs_it_once(commands: Commands) -> None:
    assert commands.run("echo once", distribution=Distribution(kind="ray"), instance_count=3).ok().out == "once\n"
