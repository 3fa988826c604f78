"""`runner serve`, and every verb through it: what works on a home works through a service over that home."""

from __future__ import annotations

import re
import signal

import pytest
from cli_kit import ECHO, Bench, Going
from cli_pipelines import chain, submit


def serving(bench: Bench) -> tuple[Going, str]:
    """A service over the home, and its address."""
    service = bench.start("serve")
    service.says("serving on ")
    service.says("token")
    match = re.fullmatch(r"serving on (127\.0\.0\.1:\d+)\n", service.out)
    assert match, service.out
    return service, match[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_service_tells_its_address_and_ends_quietly(bench: Bench, number: signal.Signals) -> None:
    service, _ = serving(bench)
    assert str(bench.home / "token") in service.err
    assert (bench.home / "token").stat().st_mode & 0o777 == 0o600
    service.send(number)
    ended = service.end()
    assert ended.code == 0 and "Traceback" not in ended.err


def test_all_verbs_work_through_a_service(bench: Bench) -> None:
    bench.script(ECHO)
    names = bench.files(3)
    service, address = serving(bench)
    there = ("--server", address)
    bench.submit(*there).ok()
    assert bench.target.read_text().split() == names
    by_variable = {"RUNNER_SERVER": address}
    shown = bench.run("show", "probe", "--output", "json", env=by_variable).ok().json
    assert shown == bench.show()
    assert [job["name"] for job in bench.run("list", "--output", "json", *there).ok().json] == ["probe"]
    assert bench.run("logs", "probe", "job_result.txt", *there).ok().out.startswith("Status: Completed")
    assert "job_result.txt" in bench.run("logs", "probe", "--list", *there).ok().out
    bench.run("download", "probe", "--path", bench.folder / "copy", *there).ok()
    copy = bench.folder / "copy" / "named-outputs" / "scores" / "scores.txt"
    assert copy.read_bytes() == bench.target.read_bytes()
    assert bench.run("watch", "probe", *there).code == 0
    late = bench.run("cancel", "probe", *there)
    assert late.code == 2 and late.err == bench.run("cancel", "probe").err
    bench.run("delete", "probe", *there).ok()
    gone = bench.run("show", "probe", *there)
    assert gone.code == 2 and gone.err == bench.run("show", "probe").err
    service.send(signal.SIGTERM)
    service.end().ok()


def test_pipelines_work_through_a_service_as_on_the_home(bench: Bench) -> None:
    service, address = serving(bench)
    there = ("--server", address)
    path = chain(bench)
    submitted = submit(bench, path, "first", *there).ok()
    assert "  2 steps: 2 completed" in submitted.err and "sift began" in submitted.err
    reused = submit(bench, path, "second", *there).ok()
    assert "sift: reused from first--sift" in reused.err
    for arguments in (
        ("steps", "second"),
        ("steps", "second", "--output", "json"),
        ("show", "second"),
        ("show", "second--sift"),
        ("graph", "second"),
        ("graph", "second", "--format", "mermaid"),
        ("graph", "second", "--format", "svg"),
        ("list", "--parent", "second"),
        ("logs", "second"),
        ("logs", "second--sift"),
        ("logs", "second--sift", "--list"),
    ):
        assert bench.run(*arguments, *there).ok().out == bench.run(*arguments).ok().out, arguments
    assert bench.run("logs", "second--sift", *there).ok().out == "sifted\n"
    bench.run("download", "second", "--path", "down", *there).ok()
    (made,) = [one for one in (bench.folder / "down").rglob("*") if one.is_file()]
    assert made.read_text() == "3\n"
    service.send(signal.SIGTERM)
    service.end().ok()


def test_what_is_kept_is_reached_through_a_service(bench: Bench) -> None:
    service, address = serving(bench)
    there = ("--server", address)
    submit(bench, chain(bench), "probe", *there).ok()
    bench.run("update", "probe", "--set", "tags.team=salt", "--set", "description=deep", *there).ok()
    bench.run("archive", "probe", *there).ok()
    archived = bench.run("list", "--archived", "--output", "json", *there).ok().json
    assert [job["name"] for job in archived] == ["probe"]
    assert "tags team=salt" in bench.run("show", "probe", *there).ok().out
    bench.run("restore", "probe", *there).ok()
    assert bench.run("data", "create", "ore", "--path", "data", *there).ok().out == "azureml:ore:1\n"
    for arguments in (("data", "list"), ("data", "show", "ore", "--output", "json"), ("component", "list")):
        assert bench.run(*arguments, *there).ok().out == bench.run(*arguments).ok().out, arguments
    key = bench.run("publish", "probe", "--name", "weekly", *there).ok().out.strip()
    assert bench.run("published", "list", *there).ok().out == bench.run("published", "list").ok().out
    bench.run("published", "submit", key, *there).ok()
    bench.run("published", "disable", key, *there).ok()
    for arguments in (
        ("published", "submit", key),
        ("steps", "nobody"),
        ("graph", "nobody"),
        ("archive", "probe--sift"),
        ("delete", "probe"),
        ("data", "show", "salt"),
        ("published", "show", "nothing"),
        ("update", "probe", "--set", "compute=local"),
    ):
        far, near = bench.run(*arguments, *there), bench.run(*arguments)
        assert (far.code, far.err) == (near.code, near.err), arguments
        assert far.code == 2 and "Traceback" not in far.err
    service.send(signal.SIGTERM)
    service.end().ok()


def test_errors_through_a_service_are_those_of_the_home_with_file_and_line(bench: Bench) -> None:
    bench.script(ECHO)
    bench.files(1)
    service, address = serving(bench)
    bench.target.parent.mkdir()
    bench.target.write_text("precious")
    for changes in ({}, {"inputs": {"cargo": {"type": "uri_folder", "path": "gone"}}}):
        job = bench.job(**changes)
        there, here = bench.run("submit", job, "--server", address), bench.run("submit", job)
        assert (there.code, there.err) == (here.code, here.err) and here.code == 2
    service.send(signal.SIGTERM)
    service.end().ok()


def test_a_job_outlives_the_service_and_a_watch_through_it_says_that_it_is_gone(bench: Bench) -> None:
    bench.files(1)
    service, address = serving(bench)
    going = bench.began("--server", address)
    service.process.kill()
    ended = going.end()
    assert ended.code == 3 and f"no runner service at {address}" in ended.err and "Traceback" not in ended.err
    assert bench.status() == "Running"
    bench.give("go")
    assert bench.run("watch", "probe").code == 0


def test_a_wrong_or_missing_token_is_told_with_both_names(bench: Bench) -> None:
    service, address = serving(bench)
    wrong = bench.run("list", "--server", address, env={"RUNNER_TOKEN": "wrong"})
    missing = bench.run("list", "--server", address, env={"RUNNER_HOME": str(bench.folder / "other")})
    for refused in (wrong, missing):
        assert refused.code == 3 and "RUNNER_TOKEN" in refused.err and "RUNNER_HOME/token" in refused.err
        assert len(refused.err.splitlines()) == 1
    service.send(signal.SIGTERM)
    service.end().ok()


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:80", "[::]:0", "example.com:80"])
def test_an_address_beyond_loopback_is_refused(bench: Bench, address: str) -> None:
    refused = bench.run("serve", "--listen", address)
    assert refused.code == 2 and "beyond this machine" in refused.err and len(refused.err.splitlines()) == 1


def test_an_address_that_is_taken_is_told(bench: Bench) -> None:
    service, address = serving(bench)
    second = bench.run("serve", "--listen", address)
    assert second.code != 0 and address in second.err and "Traceback" not in second.err
    service.send(signal.SIGTERM)
    service.end().ok()
