"""Lists the native extensions; everything else stands in pyproject.toml."""

import os
import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

if not sys.platform.startswith("linux"):
    raise SystemExit("batch-runner runs on Linux (x86-64 and aarch64) only: it needs /dev/shm, pidfd and prctl.")

DEBUG = os.environ.get("RUNNER_NATIVE_DEBUG") == "1"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "overflowcheck": DEBUG,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "freethreading_compatible": False,
}
MODULES = ("runner.dispatch._ledger", "runner.dispatch._loop")

setup(
    ext_modules=cythonize(
        [
            Extension(name, [f"native/{name.replace('.', '/')}.pyx"], extra_compile_args=["-O2" if DEBUG else "-O3"])
            for name in MODULES
        ],
        include_path=["native"],
        build_dir="build/cython",
        compiler_directives=DIRECTIVES,
    )
)
