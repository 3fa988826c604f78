"""Instances as Ray actors, on a configured cluster or on the embedded Ray of this RUNNER_HOME.

Ray is imported when the cluster is made, by whoever makes it: beside other imports it would take twice as long, and
everything waits for it. Connecting goes on in a thread; whoever needs the connection first waits for it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

import runner
from runner.cluster.address import answers
from runner.cluster.base import Emit, Placement, Say
from runner.cluster.connect import Connection, import_ray
from runner.cluster.handle import RayHandle
from runner.cluster.join import STARTS
from runner.cluster.joined import Joined
from runner.cluster.letters import Probe, Start
from runner.cluster.link import ActorLink
from runner.cluster.outlet import Outlet
from runner.cluster.parcel import pack_folder, sweep_probes, write_probe
from runner.cluster.place import GroupFacts, NodeFacts, place_on_machine, place_on_nodes
from runner.entity.lease import InstanceConfig
from runner.entity.parallel import ParallelSpec
from runner.errors import ClusterUnavailable, StorageFailed

_LOOK_S = 60.0

log = logging.getLogger(__name__)


class RayCluster:
    """A Ray cluster. `address` names a configured one; without it the embedded Ray is joined, or started."""

    def __init__(self, emit: Emit, home_ray: Path, address: str | None, say: Say) -> None:
        self._emit = emit
        self._home_ray = home_ray
        self._address = address
        self._say = say
        self._environment = dict(os.environ)  # before anything of Ray's is put there
        self._placements: tuple[Placement, ...] = ()
        self._handles: list[RayHandle] = []
        self._probed: set[Path] = set()
        self._code: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._is_closed = False
        self._joined = Joined(home_ray, address, say)
        import_ray()

    def place(self, spec: ParallelSpec, say: Say) -> tuple[Placement, ...]:
        """Choose nodes; what no node could ever carry is refused."""
        connection, nodes = self._found_nodes()
        ray = connection.ray
        if not nodes:
            raise ClusterUnavailable(connection.address, "none of its nodes lives", "start its nodes, then try again")
        if self._address is None:
            self._placements = place_on_machine(spec, nodes[0], say)
        else:
            self._placements = place_on_nodes(spec, nodes, read_groups(ray))
        return self._placements

    def start(self, config: InstanceConfig, placement: Placement) -> RayHandle:
        """Ask for an actor and return; it may wait for room, which is said, and can be killed while it waits."""
        connection = self._live_connection()
        if self._address is not None:
            placement = self._moved_from_a_dead_node(connection.ray, placement)
        logs_probe = self._write_probe(config.logs)
        staging_probe = self._write_probe(config.staging) if config.staging else None
        start = Start(
            config=config,
            logs_probe=logs_probe,
            staging_probe=staging_probe,
            cpu_count=placement.cpu_count,
            environment=self._environment if self._address is None else None,
        )
        handle = RayHandle(
            ActorLink(connection.ray, start, placement, is_pinned=self._address is not None and placement.node != ""),
            config,
            placement,
            Outlet(self._emit),
            is_reachable=lambda: not answers(connection.address),
            pack_code=lambda: self._pack_code(config),
            say_waiting=lambda: self._say(waiting_line(connection.ray, placement)),
            find_misfit=lambda: find_misfit(connection.ray, connection.address, self._placements),
            on_begun=lambda: _remove(logs_probe, staging_probe),
        )
        self._handles.append(handle)
        return handle

    def close(self) -> None:
        """Kill what still lives, disconnect, and let the embedded Ray go."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        kills = [threading.Thread(target=handle.kill) for handle in self._handles]
        for kill in kills:
            kill.start()
        for kill in kills:
            kill.join()
        for folder in self._probed:
            sweep_probes(folder)
        self._joined.close()

    def _live_connection(self) -> Connection:
        """The connection; made anew when the embedded Ray was lost, for another is started then."""
        connection = self._joined.connection.result()
        if not (why := answers(connection.address)):
            return connection
        if self._address is not None:
            raise ClusterUnavailable(self._address, f"it is gone ({why})", "resume the job when it is back")
        self._say("the embedded Ray is gone")
        for handle in self._handles:
            handle.lose("the Ray it ran on is gone")
        self._handles.clear()
        self._joined.close()
        self._joined = Joined(self._home_ray, None, self._say)
        return self._joined.connection.result()

    def _found_nodes(self) -> tuple[Connection, list[NodeFacts]]:
        """The nodes, asked again of another embedded Ray where one has died in between."""
        for _ in range(STARTS - 1):
            connection = self._live_connection()
            try:
                return connection, self._look_at_nodes(connection.ray)
            except Exception as error:  # Ray has a class of its own for each way to have lost the head
                if self._address is not None or not answers(connection.address):
                    raise
                log.warning("the embedded Ray at %s ended just now: %s", connection.address, error)
        connection = self._live_connection()
        return connection, self._look_at_nodes(connection.ray)

    def _look_at_nodes(self, ray: Any) -> list[NodeFacts]:
        """The living nodes; a name that two of them share is told with the address."""
        living = [node for node in ray.nodes() if node["Alive"]]
        names = [node["NodeManagerHostname"] for node in living]
        free = _free_cpus(ray)
        return [
            NodeFacts(
                node=node["NodeID"],
                host=name if names.count(name) == 1 else f"{name} ({node['NodeManagerAddress']})",
                cpu_count=int(node["Resources"].get("CPU", 0)),
                gpu_count=float(node["Resources"].get("GPU", 0)),
                free_cpu_count=free.get(node["NodeID"], 0.0),
            )
            for node, name in zip(living, names, strict=True)
        ]

    def _moved_from_a_dead_node(self, ray: Any, placement: Placement) -> Placement:
        """The placement, or one on a living node without an instance where its own node is gone."""
        nodes = {node.node: node for node in self._look_at_nodes(ray)}
        if placement.node in nodes or not placement.node:
            return placement
        taken = {handle.node for handle in self._handles if not handle.has_ended}
        free = [
            node
            for node in nodes.values()
            if node.node not in taken
            and node.cpu_count >= placement.cpu_count
            and node.gpu_count >= placement.gpu_count
        ]
        if not free:
            return placement  # Ray will say that the node is gone
        new = max(free, key=lambda node: node.free_cpu_count)
        moved = replace(placement, node=new.node, host=new.host)
        self._placements = (*self._placements, moved)
        return moved

    def _write_probe(self, folder: str) -> Probe:
        """A file by which the actor tells whether it sees the folder; what a killed driver left there is removed."""
        path = Path(folder)
        if path not in self._probed:
            self._probed.add(path)
            sweep_probes(path)
        try:
            return write_probe(path)
        except OSError as error:
            raise StorageFailed(folder, error.strerror or str(error)) from error

    def _pack_code(self, config: InstanceConfig) -> bytes:
        """The code folder for an actor that cannot see it; packed once."""
        code = msgspec.json.decode(config.spec_json, type=ParallelSpec).code
        if code is None:
            return b""
        with self._lock:
            if code not in self._code:
                self._code[code] = pack_folder(Path(code))
            return self._code[code]


