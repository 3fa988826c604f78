"""Lists the native extensions; everything else stands in pyproject.toml."""

import os
import platform
import sys

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

if not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "aarch64"):
    raise SystemExit(
        f"batch-runner runs on Linux on x86-64 and aarch64 only, this is {sys.platform} on {platform.machine()}: "
        "it needs /dev/shm, pidfd and prctl."
    )

# After changing this, build with --force: only then is what was built the other way replaced.
DEBUG = os.environ.get("RUNNER_NATIVE_DEBUG") == "1"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "overflowcheck": DEBUG,
    "initializedcheck": DEBUG,
    "cdivision": True,
    "freethreading_compatible": False,
    # Maps and buffers do not pickle, and no test stands in a docstring: leave both out of the modules' names.
    "auto_pickle": False,
    "autotestdict": False,
}
MACROS = [("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")] + ([] if DEBUG else [("CYTHON_WITHOUT_ASSERTIONS", "1")])
MODULES = (
    *(f"runner.dispatch._{name}" for name in ("mapped", "board", "ledger", "loop", "report")),
    "runner.dataset._keys",
    "runner.dataset._scan",
)

setup(
    ext_modules=cythonize(
        [
            Extension(
                name,
                [f"native/{name.replace('.', '/')}.pyx"],
                include_dirs=[numpy.get_include()],
                define_macros=MACROS,
                extra_compile_args=["-O2" if DEBUG else "-O3"],
            )
            for name in MODULES
        ],
        include_path=["native"],
        build_dir="build/cython-debug" if DEBUG else "build/cython",
        compiler_directives=DIRECTIVES,
    )
)
