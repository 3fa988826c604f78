"""What an instance and its workers say to each other: JSON, one message a packet of a SOCK_SEQPACKET socket.

A packet must fit the socket's buffer, so long texts are cut before they are sent, and the spec goes by file.
"""

from __future__ import annotations

import msgspec

MAX_PACKET_BYTES = 192 * 1024
"""Below the smallest default send buffer of a unix socket (212,992 bytes)."""


class Message(msgspec.Struct, kw_only=True, tag=lambda name: name.lower()):
    """Any message; the tag in the JSON is the class's name."""


# ---- instance to worker ---------------------------------------------------------------------------------------------


class Setup(Message):
    """The first message: who the worker is and where everything lies."""

    spec_path: str
    plan_path: str
    board_path: str
    slot: int
    serial: int
    """Which process of the instance this is, counted from 0: it numbers the segments."""


class Lend(Message):
    """A lease to work on. Its ledger is open until `Drop`; segments go to `spool`, encoded rows to `payload`."""

    lease: int
    ledger_path: str
    spool: str
    payload: str
    """Empty when nothing is encoded by workers."""
    first: int
    end: int
    generation: int = 0
    """How often the instance has freed something in the lease."""
    is_followed: bool = False
    """The next message is on its way and comes before any work: a mini-batch that is to be run alone."""


class Single(Message):
    """Run one mini-batch that is claimed for this worker already, before anything else, and flush it by itself.

    With `item_count` it is a range of its items: it completes nothing, and after `RangeDone` or `Failed` the worker
    waits for the next message, another `Single` or `GoOn`.
    """

    lease: int
    mini_batch: int
    first_item: int = 0
    item_count: int = -1
    """-1 for the whole mini-batch."""

    @property
    def is_range(self) -> bool:
        """Whether only some of its items are run."""
        return self.item_count >= 0


class Again(Message):
    """Look at that lease again: something in it has become free, and must be taken even if that costs much reading."""

    lease: int
    generation: int


class Drop(Message):
    """Forget a lease: everything in it is final, or it is given up."""

    lease: int


class Rest(Message):
    """Give back what is not begun, hold as little memory as possible, say `Resting`, and wait for `GoOn`."""


class GoOn(Message):
    """Work on: after `Rest`, or when nothing follows in a mini-batch that was run range by range."""


class Shutdown(Message):
    """End after the call at hand, with the script's `shutdown()` if `run` says so."""

    run: bool


ToWorker = Setup | Lend | Single | Again | Drop | Rest | GoOn | Shutdown


# ---- worker to instance ---------------------------------------------------------------------------------------------


class Imported(Message):
    """The script is imported and has what it needs."""


class Ready(Message):
    """`init()` has ended."""


class InitFailed(Message):
    """The script could not be imported (`is_import`), or its `init()` raised. The worker ends."""

    is_import: bool
    what: str
    traceback: str


class Failed(Message):
    """One try at one mini-batch raised. Its word stays claimed by this worker until the instance has decided."""

    lease: int
    mini_batch: int
    attempt: int
    item_count: int
    is_read: bool
    """The data could not be made into a mini-batch; the script was not called."""
    exception_type: str
    message: str
    traceback: str
    first_item: int = 0
    is_range: bool = False
    """Only items [first_item, first_item + item_count) of it were run, because a `Single` said so."""


class UnitFailed(Message):
    """A unit could not be read from mini-batch `first` on; what it holds up to `end` is free unless others have it."""

    lease: int
    unit: int
    first: int
    end: int
    exception_type: str
    message: str
    traceback: str


class Flushed(Message):
    """A segment is on disk and its words name it. The counts are for display: the segment itself is the truth."""

    lease: int
    segment: int
    mini_batch_count: int
    item_count: int
    failed_item_count: int
    row_count: int


class RangeDone(Message):
    """A range of a mini-batch's items is in a segment, which no word names."""

    lease: int
    mini_batch: int
    first_item: int
    item_count: int
    segment: int


class Resting(Message):
    """The worker has given back what it can, and waits for `GoOn`."""


class HandedBack(Message):
    """What the worker had claimed behind a call that takes long is free again."""

    lease: int


class Dry(Message):
    """The worker finds nothing more to do in a lease, as far as it was told of what became free, and waits."""

    lease: int
    generation: int


class ShuttingDown(Message):
    """The last call has ended, `shutdown()` begins."""


class ShutdownDone(Message):
    """`shutdown()` has ended, or there is none; with `what` when it raised. The process ends next."""

    what: str = ""
    traceback: str = ""


class Broken(Message):
    """The worker cannot go on and neither can the job: the input changed, the disk is full, or a defect of ours."""

    reason: str
    message: str
    traceback: str = ""


FromWorker = (
    Imported
    | Ready
    | InitFailed
    | Failed
    | UnitFailed
    | Flushed
    | RangeDone
    | Resting
    | HandedBack
    | Dry
    | ShuttingDown
    | ShutdownDone
    | Broken
)

_encode = msgspec.json.Encoder().encode
_decode_to_worker: msgspec.json.Decoder[ToWorker] = msgspec.json.Decoder(ToWorker)
_decode_from_worker: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(FromWorker)


def encode(message: ToWorker | FromWorker) -> bytes:
    """One packet."""
    return _encode(message)


def decode_to_worker(packet: bytes) -> ToWorker:
    """What an instance sent."""
    return _decode_to_worker.decode(packet)


def decode_from_worker(packet: bytes) -> FromWorker:
    """What a worker sent."""
    return _decode_from_worker.decode(packet)
