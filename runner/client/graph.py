"""The graph of a pipeline as SDK v1 has it: nodes with ports, and edges between the ports."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from runner.entity.pipeline import PipelineSpec, StepSpec
from runner.errors import ArgumentInvalid

RUN_AFTER = "_run_after_output"
"""The port of a node through which another only waits for it."""
DATA = "output"
"""The port of a source of data."""
_ID_DIGITS = 8


def node_ids(pipeline: str, keys: Iterable[str]) -> dict[str, str]:
    """The id of each node of a pipeline: eight digits, the same whenever they are asked for."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for key in keys:
        salt = 0
        while (made := _digest(f"{pipeline}/{key}/{salt}")) in taken:
            salt += 1
        taken.add(made)
        found[key] = made
    return found


@dataclass(eq=False)
class OutputPort:
    """Where data leaves a node."""

    node: Node
    name: str
    type: str = ""

    def __repr__(self) -> str:
        return f"OutputPort({self.node.name}.{self.name})"


@dataclass(eq=False)
class InputPort:
    """Where data enters a node; `edge` is what brings it."""

    node: Node
    name: str
    edge: Edge | None = None

    def connect(self, source: OutputPort) -> Edge:
        """Let the data of another node enter here, and no other data."""
        self.edge = Edge(source, self)
        return self.edge

    def __repr__(self) -> str:
        return f"InputPort({self.node.name}.{self.name})"


@dataclass(frozen=True, eq=False)
class Edge:
    """Data goes from a port to a port."""

    source_port: OutputPort
    dest_port: InputPort

    @property
    def name(self) -> str:
        """`source.port_dest.port`."""
        source, dest = self.source_port, self.dest_port
        return f"{source.node.name}.{source.name}_{dest.node.name}.{dest.name}"

    def __repr__(self) -> str:
        source, dest = self.source_port, self.dest_port
        return f"Edge({source.node.name}.{source.name} -> {dest.node.name}.{dest.name})"


@dataclass(eq=False)
class Node:
    """A step (`module`), or data that no step makes (`datasource`)."""

    node_id: str
    name: str
    kind: Literal["module", "datasource"] = "module"
    params: dict[str, object] = field(default_factory=dict)
    """The literal inputs."""
    path: str = ""
    """Of data: where it is."""
    inputs: list[InputPort] = field(default_factory=list)
    outputs: list[OutputPort] = field(default_factory=list)

    def get_input(self, name: str) -> InputPort | None:
        """The input port of that name."""
        return next((port for port in self.inputs if port.name == name), None)

    def get_output(self, name: str) -> OutputPort | None:
        """The output port of that name."""
        return next((port for port in self.outputs if port.name == name), None)

    def get_param(self, name: str) -> object:
        """The literal input of that name."""
        return self.params.get(name)

    def connect(self, input_port: str, source: OutputPort) -> Edge:
        """Let data enter by an input port, which is made if it is missing."""
        return _input(self, input_port).connect(source)

    def run_after(self, node: Node) -> Edge:
        """Wait for another node without taking data from it."""
        return self.connect(f"_run_after_input_{node.node_id}", _output(node, RUN_AFTER))

    def __repr__(self) -> str:
        return f"Node(name:{self.name}, id:{self.node_id})"


