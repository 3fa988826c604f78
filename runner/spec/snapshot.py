"""Copies the code of a job into the job's folder, so that later edits change nothing about it.

With `code`, the folder is copied, its ignore file respected. Without `code`, only the entry script itself is:
its neighbours are whatever happens to lie beside the YAML, and are not part of the job.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from runner.errors import StorageFailed
from runner.spec.ignore import IgnoreRules
from runner.spec.script import find_script


def take_snapshot(
    code: Path | None, entry_script: str, base: Path, into: Path, home: Path | None = None
) -> Path | None:
    """Copy the code to the new folder `into`, files read-only; links are followed, special files left out.

    Gives the folder, or None when there is nothing to copy: an installed module, and no code.
    What lies below `home` is never copied: a home inside the code folder would contain its own copies.

    Raises:
        ScriptMissing: the entry script is not there.
        StorageFailed: the disk said no.
    """
    script = find_script(code, entry_script, base)
    if code is None and script.file is None:
        return None
    try:
        into.mkdir(parents=True)
        if code is None:
            assert script.file is not None
            _copy(script.file, into / script.file.relative_to(script.root))
        elif code.is_file():
            _copy(code, into / code.name)
        else:
            for inside in code_files(code, home):
                _copy(code / inside, into / inside)
    except OSError as error:
        raise StorageFailed(str(error.filename or into), error.strerror or str(error)) from None
    return into


def code_files(code: Path, home: Path | None = None) -> Iterator[str]:
    """The files of a code folder that belong to its snapshot, relative to it, in order."""
    rules = IgnoreRules.of_folder(code)
    barred = os.path.realpath(home) if home is not None else None
    yield from _walk(code, "", rules, barred, ())


def _walk(root: Path, inside: str, rules: IgnoreRules, barred: str | None, above: tuple[str, ...]) -> Iterator[str]:
    real = os.path.realpath(root / inside)
    if real == barred or real in above:
        return
    with os.scandir(root / inside) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        path = f"{inside}/{entry.name}" if inside else entry.name
        try:
            mode = entry.stat().st_mode
        except OSError:
            continue  # a link to nothing
        if rules.leaves_out(path, stat.S_ISDIR(mode)):
            continue
        if stat.S_ISDIR(mode):
            yield from _walk(root, path, rules, barred, (*above, real))
        elif stat.S_ISREG(mode):
            yield path


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)
    target.chmod(target.stat().st_mode & ~0o222)
