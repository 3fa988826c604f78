"""What the core of a driver wants done: values that its shell carries out, in order."""

from __future__ import annotations

import msgspec

from runner.entity.lease import Lease


class Start(msgspec.Struct, frozen=True):
    """Begin an instance, under a new number, where `like` is or was."""

    instance: int
    like: int


class Lend(msgspec.Struct, frozen=True):
    """Give an instance a lease."""

    instance: int
    lease: Lease


class Settle(msgspec.Struct, frozen=True):
    """Tell an instance that a range it reported is committed."""

    instance: int
    first: int
    end: int


class Forget(msgspec.Struct, frozen=True):
    """Tell an instance that nobody wants a range from it any more."""

    instance: int
    first: int
    end: int


class Retract(msgspec.Struct, frozen=True):
    """Ask an instance for [limit, end) of a range."""

    instance: int
    first: int
    end: int
    limit: int


class CommitNow(msgspec.Struct, frozen=True):
    """Ask an instance for reports of all that is final."""

    instance: int


class Touch(msgspec.Struct, frozen=True):
    """Show an instance that its driver lives."""

    instance: int


class Close(msgspec.Struct, frozen=True):
    """Let an instance end."""

    instance: int
    grace_s: float


class Kill(msgspec.Struct, frozen=True):
    """End an instance now."""

    instance: int


class Run(msgspec.Struct, frozen=True):
    """The first worker of all has ended init(): the job is running."""


class Tell(msgspec.Struct, frozen=True):
    """One line for the driver's log."""

    text: str


Action = Start | Lend | Settle | Forget | Retract | CommitNow | Touch | Close | Kill | Run | Tell
