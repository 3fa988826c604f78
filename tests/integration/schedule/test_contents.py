"""Digests of trees: what changes them, what is not read again, and what of a job is recorded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.entity.job import OutputState
from runner.errors import StorageFailed
from runner.schedule.contents import Contents, asset_names, assets_of, records_of
from runner.store.home import Home
from runner.store.store import Store

Files = dict[tuple[str, ...], bytes]


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    made = Store(Home(home))
    yield made
    made.close()


@pytest.fixture
def contents(store: Store) -> Contents:
    return Contents(store)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "inner").mkdir(parents=True)
    (root / "a.txt").write_text("a")
    (root / "inner" / "b.txt").write_text("bb")
    return root


def grow(tree: Path) -> None:
    """Make a tree one of those that are worth remembering."""
    (tree / "large").write_bytes(bytes(3 << 20))


def test_names_and_bytes_count_and_nothing_else(contents: Contents, tree: Path, tmp_path: Path) -> None:
    first = contents.of(str(tree))
    assert (first.file_count, first.size_bytes) == (2, 3)

    copy = tmp_path / "elsewhere"
    shutil.copytree(tree, copy)
    os.utime(copy / "a.txt", (1, 1))
    (copy / "a.txt").chmod(0o600)
    second = contents.of(str(copy))
    assert second.digest == first.digest
    assert second.stamp != first.stamp


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: (tree / "a.txt").write_text("A"),
        lambda tree: (tree / "a.txt").rename(tree / "c.txt"),
        lambda tree: (tree / "a.txt").rename(tree / "inner" / "a.txt"),
        lambda tree: (tree / "c.txt").touch(),
        lambda tree: (tree / "a.txt").unlink(),
        lambda tree: (tree / "empty").mkdir(),
        lambda tree: (tree / ".hidden").touch(),
        lambda tree: (tree / "broken").symlink_to("nowhere"),
        lambda tree: os.mkfifo(tree / "pipe"),
    ],
    ids=["bytes", "name", "folder", "new", "gone", "empty folder", "hidden file", "broken link", "pipe"],
)
def test_a_change_is_seen(contents: Contents, tree: Path, change: object) -> None:
    before = contents.of(str(tree))
    assert callable(change)
    change(tree)
    after = contents.of(str(tree))
    assert after.digest != before.digest
    assert not contents.is_still(str(tree), before)
    assert contents.is_still(str(tree), after)


def test_content_moved_between_names_is_another_tree(contents: Contents, tmp_path: Path) -> None:
    for name, files in (("one", {"a": "xb", "b": ""}), ("two", {"a": "x", "b": "b"}), ("three", {"ab": "", "x": "b"})):
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    assert len({contents.of(str(tmp_path / name)).digest for name in ("one", "two", "three")}) == 3


NAMES = st.sampled_from(["a", "b", "ab", "a.b", "\u00e9"])
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=3).map(tuple), st.binary(max_size=3), max_size=4).filter(
    lambda tree: not any(one[: len(two)] == two for one in tree for two in tree if one != two)
)


@given(TREES, TREES)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_trees_have_one_digest_when_their_files_are_the_same(
    contents: Contents, tmp_path_factory: pytest.TempPathFactory, one: Files, two: Files
) -> None:
    assert (digest_of(contents, tmp_path_factory, one) == digest_of(contents, tmp_path_factory, two)) == (one == two)


def digest_of(contents: Contents, factory: pytest.TempPathFactory, files: Files) -> str:
    root = factory.mktemp("tree")
    for names, data in files.items():
        path = root.joinpath(*names)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return contents.of(str(root)).digest


def test_a_file_is_its_bytes(contents: Contents, tree: Path) -> None:
    (tree / "same").write_text("a")
    assert contents.of(str(tree / "a.txt")).digest == contents.of(str(tree / "same")).digest
    assert contents.of(str(tree / "a.txt")).digest == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"


def test_what_a_job_stages_in_a_tree_is_no_part_of_it(contents: Contents, tree: Path) -> None:
    before = contents.of(str(tree))
    staging = tree / ".scores.job-1.staging"
    staging.mkdir()
    (staging / ".probe").write_text("job-1")
    assert contents.of(str(tree)) == before


def test_links_are_followed_but_not_in_circles(contents: Contents, tree: Path, tmp_path: Path) -> None:
    plain = contents.of(str(tree))
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "a.txt").symlink_to(tree / "a.txt")
    (linked / "inner").symlink_to(tree / "inner")
    assert contents.of(str(linked)).digest == plain.digest
    (tree / "inner" / "up").symlink_to(tree)
    assert contents.of(str(tree)).digest == plain.digest


def test_an_unchanged_tree_is_not_read_again(contents: Contents, store: Store, tree: Path) -> None:
    grow(tree)
    first = contents.of(str(tree))
    assert store.reuse.known_content(str(tree), first.stamp) == first
    # Bytes behind the back of every time stamp are what reading would find.
    planted = type(first)(digest="planted", stamp=first.stamp, file_count=3, size_bytes=3)
    store.reuse.keep_content(str(tree), planted)
    assert contents.of(str(tree)) == planted
    os.utime(tree / "a.txt", (5, 5))
    assert contents.of(str(tree)).digest == first.digest


def test_a_write_right_after_reading_is_seen_although_size_and_tick_are_the_same(
    contents: Contents, tree: Path
) -> None:
    grow(tree)
    for turn in range(20):
        (tree / "a.txt").write_text(f"{turn:03}")
        before = contents.of(str(tree))
        (tree / "a.txt").write_text(f"{turn + 500:03}")
        assert contents.of(str(tree)).digest != before.digest


def test_what_was_just_written_is_read_when_the_tick_of_the_clock_is_over(contents: Contents, tree: Path) -> None:
    """Newer kernels tell each write its own time; elsewhere a second write within 10 ms looks like the first."""
    (tree / "a.txt").write_text("b")
    contents.of(str(tree))
    assert time.time() >= (tree / "a.txt").stat().st_mtime + 0.01


def test_of_writes_without_end_the_last_one_is_seen(contents: Contents, tree: Path, tmp_path: Path) -> None:
    """A writer that never lets a tick pass, and always the same number of bytes, ends while the tree is looked at."""
    grow(tree)
    target = tree / "a.txt"
    for turn in range(30):
        ended = threading.Event()

        def write(turn: int = turn, ended: threading.Event = ended) -> None:
            for number in range(400):
                with open(target, "r+b") as file:
                    file.write(b"%03d.%03d" % (turn, number))
            ended.set()

        target.write_bytes(bytes(7))
        writer = threading.Thread(target=write)
        writer.start()
        while not ended.is_set():
            contents.of(str(tree))
        writer.join()
        kept = contents.of(str(tree)).digest
        shutil.copytree(tree, again := tmp_path / f"again-{turn}")
        assert kept == contents.of(str(again)).digest


def test_a_write_that_puts_the_time_back_is_seen(contents: Contents, tree: Path) -> None:
    grow(tree)
    before, found = contents.of(str(tree)), (tree / "a.txt").stat()
    (tree / "a.txt").write_text("b")
    os.utime(tree / "a.txt", ns=(found.st_atime_ns, found.st_mtime_ns))
    assert contents.of(str(tree)).digest != before.digest


def test_many_files_are_read_in_threads_as_in_one(contents: Contents, tmp_path: Path) -> None:
    tree, again = tmp_path / "many", tmp_path / "again"
    tree.mkdir()
    for number in range(600):
        (tree / f"{number}").write_bytes(b"%d" % number * 9000)
    first = contents.of(str(tree))
    assert first.file_count == 600 and first.size_bytes > 8 << 20
    shutil.copytree(tree, again)
    assert contents.of(str(again)).digest == first.digest
    (again / "599").write_bytes(b"x")
    assert contents.of(str(again)).digest != first.digest


def test_threads_that_ask_at_once_read_once(store: Store, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(200 << 20))
    contents = Contents(store)

    def cost() -> tuple[float, str]:
        before = time.thread_time()
        digest = contents.of(str(large)).digest
        return time.thread_time() - before, digest

    with ThreadPoolExecutor(4) as pool:
        said = [one.result() for one in [pool.submit(cost) for _ in range(4)]]
    costs = sorted(cost for cost, _ in said)
    assert len({digest for _, digest in said}) == 1
    assert costs[-2] < costs[-1] / 2, "one has hashed, the others have looked"


def test_names_that_are_no_utf8(contents: Contents, tmp_path: Path) -> None:
    tree = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(tree)
    with open(tree + b"/\xfe", "wb") as file:
        file.write(bytes(3 << 20))
    first = contents.of(os.fsdecode(tree))
    assert contents.of(os.fsdecode(tree)) == first
    os.rename(tree + b"/\xfe", tree + b"/\xfd")
    assert contents.of(os.fsdecode(tree)).digest != first.digest


def test_what_cannot_be_read_is_named(contents: Contents, tree: Path) -> None:
    with pytest.raises(StorageFailed, match=r"nowhere.*cannot be read: No such file"):
        contents.of(str(tree / "nowhere"))
    here = contents.of(str(tree))
    shutil.rmtree(tree)
    assert not contents.is_still(str(tree), here)


def test_records_are_of_outputs_that_are_there(contents: Contents, tree: Path) -> None:
    outputs = (
        OutputState(name="model", type="uri_folder", path=str(tree)),
        OutputState(name="scores", type="uri_file", path=str(tree / "a.txt")),
        OutputState(name="absent", type="uri_file", path=str(tree / "absent")),
        OutputState(name="nowhere", type="uri_file", path=""),
    )
    records = records_of(outputs, contents)
    assert [(one.name, one.type, one.path) for one in records] == [(o.name, o.type, o.path) for o in outputs[:2]]
    assert records[0].content == contents.of(str(tree))


def test_assets_are_outputs_with_a_name(tree: Path) -> None:
    document = {
        "outputs": {
            "model": {"type": "uri_folder", "name": "wine", "version": 3},
            "scores": {"name": "scores"},
            "absent": {"name": "absent"},
            "plain": {"type": "uri_folder"},
            "bare": None,
        }
    }
    names = asset_names(document)
    assert names == {"model": ("wine", "3"), "scores": ("scores", ""), "absent": ("absent", "")}
    outputs = [OutputState(name=name, type="uri_folder", path=str(tree)) for name in ("model", "scores", "plain")]
    outputs.append(OutputState(name="absent", type="uri_folder", path=str(tree / "absent")))
    made = assets_of(outputs, names, "job-1")
    assert [(one.name, one.version, one.path, one.job) for one in made] == [
        ("wine", "3", str(tree), "job-1"),
        ("scores", "", str(tree), "job-1"),
    ]


def test_a_command_s_driver_need_not_load_what_is_large() -> None:
    code = "import sys, runner.schedule.contents; print(sorted({'pyarrow', 'numpy', 'ray'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
