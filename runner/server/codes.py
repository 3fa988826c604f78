"""Documents whose code is a tree that is kept: of what is submitted again long after its own folder was changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from runner.spec.code_trees import pin_document_code
from runner.store.home import Home


def pin_component(document: dict[str, Any], home: Home) -> None:
    """Keep all code of a component, of a pipeline that of its steps, and let the document say where.

    Raises:
        SpecInvalid: the code is not there.
        StorageFailed: it cannot be kept.
    """
    jobs = document.get("jobs")
    if isinstance(jobs, dict):
        for node in jobs.values():
            if isinstance(node, dict):
                component = node.get("component")
                pin_component(component if isinstance(component, dict) else node, home)
        return
    if "component" in document:
        return  # registered, with code that was kept then
    tree = pin_document_code(document, Path("/"), home.code, home=home.root)
    if tree is not None:
        put_code(document, str(tree.path))


def put_code(document: dict[str, Any], tree: str) -> None:
    """Let a command or parallel job, or a component of that kind, take its code from a tree and nowhere else."""
    task = document.get("task")
    if isinstance(task, dict):
        script, code = task.get("entry_script"), task.get("code")
        if isinstance(script, str) and os.path.isabs(script):
            task["entry_script"] = os.path.relpath(script, code) if code else os.path.basename(script)
        task["code"] = tree
    elif "code" in document or "additional_includes" in document:
        document["code"] = tree
        document.pop("additional_includes", None)
