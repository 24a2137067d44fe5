"""What a Prefect server is given stays below what Prefect Cloud takes, and says what is missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from hypothesis import given, settings
from hypothesis import strategies as st
from prefect import flow
from prefect.runtime import flow_run

from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions.verify import Fault, Report
from prefect_datasets.tasks import artifacts, limits
from prefect_datasets.tasks.events import announce_failed_verification
from prefect_datasets.tasks.run import current_run
from tests.prefect import observe

if TYPE_CHECKING:
    from prefect_datasets.tasks.run import Run

MEGABYTE = 1_000_000
JSON = st.recursive(
    st.none() | st.integers(max_value=10**9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


def this_run() -> Run:
    """Return the run of the caller."""
    run = current_run()
    assert run is not None
    return run


def test_markdown_is_cut_at_a_line_and_says_so() -> None:
    lines = [f"| file {number} | ä |" for number in range(100_000)]
    whole = "\n".join(lines)
    cut = limits.cut_markdown(whole)
    assert len(cut.encode()) <= limits.MOST_ARTIFACT_BYTES
    *kept, blank, said = cut.split("\n")
    assert kept == lines[: len(kept)]
    missing = len(whole.encode()) - len("\n".join(kept).encode())
    assert (blank, said) == (
        "",
        f"*Cut: {missing:,} of {len(whole.encode()):,} bytes are left out.*",
    )


def test_what_fits_is_not_touched() -> None:
    rows: list[dict[str, limits.Cell]] = [{"a": 1}]
    assert limits.cut_markdown("# short") == "# short"
    assert limits.cut_rows(rows) == rows
    assert limits.cut_payload({"a": ["b"] * 60}) == {"a": ["b"] * 60}


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(max_size=9), JSON, max_size=9), st.sampled_from([1, 100, 5_000]))
def test_a_payload_of_any_size_fits(payload: dict[str, Any], times: int) -> None:
    grown = {key: [value] * times for key, value in payload.items()} | {"uri": "dataset://a/b"}
    cut = limits.cut_payload(grown)
    assert len(json.dumps(cut)) <= max(limits.MOST_PAYLOAD_BYTES, 1_200 * (len(grown) + 1))
    assert cut["uri"] == "dataset://a/b"


def test_what_goes_over_the_limits_is_cut_before_it_is_sent() -> None:
    """Nothing here would get through to Prefect Cloud as it is."""
    shown = {}

    @flow
    def tells() -> str:
        run = this_run()
        artifacts.create_markdown(run, key="large", markdown="x\n" * 6 * MEGABYTE, description="d")
        rows = [{"path": "p" * 1_000, "number": number} for number in range(10_000)]
        artifacts.create_table(run, key="large-table", rows=rows, description="e" * 5_000)
        artifacts.emit(
            run,
            "prefect-datasets.test",
            resource=shown.setdefault("resource", f"dataset://limits/{uuid4()}"),
            name="limits",
            payload={"texts": ["t" * 10_000] * 1_000},
            event_id=uuid4(),
            related=[("role", f"dataset://other/{number}") for number in range(500)],
        )
        return flow_run.id

    run = UUID(tells())
    for artifact in observe.artifacts(run):
        assert len(str(artifact.data)) <= limits.MOST_ARTIFACT_BYTES
        assert len(str(artifact.description)) <= limits.MOST_DESCRIPTION_CHARACTERS
    markdown = observe.artifact(run, kind="markdown")
    assert markdown
    assert "bytes are left out" in str(markdown.data)
    table = observe.artifact(run, kind="table")
    assert table
    assert 400 < len(observe.rows(table)) < 500
    (event,) = observe.told(shown["resource"], "prefect-datasets.test")
    assert event["payload"]["cut"] is True
    assert len(event["payload"]["texts"]) == 50
    assert 50 <= len(event["related"]) <= 60


def test_a_verification_with_many_faults_tells_the_first() -> None:
    uri = DatasetUri("limits", f"v{uuid4().hex}")
    faults = [Fault("k" * 900, "p" * 4_000, "gone", 0)] * 10_000

    @flow
    def tells() -> None:
        announce_failed_verification(Report(uri, 10_000, 0, tuple(faults)), deep=False)

    tells()
    (event,) = observe.told(str(uri), "prefect-datasets.verification.failed")
    assert event["payload"]["faults"] == 10_000
    assert len(event["payload"]["first_faults"]) == 50
