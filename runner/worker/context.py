"""The second argument of `run`: what a mini-batch is, beside its data."""

from __future__ import annotations

from typing import Any


class MiniBatchContext:
    """Which mini-batch `run` has got. Prints and pickles.

    `minibatch_index` is its number in the job, the same in every try; `retry_count` counts earlier tries;
    `partition_key_value` maps partition keys to values, None without keys; `dataset` is the input's name;
    `schema` is the Arrow schema of a table's columns, None for files.
    """

    __slots__ = ("dataset", "minibatch_index", "partition_key_value", "retry_count", "schema")

    def __init__(
        self,
        minibatch_index: int,
        retry_count: int,
        dataset: str | None = None,
        partition_key_value: dict[str, Any] | None = None,
        schema: Any = None,
    ) -> None:
        self.minibatch_index = minibatch_index
        self.retry_count = retry_count
        self.dataset = dataset
        self.partition_key_value = partition_key_value
        self.schema = schema

    def __repr__(self) -> str:
        return (
            f"MiniBatchContext(minibatch_index={self.minibatch_index}, retry_count={self.retry_count}, "
            f"dataset={self.dataset!r}, partition_key_value={self.partition_key_value!r})"
        )

    def __getstate__(self) -> tuple[Any, ...]:
        return (self.minibatch_index, self.retry_count, self.dataset, self.partition_key_value, self.schema)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.minibatch_index, self.retry_count, self.dataset, self.partition_key_value, self.schema = state
