"""The actor as Ray sees it: a shell of a few lines, because Ray disassembles the class in every driver that uses it."""

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
