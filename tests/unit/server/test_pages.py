"""Page tokens hold a place and what was asked for; generated names are names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import ArgumentInvalid
from runner.server.names import new_name
from runner.server.pages import page_size_of, seal, unseal
from runner.store.home import check_name

arguments = st.lists(st.text(), max_size=3)


@given(st.integers(0, 2**62), arguments)
def test_a_token_gives_back_its_key_for_the_same_arguments(key: int, asked: list[str]) -> None:
    token = seal(key, asked)
    assert unseal(token, asked) == key
    assert token.isascii()
    assert not set(token) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    with pytest.raises(ArgumentInvalid, match="other arguments"):
        unseal(token, [*asked, "more"])


@given(st.text(min_size=1))
def test_no_other_text_is_a_token(text: str) -> None:
    with pytest.raises(ArgumentInvalid, match="page_token"):
        unseal(text, ())


def test_no_token_is_the_first_page() -> None:
    assert unseal("", ("jobs",)) is None


@pytest.mark.parametrize(("asked", "given_"), [(0, 50), (1, 1), (1000, 1000), (1001, 1000)])
def test_the_size_of_a_page_has_a_default_and_a_limit(asked: int, given_: int) -> None:
    assert page_size_of(asked) == given_


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ArgumentInvalid, match="page_size"):
        page_size_of(-1)


def test_generated_names_are_names_and_differ() -> None:
    names = {new_name() for _ in range(200)}
    assert len(names) == 200
    assert {check_name(name) for name in names} == names
    assert not any("--" in name for name in names)
