"""A pipeline drawn as a tree, as Mermaid text and as SVG."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from runner.cli.draw_svg import svg
from runner.cli.draw_text import mermaid, tree
from runner.cli.drawing import drawing_of
from runner.entity.job import JobState
from runner.entity.pipeline import PipelineSpec, PromotedOutput, StepSource, StepSpec
from runner.entity.status import JobStatus

SVG = "{http://www.w3.org/2000/svg}"


def source(step: str, output: str, **more: bool) -> StepSource:
    return StepSource(input=f"in_{output}", step=step, output=output, **more)


SPEC = PipelineSpec(
    name="ore",
    steps=(
        StepSpec(key="dig", job="ore--dig", type="command", document={}),
        StepSpec(key="survey", job="ore--survey", type="command", document={}),
        StepSpec(
            key="mill/crush",
            job="ore--mill--crush",
            type="parallel",
            document={},
            sources=(source("dig", "rock"), source("survey", "map", is_optional=True)),
        ),
        StepSpec(
            key="ship",
            job="ore--ship",
            type="command",
            document={},
            sources=(source("mill/crush", "sand"),),
            depends_on=("survey",),
        ),
    ),
    outputs=(PromotedOutput(name="cargo", type="uri_file", step="ship", output="load"),),
)


def states() -> list[JobState]:
    said = [
        (JobStatus.COMPLETED, "old--dig"),
        (JobStatus.COMPLETED, ""),
        (JobStatus.FAILED, ""),
        (JobStatus.NOT_STARTED, ""),
    ]
    return [
        JobState(name=step.job, type=step.type, status=status, create_time=0, step=step.key, reused_from=source)
        for step, (status, source) in zip(SPEC.steps, said, strict=True)
    ]


def test_the_tree_tells_what_each_step_needs() -> None:
    assert tree(drawing_of(SPEC)).splitlines() == [
        "ore",
        "├─ dig       command",
        "├─ survey    command",
        "├─ mill",
        "│  └─ crush  parallel  ← dig.rock, survey.map?",
        "└─ ship      command   ← mill/crush.sand, survey",
        "output cargo ← ship.load",
    ]


def test_the_tree_of_a_job_tells_the_statuses() -> None:
    lines = tree(drawing_of(SPEC, states())).splitlines()
    assert lines[1].split() == ["├─", "dig", "command", "reused"]
    assert lines[4].split()[3:5] == ["parallel", "Failed"]
    assert "NotStarted" in lines[5]


def test_mermaid_has_a_box_around_a_sub_pipeline_and_dots_for_what_is_optional() -> None:
    lines = [line.strip() for line in mermaid(drawing_of(SPEC)).splitlines()]
    assert lines[0] == "flowchart TD"
    assert 's0["dig<br/>command"]' in lines and 's2[["crush<br/>parallel"]]' in lines and 'o0[/"cargo"/]' in lines
    inside = lines[lines.index('subgraph g1["mill"]') + 1 : lines.index("end")]
    assert inside == ['s2[["crush<br/>parallel"]]']
    assert {'s0 -->|"rock"| s2', 's1 -.->|"map"| s2', 's2 -->|"sand"| s3', "s1 --> s3", 's3 -->|"load"| o0'} <= {*lines}
    assert not any(line.startswith("style") for line in lines)
    assert sum(line.startswith("style") for line in mermaid(drawing_of(SPEC, states())).split("\n  ")) == 4


def test_the_svg_stands_alone_and_has_every_step_and_arrow() -> None:
    text = svg(drawing_of(SPEC, states()))
    root = ElementTree.fromstring(text)
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert {"ore", "dig", "survey", "crush", "ship", "cargo", "mill · parallel · Failed", "rock", "map"} <= {*words}
    assert len(root.findall(f"{SVG}path")) == 5
    assert sum("stroke-dasharray" in path.attrib for path in root.findall(f"{SVG}path")) == 1
    assert not re.search(r"href|<script|<style|url\((?!#)", text)
    width, height = (float(root.attrib[side]) for side in ("width", "height"))
    for box in root.iter(f"{SVG}rect"):
        if "x" in box.attrib:
            assert 0 <= float(box.attrib["x"]) <= width - float(box.attrib["width"])
            assert 0 <= float(box.attrib["y"]) <= height - float(box.attrib["height"])


def test_what_a_name_holds_cannot_leave_its_place_in_the_picture() -> None:
    spec = PipelineSpec(name='<b>&"', steps=SPEC.steps[:1])
    assert ElementTree.fromstring(svg(drawing_of(spec))).findtext(f"{SVG}title") == '<b>&"'


def test_programs_read_steps_edges_and_outputs() -> None:
    said = drawing_of(SPEC, states()).as_dict()
    assert said["name"] == "ore" and said["outputs"] == [{"name": "cargo", "step": "ship", "output": "load"}]
    steps = said["steps"]
    assert isinstance(steps, list)
    assert steps[0] == {"name": "dig", "type": "command", "status": "reused"}
    edges = said["edges"]
    assert isinstance(edges, list)
    assert {"source": "survey", "target": "mill/crush", "outputs": ["map"], "optional": True} in edges
    assert {"source": "survey", "target": "ship", "outputs": [], "optional": False} in edges


def test_a_pipeline_without_steps_is_drawn() -> None:
    empty = drawing_of(PipelineSpec(name="none", steps=()))
    assert tree(empty) == "none" and mermaid(empty) == "flowchart TD"
    ElementTree.fromstring(svg(empty))
