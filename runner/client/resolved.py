"""Writes a pipeline that was submitted as the YAML that `load_job` reads back to the same graph."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from runner.errors import StorageFailed
from runner.spec.document import write_yaml


def write_pipeline(document: Mapping[str, object], path: str | os.PathLike[str] | None, name: str) -> None:
    """Write the document to a file, or to the file `name` in a folder, by default the current one.

    A file that is there is replaced. The job's own name is left out, so that the file can be submitted again.
    """
    target = Path("." if path is None else path)
    if target.is_dir() or os.fspath(target).endswith(os.sep):
        target = target / name
    said = {key: value for key, value in document.items() if key != "name"}
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        draft.write_text(write_yaml(said, sort_keys=False), encoding="utf-8")  # steps keep their order
        os.replace(draft, target)
    except OSError as error:
        raise StorageFailed(str(target), f"cannot be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
