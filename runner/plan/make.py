"""Makes the plan of a job: by sizes, or by partition keys.

Nothing depends on the time, the machine or the number of threads.
"""

from __future__ import annotations

from pathlib import Path

from runner.dataset.partition import names_folders
from runner.dataset.schemas import decode_schema
from runner.entity.parallel import ParallelSpec
from runner.entity.plan import Plan
from runner.errors import ArgumentInvalid
from runner.plan.by_keys import Tell, plan_by_keys, say_nothing
from runner.plan.listed import plan_files, plan_tables
from runner.plan.trial import first_of


def make_plan(spec: ParallelSpec, path: Path | None = None, tell: Tell = say_nothing) -> Plan:
    """The plan of a job; the same files, sizes and columns always give the same one.

    With partition keys, what belongs to the plan is put beside `path`, where the plan will be: the values of the keys,
    and rows that have to be moved, of which `tell` is told how many were read.
    """
    if not spec.inputs:
        raise ArgumentInvalid("input_data", "is empty; name at least one input")
    plan = _whole_plan(spec, path, tell)
    return plan if spec.limit is None else first_of(plan, spec.limit)


def _whole_plan(spec: ParallelSpec, path: Path | None, tell: Tell) -> Plan:
    kinds = {split.kind for split in spec.inputs}
    if len(kinds) > 1:
        raise ArgumentInvalid("input_data", "mixes tables and files; use inputs of one kind")
    if spec.partition_keys:
        if path is None:
            raise ArgumentInvalid("partition_keys", "need a place beside the plan")
        return plan_by_keys(spec, path, tell)
    if kinds == {"files"}:
        return plan_files(spec)
    plan = plan_tables(spec)
    _check_folders(spec, plan)
    return plan


def _check_folders(spec: ParallelSpec, plan: Plan) -> None:
    """Refuse what is seen to be no name of a folder before `run` has done all its work."""
    if spec.output is None:
        return
    schema = decode_schema(plan.schema)
    for name in spec.output.partition_by:
        at = schema.get_field_index(name) if name in spec.output.keep_columns else -1
        if at >= 0 and not names_folders(schema.field(at).type):
            what = f"names {name!r}, a column of {schema.field(at).type}; folders are named by integers, text or dates"
            raise ArgumentInvalid("partition_by", what)