def _remove(*probes: Probe | None) -> None:
    for probe in probes:
        if probe is not None:
            Path(probe.path).unlink(missing_ok=True)


def waiting_line(ray: Any, placement: Placement) -> str:
    """What an actor that does not start waits for."""
    wants = f"{placement.cpu_count} CPU{'s' * (placement.cpu_count != 1)}"
    if placement.gpu_count:
        wants += f" and {placement.gpu_count:g} GPU{'s' * (placement.gpu_count != 1)}"
    free, have = ray.available_resources().get("CPU", 0.0), ray.cluster_resources().get("CPU", 0.0)
    if free >= placement.cpu_count and not placement.gpu_count:
        return f"waiting for Ray to start instance {placement.instance} on {placement.host}"
    return f"waiting for {wants} on Ray: {free:g} of {have:g} CPUs are free (instance {placement.instance})"


def find_misfit(ray: Any, address: str, placements: tuple[Placement, ...]) -> ClusterUnavailable | None:
    """The nodes that do not have this very version of runner, each by name; None when all have it.

    Asked only after an instance failed to begin: the question takes a process of Ray's on each node.
    """
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    ask = ray.remote(num_cpus=0, max_retries=0)(_make_question())
    answers_by_host = {
        placement.host: ask.options(scheduling_strategy=strategy(placement.node, soft=False)).remote()
        for placement in placements
        if placement.node
    }
    deadline = time.monotonic() + _LOOK_S
    wrong = []
    for host, answer in answers_by_host.items():
        try:
            found = json.loads(ray.get(answer, timeout=max(0.1, deadline - time.monotonic())))
        except ray.exceptions.RayError as error:
            log.warning("%s does not say its version of runner: %s", host, type(error).__name__)
            continue
        if found["version"] != runner.__version__:
            wrong.append(f"{host} has {found['version'] or 'no runner'} for {found['python']}")
    if not wrong:
        return None
    return ClusterUnavailable(
        address,
        f"every node needs runner {runner.__version__}, but {'; '.join(wrong)}",
        f"install runner {runner.__version__} for the Python that Ray runs there",
    )


def _make_question() -> Callable[[], str]:
    """A function that Ray sends by its code, because on a node without runner it could not be imported."""

    def tell_version() -> str:
        import json
        import sys

        try:
            import runner

            version = runner.__version__
        except ImportError:
            version = ""
        return json.dumps({"version": version, "python": sys.executable})

    tell_version.__module__ = "__main__"
    return tell_version


def _free_cpus(ray: Any) -> dict[str, float]:
    """Free cores by node id, for a better choice only: empty where this Ray does not say."""
    try:
        by_node = ray._private.state.available_resources_per_node()
        return {str(node): float(resources.get("CPU", 0.0)) for node, resources in by_node.items()}
    except (AttributeError, TypeError, ray.exceptions.RayError):
        return {}


def read_groups(ray: Any) -> list[GroupFacts]:
    """What nodes the cluster's autoscaler can add, as it has told the head; nothing where there is none."""
    try:
        config = ray._private.state.state.get_cluster_config()
    except (AttributeError, TypeError, ray.exceptions.RayError):
        return []
    if config is None:
        return []
    return [
        GroupFacts(
            cpu_count=int(group.resources["CPU"]) if "CPU" in group.resources else 0,
            gpu_count=float(group.resources["GPU"]) if "GPU" in group.resources else 0.0,
            most=group.max_count if group.max_count >= 0 else sys.maxsize,
        )
        for group in config.node_group_configs
    ]
