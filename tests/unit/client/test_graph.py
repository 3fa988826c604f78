"""Graphs of pipelines: what is a node, what enters where, and what is told of a cycle."""

from __future__ import annotations

from typing import Any

import pytest

from runner.client.graph import Graph, Node, graph_of, node_ids
from runner.entity.pipeline import PipelineSpec, StepSource, StepSpec
from runner.errors import ArgumentInvalid


def step(key: str, *sources: StepSource, after: tuple[str, ...] = (), **document: Any) -> StepSpec:
    return StepSpec(key=key, job=f"run--{key}", type="command", document=document, sources=sources, depends_on=after)


def source(name: str, key: str, output: str = "o") -> StepSource:
    return StepSource(input=name, step=key, output=output)


def sifted() -> Graph:
    """sift reads a file and counts to 3; count and weigh read what it made; report waits for both."""
    spec = PipelineSpec(
        name="run",
        literals={"depth": 3},
        steps=(
            step(
                "sift",
                inputs={"raw": {"type": "uri_file", "path": "/data/raw.txt"}, "depth": 3},
                outputs={"o": {"type": "uri_file"}},
            ),
            step(
                "sub/count",
                source("i", "sift"),
                inputs={"i": {"type": "uri_file", "path": "${{steps.sift.outputs.o}}"}},
                outputs={"n": {}},
            ),
            step(
                "other/count",
                source("i", "sift"),
                inputs={
                    "i": {"type": "uri_file", "path": "${{steps.sift.outputs.o}}"},
                    "again": {"type": "uri_file", "path": "/data/raw.txt"},
                },
            ),
            step("report", after=("sub/count", "other/count")),
        ),
    )
    return graph_of(spec, {"manifest": {"type": "uri_file", "path": "/data/raw.txt"}, "depth": 3})


def named(graph: Graph, name: str) -> Node:
    [node] = graph.node_name_dict[name]
    return node


def test_steps_are_modules_and_data_that_no_step_makes_is_a_source() -> None:
    graph = sifted()
    assert [node.name for node in graph.module_nodes] == ["sift", "sub/count", "other/count", "report"]
    [data] = graph.datasource_nodes
    assert (data.name, data.path) == ("manifest", "/data/raw.txt"), "named as the pipeline names it, once"
    assert named(graph, "sift").params == {"depth": 3}
    assert graph.params == {"depth": 3}
    assert all(len(node.node_id) == 8 for node in graph.nodes)
    assert graph.get_node(data.node_id) is data
    assert graph.node_dict.keys() == {node.node_id for node in graph.nodes}
    assert graph.get_node("nobody") is None


def test_edges_enter_steps_from_ports_of_steps_and_sources() -> None:
    graph = sifted()
    told = {(e.source_port.node.name, e.source_port.name, e.dest_port.node.name, e.dest_port.name) for e in graph.edges}
    sub, other = named(graph, "sub/count"), named(graph, "other/count")
    assert told == {
        ("manifest", "output", "sift", "raw"),
        ("sift", "o", "sub/count", "i"),
        ("sift", "o", "other/count", "i"),
        ("manifest", "output", "other/count", "again"),
        ("sub/count", "_run_after_output", "report", f"_run_after_input_{sub.node_id}"),
        ("other/count", "_run_after_output", "report", f"_run_after_input_{other.node_id}"),
    }
    sift = named(graph, "sift")
    port = sift.get_output("o")
    assert port is not None
    assert (port.node, port.type) == (sift, "uri_file")
    assert sift.get_input("raw") is not None
    assert sift.get_input("nothing") is None
    assert sift.get_output("nothing") is None


def test_the_sequence_has_each_step_after_those_it_waits_for() -> None:
    names = [node.name for node in sifted().sequence]
    assert names[0] == "sift"
    assert names[-1] == "report"
    assert not sifted().validate()


def test_a_cycle_is_told_with_the_steps_that_are_on_it() -> None:
    graph = sifted()
    sift, count, report = named(graph, "sift"), named(graph, "sub/count"), named(graph, "report")
    sift.run_after(count)
    told = graph.validate()
    assert told == [f"Cycle detected including node {one.name}({one.node_id})" for one in (sift, count)]
    assert report.name not in " ".join(told), "it only waits for the cycle"


def test_ids_are_the_same_whenever_they_are_asked_for() -> None:
    keys = [f"step{number}" for number in range(2000)]
    ids = node_ids("run", keys)
    assert len(set(ids.values())) == 2000
    assert node_ids("run", keys) == ids
    assert node_ids("another", keys) != ids
    assert named(sifted(), "sift").node_id == named(sifted(), "sift").node_id


def test_a_graph_can_be_built_by_hand_but_not_run() -> None:
    graph = Graph("mine")
    data = graph.add_datasource_node("raw", "/data/raw.txt")
    node = graph.add_module_node("sift", inputs=["i"], outputs=["o"], params={"depth": 1})
    edge = graph.connect(data.outputs[0], node.inputs[0])
    assert graph.edges == [edge]
    assert edge.name == "raw.output_sift.i"
    assert str(graph).startswith("Graph(name:mine, ")
    assert node.get_param("depth") == 1
    with pytest.raises(ArgumentInvalid, match="no node of the graph"):
        graph.connect(Graph("other").add_datasource_node("x").outputs[0], node.inputs[0])
    with pytest.raises(NotImplementedError):
        graph.delete_node(node.node_id)
    for verb in (graph.submit, graph.finalize):
        with pytest.raises(NotImplementedError, match=r"Experiment\.submit"):
            verb()
