"""What an actor on another machine is brought: the job's code folder as a tar file, and how it knows."""

from __future__ import annotations

import io
import secrets
import tarfile
from pathlib import Path

from runner.cluster.letters import Probe

_PROBE = ".runner-probe-"


def write_probe(folder: Path) -> Probe:
    """Leave a file by which others can tell whether they see this folder."""
    content = secrets.token_hex(16)
    path = folder / f"{_PROBE}{content[:8]}"
    path.write_text(content)
    return Probe(path=str(path), content=content)


def sweep_probes(folder: Path) -> None:
    """Remove all probes of a folder; for the one driver that writes them."""
    for path in folder.glob(f"{_PROBE}*"):
        path.unlink(missing_ok=True)


def sees(probe: Probe) -> bool:
    """Whether the probe is there, with what was written into it: the same folder, not one of the same name."""
    try:
        return Path(probe.path).read_text() == probe.content
    except (OSError, UnicodeDecodeError):
        return False


def pack_folder(folder: Path) -> bytes:
    """The folder's content as a compressed tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        archive.add(folder, arcname=".")
    return buffer.getvalue()


def unpack_folder(data: bytes, folder: Path) -> None:
    """Put the content there again; nothing can end up outside of the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        archive.extractall(folder, filter="data")
