"""A pipeline at a terminal: the tree of its steps, redrawn in place, and the question that Ctrl-C asks."""

from __future__ import annotations

from cli_kit import HOLD, Bench, Terminal, until
from cli_pipelines import command, pipeline, steps_of, write

CTRL_C = "\x03"
QUESTION = r"\[g\]o on, \[d\]etach or \[c\]ancel\?"


def at_work(bench: Bench) -> Terminal:
    """A pipeline whose first step holds and whose second waits for it, watched at a terminal."""
    jobs = {
        "dig": command(bench, "held dig; echo tin > ${{outputs.o}}", outputs={"o": {"type": "uri_file"}}),
        "haul": command(bench, "note haul", inputs={"i": "${{parent.jobs.dig.outputs.o}}"}),
    }
    terminal = bench.at_terminal("submit", pipeline(bench, jobs), "--name", "probe")
    until(lambda: bench.notes("notes") or terminal.process.poll() is not None, what="the first step")
    terminal.shows(r"0/2 steps done, 1 running \(dig\), 0 failed")
    return terminal


def test_the_steps_are_a_tree_with_state_and_time_that_goes_when_it_ends(bench: Bench) -> None:
    terminal = at_work(bench)
    terminal.shows(r"├─ dig +Running +\d+\.\d s")
    terminal.shows(r"└─ haul +NotStarted +-")
    bench.give("go")
    assert terminal.end() == 0
    assert "2 steps: 2 completed" in terminal.text
    assert terminal.raw.count("\x1b[?25l") == terminal.raw.count("\x1b[?25h") > 0, "the cursor is shown again"


def test_a_parallel_step_has_a_bar_of_its_own(bench: Bench) -> None:
    bench.script(HOLD)
    bench.files(3)
    step = bench.document(outputs={"scores": {"type": "uri_file"}})
    step["inputs"]["cargo"]["path"] = "../work/data"
    terminal = bench.at_terminal("submit", pipeline(bench, {"score": step}), "--name", "probe")
    bench.wait_began(terminal.process)
    terminal.shows(r"└─ score +Running +\d+\.\d s +━+.* 0/3 mini-batches")
    bench.give("go")
    assert terminal.end() == 0
    assert steps_of(bench)["score"]["status"] == "Completed"


def test_ctrl_c_asks_and_cancel_ends_the_steps(bench: Bench) -> None:
    terminal = at_work(bench)
    terminal.type(CTRL_C)
    terminal.shows(QUESTION)
    terminal.type("c\n")
    assert terminal.end() == 130
    assert {name: step["status"] for name, step in steps_of(bench).items()} == {"dig": "Canceled", "haul": "NotStarted"}


def test_detach_leaves_the_pipeline_running(bench: Bench) -> None:
    terminal = at_work(bench)
    terminal.type(CTRL_C)
    terminal.shows(QUESTION)
    terminal.type("d\n")
    assert terminal.end() == 0 and "probe goes on" in terminal.text
    bench.give("go")
    assert bench.run("watch", "probe").code == 0


def test_a_lost_terminal_leaves_the_pipeline_running(bench: Bench) -> None:
    terminal = at_work(bench)
    terminal.hang_up()
    assert terminal.end() == 0
    bench.give("go")
    assert bench.run("watch", "probe").code == 0


def test_a_command_at_a_terminal_shows_what_runs(bench: Bench) -> None:
    job = {**command(bench, ""), "command": 'touch "$SIGNS/began"; while [ ! -e "$SIGNS/go" ]; do sleep 0.01; done'}
    terminal = bench.at_terminal("submit", write(bench, job), "--name", "probe")
    bench.wait_began(terminal.process)
    terminal.shows(r"probe +Running +0:00:\d\d")
    terminal.shows(r"touch \"\$SIGNS/began\"")
    bench.give("go")
    assert terminal.end() == 0
