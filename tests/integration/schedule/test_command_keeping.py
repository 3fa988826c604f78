"""What a command leaves in the store when it completes: registered outputs, and records of those of a step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from command_kit import Commands, commands_in

from runner.entity.asset import Asset
from runner.schedule.contents import Contents


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Commands]:
    with commands_in(tmp_path) as made:
        yield made


def test_an_output_with_a_name_is_registered_when_the_command_completes(commands: Commands) -> None:
    named = replace(commands.file("o", "o"), asset_name="tides", asset_version="")
    commands.run("false", "bad", outputs=(named,)).failed("COMMAND_FAILED")
    assert commands.store.assets.list("data") == ()
    commands.run("echo high > ${{outputs.o}}", outputs=(named, commands.tree("t"))).ok()
    (asset,) = commands.store.assets.of_job("job")
    assert (asset.reference, asset.type, asset.path) == ("azureml:tides:1", "uri_file", str(commands.root / "o"))
    assert commands.store.reuse.records("job") == (), "nobody reuses a job that is no step"


def test_outputs_of_a_step_are_recorded_as_they_were(commands: Commands) -> None:
    outputs = (commands.file("o"), commands.tree("t"))
    commands.run("echo high > ${{outputs.o}}", root_name="voyage", outputs=outputs).ok()
    records = {one.name: one for one in commands.store.reuse.records("job")}
    assert set(records) == {"o", "t"} and records["o"].path == outputs[0].target
    assert Contents(commands.store).is_still(outputs[0].target, records["o"].content)


def test_a_version_that_was_taken_meanwhile_fails_it_and_a_resume_needs_no_second_run(commands: Commands) -> None:
    taken = Asset(kind="data", name="tides", version="7", type="uri_file", path="/elsewhere")
    go = commands.note("go")
    command = f"echo x >> {commands.note('tries')}; echo high > ${{{{outputs.o}}}}; while ! [ -e {go} ]; do :; done"
    commands.create(command, outputs=(replace(commands.file("o", "o"), asset_name="tides", asset_version="7"),))
    driver = commands.start()
    commands.wait_for(commands.note("tries").exists)
    commands.store.assets.create(taken)
    go.touch()
    assert "'tides:7' is registered already" in commands.finish(driver).failed("ASSET_EXISTS")
    assert "'tides:7' is registered already" in commands.resume().failed("ASSET_EXISTS")
    assert (commands.root / "o").read_text() == "high\n" and commands.note("tries").read_text() == "x\n"


def test_an_empty_output_called_artifacts_gets_what_the_working_folder_kept(commands: Commands) -> None:
    done = commands.run("echo world > outputs/world.txt", outputs=[commands.tree("artifacts", "kept")]).ok()
    target = commands.root / "kept"
    assert [one.relative_to(target).as_posix() for one in target.rglob("*") if one.is_file()] == ["outputs/world.txt"]
    assert (done.folder.artifacts / "outputs" / "world.txt").read_text() == "world\n"


def test_an_output_called_artifacts_that_the_command_fills_stays_as_it_is(commands: Commands) -> None:
    command = "echo tea > ${{outputs.artifacts}}/tea; echo world > outputs/world.txt"
    commands.run(command, outputs=[commands.tree("artifacts", "kept")]).ok()
    assert [one.name for one in (commands.root / "kept").iterdir()] == ["tea"]
