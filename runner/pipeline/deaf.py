"""Drivers of steps that hear nothing: they are killed, so that their locks are free and others can go on.

Only the very process that signed the lock is killed. What its command has started ends with it.
"""

from __future__ import annotations

import logging

import msgspec

from runner.entity.job import JobState
from runner.entity.parallel import CANCEL_GRACE_S
from runner.store.holder import Holder, read_holder
from runner.store.home import JobFolder
from runner.store.lock import is_held
from runner.store.store import Store

log = logging.getLogger(__name__)

OVERTIME_S = 15.0
"""What a driver that is to end a job may need beyond the time that its user code has."""


class _Grace(msgspec.Struct):
    cancel_grace_s: float = CANCEL_GRACE_S


_GRACE = msgspec.json.Decoder(_Grace)


def end_deaf(store: Store, state: JobState) -> None:
    """Kill the driver of a job that was asked to end, if it is stopped or has let its time pass."""
    folder = store.home.job(state.name)
    holder = _holder(folder)
    if holder is None:
        return
    asked = store.cancel_time(state.name)
    is_late = asked is not None and store.now() - asked > _grace_of(folder) + OVERTIME_S
    if is_late or holder.is_stopped:
        _kill(holder, state.name)


def end_silent(folder: JobFolder) -> None:
    """Kill the driver that holds a job's lock although it has not beaten for long."""
    if (holder := _holder(folder)) is not None:
        _kill(holder, folder.root.name)


def _holder(folder: JobFolder) -> Holder | None:
    return read_holder(folder.lock) if is_held(folder.lock) else None


def _kill(holder: Holder, job: str) -> None:
    log.warning("the driver of %s, process %d on %s, does not answer and is killed", job, holder.pid, holder.host)
    try:
        holder.kill()
    except PermissionError as error:
        log.warning("the driver of %s cannot be killed: %s", job, error)


def _grace_of(folder: JobFolder) -> float:
    try:
        return _GRACE.decode(folder.spec.read_bytes()).cancel_grace_s
    except (OSError, msgspec.MsgspecError):
        return CANCEL_GRACE_S
