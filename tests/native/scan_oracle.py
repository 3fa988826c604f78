"""The slow, obvious twin of the native scan: one letter after the other."""

from __future__ import annotations


def records_of(text: bytes, delimiter: int, quote: int) -> tuple[list[int], bool]:
    """Where the records of a text begin, and whether a quote is open at its end."""
    begins: list[int] = []
    where = "line"
    for at, letter in enumerate(text):
        if where == "quotes":
            where = "after quote" if letter == quote else "quotes"
            continue
        if letter in b"\r\n":
            where = "line"
            continue
        if where == "line":
            if delimiter < 0 and letter in b" \t":
                continue
            begins.append(at)
            where = "field start"
        if letter == quote and where in ("field start", "after quote"):
            where = "quotes"
        else:
            where = "field start" if letter == delimiter else "field"
    return begins, where == "quotes"


def marks_of(begins: list[int], mark_bytes: int) -> list[tuple[int, int]]:
    """Number and offset of the first record at or behind each multiple of `mark_bytes`."""
    marks: list[tuple[int, int]] = []
    for number, begin in enumerate(begins):
        if not marks or begin // mark_bytes > marks[-1][1] // mark_bytes:
            marks.append((number, begin))
    return marks
