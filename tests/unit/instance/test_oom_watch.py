"""Out-of-memory kills are told by the cgroup's count, each explains one death, and old ones explain none."""

from __future__ import annotations

from pathlib import Path

from runner.instance.memory import KEEP_S, OomWatch


def test_each_kill_explains_one_death_and_only_for_a_while(tmp_path: Path) -> None:
    file = tmp_path / "memory.events"
    file.write_text("low 0\noom 7\noom_kill 3\n")
    watch = OomWatch(file)
    assert not watch.has_killed(1.0), "what was killed before is not ours"
    file.write_text("low 0\noom 9\noom_kill 5\n")
    assert [watch.has_killed(2.0) for _ in range(3)] == [True, True, False]
    file.write_text("oom_kill 6\n")
    watch.look(3.0)
    assert not watch.has_killed(3.0 + KEEP_S + 0.1), "it was some other process"
    file.unlink()
    assert not watch.has_killed(9.0)
