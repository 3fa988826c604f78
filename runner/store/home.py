"""Where everything lies under RUNNER_HOME; the only place that turns a job's name into a path."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from runner.errors import ArgumentInvalid, StorageFailed

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_REMOTE = (
    "nfs",
    "nfs4",
    "cifs",
    "smb2",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "lustre",
    "gpfs",
    "beegfs",
    "ocfs2",
    "gfs2",
)
_REMOTE_FUSE = ("sshfs", "glusterfs", "ceph", "davfs", "s3fs", "gcsfuse", "rclone", "blobfuse", "blobfuse2", "juicefs")
NETWORK_FILE_SYSTEMS = frozenset({*_REMOTE, *(f"fuse.{kind}" for kind in _REMOTE_FUSE), "glusterfs", "davfs"})


def check_name(name: str) -> str:
    """Return `name` when it can be a job's name, and so one component of a path."""
    if not NAME.fullmatch(name):
        what = f"{name!r} is no name; write 1 to 128 letters, digits, '.', '_' or '-', the first a letter or digit"
        raise ArgumentInvalid("name", what)
    return name


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The files of one job."""

    root: Path

    @property
    def document(self) -> Path:
        """The job as its user wrote it, JSON."""
        return self.root / "job.json"

    @property
    def spec(self) -> Path:
        """The resolved ParallelSpec, JSON."""
        return self.root / "spec.json"

    @property
    def plan(self) -> Path:
        return self.root / "plan"

    @property
    def listed(self) -> Path:
        """The plan of what was listed, when the rows of the job's plan were moved to be grouped by key."""
        return self.root / "plan.input"

    @property
    def groups(self) -> Path:
        """Rows that were grouped by key; there until the job has completed."""
        return self.root / "groups"

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def lock(self) -> Path:
        """Held with flock by the driver while it lives."""
        return self.root / "lock"

    @property
    def code(self) -> Path:
        """The snapshot of the code folder."""
        return self.root / "code"

    def code_of(self, run_number: int) -> Path:
        """The snapshot of the code that a redrive was given."""
        return self.root / f"code.{run_number}"

    @property
    def redrive(self) -> Path:
        """What a redrive is to do, JSON; there until it has ended well."""
        return self.root / "redrive.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def records(self) -> Path:
        return self.root / "records"

    @property
    def failures(self) -> Path:
        return self.root / "failures.jsonl"

    @property
    def layout(self) -> Path:
        """Where things are in the published output; there while something of it is open."""
        return self.root / "layout"

    @property
    def scratch(self) -> Path:
        return self.root / "scratch"

    @property
    def attempts(self) -> Path:
        """Of a command: one folder for each attempt, with its `work/`, `outputs/` and what became of it."""
        return self.root / "attempts"

    @property
    def artifacts(self) -> Path:
        """Of a command: `outputs/` and `logs/` of its working folder, kept when it has ended; the output `default`."""
        return self.root / "artifacts"


class Home:
    """RUNNER_HOME, by default `~/.runner`. Making the object touches nothing; `make` creates the folder."""

    def __init__(self, root: Path | str | None = None) -> None:
        chosen = root if root is not None else os.environ.get("RUNNER_HOME") or "~/.runner"
        self.root = Path(os.path.abspath(os.path.expanduser(chosen)))

    def __repr__(self) -> str:
        return f"Home({str(self.root)!r})"

    @property
    def database(self) -> Path:
        return self.root / "runner.db"

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def token_file(self) -> Path:
        return self.root / "token"

    @property
    def ray(self) -> Path:
        return self.root / "ray"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def untidy(self) -> Path:
        """Empty files named after jobs whose drivers are about to tidy up, or died before they could."""
        return self.root / "untidy"

    @property
    def datastores(self) -> Path:
        return self.root / "datastores"

    @property
    def code(self) -> Path:
        """Code trees of pipelines, each once, read-only, named by its content."""
        return self.root / "code"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def job(self, name: str) -> JobFolder:
        """The folder of job `name`, whether or not it exists; the name is checked first."""
        return JobFolder(self.jobs / check_name(name))

    def make(self) -> Home:
        """Create the folder, readable by its owner only, unless it exists; refuse a network file system."""
        kind = file_system_of(self.root)
        if kind in NETWORK_FILE_SYSTEMS:
            what = f"is on a network file system ({kind}), where SQLite's WAL can lose data"
            raise StorageFailed(str(self.root), f"{what}; set RUNNER_HOME to a folder on a local disk")
        try:
            self.jobs.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.root.stat().st_mode & 0o077 and self.root.stat().st_uid == os.getuid():
                self.root.chmod(0o700)
        except OSError as error:
            what = (
                f"cannot be used as the runner's home: {error.strerror}; set RUNNER_HOME to a folder you can write to"
            )
            raise StorageFailed(str(self.root), what) from error
        return self

    def token(self) -> str:
        """The secret that clients of the service send; made when it is first needed, readable by its owner only."""
        try:
            return self._kept_token() or self._new_token()
        except OSError as error:
            raise StorageFailed(str(self.token_file), f"cannot keep the token: {error.strerror}") from error

    def _kept_token(self) -> str:
        try:
            return self.token_file.read_text("ascii").strip()
        except FileNotFoundError:
            return ""

    def _new_token(self) -> str:
        self.make()
        draft = self.token_file.with_name(f".token.{secrets.token_hex(8)}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        try:
            # A link never replaces: of two processes that make the first token, both use the one that stands.
            os.link(draft, self.token_file)
        except FileExistsError:
            if not self._kept_token():
                os.replace(draft, self.token_file)
        finally:
            draft.unlink(missing_ok=True)
        return self._kept_token()


def file_system_of(path: Path, mounts: str | None = None) -> str:
    """The type of the file system that holds `path` (or would hold it), by the kernel's mounts; "" if unknown."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
        except OSError:
            return ""
    real = os.path.realpath(path)
    best, kind = -1, ""
    for line in mounts.splitlines():
        place, _, about = line.partition(" - ")
        fields = place.split(" ")
        if len(fields) < 5 or not about:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        # Of mounts on one point the last in the table is on top.
        if inside and len(point) >= best:
            best, kind = len(point), about.split(" ")[0]
    return kind
