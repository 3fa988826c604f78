"""Pages of failures, and who may be redriven: the same from the embedded back end and from a service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from served_jobs import TO_RUNNING, Hand, serving, write_job

from runner.client.backend import Backend
from runner.client.remote import Remote
from runner.entity.lease import Failure
from runner.entity.status import FailureClass, JobStatus
from runner.errors import ArgumentInvalid, JobNotFound, JobStatusConflict, JournalDamaged, SpecInvalid
from runner.schedule.failures import encode_failure
from runner.schedule.journal import Begun, Committed, Journal, Mended, MendedItems
from runner.server.failures import KEPT, PAGE_TEXT
from runner.server.jobs import Jobs
from runner.store.home import Home, JobFolder

S = JobStatus


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def launched() -> list[str]:
    return []


@pytest.fixture(params=["embedded", "remote"])
def backend(request: pytest.FixtureRequest, home: Home, launched: list[str], tmp_path: Path) -> Iterator[Backend]:
    """With a job, sift, that has just been started."""
    made: Backend
    if request.param == "embedded":
        made = Jobs(home, launched.append)
        made.create(write_job(tmp_path / "work"), name="sift")
        yield made
        made.close()
        return
    with serving(home, launched) as address:
        made = Remote(address, home.token())
        made.create(write_job(tmp_path / "work"), name="sift")
        yield made
        made.close()


def failure(mini_batch: int, first_item: int = 0, cls: FailureClass = FailureClass.CRASH, text: str = "") -> Failure:
    return Failure(
        mini_batch=mini_batch,
        first_item=first_item,
        unit=0,
        file="/data/oil",
        row=None,
        item_count=1,
        cls=cls,
        exception_type="",
        message="died",
        traceback=text,
        attempts=1,
        instance="node-000",
        worker="process001",
        time=12.5,
    )


def write(folder: JobFolder, *failures: Failure, mended: tuple[int, ...] = ()) -> None:
    """The journal of one committed lease with these failures, some of which are mended since."""
    folder.failures.write_bytes(b"".join(map(encode_failure, failures)))
    length = folder.failures.stat().st_size
    journal = Journal(folder.journal, 0)
    journal.append([Begun(1, "sift", "abc"), Committed(epoch=1, first=0, end=1000, failures_end=length)])
    mends = tuple(MendedItems(number, 0, 1, 1, 1, 0, 0) for number in mended)
    journal.append([Mended(epoch=2, first=0, end=1000, mends=mends, failures_end=length)])
    journal.close()


def pages(backend: Backend, size: int, **asked: object) -> Iterator[list[tuple[int, int]]]:
    token = ""
    while True:
        page = backend.failures("sift", page_size=size, page_token=token, **asked)  # type: ignore[arg-type]
        yield [(row.mini_batch, row.first_item) for row in page.failures]
        if not (token := page.next_page_token):
            return


def test_failures_come_page_by_page_in_order(backend: Backend, home: Home) -> None:
    write(home.job("sift"), *(failure(number % 7, number // 7) for number in range(10)))
    places = sorted((number % 7, number // 7) for number in range(10))
    assert list(pages(backend, 4)) == [places[:4], places[4:8], places[8:]]
    assert list(pages(backend, 5)) == [places[:5], places[5:]], "no empty page at the end"
    assert list(pages(backend, 0)) == [places]


def test_a_token_may_be_used_again_and_by_another_reader(backend: Backend, home: Home) -> None:
    write(home.job("sift"), *map(failure, range(2 * KEPT + 4)))
    first = backend.failures("sift", page_size=2)
    again = [backend.failures("sift", page_size=1, page_token=first.next_page_token) for _ in range(3)]
    assert [[row.mini_batch for row in page.failures] for page in again] == [[2]] * 3
    tokens = []
    page = first
    while page.next_page_token:
        tokens.append(page.next_page_token)
        page = backend.failures("sift", page_size=1, page_token=page.next_page_token)
    late = backend.failures("sift", page_size=2, page_token=tokens[0])
    assert [row.mini_batch for row in late.failures] == [2, 3], "also when its reader is kept no more"


def test_classes_and_history_are_chosen(backend: Backend, home: Home) -> None:
    kinds = [FailureClass.CRASH, FailureClass.READ, FailureClass.CRASH, FailureClass.USER_ERROR]
    write(home.job("sift"), *(failure(n, cls=cls) for n, cls in enumerate(kinds)), mended=(2,))
    assert list(pages(backend, 9)) == [[(0, 0), (1, 0), (3, 0)]]
    assert list(pages(backend, 9, classes=[FailureClass.CRASH])) == [[(0, 0)]]
    assert list(pages(backend, 1, classes=[FailureClass.CRASH], include_history=True)) == [[(0, 0)], [(2, 0)]]
    assert list(pages(backend, 9, classes=[FailureClass.TIMEOUT])) == [[]]
    rows = backend.failures("sift", include_history=True).failures
    assert [row.is_open for row in rows] == [True, True, False, True]


def test_failures_of_the_same_items_are_told_each_once(backend: Backend, home: Home) -> None:
    write(home.job("sift"), *(failure(n // 3, text=str(n)) for n in range(9)), mended=(0, 1, 2))
    token = ""
    told: list[str] = []
    while not told or token:
        page = backend.failures("sift", page_size=2, page_token=token, include_history=True)
        told += [row.traceback for row in page.failures]
        token = page.next_page_token
    assert told == [str(n) for n in range(9)]


def test_a_page_ends_before_its_texts_are_too_long_to_send(backend: Backend, home: Home) -> None:
    text = "x" * (PAGE_TEXT // 10)
    write(home.job("sift"), *(failure(number, text=text) for number in range(25)))
    sizes = [len(page) for page in pages(backend, 1000)]
    assert sum(sizes) == 25
    assert max(sizes) <= 11


def test_what_cannot_be_asked_is_told(backend: Backend, home: Home) -> None:
    with pytest.raises(JobNotFound, match="nobody"):
        backend.failures("nobody")
    assert backend.failures("sift").failures == (), "it has no journal yet"
    write(home.job("sift"), *map(failure, range(3)))
    token = backend.failures("sift", page_size=1).next_page_token
    with pytest.raises(ArgumentInvalid, match="other arguments"):
        backend.failures("sift", page_token=token, include_history=True)
    with pytest.raises(ArgumentInvalid, match="page_size"):
        backend.failures("sift", page_size=-1)
    damaged = home.job("sift").journal
    damaged.write_bytes(damaged.read_bytes().replace(b'"epoch":1', b'"epoch":7'))
    with pytest.raises(JournalDamaged, match=r"journal: byte \d+"):
        backend.failures("sift")


def test_a_redrive_writes_what_its_driver_needs_and_begins_a_run(
    backend: Backend, home: Home, launched: list[str], tmp_path: Path
) -> None:
    Hand(home, "sift").complete()
    folder = home.job("sift")
    write(folder, failure(3))
    assert backend.redrive("sift").run_number == 2
    assert folder.redrive.read_text() == '{"code":null,"number":2}'
    hand = Hand(home, "sift")
    hand.move(*TO_RUNNING, S.FAILED)
    hand.die()
    code = tmp_path / "mended"
    code.mkdir()
    (code / "score.py").write_text("def run(mini_batch):\n    return mini_batch\n")
    assert backend.redrive("sift", str(code)).status is S.STARTING
    assert folder.redrive.read_text() == '{"code":"code.3","number":3}'
    assert (folder.code_of(3) / "score.py").is_file()
    hand = Hand(home, "sift")
    hand.move(*TO_RUNNING)
    hand.die()
    assert backend.redrive("sift").run_number == 4
    assert folder.redrive.read_text() == '{"code":"code.3","number":3}', "it is gone on with"
    assert launched == ["sift"] * 4


def test_who_may_not_be_redriven_is_told_the_way_out(
    backend: Backend, home: Home, launched: list[str], tmp_path: Path
) -> None:
    hand = Hand(home, "sift")
    hand.move(*TO_RUNNING)
    with pytest.raises(JobStatusConflict, match="runner watch sift"):
        backend.redrive("sift")
    hand.move(S.FAILED)
    hand.die()
    with pytest.raises(JobStatusConflict, match="runner resume sift"):
        backend.redrive("sift")
    backend.resume("sift")
    Hand(home, "sift").complete()
    with pytest.raises(JobStatusConflict, match="nothing that it has set aside is open"):
        backend.redrive("sift")
    write(home.job("sift"), failure(3))
    with pytest.raises(ArgumentInvalid, match="absolute"):
        backend.redrive("sift", "mended")
    with pytest.raises(ArgumentInvalid, match=r"score\.py"):
        backend.redrive("sift", str(tmp_path))
    (tmp_path / "score.py").write_text("def run(\n")
    with pytest.raises(SpecInvalid, match=r"score\.py:1"):
        backend.redrive("sift", str(tmp_path / "score.py"))
    assert (launched, home.job("sift").redrive.exists()) == (["sift"] * 2, False)
    assert not list(home.job("sift").root.glob(".code.*"))
