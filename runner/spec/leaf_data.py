"""The inputs and outputs that the document of a step's own job has: what is bound to them, or what stands for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from runner.spec.bindings import references
from runner.spec.data_shapes import DATA_TYPES
from runner.spec.declared import is_compatible
from runner.spec.findings import did_you_mean
from runner.spec.nodes import Node, Scope
from runner.spec.values import Binding, Value, binding_of, form_remedy
from runner.spec.wiring import Wiring, output_names, parent_output

_DATASTORE = re.compile(r"\$\{\{\s*default_datastore\s*\}\}")
_DEFAULT_PLACE = "azureml://datastores/${{default_datastore}}/paths/azureml/${{name}}/${{output_name}}"


def leaf_inputs(node: Node, wiring: Wiring) -> tuple[dict[str, Any], dict[str, Any], list[str], list[str]]:
    """The inputs of the step's document, and of which the values come from elsewhere, may be absent or are broken."""
    component = node.component if node.is_known else None
    names = list(node.inputs) if component is None else list(component.inputs)
    if component is not None:
        for name in node.inputs:
            if name not in component.inputs:
                remedy = did_you_mean(name, component.inputs, "leave it out")
                what = f"is no input of the component {component.title} and has no effect; {remedy}"
                node.found.notice((*node.at, "inputs", name), what)
                wiring.input_of(node, name)
    inputs: dict[str, Any] = {}
    sources: dict[str, Any] = {}
    optional, broken = [], []
    for name in names:
        value = wiring.input_of(node, name)
        declared = component.inputs[name] if component is not None else None
        if value.is_broken:
            broken.append(name)
            inputs[name] = _broken_value(declared.type if declared is not None else "uri_folder")
            continue
        may_be_absent = declared.is_optional if declared is not None else _says_optional(node.inputs.get(name))
        if may_be_absent or value.is_optional:
            optional.append(name)
        if value.sources:
            sources[name] = value.sources
        inputs[name] = _document_value(value, declared.type if declared is not None else None)
    return inputs, sources, optional, broken


def _says_optional(given: Any) -> bool:
    return isinstance(given, Mapping) and given.get("optional") in (True, "true", "True")


def _broken_value(kind: str) -> Any:
    stand_ins: dict[str, Any] = {"string": "", "integer": 0, "number": 0.0, "boolean": False}
    return stand_ins.get(kind, {"type": kind, "path": "/"})


def _document_value(value: Value, kind: str | None) -> Any:
    if value.given is not None:
        return value.given
    return {"type": kind or ("string" if value.is_literal else "uri_folder"), "optional": True}


def leaf_outputs(node: Node, wiring: Wiring) -> dict[str, Any]:
    """The outputs of the step's document: types of the component, places of the step or the pipeline."""
    component = node.component
    names = output_names(node)
    result = {}
    for name in (*names, *(name for name in node.outputs if name not in names)):
        if not _check_output(node, name, names):
            continue
        setting = wiring.output_setting(node, name)
        declared = component.outputs.get(name) if component is not None else None
        if declared is not None and declared.mode and "mode" not in setting:
            setting["mode"] = declared.mode
        setting["type"] = wiring.output_type(node, name)
        result[name] = _in_datastore(setting, node.scope)
    return result


def _in_datastore(setting: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """Put in the pipeline's own default datastore, where it names one."""
    while scope.node is not None:
        scope = scope.node.scope
    name = scope.settings.get("default_datastore")
    if name is None:
        return setting
    path = setting.get("path", _DEFAULT_PLACE)
    put = _DATASTORE.sub(str(name), path) if isinstance(path, str) else path
    return {**setting, "path": put}


def _check_output(node: Node, name: str, names: list[str]) -> bool:
    """Whether an output of a step can be one; notes a binding of the wrong form, and names that the step has not."""
    at = (*node.at, "outputs", name)
    component = node.component
    if component is not None and component.is_known and name not in names:
        remedy = did_you_mean(name, names, f"its outputs are {', '.join(names)}" if names else "it has none")
        node.found.problem(at, f"is no output of the component {component.title}", remedy)
        return False
    given = node.outputs.get(name)
    if component is not None and name in component.outputs and isinstance(given, Mapping):
        made, said = component.outputs[name].type, given.get("type")
        if said in DATA_TYPES and not is_compatible(made, str(said)):
            what = f"is {said}, and the component {component.title} makes {made}"
            node.found.problem((*at, "type"), what, f"write {made}, or leave it out")
            return False
    path = given.get("path") if isinstance(given, Mapping) else given
    if not isinstance(path, str) or parent_output(given) is not None:
        return True
    for reference in references(path):
        binding: Binding | None = binding_of(reference)
        if isinstance(given, str) or binding is not None or reference.startswith("parent"):
            remedy = "write ${{parent.outputs.<name>}}"
            if binding is None:
                remedy = form_remedy(reference)
            node.found.problem(at, f"holds ${{{{{reference}}}}}, which is no output of the pipeline", remedy)
            return False
    return True
