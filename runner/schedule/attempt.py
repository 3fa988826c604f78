"""One attempt at a command: a fresh working folder, folders for what it makes, and what became of it.

In the job's folder `attempts/<number>/` holds `work/` (a copy of the code, with `outputs/` and `logs/`), `inputs/`
(private copies), `outputs/<output>/` and, once the command has ended, `result.json`. An output with a path of its own
grows beside its target instead, in a hidden folder, so that publishing is renaming. An attempt that failed stays.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from runner.dataset.storage import copy_range, telling
from runner.entity.command import CommandInput, CommandOutput, CommandSpec
from runner.errors import EmptyInput
from runner.instance.reaper import end_descendants
from runner.instance.ward import Errand
from runner.store.home import JobFolder

KEPT = ("outputs", "logs")
"""Folders of the working folder that are kept as artifacts."""
ARTIFACTS = "artifacts"
"""An output folder of this name that the command has left empty is filled with them."""
STAGING = ".staging"
"""The end of the names of hidden folders beside targets."""


class Result(msgspec.Struct, kw_only=True, frozen=True):
    """How an attempt ended."""

    is_good: bool
    """Whether its outputs are to be published."""
    codes: list[int] = []
    """Exit codes of its processes, when it was good."""
    what: str = ""
    """Why it was not."""


@dataclass(frozen=True)
class Attempt:
    """One attempt, made or to be made. Nothing is touched before a method is called."""

    spec: CommandSpec
    folder: JobFolder
    number: int

    @property
    def root(self) -> Path:
        return self.folder.attempts / str(self.number)

    @property
    def data(self) -> Path:
        """A folder with a link `INPUT_<name>` for each data input, and `<name>` for each output."""
        return self.root / "data"

    @property
    def token(self) -> str:
        """In the environment of all its processes, and of no other attempt's."""
        return f"{self.root}/"

    @property
    def work(self) -> Path:
        """The working folder of the command."""
        return self.root / "work"

    @cached_property
    def outputs(self) -> dict[str, Path]:
        """Where the command writes each of its outputs."""
        return {output.name: self._nursery(output) / Path(output.target).name for output in self.spec.outputs}

    @property
    def nurseries(self) -> dict[str, Path]:
        """The folder that each output grows in, which holds nothing else."""
        return {name: path.parent for name, path in self.outputs.items()}

    @cached_property
    def inputs(self) -> dict[str, str]:
        """What the command is given for each input: a path or a text."""
        return {one.name: str(self._copy_of(one)) if _is_copied(one) else one.text for one in self.spec.inputs}

    @property
    def errand(self) -> Errand:
        """What an instance on another machine has to find, or to be brought."""
        copied = [self.root / "inputs"] if any(map(_is_copied, self.spec.inputs)) else []
        code = Path(self.spec.code) if self.spec.code is not None else None
        return Errand(work=self.work, code=code, shared=(*self.nurseries.values(), *copied))

    def prepare(self, check: Callable[[], None]) -> None:
        """Make the folders, copy the code and the inputs that are downloaded; `check` may raise to stop it.

        Raises StorageFailed when the disk says no, EmptyInput when an input is not there.
        """
        for one in self.spec.inputs:
            if one.text.startswith("/") and not one.is_literal and not os.path.exists(one.text):
                raise EmptyInput(one.name, one.text, "does not exist")
        with telling(self.root, "the working folder cannot be made"):
            self.work.mkdir(parents=True)
            if self.spec.code is not None:
                copy_tree(Path(self.spec.code), self.work, check)
            for name in KEPT:
                (self.work / name).mkdir(exist_ok=True)
        for one in self.spec.inputs:
            if _is_copied(one):
                copy = self._copy_of(one)
                with telling(copy, f"input {one.name!r} cannot be copied"):
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    copy_tree(Path(one.text), copy, check, follows=True)
        for output in self.spec.outputs:
            path = self.outputs[output.name]
            with telling(path, f"the folder of output {output.name!r} cannot be made"):
                (path if output.is_folder else path.parent).mkdir(parents=True)
        links = {f"INPUT_{one.name}": self.inputs[one.name] for one in self.spec.inputs if not one.is_literal}
        links |= {name: str(path) for name, path in self.outputs.items()}
        if links:
            with telling(self.data, "the folder of links to the data cannot be made"):
                self.data.mkdir()
                for name, end in links.items():
                    os.symlink(end, self.data / name)

    def clear_nurseries(self) -> None:
        """Remove the folders that outputs grew in, as far as they are empty."""
        for output in self.spec.outputs:
            path = self.outputs[output.name]
            for folder in (path, path.parent):
                try:
                    folder.rmdir()
                except OSError:
                    pass  # it holds something, or is a file, or was never made

    @property
    def result(self) -> Result | None:
        """What was recorded of it; None when its command was not seen to end."""
        try:
            return msgspec.json.decode((self.root / "result.json").read_bytes(), type=Result)
        except (OSError, msgspec.MsgspecError):
            return None

    def record(self, result: Result) -> None:
        """Keep how it ended; from then on a new driver only publishes, if it was good."""
        draft = self.root / "result.json.tmp"
        with telling(draft, "the end of the command cannot be recorded"):
            draft.write_bytes(msgspec.json.encode(result))
            draft.replace(self.root / "result.json")

    def fill_artifacts(self) -> None:
        """Copy `outputs/` and `logs/` of the working folder to the output `artifacts`, if the command left it empty."""
        place = self.outputs.get(ARTIFACTS)
        if place is None or not place.is_dir() or any(place.iterdir()):
            return
        with telling(place, "the artifacts cannot be copied"):
            for name in KEPT:
                if (self.work / name).is_dir() and any((self.work / name).iterdir()):
                    shutil.copytree(self.work / name, place / name, symlinks=True)

    def keep_artifacts(self) -> None:
        """Put `outputs/` and `logs/` of the working folder where artifacts are looked for; harmless to repeat."""
        with telling(self.folder.artifacts, "the artifacts cannot be kept"):
            for name in KEPT:
                if (self.work / name).is_dir():
                    self.folder.artifacts.mkdir(exist_ok=True)
                    _take_back(self.folder, name)
                    (self.work / name).rename(self.folder.artifacts / name)

    def _nursery(self, output: CommandOutput) -> Path:
        target = Path(output.target)
        if output.has_path:
            return self.beside(target, self.number)
        return self.root / "outputs" / output.name

    def beside(self, target: Path, what: object) -> Path:
        """A hidden folder beside a target; `~` is in no job's name, so it is no other job's."""
        return target.parent / f".{target.name}.{self.spec.name}~{what}{STAGING}"

    def _copy_of(self, one: CommandInput) -> Path:
        return self.root / "inputs" / one.name / (Path(one.text).name or one.name)


