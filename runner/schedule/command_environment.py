"""What the command of a job sees: its text with the bindings put in, and its environment variables."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping

from runner.entity.command import CommandSpec
from runner.errors import Defect
from runner.instance.reaper import TOKEN
from runner.schedule.attempt import Attempt

_BINDING = re.compile(r"\$\{\{\s*(inputs|outputs)\.([\w.]+)\s*\}\}")
_NOT_PASSED_ON = frozenset({"RUNNER_DRIVER_LOADS"})
SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
"""There is no subscription; scripts only ask that there is a text."""
SUCCESS_CONDITION = "AZUREML_SUCCESSFUL_RETURN_CODE_CONDITION"
SUCCESS_CODES = "AZUREML_SUCCESSFUL_ADDITIONAL_RETURN_CODES"


def put_in(text: str, attempt: Attempt) -> str:
    """The text with the values of `${{inputs.x}}` and `${{outputs.y}}`, raw, as a shell will read them."""

    def value_of(match: re.Match[str]) -> str:
        known: Mapping[str, object] = attempt.inputs if match[1] == "inputs" else attempt.outputs
        if match[2] not in known:
            raise Defect(f"{match[0]} was not resolved")
        return str(known[match[2]])

    return _BINDING.sub(value_of, text)


def command_text(attempt: Attempt) -> str:
    """What bash is given."""
    return put_in(attempt.spec.command, attempt).rstrip()


def own_variables(attempt: Attempt) -> dict[str, str]:
    """The variables that the job's file asks for, with the bindings put in."""
    return {name: put_in(value, attempt) for name, value in attempt.spec.environment_variables.items()}


def command_environment(
    base: Mapping[str, str], attempt: Attempt, mlflow: Mapping[str, str], rank: Mapping[str, str]
) -> dict[str, str]:
    """The environment of one process of a command.

    In this order, later ones winning: this process's own, the contract's, MLflow's, the rank's, and the user's, which
    win over all but the job's name.
    """
    spec = attempt.spec
    found = {name: value for name, value in base.items() if name not in _NOT_PASSED_ON}
    found["PATH"] = with_own_python(found.get("PATH", os.defpath))
    found |= _contract(spec, attempt) | dict(mlflow) | dict(rank) | own_variables(attempt)
    found["AZUREML_RUN_ID"] = spec.name
    found[TOKEN] = attempt.token
    found["PWD"] = str(attempt.work)
    return found


def with_own_python(path: str) -> str:
    """The search path on which `python` is the interpreter that runs the runner, also when nobody activated it."""
    own = os.path.dirname(sys.executable)
    has_python = os.path.exists(os.path.join(own, "python"))
    if not has_python or os.path.dirname(shutil.which("python", path=path) or "") == own:
        return path
    return os.pathsep.join((own, path))


def _contract(spec: CommandSpec, attempt: Attempt) -> dict[str, str]:
    found = {
        "AZUREML_ROOT_RUN_ID": spec.root_name,
        "AZUREML_ARM_PROJECT_NAME": spec.experiment_name,
        "AZUREML_EXPERIMENT_NAME": spec.experiment_name,
        "AZUREML_EXPERIMENT_ID": spec.experiment_name,
        "AZUREML_ARM_SUBSCRIPTION": SUBSCRIPTION,
        "AZUREML_ARM_RESOURCEGROUP": "runner",
        "AZUREML_ARM_WORKSPACE_NAME": "runner",
        "AZUREML_WORKSPACE_ID": SUBSCRIPTION,
        "AZUREML_OUTPUT_DIRECTORY": "outputs",
        "AZUREML_CR_DATA_CAPABILITY_PATH": str(attempt.data),
        "AZUREML_CR_EXECUTION_WORKING_DIR_PATH": str(attempt.work),
        "AZUREML_CR_NODE_RANK": "0",
        "AZUREML_PROCESS_NAME": "main",
        "AZUREML_COMPUTE_USE_COMMON_RUNTIME": "true",
        "AZUREML_NODE_COUNT": str(spec.instance_count),
    }
    for one in spec.inputs:
        found[f"AZURE_ML_INPUT_{one.name}"] = found[f"AZUREML_INPUT_{one.name}"] = attempt.inputs[one.name]
        if one.is_literal:
            found[f"AZUREML_PARAMETER_{one.name}"] = one.text
    for name, path in attempt.outputs.items():
        found[f"AZURE_ML_OUTPUT_{name}"] = found[f"AZUREML_OUTPUT_{name}"] = str(path)
    return found


def is_success(code: int, variables: Mapping[str, str]) -> bool:
    """Whether an exit code is one of success, which two variables of the user's may widen; a signal never is."""
    if code < 0:
        return False
    if variables.get(SUCCESS_CONDITION, "").strip().lower() == "zeroorgreater":
        return True
    return code == 0 or str(code) in re.findall(r"\d+", variables.get(SUCCESS_CODES, ""))


def find_bash() -> str:
    """The bash of this machine."""
    for folder in os.get_exec_path():
        path = os.path.join(folder, "bash")
        if os.access(path, os.X_OK):
            return path
    return "/bin/bash"
