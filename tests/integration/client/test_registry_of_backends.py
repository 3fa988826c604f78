"""Registered assets and experiments on both back ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from piped_jobs import write_command
from served_jobs import serving

from runner.client.backend import Backend
from runner.client.remote import Remote
from runner.entity.asset import Asset
from runner.errors import ArgumentInvalid, AssetExists, AssetNotFound, ExperimentNotFound
from runner.server.jobs import Jobs
from runner.store.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture(params=["embedded", "remote"])
def backend(request: pytest.FixtureRequest, home: Home) -> Iterator[Backend]:
    if request.param == "embedded":
        launched: list[str] = []
        jobs = Jobs(home, launched.append)
        yield jobs
        jobs.close()
        return
    with serving(home, []) as address:
        remote = Remote(address, home.token())
        yield remote
        remote.close()


@pytest.fixture
def cargo(tmp_path: Path) -> Asset:
    (tmp_path / "cargo").mkdir()
    path = str(tmp_path / "cargo")
    return Asset(kind="data", name="cargo", version="", type="uri_folder", path=path, tags={"port": "north"})


def with_(asset: Asset, **more: Any) -> Asset:
    return Asset(**{field: getattr(asset, field) for field in Asset.__slots__} | more)


def test_an_asset_gets_the_next_version_and_is_found_by_it(backend: Backend, cargo: Asset) -> None:
    first = backend.create_asset(cargo)
    assert (first.version, first.reference, first.tags) == ("1", "azureml:cargo:1", {"port": "north"})
    assert backend.create_asset(with_(cargo, version="7.beta")).version == "7.beta"
    last = backend.create_asset(with_(cargo, description="the newest"))
    assert last.version == "2"
    assert backend.asset("data", "cargo") == last
    assert backend.asset("data", "cargo", "1") == first
    other = backend.create_asset(with_(cargo, name="other"))
    assert [one.version for one in backend.assets("data", "cargo")] == ["2", "7.beta", "1"]
    assert backend.assets("data")[0] == other
    assert backend.assets("component") == ()


def test_an_asset_never_changes(backend: Backend, cargo: Asset) -> None:
    backend.create_asset(with_(cargo, version="1"))
    with pytest.raises(AssetExists, match="cargo:1"):
        backend.create_asset(with_(cargo, version="1", description="another"))
    assert backend.asset("data", "cargo").description == ""


def test_what_is_no_asset_is_refused(backend: Backend, cargo: Asset, tmp_path: Path) -> None:
    for wrong, argument in (
        ({"name": "../x"}, "name"),
        ({"name": ""}, "name"),
        ({"version": "a/b"}, "version"),
        ({"version": "latest"}, "version"),
        ({"path": "relative"}, "path"),
        ({"path": str(tmp_path / "gone")}, "path"),
    ):
        with pytest.raises(ArgumentInvalid) as caught:
            backend.create_asset(with_(cargo, **wrong))
        assert caught.value.argument == argument
    assert backend.assets("data") == ()
    with pytest.raises(AssetNotFound, match="cargo:3"):
        backend.asset("data", "cargo", "3")
    with pytest.raises(AssetNotFound, match="cargo"):
        backend.asset("component", "cargo")


def test_a_component_is_kept_as_its_file_says(backend: Backend) -> None:
    document: dict[str, object] = {"type": "command", "command": "true", "inputs": {"depth": {"type": "integer"}}}
    made = backend.create_asset(Asset(kind="component", name="sifter", version="", type="command", document=document))
    assert backend.asset("component", "sifter") == made
    assert made.document == document


def test_what_a_component_names_is_pinned(backend: Backend) -> None:
    leaf = Asset(kind="component", name="leaf", version="", type="command", document={"command": "true"})
    backend.create_asset(leaf)
    jobs = {"one": {"type": "command", "component": "azureml:leaf@latest"}}
    document: dict[str, object] = {"type": "pipeline", "jobs": jobs}
    backend.create_asset(Asset(kind="component", name="pipe", version="", type="pipeline", document=document))
    backend.create_asset(leaf)
    assert "azureml:leaf:1" in str(backend.asset("component", "pipe").document)


def test_an_experiment_exists_once_something_was_submitted_to_it(backend: Backend, tmp_path: Path) -> None:
    assert backend.experiments() == ()
    backend.create(write_command(tmp_path / "work", experiment_name="tides"), name="sift")
    (tides,) = backend.experiments()
    assert (tides.name, tides.archived_time, tides.tags) == ("tides", None, {})
    assert backend.experiment("tides") == tides
    with pytest.raises(ArgumentInvalid, match="experiment"):
        backend.experiment("a/b")


def test_an_experiment_is_tagged_archived_and_brought_back(backend: Backend, tmp_path: Path) -> None:
    backend.experiment("tides")
    assert backend.update_experiment("tides", tags={"a": "1", "b": "2"}).tags == {"a": "1", "b": "2"}
    assert backend.update_experiment("tides", tags={"a": None}).tags == {"b": "2"}
    assert backend.update_experiment("tides", is_archived=True).archived_time is not None
    assert backend.experiments() == ()
    assert [one.name for one in backend.experiments(archived=True)] == ["tides"]
    backend.create(write_command(tmp_path / "work", experiment_name="tides"), name="sift")
    assert [one.name for one in backend.experiments()] == ["tides"]
    backend.update_experiment("tides", is_archived=True)
    backend.update_experiment("tides", is_archived=False)
    assert [one.name for one in backend.experiments(archived=None)] == ["tides"]
    with pytest.raises(ExperimentNotFound, match="ebbs"):
        backend.update_experiment("ebbs", tags={"a": "1"})
