"""Whatever values a job holds, the YAML it is written as reads back to an equal job."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from runner.spec.document import read_document, write_yaml
from runner.spec.jobs import ParallelJob
from runner.spec.load import job_of_document
from runner.spec.pieces import Input, RetrySettings, RunFunction

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20) | st.sampled_from(
    [
        "yes",
        "1e3",
        "0x10",
        "007",
        "1_000",
        "=",
        "~",
        "null",
        "2024-01-01",
        "1:30",
        " x ",
        "a\nb",
        "\t",
        "- a",
        "&a",
        "<<",
    ]
)
NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
LITERALS = TEXT | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
MAPS = st.dictionaries(NAMES, TEXT, max_size=3)


@given(
    tags=st.dictionaries(TEXT, TEXT, max_size=3),
    variables=MAPS,
    literals=st.dictionaries(NAMES, LITERALS, max_size=4),
    arguments=TEXT,
    description=TEXT,
    timeout=st.integers(1, 259_200) | st.floats(0.001, 259_200),
)
def test_any_values_survive(
    tags: dict[str, str],
    variables: dict[str, str],
    literals: dict[str, object],
    arguments: str,
    description: str,
    timeout: float,
) -> None:
    job = ParallelJob(
        description=description,
        tags=tags,
        environment_variables=variables,
        inputs={**literals, "the_data": Input(path="/data")},
        input_data="${{inputs.the_data}}",
        retry_settings=RetrySettings(timeout=timeout),
        task=RunFunction(code="/code", entry_script="score.py", program_arguments=arguments),
    )
    document = read_document(write_yaml(job.to_document()), "job.yml")
    assert document.problems == ()
    assert document.values == job.to_document()
    assert job_of_document(document.values, Path("/")) == job
