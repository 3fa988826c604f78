"""A picture at a terminal that is redrawn in place, and gone when the watch ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

REDRAW_S = 0.25


class Display:
    """Draws when it is told to; a thread that draws would stand in the way of the question and of a lost terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._drawn = 0.0

    def is_due(self) -> bool:
        """Whether it is time for the next picture: a few times a second at most."""
        return time.monotonic() - self._drawn >= REDRAW_S

    @property
    def height(self) -> int:
        """How many lines there are."""
        return self._console.height

    def draw(self, picture: RenderableType) -> None:
        """Put the picture in the place of the one before."""
        self._drawn = time.monotonic()
        try:
            if self._live is None:
                self._live = self._new_live()
                self._live.start()
            self._live.update(picture, refresh=True)
        except OSError:
            pass  # the terminal has gone; SIGHUP tells the watch

    def pause(self) -> None:
        """Take the picture off the screen; the next one brings it back."""
        self._drawn = 0.0
        live, self._live = self._live, None
        try:
            if live is not None:
                live.stop()
        except OSError:
            pass

    def _new_live(self) -> Live:
        """A fresh one for each stretch: one that is started again erases what was said in between."""
        from rich.live import Live

        return Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
