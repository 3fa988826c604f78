"""Publication killed at every line of its code, then repeated: the end is that of an undisturbed run.

A process forks a child for every number n: the child ends by SIGKILL when it comes to the n-th line, the parent
publishes again and compares. So the kills are real, and none is left to chance. It all happens in shared memory, where
fsync costs nothing: what a kill leaves behind is the same there.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from itertools import product

import pytest

PROGRAM = '''
import os, shutil, signal, sys
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import numpy as np
import runner.dataset as room
from runner.dataset.layout import read_layout
from runner.dataset.parts import assemble
from runner.dataset.publish import prepare_staging, publish
from runner.dataset.render import Renderer
from runner.dataset.splice import MARK, Additions, Base
from runner.dataset.spool import RECORD, write_segment
from runner.entity.lease import Part
from runner.entity.parallel import OutputSpec

ROOM = os.path.dirname(room.__file__)
base, kind, overwrite = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "overwrite"
is_redrive = sys.argv[3] == "redrive"
# What is made before it is listed may be half there in any way: tests of crash points see to that.
STEPS = ("publish.py",) if is_redrive else ("publish.py", "staging.py", "storage.py")
is_folder, output_format = kind.split("-")[0] == "folder", kind.split("-")[1]


def output_in(world: Path) -> OutputSpec:
    target = world / "target"
    return OutputSpec(name="o", target=str(target), is_folder=is_folder, format=output_format, overwrite=overwrite,
                      part_size_bytes=20 if output_format == "jsonl" else 30_000)


def part(staging: Path, output: OutputSpec, number: int, values: list[Any]) -> Any:
    renderer = Renderer(output)
    records = np.zeros(1, RECORD)
    rendered, records["length"], records["row_count"] = renderer.finish(values, number, len(values))
    records["mini_batch"] = number
    outputs = [rendered] if renderer.mode == "text" else [("object", rendered, len(values))]
    write_segment(base / "segment", SimpleNamespace(records=records, outputs=outputs, kept=[]), renderer)
    return assemble({1: base / "segment"}, number, np.ones(1, int), output, staging / f"lease-{number}").part


def publish_in(world: Path) -> None:
    output = output_in(world)
    staging = prepare_staging(output, "job")
    if not is_redrive:
        publish(output, staging, parts, "job")
        return
    layout = read_layout(base / "pristine" / "layout")
    folder = Path(output.target) if is_folder else world
    published = [file.as_part(folder) for file in layout.files]
    firsts = np.array([file.first_mini_batch for file in layout.files])
    at = layout.places()[1, 0]
    mend = (1, 0, 2, 0, mended.row_count, mended.size_bytes * (output_format in ("text", "jsonl")), 0, 0, *at)
    before = Base(published, firsts, layout, base / "pristine" / "layout")
    publish(output, staging, before, "job", Additions.of([mended], [mend]), layout=world / "layout", epoch=2)


def tree(world: Path) -> dict[str, bytes]:
    found = {}
    for path in world.rglob("*"):
        if path.is_file() and ".staging" not in str(path) and not path.name.startswith("layout"):
            found[str(path.relative_to(world))] = path.read_bytes()
    return found


def publish_until(world: Path, line: int) -> bool:
    """Publish in a child that is killed at the given line; True if it came to its end before."""
    child = os.fork()
    if not child:
        seen = 0

        def trace(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal seen
            if not frame.f_code.co_filename.startswith(ROOM) or not frame.f_code.co_filename.endswith(STEPS):
                return None
            if event == "line":
                seen += 1
                if seen == line:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        publish_in(world)
        sys.settrace(None)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return not os.WIFSIGNALED(status)


pristine = base / "pristine"
pristine.mkdir()
if overwrite:
    # What an earlier job with more parts has left, and a file of the user.
    old = output_in(pristine)
    staging = prepare_staging(old, "old")
    parts = [part(staging, old, n, [9000 + n] * 200) for n in range(4)]
    publish(old, staging, parts, "old")
    shutil.rmtree(staging)
    if is_folder:
        (pristine / "target" / "notes.txt").write_text("mine")
output = output_in(pristine)
staging = prepare_staging(output, "job")
# For tables: two that are joined, one that is large enough, one that is renamed alone.
parts = [part(staging, output, n, [n / 7 + i for i in range(size)]) for n, size in enumerate((3, 2, 5000, 4))]
if is_redrive:
    # The second mini-batch was open when the output was published, and is mended now.
    parts[1] = Part(file="", size_bytes=0, sha256="", row_count=0)
    opened = Additions.of([], [(1, 0, 2, MARK, 0, 0, 0, 0, 0, 0)])
    publish(output, staging, Base.of(parts), "job", opened, layout=pristine / "layout", epoch=1)
    shutil.rmtree(staging)
    staging = prepare_staging(output, "job")
    mended = part(staging, output, 1, [1 / 7 + i for i in range(2)])

undisturbed = base / "undisturbed"
shutil.copytree(pristine, undisturbed)
publish_in(undisturbed)
expected = tree(undisturbed)
assert expected != tree(pristine)

line, ended, mixed = 0, False, 0
while not ended:
    line += 1
    world = base / "world"
    shutil.copytree(pristine, world)
    ended = publish_until(world, line)
    if not overwrite and not is_folder:
        assert tree(world) in (tree(pristine), expected), f"half an output is visible after line {line}"
    if is_folder and output_format != "text" and "target/_manifest.json" in tree(world):
        seen = tree(world)
        old, new = tree(pristine), expected
        assert seen in (old, new), f"a manifest stands beside half an output after line {line}"
    mixed += tree(world) not in (tree(pristine), expected)
    if not ended and line % 3 == 0:
        publish_until(world, 7 * line % 150 + 1)
    publish_in(world)
    assert tree(world) == expected, f"killed at line {line}"
    if is_redrive:
        assert read_layout(world / "layout").epoch == 2 and not read_layout(world / "layout").marks
    shutil.rmtree(world)
print(line, mixed)
'''


KINDS = ("file-text", "folder-text", "folder-jsonl", "folder-parquet")


@pytest.mark.parametrize(
    ("kind", "overwrite"),
    [
        *product(KINDS, ("new", "overwrite")),
        *((kind, "redrive") for kind in ("file-text", "folder-jsonl", "folder-parquet")),
    ],
)
def test_publication_can_be_killed_anywhere(kind: str, overwrite: str) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as base:
        command = [sys.executable, "-W", "ignore", "-c", PROGRAM, base, kind, overwrite]
        result = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stderr
    lines, mixed = map(int, result.stdout.split())
    assert lines > 50
    # Folders are renamed file by file: if no kill fell in between, this test looked at nothing.
    assert (mixed > 0) == (kind in ("folder-jsonl", "folder-parquet"))
