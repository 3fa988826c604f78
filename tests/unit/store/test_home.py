"""Names become paths only after a check, and a home is refused where SQLite cannot live."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import ArgumentInvalid
from runner.store.home import NETWORK_FILE_SYSTEMS, Home, check_name, file_system_of

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / /home rw - nfs4 server:/home rw
31 22 0:41 / /mnt/with\\040space rw shared:5 - fuse.sshfs host: rw
32 30 8:2 / /home/me/local rw - xfs /dev/sdb1 rw
33 22 8:3 / /twice rw - ext4 /dev/sdc1 rw
34 22 0:42 / /twice rw - cifs //server/x rw
"""


@pytest.mark.parametrize("name", ["a", "0", "brave_otter_x1", "A.b-c_d", "x" * 128, "a..b"])
def test_a_plain_name_is_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "-a", ".a", "a b", "a\n", "a\0", "x" * 129, "é"])
def test_what_could_be_a_path_is_no_name(name: str) -> None:
    with pytest.raises(ArgumentInvalid) as caught:
        Home("/nowhere").job(name)
    assert caught.value.argument == "name"
    assert "128" in str(caught.value)


def test_the_files_of_a_job_lie_in_its_folder() -> None:
    folder = Home("/h").job("sift")
    root = Path("/h/jobs/sift")
    assert (folder.root, folder.document, folder.spec) == (root, root / "job.json", root / "spec.json")
    assert (folder.plan, folder.journal, folder.lock) == (root / "plan", root / "journal", root / "lock")
    assert (folder.code, folder.logs, folder.scratch) == (root / "code", root / "logs", root / "scratch")
    assert (folder.records, folder.failures) == (root / "records", root / "failures.jsonl")


def test_the_home_is_the_argument_else_the_variable_else_a_hidden_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_HOME", "/from/env")
    assert Home("/given").root == Path("/given")
    assert Home().root == Path("/from/env")
    monkeypatch.setenv("RUNNER_HOME", "")
    assert Home().root == Path.home() / ".runner"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/runner", "ext4"),
        ("/home/me/.runner", "nfs4"),
        ("/home/me/local/.runner", "xfs"),
        ("/home2", "ext4"),
        ("/mnt/with space/r", "fuse.sshfs"),
        ("/twice/r", "cifs"),
    ],
)
def test_the_file_system_is_that_of_the_innermost_mount(path: str, kind: str) -> None:
    assert file_system_of(Path(path), MOUNTS) == kind


def test_network_file_systems_are_known_and_local_ones_are_not() -> None:
    assert {"nfs", "nfs4", "cifs", "9p", "fuse.sshfs"} <= NETWORK_FILE_SYSTEMS
    assert not {"ext4", "xfs", "tmpfs", "overlay", "btrfs", "zfs"} & NETWORK_FILE_SYSTEMS
