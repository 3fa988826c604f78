"""The job files that the documents show are valid, and the pipeline of the how-to runs as it is told there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from cli_kit import Bench
from cli_pipelines import steps_of

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SCRIPTS = {
    "prepare/prepare.py": """\
import sys, pandas
frames = [pandas.read_csv(path) for path in __import__("pathlib").Path(sys.argv[1]).glob("*.csv")]
pandas.concat(frames).to_parquet(f"{sys.argv[2]}/table.parquet", index=False)
""",
    "train/src/train.py": """\
import argparse, pandas
parser = argparse.ArgumentParser()
parser.add_argument("table"), parser.add_argument("--rate"), parser.add_argument("--seed"), parser.add_argument("--out")
given = parser.parse_args()
mean = pandas.read_parquet(given.table)["moisture"].mean()
open(f"{given.out}/mean.txt", "w").write(str(mean))
""",
    "score/score.py": """\
import argparse
def init():
    global mean
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    mean = float(open(parser.parse_known_args()[0].model + "/mean.txt").read())
def run(mini_batch):
    return [f"{row} {'dry' if value < mean else 'wet'}" for row, value in mini_batch["moisture"].items()]
""",
    "evaluate/evaluate.py": """\
import json, pathlib, sys
lines = [line for path in pathlib.Path(sys.argv[1]).rglob("*.txt") for line in path.read_text().splitlines()]
json.dump({"dry": sum(line.endswith("dry") for line in lines), "all": len(lines)}, open(sys.argv[2], "w"))
""",
    "src/train.py": "",
    "code/score.py": "def run(mini_batch): return mini_batch\n",
    "orders/MLTable": "paths: [{pattern: ./*.csv}]\ntransformations: [read_delimited]\n",
    "orders/one.csv": "store,day,price\nBergen,2026-01-02,3\n",
    "data/beds.csv": "bed,moisture\n1,0.1\n2,0.2\n3,0.9\n",
}


def blocks(page: Path) -> list[str]:
    """The YAML blocks of a page that are whole files."""
    found = re.findall(r"^(?:```yaml|cat > job\.yml <<'YAML')\n(.*?)^(?:```|YAML)$", page.read_text(), re.M | re.S)
    return [text for text in found if re.search(r"^type:", text, re.MULTILINE)]


FILES = [(page, text) for page in PAGES for text in blocks(page)]


@pytest.fixture
def laid_out(bench: Bench) -> Bench:
    """A bench with the scripts and data that the documents name."""
    for name, text in SCRIPTS.items():
        path = bench.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (bench.folder / "raw").mkdir()
    (bench.folder / "raw" / "one.csv").write_text(SCRIPTS["data/beds.csv"])
    for page, text in FILES:
        if re.match(r"# train/component\.yml", text) and page.name == "pipelines.md":
            (bench.folder / "train" / "component.yml").write_text(text)
    return bench


def test_there_are_files_on_these_pages() -> None:
    assert {"README.md", "commands.md", "pipelines.md", "job-yaml.md"} <= {page.name for page, _ in FILES}


@pytest.mark.parametrize(("page", "text"), FILES, ids=[f"{p.stem}-{n}" for n, (p, _) in enumerate(FILES)])
def test_a_documented_file_is_valid(laid_out: Bench, page: Path, text: str) -> None:
    path = laid_out.folder / "shown.yml"
    path.write_text(text)
    if "\nname:" in text and "jobs:" not in text:  # a component
        (laid_out.folder / "train" / "shown.yml").write_text(text)
        laid_out.run("component", "create", "-f", "train/shown.yml").ok()
        return
    if "task:" in text:  # its input is a table, which the data of the others is not
        import pandas

        pandas.DataFrame({"moisture": [0.1]}).to_parquet(laid_out.data / "beds.parquet")
        (laid_out.data / "beds.csv").unlink()
    laid_out.run("validate", path).ok()


def test_the_pipeline_of_the_how_to_runs_and_its_second_run_reuses_everything(laid_out: Bench) -> None:
    (text,) = [text for page, text in FILES if page.name == "pipelines.md" and text.startswith("# pipeline.yml")]
    document = yaml.safe_load(text)
    assert list(document["jobs"]) == ["prepare", "train", "score", "evaluate"]
    path = laid_out.folder / "pipeline.yml"
    path.write_text(text)
    laid_out.run("submit", path, "--name", "first").ok()
    assert (laid_out.folder / "report.json").read_text() == '{"dry": 2, "all": 3}'
    (laid_out.folder / "report.json").rename(laid_out.folder / "kept.json")
    again = laid_out.run("submit", path, "--name", "second", "--set", "inputs.rate=0.2").ok()
    steps = steps_of(laid_out, "second")
    assert [name for name, step in steps.items() if step["reused"]] == ["prepare", "score"]
    assert "rate" in steps["train"]["reuse_reason"] and "train began" in again.err