class Graph:
    """Nodes and edges. That of a run can be looked at and changed, but not submitted: submit the pipeline again."""

    def __init__(self, name: str, params: dict[str, object] | None = None) -> None:
        self.name = name
        self.params = dict(params or {})
        self._nodes: dict[str, Node] = {}

    @property
    def nodes(self) -> list[Node]:
        return list(self._nodes.values())

    @property
    def node_dict(self) -> dict[str, Node]:
        """By id."""
        return dict(self._nodes)

    @property
    def node_name_dict(self) -> dict[str, list[Node]]:
        """By name, which several may have."""
        found: dict[str, list[Node]] = {}
        for node in self._nodes.values():
            found.setdefault(node.name, []).append(node)
        return found

    @property
    def module_nodes(self) -> list[Node]:
        """The steps."""
        return [node for node in self._nodes.values() if node.kind == "module"]

    @property
    def datasource_nodes(self) -> list[Node]:
        """The data that no step makes."""
        return [node for node in self._nodes.values() if node.kind == "datasource"]

    @property
    def edges(self) -> list[Edge]:
        """Everything that enters a step."""
        return [port.edge for node in self.module_nodes for port in node.inputs if port.edge is not None]

    @property
    def sequence(self) -> list[Node]:
        """The steps, each after those it waits for; without those of a cycle."""
        return self._sorted()[0]

    def get_node(self, node_id: str) -> Node | None:
        """The node of that id."""
        return self._nodes.get(node_id)

    def add_module_node(
        self, name: str, *, inputs: Sequence[str] = (), outputs: Sequence[str] = (), params: Any = None
    ) -> Node:
        """Add a step with its ports."""
        node = self._add(name, "module")
        node.params = dict(params or {})
        node.inputs = [InputPort(node, port) for port in inputs]
        node.outputs = [OutputPort(node, port) for port in outputs]
        return node

    def add_datasource_node(self, name: str, path: str = "", *, type: str = "") -> Node:  # noqa: A002 - as in YAML
        """Add data that no step makes; its port is `output`."""
        node = self._add(name, "datasource")
        node.path = path
        node.outputs = [OutputPort(node, DATA, type)]
        return node

    def connect(self, source_port: OutputPort, dest_port: InputPort) -> Edge:
        """Let data go from a port to a port. ArgumentInvalid when one of them is of another graph."""
        for port in (source_port, dest_port):
            if self._nodes.get(port.node.node_id) is not port.node:
                raise ArgumentInvalid("port", f"{port!r} is of no node of the graph {self.name!r}")
        return dest_port.connect(source_port)

    def delete_node(self, node_id: str) -> NoReturn:
        """Not supported."""
        raise NotImplementedError("Delete node is unsupported for Graph; make a pipeline without that step")

    def validate(self) -> list[str]:
        """What is wrong with the graph: the steps of a cycle."""
        _, left = self._sorted()
        if not left:
            return []
        return [f"Cycle detected including node {node.name}({node.node_id})" for node in left]

    def finalize(self, dry_run: bool = False, regenerate_outputs: bool = False) -> NoReturn:
        """Not supported."""
        raise NotImplementedError("a graph is not finalized by itself; submit the pipeline with Experiment.submit")

    def submit(self, **kwargs: Any) -> NoReturn:
        """Not supported."""
        raise NotImplementedError("a graph is not submitted by itself; submit the pipeline with Experiment.submit")

    def __str__(self) -> str:
        nodes = ", ".join(str(node) for node in self.nodes)
        return f"Graph(name:{self.name}, nodes:[{nodes}], edges:{self.edges}, params:{self.params})"

    def _add(self, name: str, kind: Literal["module", "datasource"], node_id: str = "") -> Node:
        known = len(self._nodes)
        while not node_id or node_id in self._nodes:
            node_id = _digest(f"{self.name}/{kind}/{name}/{known}")
            known += 1
        node = self._nodes[node_id] = Node(node_id, name, kind)
        return node

    def _sorted(self) -> tuple[list[Node], list[Node]]:
        """The steps in an order in which they can run, and those on cycles or between them."""
        steps = {node.node_id for node in self.module_nodes}
        left = {node.node_id: {e.source_port.node.node_id for e in _edges(node)} & steps for node in self.module_nodes}
        done: list[Node] = []
        while ready := [node_id for node_id, needs in left.items() if not needs]:
            for node_id in ready:
                del left[node_id]
                done.append(self._nodes[node_id])
            for needs in left.values():
                needs.difference_update(ready)
        # What only waits for a cycle is not on one.
        while ends := [one for one in left if not any(one in needs for needs in left.values())]:
            for node_id in ends:
                del left[node_id]
        return done, [self._nodes[node_id] for node_id in left]


def graph_of(spec: PipelineSpec, inputs: dict[str, object]) -> Graph:
    """The graph of a pipeline; `inputs` are those of its document, which name the data that no step makes."""
    graph = Graph(spec.name, spec.literals)
    ids = node_ids(spec.name, [step.key for step in spec.steps])
    steps: dict[str, Node] = {}
    for step in spec.steps:
        node = steps[step.key] = graph._add(step.key, "module", ids[step.key])
        node.outputs = [OutputPort(node, name, _type_of(value)) for name, value in _mapping(step, "outputs").items()]
    names = {_path_of(value): name for name, value in inputs.items() if _path_of(value)}
    sources: dict[str, Node] = {}
    for step in spec.steps:
        _connect(graph, step, steps, sources, names)
    return graph


def _connect(
    graph: Graph, step: StepSpec, steps: dict[str, Node], sources: dict[str, Node], names: dict[str, str]
) -> None:
    node = steps[step.key]
    made = {source.input: source for source in step.sources}
    for name, value in _mapping(step, "inputs").items():
        if name in made:
            continue
        path = _path_of(value)
        if not path:
            node.params[name] = value
            continue
        if path not in sources:
            sources[path] = graph.add_datasource_node(names.get(path, name), path, type=_type_of(value))
        node.connect(name, _output(sources[path], DATA))
    for number, source in enumerate(step.sources):
        port = source.input if node.get_input(source.input) is None else f"{source.input}_{number}"
        node.connect(port, _output(steps[source.step], source.output))
    for key in step.depends_on:
        node.run_after(steps[key])


def _edges(node: Node) -> list[Edge]:
    return [port.edge for port in node.inputs if port.edge is not None]


def _input(node: Node, name: str) -> InputPort:
    port = node.get_input(name)
    if port is None:
        port = InputPort(node, name)
        node.inputs.append(port)
    return port


def _output(node: Node, name: str) -> OutputPort:
    port = node.get_output(name)
    if port is None:
        port = OutputPort(node, name)
        node.outputs.append(port)
    return port


def _mapping(step: StepSpec, key: str) -> dict[str, Any]:
    value = step.document.get(key)
    return value if isinstance(value, dict) else {}


def _path_of(value: object) -> str:
    return str(value["path"]) if isinstance(value, dict) and value.get("path") else ""


def _type_of(value: object) -> str:
    return str(value.get("type") or "uri_folder") if isinstance(value, dict) else "uri_folder"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]
