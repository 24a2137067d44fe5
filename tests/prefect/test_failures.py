"""What a person sees first of a run that failed: what went wrong, where, and what to do now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from prefect_datasets import outputs, publish_outputs, resolve_inputs, write_metadata
from prefect_datasets.core.errors import DatasetError
from tests.prefect import observe

if TYPE_CHECKING:
    from collections.abc import Callable


def first_line(flow_run_id: UUID) -> str:
    """Return the first line of the message of a run's state, which its page shows at the top."""
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(flow_run_id).state
    assert state is not None
    assert state.is_failed()
    return str(state.message).splitlines()[0]


def missing_version(store: Path) -> None:
    resolve_inputs({"images": "dataset://images/v9"}, store=str(store))


def bad_metadata(store: Path) -> None:
    with outputs() as out:
        (out / "a.txt").write_text("a")
        (out / "valohai.metadata.jsonl").write_text("{nonsense\n")
        publish_outputs(out, store=str(store))


def other_files(store: Path) -> None:
    for content in ("one", "two"):
        with outputs() as out:
            (out / "a.txt").write_text(content)
            write_metadata(out, "dataset://images/v1")
            publish_outputs(out, store=str(store))


def damaged(store: Path) -> None:
    with outputs() as out:
        (out / "a.txt").write_text("content")
        write_metadata(out, "dataset://torn/v1", packaging=False)
        publish_outputs(out, store=str(store))
    next(store.glob("outputs/*/files/a.txt")).write_text("CONTENT")
    resolve_inputs({"torn": "dataset://torn/v1"}, store=str(store))


def no_folder(store: Path) -> None:
    publish_outputs(store / "nowhere", store=str(store))


def no_place(store: Path) -> None:
    (store.parent / "file").write_text("")
    resolve_inputs({"images": "dataset://images/v1"}, store=str(store.parent / "file"))


CASES: list[tuple[Callable[[Path], None], str, str]] = [
    (missing_version, "dataset://images/v9", "prefect-datasets list images"),
    (bad_metadata, "/runs/", "Correct what is listed"),  # the list follows, a line for each
    (other_files, "dataset://images/v1", "publish under a new version name"),
    (damaged, "a.txt", "verify"),
    (no_folder, "nowhere", ""),
    (no_place, "file", ""),
]


@pytest.mark.parametrize(
    ("fails", "where", "what_now"), CASES, ids=[case[0].__name__ for case in CASES]
)
def test_the_first_line_says_what_where_and_what_now(
    tmp_path: Path, fails: Callable[[Path], None], where: str, what_now: str
) -> None:
    known: list[Any] = []

    @flow
    def breaks() -> None:
        known.append(UUID(flow_run.id))
        fails(tmp_path / "store")

    with pytest.raises(DatasetError) as caught:
        breaks()
    line = first_line(known[0])
    assert caught.value.message in line
    assert caught.value.hint.splitlines()[0] in line
    assert where in line
    assert what_now in line
    assert caught.value.hint
    told = observe.eventually(
        lambda: [each for each in observe.logs(known[0]) if "Encountered exception" in each]
    )
    assert caught.value.message in told[0].splitlines()[0]
