"""What sdist and wheel hold, and that the wheel gives a working command."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = (
    "LICENSE",
    "MANIFEST.in",
    "README.md",
    "CHANGELOG.md",
    "native",
    "protos",
    "pyproject.toml",
    "runner",
    "setup.py",
)
NATIVE = tuple(f"runner/dispatch/_{name}" for name in ("mapped", "board", "ledger", "loop", "report"))

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("packaging")]


def execute(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An sdist of a copy of the checkout, so that nothing built in place can slip in or be overwritten."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, checkout / name)
    built = tmp_path_factory.mktemp("sdist")
    execute(sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", built, cwd=checkout)
    return next(built.iterdir())


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the sdist alone, with the build tools of this environment."""
    built = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-deps", "--no-build-isolation")
    execute(*pip, "--wheel-dir", built, sdist)
    return next(built.iterdir())


def test_the_sdist_holds_all_sources_and_nothing_built(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"native/{module}{suffix}" for module in NATIVE for suffix in (".pyx", ".pxd")} <= names
    assert {"LICENSE", "runner/py.typed", "runner/store/schema.sql"} <= names
    assert any(name.startswith("protos/") and name.endswith(".proto") for name in names)
    assert not [name for name in names if name.endswith((".so", ".c", ".pyc"))]


def test_the_wheel_holds_the_compiled_core_without_its_sources(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    assert {f"{module}{ending}" for module in NATIVE for ending in (suffix, ".pyi")} <= names
    assert not [name for name in names if name.endswith((".pyx", ".pxd", ".c", ".cpp", ".proto", ".pyc"))]
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"runner"}


def test_the_wheel_holds_every_file_of_the_rooms(wheel: Path) -> None:
    tracked = execute("git", "ls-files", "runner", cwd=ROOT).split() if (ROOT / ".git").exists() else []
    assert set(tracked) - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_an_installed_wheel_gives_a_working_command(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    execute(sys.executable, "-m", "venv", "--without-pip", place)
    site = Path(
        execute(place / "bin" / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    )
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", place / "bin" / "python")
    execute(*pip, "install", "--no-deps", "--no-index", wheel)
    # The dependencies come from this environment; its editable `runner` does not: .pth files are not nested.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    where = execute(
        place / "bin" / "python", "-c", "import runner.dispatch._loop as m; print(m.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(site)
    assert execute(place / "bin" / "runner", "--version", cwd=tmp_path).strip()
    assert "submit" in execute(place / "bin" / "runner", "--help", cwd=tmp_path)


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("linux", "riscv64")])
def test_other_platforms_are_refused_with_a_reason(system: str, machine: str) -> None:
    pretend = f"sys.platform = {system!r}; platform.machine = lambda: {machine!r}; "
    imports = "import platform, runpy, setuptools, sys, Cython.Build; "
    run = "sys.argv = ['setup.py', '--version']; runpy.run_path('setup.py', run_name='__main__')"
    command = [sys.executable, "-c", imports + pretend + run]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"runs on Linux on x86-64 and aarch64 only, this is {system} on {machine}" in done.stderr