def attempts_of(spec: CommandSpec, folder: JobFolder) -> list[Attempt]:
    """The attempts that were begun, in order."""
    try:
        names = os.listdir(folder.attempts)
    except FileNotFoundError:
        return []
    return [Attempt(spec, folder, number) for number in sorted(map(int, filter(str.isdecimal, names)))]


def end_leftovers(folder: JobFolder) -> int:
    """Kill what attempts of a job without a driver have left running; how many processes that was.

    The warden does that when its driver dies. Where both were killed, a token in the environment tells them.
    """
    return end_descendants((), f"{folder.attempts}/") if folder.attempts.is_dir() else 0


def copy_tree(source: Path, target: Path, check: Callable[[], None], *, follows: bool = False) -> None:
    """Copy a file or a folder, which may be there already; what is copied can be written to.

    Links stay links, or, with `follows`, become what they lead to, unless that is nothing or a folder that they are in.
    `check` is called before each file and may raise to stop it.
    """
    if not source.is_dir():
        _copy_file(source, target / source.name if target.is_dir() else target)
        return
    target.mkdir(parents=True, exist_ok=True)
    with os.scandir(source) as entries:
        for entry in entries:
            check()
            place = target / entry.name
            is_link = entry.is_symlink()
            if is_link and not (follows and _leads_on(Path(entry.path))):
                os.symlink(os.readlink(entry.path), place)
            elif entry.is_dir():
                copy_tree(Path(entry.path), place, check, follows=follows)
            elif entry.is_file():
                _copy_file(Path(entry.path), place)


def _leads_on(link: Path) -> bool:
    """Whether there is something at the end of a link that copying can come to an end with."""
    end = Path(os.path.realpath(link))
    return end.exists() and not Path(os.path.realpath(link.parent)).is_relative_to(end)


def _copy_file(source: Path, target: Path) -> None:
    mode = stat.S_IMODE(source.stat().st_mode) | stat.S_IWUSR
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        copy_range(source, descriptor)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _is_copied(one: CommandInput) -> bool:
    return one.mode in ("download", "eval_download") and one.text.startswith("/")


def _take_back(folder: JobFolder, name: str) -> None:
    """Give the artifacts of an earlier attempt back to it."""
    kept = folder.artifacts / name
    if not kept.exists():
        return
    for number in sorted(map(int, filter(str.isdecimal, os.listdir(folder.attempts)))):
        place = folder.attempts / str(number) / "work" / name
        if place.parent.is_dir() and not place.exists():
            kept.rename(place)
            return
    shutil.rmtree(kept)
