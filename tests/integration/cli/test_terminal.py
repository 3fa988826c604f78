"""At a terminal: the bar, the question that Ctrl-C asks, and a terminal that goes away."""

from __future__ import annotations

import re

import pytest
from cli_kit import ECHO, HOLD, Bench, Terminal, until

CTRL_C = "\x03"
QUESTION = r"\[g\]o on, \[d\]etach or \[c\]ancel\?"


def at_work(bench: Bench, verb: str = "submit") -> Terminal:
    """A job that holds, watched at a terminal."""
    bench.script(HOLD)
    bench.files(3)
    terminal = bench.at_terminal(verb, bench.job(), "--name", "probe")
    bench.wait_began(terminal.process)
    terminal.shows("0/3")
    return terminal


def test_a_job_that_ends_leaves_a_summary_and_no_bar(bench: Bench) -> None:
    bench.script(ECHO)
    bench.files(3)
    terminal = bench.at_terminal("submit", bench.job(), "--name", "probe")
    assert terminal.end() == 0
    assert "probe is Completed" in terminal.text
    assert "3/3 mini-batches, 3/3 items, 0 failed" in terminal.text
    assert terminal.raw.count("\x1b[?25l") == terminal.raw.count("\x1b[?25h") > 0, "the cursor is shown again"


def test_the_bar_shows_mini_batches_items_failures_and_workers(bench: Bench) -> None:
    bench.script(
        "import signs\n"
        "def run(mini_batch):\n"
        "    if '001' in mini_batch[0]:\n        raise ValueError('no')\n"
        "    if '002' in mini_batch[0]:\n        signs.give('began')\n        signs.wait('go')\n"
        "    return mini_batch\n"
    )
    bench.files(3)
    terminal = bench.at_terminal("submit", bench.job(), "--name", "probe")
    bench.wait_began(terminal.process)
    terminal.shows(r"2/3 mini-batches")
    terminal.shows(r"2/3 items")
    terminal.shows(r"1 failed \(user_error 1\)")
    terminal.shows(r"1 worker\b")
    bench.give("go")
    assert terminal.end() == 0
    assert "Running" in terminal.text


def test_go_on_goes_on(bench: Bench) -> None:
    terminal = at_work(bench)
    terminal.type(CTRL_C)
    terminal.shows(QUESTION)
    terminal.type("g\n")
    bench.give("go")
    assert terminal.end() == 0
    assert bench.status() == "Completed"


def test_no_answer_goes_on(bench: Bench) -> None:
    terminal = at_work(bench)
    terminal.type(CTRL_C)
    terminal.shows(QUESTION)
    terminal.type("\n")
    bench.give("go")
    assert terminal.end() == 0


def test_detach_leaves_the_job_running(bench: Bench) -> None:
    terminal = at_work(bench)
    terminal.type(CTRL_C)
    terminal.shows(QUESTION)
    terminal.type("d\n")
    assert terminal.end() == 0
    assert "probe goes on" in terminal.text
    assert bench.status() == "Running"
    bench.give("go")
    assert bench.run("watch", "probe").code == 0


def test_cancel_cancels(bench: Bench) -> None:
    terminal = at_work(bench)
    terminal.type(CTRL_C)
    terminal.shows(QUESTION)
    terminal.type("c\n")
    terminal.shows("cancelling probe")
    terminal.shows("CancelRequested")
    bench.give("go")
    assert terminal.end() == 130
    assert bench.status() == "Canceled" and not bench.target.exists()
    said = terminal.raw.partition("cancelling probe")[2]
    assert "\x1b[1A" not in said.partition("\x1b[1mprobe")[0], "drawing anew does not go over what was said"


def test_a_second_press_cancels(bench: Bench) -> None:
    terminal = at_work(bench)
    terminal.type(CTRL_C)
    terminal.shows(QUESTION)
    terminal.type(CTRL_C)
    terminal.shows("cancelling probe")
    bench.give("go")
    assert terminal.end() == 130
    assert bench.status() == "Canceled"


def test_a_press_while_it_is_cancelled_leaves_it_to_end_alone(bench: Bench) -> None:
    terminal = at_work(bench)
    terminal.type(CTRL_C)
    terminal.shows(QUESTION)
    terminal.type("c\n")
    terminal.shows("cancelling probe")
    terminal.type(CTRL_C)
    assert terminal.end() == 130
    assert len(re.findall(QUESTION, terminal.text)) == 1
    assert bench.status() == "CancelRequested"
    bench.give("go")
    assert bench.run("watch", "probe").code == 130


def test_an_answer_that_is_none_of_the_three_is_asked_again(bench: Bench) -> None:
    terminal = at_work(bench)
    terminal.type(CTRL_C)
    terminal.shows(QUESTION)
    terminal.type("what\n")
    terminal.shows(QUESTION, times=2)
    terminal.type("d\n")
    assert terminal.end() == 0
    bench.give("go")
    assert bench.run("watch", "probe").code == 0


def test_the_job_may_end_while_the_question_stands(bench: Bench) -> None:
    terminal = at_work(bench)
    terminal.type(CTRL_C)
    terminal.shows(QUESTION)
    bench.give("go")
    until(lambda: bench.status() == "Completed", what="the end")
    terminal.type("c\n")
    assert terminal.end() == 0
    assert "probe is Completed" in terminal.text


@pytest.mark.parametrize("verb", ["submit", "watch"])
def test_a_lost_terminal_detaches(bench: Bench, verb: str) -> None:
    terminal = at_work(bench)
    if verb == "watch":
        terminal.type(CTRL_C)
        terminal.shows(QUESTION)
        terminal.type("d\n")
        terminal.end()
        terminal = bench.at_terminal("watch", "probe")
        terminal.shows("0/3")
    terminal.hang_up()
    assert terminal.end() == 0
    assert bench.status() == "Running"
    bench.give("go")
    assert bench.run("watch", "probe").code == 0


def test_ctrl_c_at_a_watch_only_stops_watching(bench: Bench) -> None:
    bench.script(HOLD)
    bench.files(1)
    bench.run("submit", bench.job(), "--name", "probe", "--detach").ok()
    terminal = bench.at_terminal("watch", "probe")
    terminal.shows("0/1")
    terminal.type(CTRL_C)
    assert terminal.end() == 0
    assert not re.search(QUESTION, terminal.text)
    bench.give("go")
    assert bench.run("watch", "probe").code == 0
