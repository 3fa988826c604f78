"""`runner serve`, and every verb through it: what works on a home works through a service over that home."""

from __future__ import annotations

import re
import signal

import pytest
from cli_kit import ECHO, Bench, Going


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
