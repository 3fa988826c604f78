"""Page tokens: where a page ended, sealed with what was asked for, so that a token of other arguments is refused."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence

from runner.errors import ArgumentInvalid

DEFAULT_SIZE = 50
LARGEST_SIZE = 1000


def page_size_of(asked: int) -> int:
    """How many to give: 0 is the default, too many are cut, a negative number is refused."""
    if asked < 0:
        raise ArgumentInvalid(
            "page_size", f"is {asked}; write 0 for the default of {DEFAULT_SIZE}, or up to {LARGEST_SIZE}"
        )
    return min(asked, LARGEST_SIZE) or DEFAULT_SIZE


def seal(key: int, arguments: Sequence[object]) -> str:
    """The token of the page after `key`, for these arguments; text that is safe in a URL."""
    text = f"{key}.{_digest(key, arguments)}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unseal(token: str, arguments: Sequence[object]) -> int | None:
    """The key in a token; None without one. ArgumentInvalid when it was made for other arguments."""
    if not token:
        return None
    try:
        text = base64.urlsafe_b64decode(token.encode() + b"=" * (-len(token) % 4)).decode()
        number, _, digest = text.partition(".")
        key = int(number)
    except (ValueError, binascii.Error):
        raise ArgumentInvalid("page_token", "is no page token; give the next_page_token of the page before") from None
    if digest != _digest(key, arguments):
        raise ArgumentInvalid("page_token", "was given for other arguments; keep them as they were, or begin anew")
    return key


def _digest(key: int, arguments: Sequence[object]) -> str:
    return hashlib.sha256(repr((key, *arguments)).encode()).hexdigest()[:16]
