"""Whatever fails around it, a job loses nothing, doubles nothing, counts exactly, and ends once nothing fails any more.

`make simulate SEEDS=1000000` runs more seeds than the suite has time for.
"""

from __future__ import annotations

import pytest
from simulate import failures_of, how_to_repeat

SEEDS = 2000
CHUNKS = 8


@pytest.mark.timeout(300)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_seed_keeps_what_must_be_true(chunk: int) -> None:
    size = SEEDS // CHUNKS
    failures = failures_of(chunk * size, (chunk + 1) * size)
    told = [f"seed {seed}: {what}\n    {how_to_repeat(seed)}" for seed, what in failures]
    assert not told, f"{len(told)} of {size} seeds failed:\n" + "\n".join(told)
