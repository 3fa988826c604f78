"""What the pages tell a new user to type works: the README's job and both examples, on the embedded Ray."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]


def execute(*command: str | Path, cwd: Path) -> None:
    """Run a command with this environment's programs first on the path."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    arguments = [str(part) for part in command]
    done = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """A copy, so that no test writes into the checkout."""
    ignored = shutil.ignore_patterns("data", "model", "out", "__pycache__")
    return shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=ignored)


def test_the_job_of_the_readme_runs_as_pasted(tmp_path: Path) -> None:
    found = re.search(r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    assert found
    execute("bash", "-euo", "pipefail", "-c", found[1], cwd=tmp_path)
    scores = pd.read_parquet(tmp_path / "scores")
    assert list(scores["bed"]) == list(range(200_000))
    assert list(scores["dry"]) == [bed % 100 < 30 for bed in range(200_000)]


def test_the_wine_example_scores_every_bottle_in_order(examples: Path) -> None:
    execute(sys.executable, "wine/make_data.py", "--rows", "40000", cwd=examples)
    execute("runner", "submit", "wine/job.yml", cwd=examples)
    scores = pd.read_parquet(examples / "wine" / "out" / "scores")
    assert list(scores["bottle"]) == list(range(40_000))
    assert set(scores["cultivar"]) == {0, 1, 2}
    assert scores["probability"].between(1 / 3, 1).all()
    manifest = json.loads((examples / "wine" / "out" / "scores" / "_manifest.json").read_text())
    assert sum(part["rows"] for part in manifest["parts"]) == 40_000


def test_the_images_example_tells_almost_every_digit(examples: Path) -> None:
    execute(sys.executable, "images/make_images.py", "--count", "90", cwd=examples)
    execute("runner", "submit", "images/job.yml", cwd=examples)
    lines = (examples / "images" / "out" / "digits.txt").read_text().splitlines()
    assert [line.split("-")[0] for line in lines] == [f"{number:04d}" for number in range(90)]
    right = [re.fullmatch(r"\d+-is-(\d)\.png \1", line) is not None for line in lines]
    assert sum(right) >= 80
