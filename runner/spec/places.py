"""Where names lead: datastores, compute and environments of `RUNNER_HOME/config.toml`.

::

    default_datastore = "workspaceblobstore"

    [ray]
    address = "head:6379"                  # what jobs run on that name no compute

    [compute.cpu-cluster]
    address = "head:6379"                  # or kind = "local"

    [datastores.lake]
    path = "/mnt/lake"                     # else a folder below RUNNER_HOME/datastores

    [environments.scoring]
    kind = "current"                       # the Python that runs the runner, without a notice
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from runner.errors import Problem, SpecInvalid
from runner.spec.catalog import Catalog

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
DEFAULT_DATASTORE = "workspaceblobstore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """What a job runs on: `local`, a Ray at an address, or (no address) the embedded Ray; and what to say about it."""

    kind: Literal["local", "ray"]
    address: str | None = None
    notice: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The configuration of one RUNNER_HOME, with what the environment adds to it."""

    home: Path
    default_datastore: str = DEFAULT_DATASTORE
    datastores: Mapping[str, str] = field(default_factory=dict)
    compute: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    environments: frozenset[str] = frozenset()
    ray_address: str | None = None
    catalog: Catalog | None = None
    """What `azureml:` names lead to; None where they are not looked up."""

    @classmethod
    def read(cls, home: Path, environ: Mapping[str, str]) -> Places:
        """Read `home/config.toml`, if it is there; `RAY_ADDRESS` in `environ` goes before its `[ray] address`.

        Raises:
            SpecInvalid: the file is no TOML, or a value in it is of the wrong kind.
        """
        file = home / "config.toml"
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            values = {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise _config_invalid(file, f"is no TOML: {error}") from None
        except OSError as error:
            raise _config_invalid(file, f"cannot be read: {error.strerror}") from None
        store = values.get("default_datastore", DEFAULT_DATASTORE)
        if not isinstance(store, str):
            raise _config_invalid(file, "default_datastore is not text")
        compute = _tables(values, "compute", file)
        for name, says in compute.items():
            if says.get("kind") != "local" and "address" not in says:
                raise _config_invalid(file, f'[compute.{name}] has neither address = "host:port" nor kind = "local"')
        datastores = {}
        for name, says in _tables(values, "datastores", file).items():
            if "path" not in says:
                raise _config_invalid(file, f'[datastores.{name}] has no path = "/folder"')
            datastores[name] = says["path"]
        ray = values.get("ray", {})
        address = ray.get("address") if isinstance(ray, dict) else None
        if address is not None and not isinstance(address, str):
            raise _config_invalid(file, "[ray] address is not text")
        return cls(
            home=home,
            default_datastore=store,
            datastores=datastores,
            compute=compute,
            environments=frozenset(_tables(values, "environments", file)),
            ray_address=environ.get("RAY_ADDRESS") or address or None,
        )

    def datastore(self, name: str) -> Path | None:
        """The folder of a datastore, configured or not; None when the name cannot be one."""
        if not _NAME.fullmatch(name):
            return None
        if name in self.datastores:
            return Path(self.datastores[name]).expanduser()
        return self.home / "datastores" / name

    def compute_of(self, name: str | None) -> Compute:
        """What the name of a compute leads to; a name that is not configured falls back to the embedded Ray."""
        if name == "local":
            return Compute(kind="local")
        if name is None:
            return Compute(kind="ray", address=self.ray_address)
        says = self.compute.get(name)
        if says is None:
            known = f"; configured are {', '.join(sorted(self.compute))}" if self.compute else ""
            notice = (
                f"{name!r} is not configured in {self.home / 'config.toml'}{known}: "
                "the embedded Ray of this machine stands in"
            )
            return Compute(kind="ray", notice=notice)
        if says.get("kind") == "local":
            return Compute(kind="local")
        return Compute(kind="ray", address=says["address"])

    def environment_notice(self, environment: Any) -> str | None:
        """What to say about an environment: nothing when there is none, or when the configuration knows it."""
        if environment is None:
            return None
        name = environment.get("name") if isinstance(environment, dict) else str(environment)
        bare = re.split(r"[:@]", str(name or "").removeprefix("azureml:"))[0]
        if bare in self.environments:
            return None
        shown = name or (environment.get("image") if isinstance(environment, dict) else None) or "(without a name)"
        return f"{shown} is not configured: the Python that runs the runner stands in"


def _tables(values: Mapping[str, Any], name: str, file: Path) -> dict[str, dict[str, str]]:
    tables = values.get(name, {})
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise _config_invalid(file, f"[{name}] does not hold tables such as [{name}.example]")
    for key, table in tables.items():
        for inner, value in table.items():
            if not isinstance(value, str):
                raise _config_invalid(file, f"[{name}.{key}] {inner} is not text")
    return tables


def _config_invalid(file: Path, what: str) -> SpecInvalid:
    return SpecInvalid((Problem(file=str(file), line=0, path="", what=what, remedy="mend the configuration"),))
