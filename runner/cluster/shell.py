"""Actors as Ray sees them: shells of a few lines, because Ray disassembles the class in every driver that uses it."""

from __future__ import annotations


class InstanceActor:
    """Hands everything to `runner.cluster.actor`; its methods run in Ray's threads, `poll` in a group of its own."""

    def __init__(self, version: str, start: bytes) -> None:
        from runner.cluster.actor import Stage

        self._stage = Stage(version, start)

    def poll(self, acknowledged: int, wait_s: float) -> list[bytes]:
        return self._stage.poll(acknowledged, wait_s)

    def tell(self, number: int, calls: list[tuple[bytes, bytes]]) -> None:
        self._stage.tell(number, calls)


class RankActor:
    """Hands everything to `runner.cluster.rank_actor`; `hear` runs in a group of its own."""

    def __init__(self) -> None:
        from runner.cluster.rank_actor import RankStage

        self._stage = RankStage()

    def arrive(self, version: str, cpu_count: int, port_count: int) -> bytes:
        return self._stage.arrive(version, cpu_count, port_count)

    def look(self, data: bytes) -> bytes:
        return self._stage.look(data)

    def run(self, data: bytes, code: bytes) -> None:
        self._stage.run(data, code)

    def stop(self) -> None:
        self._stage.stop()

    def close(self) -> None:
        self._stage.close()

    def hear(self, after: int, wait_s: float) -> list[bytes]:
        return self._stage.hear(after, wait_s)
