"""Follows the bindings of a pipeline: what each input of each step is, and where each output comes from and goes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.spec.bindings import REFERENCE
from runner.spec.data_shapes import LITERAL_TYPES, input_shape, is_literal, literal_of, output_shape
from runner.spec.declared import is_compatible
from runner.spec.findings import Findings, did_you_mean
from runner.spec.findings import Path as Place
from runner.spec.fit import fit_input
from runner.spec.nodes import Node, Scope
from runner.spec.paths import absolute, is_local, plain_path
from runner.spec.pipeline_schema import is_binding
from runner.spec.shapes import kind_of
from runner.spec.values import BROKEN, MISSING, Binding, Value, binding_of, form_remedy, step_output

_MANY = 100
_SEARCHES = 20
_SHOWN = 20
_FOLLOWING = Value(is_broken=True)
"""Stands for an input that is being followed, so that a cycle of inputs is seen."""


class Wiring:
    """Follows bindings in one tree of steps, each once; problems are told at the place of the binding."""

    def __init__(self) -> None:
        self._searches = 0
        self._makers: dict[int, tuple[Scope, dict[str, tuple[Node, str]]]] = {}

    # ---- inputs ---------------------------------------------------------------------------------------------
    def input_of(self, node: Node, name: str) -> Value:
        """What an input of a step stands for, in the type that its component declares."""
        for one, input_name in reversed(self._chain(node, name)):
            self._one_input_of(one, input_name)
        return self._one_input_of(node, name)

    def _chain(self, node: Node, name: str) -> list[tuple[Node, str]]:
        """The inputs that an input leads to from step to step, so that a long chain is followed from its far end."""
        chain: list[tuple[Node, str]] = []
        seen = {(node.key, name)}
        while name not in node.values and (following := _next_input(node, name)) is not None:
            node, name = following
            if (node.key, name) in seen:
                break
            seen.add((node.key, name))
            chain.append(following)
        return chain

    def _one_input_of(self, node: Node, name: str) -> Value:
        known = node.values.get(name)
        if known is _FOLLOWING:
            node.found.problem((*node.at, "inputs", name), "goes back to itself", "write a value into the cycle")
            return BROKEN
        if known is None:
            node.values[name] = _FOLLOWING
            known = node.values[name] = self._input_of(node, name)
        return known

    def _input_of(self, node: Node, name: str) -> Value:
        at = (*node.at, "inputs", name)
        value = self.evaluate(node.scope, node.inputs.get(name), at, node.found)
        component = node.component
        if component is None or not component.is_known or value.is_broken:
            return value
        declared = component.inputs.get(name)
        return value if declared is None else fit_input(value, declared, node, at)

    def evaluate(self, scope: Scope, given: Any, at: Place, found: Findings) -> Value:
        """What is written at an input of a step, its bindings followed."""
        if isinstance(given, str):
            if "${{" not in given:
                return Value(given)
            return self._text(scope, given, at, found)
        if given is None:
            return MISSING
        if isinstance(given, bool | int | float):
            shaped = input_shape(given, at, found)
            return BROKEN if shaped is None else Value(shaped)
        if isinstance(given, Mapping):
            if set(given) == {"value"}:
                return self.evaluate(scope, given["value"], (*at, "value"), found)
            return self._mapping(scope, given, at, found)
        found.problem(at, f"is {kind_of(given)}", "write a text, a number, true or false, or {type, path, mode}")
        return BROKEN

    def _text(self, scope: Scope, text: str, at: Place, found: Findings) -> Value:
        """One binding as what it stands for, and text around bindings as text."""
        whole = REFERENCE.fullmatch(text.strip())
        if whole is not None:
            value = self._follow(scope, whole[1].strip(), at, found)
            return value if value.is_broken else replace(value, is_bound=True)
        sources: list[tuple[str, str]] = []
        broken = False

        def text_of(match: Any) -> str:
            nonlocal broken
            value = self._follow(scope, match[1].strip(), at, found)
            if value.is_missing:
                what = f"holds {match[0]}, which has no value"
                found.problem(at, what, "give it a value, or a default")
            broken = broken or value.is_broken or value.is_missing
            sources.extend(value.sources)
            return str(value.given if value.is_literal else value.given["path"]) if not broken else ""

        put = REFERENCE.sub(text_of, text)
        return BROKEN if broken else Value(put, tuple(sources))

    def _mapping(self, scope: Scope, given: Mapping[str, Any], at: Place, found: Findings) -> Value:
        path = given.get("path")
        if not (isinstance(path, str) and "${{" in path):
            if path is not None and not isinstance(path, str) and set(given) <= {"path", "mode", "type"}:
                # A literal below `path:`, as the public SDK dumps it.
                return self.evaluate(scope, path, (*at, "path"), found)
            shaped = input_shape(given, at, found)
            if shaped is None or not found.is_clean(*at):
                return BROKEN
            return value_of_shaped(shaped, scope.base)
        value = self._text(scope, path, (*at, "path"), found)
        if value.is_broken or value.is_missing:
            return value
        if value.is_literal and not (value.sources or given.get("type") not in (None, *LITERAL_TYPES)):
            return value
        data = {"path": value.given, "type": "uri_folder"} if value.is_literal else dict(value.given)
        shaped = input_shape({**data, **{k: v for k, v in given.items() if k != "path" and v is not None}}, at, found)
        if shaped is None or not found.is_clean(*at):
            return BROKEN
        made, wanted = data["type"], shaped["type"]
        if not value.is_literal and not is_compatible(made, wanted):
            found.problem((*at, "type"), f"is {wanted}, and {path.strip()} is of type {made}", f"write {made}")
            return BROKEN
        if value.is_literal:
            shaped["path"] = _whole(shaped["path"], scope.base)
        return replace(value, given=shaped, is_literal=False)

    def _follow(self, scope: Scope, reference: str, at: Place, found: Findings) -> Value:
        binding = binding_of(reference)
        if binding is None:
            found.problem(at, f"holds ${{{{{reference}}}}}, a binding of no known form", form_remedy(reference))
            return BROKEN
        if binding.step is None:
            if binding.side == "outputs":
                what = f"names ${{{{{reference}}}}}, and an input cannot be an output of the pipeline"
                found.problem(at, what, "write ${{parent.jobs.<step>.outputs.<output>}}")
                return BROKEN
            return self.parent_input(scope, binding.name, reference, at, found)
        node = self._node_of(scope, binding, reference, at, found)
        if node is None:
            return BROKEN
        if binding.side == "inputs":
            if node.is_known and binding.name not in _input_names(node):
                what = f"names ${{{{{reference}}}}}, and the step {node.name} has no such input"
                found.problem(at, what, self._nearest("inputs", binding.name, _input_names(node)))
                return BROKEN
            return self.input_of(node, binding.name)
        made = self.output_of(node, binding.name, reference, at, found)
        if made is None:
            return BROKEN
        leaf, name, kind = made
        data = {"type": kind, "path": step_output(leaf.key, name)}
        return Value(data, ((leaf.key, name),), is_literal=False)

    def _nearest(self, what: str, name: str, known: Collection[str]) -> str:
        """What to write in place of a name that is not there. Long lists are searched a few times only: it is slow."""
        if len(known) > _MANY:
            self._searches += 1
            if self._searches > _SEARCHES:
                return f"write one of its {len(known)} {what}"
        listed = f"the {what} are {', '.join(list(known)[:_SHOWN])}" if known else f"it has no {what}"
        return did_you_mean(name, known, listed if len(known) <= _SHOWN else f"{listed} and others")

    def _node_of(self, scope: Scope, binding: Binding, reference: str, at: Place, found: Findings) -> Node | None:
        assert binding.step is not None
        node = scope.nodes.get(binding.step)
        if node is None and binding.step not in scope.refused:
            what = f"names ${{{{{reference}}}}}, and there is no step {binding.step!r}"
            found.problem(at, what, self._nearest("steps", binding.step, scope.nodes))
        return node

    def parent_input(self, scope: Scope, name: str, reference: str, at: Place, found: Findings) -> Value:
        """An input of the pipeline that the steps of a scope are in."""
        if scope.node is None:
            if name not in scope.inputs:
                if found.is_clean("inputs", name):
                    what = f"names ${{{{{reference}}}}}, and the pipeline has no such input"
                    found.problem(at, what, self._nearest("inputs", name, scope.inputs))
                return BROKEN
            if name not in scope.values:
                is_clean = scope.found.is_clean("inputs", name)
                scope.values[name] = value_of_shaped(scope.inputs[name], scope.base) if is_clean else BROKEN
            return scope.values[name]
        component = scope.component
        assert component is not None
        declared = component.inputs.get(name)
        if declared is None:
            if found.is_clean("inputs", name):
                what = f"names ${{{{{reference}}}}}, and the component has no such input"
                found.problem(at, what, self._nearest("inputs", name, component.inputs))
            return BROKEN
        value = self.input_of(scope.node, name)
        if declared.is_optional and declared.default is None and not value.is_broken:
            return replace(value, is_optional=True)
        return value

    # ---- outputs --------------------------------------------------------------------------------------------
    def output_of(
        self, node: Node, name: str, reference: str, at: Place, found: Findings
    ) -> tuple[Node, str, str] | None:
        """The step that makes an output of a step or sub-pipeline, by which name, and of which type."""
        if name not in output_names(node) and node.is_known:
            what = f"names ${{{{{reference}}}}}, and the step {node.name} has no such output"
            found.problem(at, what, self._nearest("outputs", name, output_names(node)))
            return None
        if node.inner is None:
            return node, name, self.output_type(node, name)
        maker = self.maker_of(node.inner, name)
        if maker is None:
            return None  # told where the outputs of the sub-pipeline are checked
        return self.output_of(*maker, reference, at, found)

    def maker_of(self, scope: Scope, output: str) -> tuple[Node, str] | None:
        """The step of a scope whose output is bound to an output of the scope; the first, where there are more."""
        known = self._makers.get(id(scope))
        if known is None:
            makers: dict[str, tuple[Node, str]] = {}
            for node in scope.nodes.values():
                for name, given in node.outputs.items():
                    bound = parent_output(given)
                    if bound is not None:
                        makers.setdefault(bound, (node, name))
            known = self._makers[id(scope)] = (scope, makers)
        return known[1].get(output)

    def output_type(self, node: Node, name: str) -> str:
        """The type of an output of a step that is a job of its own."""
        if node.component is not None and name in node.component.outputs:
            return node.component.outputs[name].type
        given = node.outputs.get(name)
        if isinstance(given, Mapping) and isinstance(given.get("type"), str):
            return str(given["type"])
        bound = parent_output(given)
        return (self._scope_type(node.scope, bound) if bound else None) or "uri_folder"

    def _scope_type(self, scope: Scope, name: str) -> str | None:
        if scope.node is None:
            return scope.outputs.get(name, {}).get("type")
        component = scope.component
        if component is not None and name in component.outputs:
            return component.outputs[name].type
        return None

    def output_setting(self, node: Node, name: str) -> dict[str, Any]:
        """Where an output goes and what it is registered as; that of the pipeline when it is bound to its output."""
        given = node.outputs.get(name)
        bound = parent_output(given)
        if bound is not None:
            return self._scope_setting(node.scope, bound)
        if given is None:
            return {}
        shaped = output_shape(given, (*node.at, "outputs", name), node.found)
        if not isinstance(shaped, dict):
            return {}
        if not (isinstance(given, Mapping) and given.get("type") is not None):
            shaped.pop("type", None)
        return _absolute_setting(shaped, node.scope.base)

    def _scope_setting(self, scope: Scope, name: str) -> dict[str, Any]:
        if scope.node is None:
            return _absolute_setting(dict(scope.outputs.get(name, {})), scope.base)
        setting = self.output_setting(scope.node, name)
        declared = scope.component.outputs.get(name) if scope.component is not None else None
        if declared is not None and declared.mode and "mode" not in setting:
            setting["mode"] = declared.mode
        return setting


def _next_input(node: Node, name: str) -> tuple[Node, str] | None:
    """The input of a step beside it that an input is bound to whole; None when it is bound to none."""
    given = node.inputs.get(name)
    given = given.get("path") if isinstance(given, Mapping) else given
    if not isinstance(given, str) or ".inputs." not in given or (whole := REFERENCE.fullmatch(given.strip())) is None:
        return None
    binding = binding_of(whole[1].strip())
    if binding is None or binding.step is None or binding.side != "inputs":
        return None
    other = node.scope.nodes.get(binding.step)
    if other is None or (other.is_known and binding.name not in _input_names(other)):
        return None
    return other, binding.name


def parent_output(given: Any) -> str | None:
    """The name y when an output is bound: `${{parent.outputs.y}}`, or that below `path:`."""
    if isinstance(given, Mapping):
        given = given.get("path")
    if not is_binding(given):
        return None
    match = REFERENCE.fullmatch(given.strip())
    binding = binding_of(match[1].strip()) if match else None
    return binding.name if binding is not None and binding.side == "outputs" and binding.step is None else None


def output_names(node: Node) -> list[str]:
    """The outputs that a step has: those of its component, or those that it lists."""
    if node.component is not None and node.component.is_known:
        return list(node.component.outputs)
    return list(node.outputs)


def _input_names(node: Node) -> list[str]:
    if node.component is not None and node.component.is_known:
        return list(dict.fromkeys((*node.component.inputs, *node.inputs)))
    return list(node.inputs)


def value_of_shaped(shaped: Any, base: Path) -> Value:
    """A literal or data of a document as a value; local paths become absolute."""
    if is_literal(shaped):
        given = literal_of(shaped)
        return Value(given, is_optional=given is None)
    if shaped.get("path") is None:
        return Value(None, is_literal=False, is_optional=True)
    kept = {key: shaped[key] for key in ("type", "path", "mode", "datastore", "path_on_compute") if key in shaped}
    return Value({**kept, "path": _whole(kept["path"], base)}, is_literal=False)


def _whole(path: str, base: Path) -> str:
    path = plain_path(path)
    return absolute(path, base) if is_local(path) and not path.startswith("${{") else path


def _absolute_setting(setting: dict[str, Any], base: Path) -> dict[str, Any]:
    if isinstance(setting.get("path"), str):
        setting["path"] = _whole(setting["path"], base)
    return setting
