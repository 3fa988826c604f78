"""What the verbs make of their words."""

from __future__ import annotations

import pytest

from runner.cli.assets import split
from runner.cli.changing import changes_of
from runner.errors import ArgumentInvalid


def test_a_tag_without_a_value_is_removed() -> None:
    plain, tags, properties = changes_of(("tags.team=salt", "tags.old=", "properties.a.b=1=2", "description="))
    assert (plain, tags, properties) == ({"description": ""}, {"team": "salt", "old": None}, {"a.b": "1=2"})


@pytest.mark.parametrize("setting", ["tags", "tags.x", "=1", "tags=1", "tags.=1", "compute=local", "description.x=1"])
def test_what_cannot_be_changed_is_refused_with_what_can(setting: str) -> None:
    with pytest.raises(ArgumentInvalid, match="--set"):
        changes_of((setting,))


@pytest.mark.parametrize(
    ("reference", "name", "version"),
    [
        ("beds", "beds", "latest"),
        ("beds:3", "beds", "3"),
        ("azureml:beds:3", "beds", "3"),
        ("beds@latest", "beds", "latest"),
    ],
)
def test_a_reference_is_a_name_and_perhaps_a_version(reference: str, name: str, version: str) -> None:
    assert split(reference) == (name, version)


@pytest.mark.parametrize("reference", ["", ":3", "beds:"])
def test_a_reference_that_names_nothing_is_refused(reference: str) -> None:
    with pytest.raises(ArgumentInvalid):
        split(reference)
