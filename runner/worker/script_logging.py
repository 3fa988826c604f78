"""What a script's `print` and `logging` do: both end in the worker's stdout file, line by line."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

LINE = "%(asctime)s|%(levelname)s|%(process)d|%(thread)d|%(message)s"


def set_up_logging(level: str) -> None:
    """Give the root logger a handler to stdout at `level`, and make both streams write whole lines at once."""
    for stream in (sys.stdout, sys.stderr):
        # What a script prints may hold anything, names that are no UTF-8 among it: it must never fail for that.
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr] # text files
    handler = logging.StreamHandler(_Stdout())
    handler.setFormatter(logging.Formatter(LINE))
    handler.setLevel(level)
    root = logging.getLogger()
    root.setLevel(level)
    root.addHandler(handler)


def flush_streams() -> None:
    """Write out what is buffered, whatever the script has made of the streams."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001 - replaced or closed by the script
            pass


class _Stdout:
    """The stream that `sys.stdout` is at the time, also when the script has replaced it."""

    def write(self, text: str) -> int:
        return self._stream().write(text)

    def flush(self) -> None:
        self._stream().flush()

    @staticmethod
    def _stream() -> TextIO:
        return sys.stdout
