"""Resolving from flows: the README's code, what is kept over retries, where it runs."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
import pytest
from prefect import flow, task
from prefect.blocks.fields import SecretDict
from prefect.flows import load_flow_from_entrypoint
from prefect.runtime import flow_run

from prefect_datasets import (
    DatasetStore,
    outputs,
    publish_outputs,
    resolve_inputs,
    write_metadata,
)
from prefect_datasets.core.errors import InvalidInputError, NotFoundError, StoreError
from prefect_datasets.core.resolve import inputs
from prefect_datasets.flows.package_version import package_version_flow
from prefect_datasets.flows.publish import PublishOptions, publish_directory
from prefect_datasets.flows.resolve import warm_cache
from prefect_datasets.tasks import pins
from prefect_datasets.tasks import resolve as resolve_module
from tests.prefect import observe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.servers.process import Served

README = Path(__file__).parents[2] / "README.md"


def draw_images(out: Path, text: str = "image") -> None:
    """Write three images in two folders."""
    for name in ("cats/1.jpg", "cats/2.jpg", "dogs/1.jpg"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(f"{text} of {name}")


def publish(version: str, store: DatasetStore | str, *, text: str = "image", **options: Any) -> Any:
    """Publish a version without a flow."""
    with outputs() as out:
        draw_images(out, text)
        write_metadata(out, f"dataset://my-images/{version}", packaging=True, **options)
        return publish_outputs(out, store=store)[0]


def names(folder: Path) -> list[str]:
    """Return the paths of all files in a folder."""
    files = (each for each in folder.rglob("*") if each.is_file())
    return sorted(file.relative_to(folder).as_posix() for file in files)


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store of the test's own."""
    return str(tmp_path / "store")


@flow
def train(store: Any, images: Any = "dataset://my-images/latest", **options: Any) -> Any:
    inputs = resolve_inputs({"training-images": images}, store=store, **options)
    return flow_run.id, inputs["training-images"]


ALL = ["cats/1.jpg", "cats/2.jpg", "dogs/1.jpg"]


def test_the_code_of_the_readme_works_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    code = README.read_text().split("```python\n", 1)[1].split("```", 1)[0]
    assert "@flow\ndef prepare_images" in code
    read: list[str] = []
    # The loop of the README has `...` where a user's own code stands.
    code = code.replace("        ...\n", "        read.append(file.name)\n")
    scope: dict[str, Any] = {"draw_images": draw_images, "read": read, "__name__": "readme"}
    exec(compile(code, str(README), "exec"), scope)
    (version,) = scope["prepare_images"]()
    scope["train"]()
    assert version.uri == "dataset://my-images/train-v1"
    assert len(version.packages) == 1
    assert sorted(read) == ["1.jpg", "1.jpg", "2.jpg"]


def test_a_second_run_finds_the_cache_warm(store: str) -> None:
    publish("v1", store)
    cold, first = train(store)
    warm, second = train(store)
    assert names(first) == ALL
    assert second == first
    said = "training-images: dataset://my-images/v1, 3 files"
    for run, how in ((cold, "fetched"), (warm, "from the cache")):
        lines = observe.eventually(
            lambda run=run: [line for line in observe.logs(UUID(run)) if line.startswith(said)]
        )
        assert lines[0].endswith(how)


def test_the_ui_shows_what_the_inputs_were(store: str) -> None:
    publish("v1", store, aliases=["stable"])
    run, _ = train(store, ["dataset://my-images/stable"])
    table = observe.artifact(UUID(run), kind="table")
    assert table is not None
    assert table.key == "resolved-inputs"
    assert re.fullmatch(r"Inputs: training-images: \d+ B, .* fetched", str(table.description))
    (row,) = observe.rows(table)
    assert row.pop("store")
    assert row.pop("fetched") != "0 B"
    assert row == {
        "input": "training-images",
        "asked for": "dataset://my-images/stable",
        "resolved to": "dataset://my-images/v1",
        "files": 3,
        "size": "57 B",
    }


def test_plain_urls_are_inputs_too(store: str, tmp_path: Path) -> None:
    draw_images(tmp_path)
    _, files = train(store, f"file://{tmp_path}/cats/*.jpg")
    assert [Path(name).name for name in names(files)] == ["1.jpg", "2.jpg"]


def test_only_what_is_named_is_resolved(store: str) -> None:
    publish("v1", store)
    _, cats = train(store, include="cats/*")
    assert names(cats) == ["cats/1.jpg", "cats/2.jpg"]
    shards = [names(train(store, shard=(number, 3))[1]) for number in range(3)]
    assert sorted(name for shard in shards for name in shard) == ALL


def test_a_copy_may_be_written_to(store: str) -> None:
    publish("v1", store)
    _, tree = train(store)
    _, copy = train(store, link="copy")
    (copy / "cats" / "1.jpg").write_text("mine")
    assert (tree / "cats" / "1.jpg").read_text() == "image of cats/1.jpg"


def test_several_versions_make_one_input(store: str) -> None:
    publish("v1", store)
    with outputs() as out:
        (out / "birds").mkdir()
        (out / "birds" / "1.jpg").write_text("bird")
        write_metadata(out, "dataset://birds/v1")
        publish_outputs(out, store=store)
    _, both = train(store, ["dataset://my-images/v1", "dataset://birds/latest"])
    assert names(both) == sorted([*ALL, "birds/1.jpg"])


def test_a_wrong_shard_is_refused(store: str) -> None:
    with pytest.raises(InvalidInputError, match="3/3"):
        resolve_inputs({}, store=store, shard=(3, 3))


def test_a_version_that_is_not_there_fails_in_one_line(store: str) -> None:
    publish("v1", store)
    state: Any = train(store, "dataset://my-images/v9", return_state=True)
    assert state.is_failed()
    assert "NotFoundError: No such dataset version: dataset://my-images/v9" in state.message
    assert "prefect-datasets list my-images" in state.message
    with pytest.raises(NotFoundError):
        state.result()


# -- one answer for each run -----------------------------------------------------------------


@pytest.mark.parametrize(("alias", "moves_to_other_machine"), [("latest", True), ("stable", False)])
def test_a_retry_sees_the_version_that_the_first_attempt_saw(
    store: str, alias: str, moves_to_other_machine: bool
) -> None:
    publish("v1", store, aliases=["stable"])
    seen: list[str] = []

    @flow(retries=1)
    def trains() -> None:
        inputs = resolve_inputs({"images": f"dataset://my-images/{alias}"}, store=store)
        seen.append((inputs["images"] / "cats" / "1.jpg").read_text())
        if len(seen) == 1:
            if moves_to_other_machine:
                pins._known.clear()
            publish("v2", store, text="later image", aliases=["stable"])
            raise OSError("a bad day")

    trains()
    assert seen == ["image of cats/1.jpg"] * 2
    _, now = train(store, f"dataset://my-images/{alias}")
    assert (now / "cats" / "1.jpg").read_text() == "later image of cats/1.jpg"


def test_what_a_run_made_tells_what_it_was_made_of(store: str) -> None:
    publish("v1", store)

    @flow
    def derives() -> None:
        inputs = resolve_inputs({"images": "dataset://my-images/latest"}, store=store)
        with outputs() as out:
            (out / "count").write_text(str(len(names(inputs["images"]))))
            write_metadata(out, "dataset://counts/v1")
            publish_outputs(out, store=store)

    derives()
    bodies = [json.loads(file.read_text()) for file in Path(store).glob("outputs/*/execution.json")]
    (body,) = [body for body in bodies if body["versions"] == ["dataset://counts/v1"]]
    assert body["inputs"] == {"images": ["dataset://my-images/v1"]}


# -- where it runs ---------------------------------------------------------------------------


def test_it_works_outside_a_flow_in_a_task_and_in_an_async_flow(store: str) -> None:
    publish("v1", store)
    wanted = {"images": "dataset://my-images/v1"}

    @task
    def in_a_task() -> Path:
        return resolve_inputs(wanted, store=store)["images"]

    @flow
    def submits() -> Path:
        return in_a_task.submit().result()

    @flow
    async def awaits() -> list[Path]:
        threaded = await asyncio.to_thread(resolve_inputs, wanted, store=store)
        return [threaded["images"], resolve_inputs(wanted, store=store)["images"]]

    outside = resolve_inputs(wanted, store=store)["images"]
    assert {outside, submits(), *asyncio.run(awaits())} == {outside}


def test_what_may_succeed_later_is_tried_again(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    publish("v1", store)
    attempts: list[int] = []
    real = inputs.resolve_input

    def works_at_second(uris: Sequence[str], **options: Any) -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            raise StoreError("The store is tired")
        return real(uris, **options)

    monkeypatch.setattr(inputs, "resolve_input", works_at_second)
    monkeypatch.setattr(resolve_module.resolve_input, "retry_delay_seconds", 0)
    _, tree = train(store)
    assert names(tree) == ALL
    assert len(attempts) == 2


def test_a_saved_block_with_secrets_on_a_real_s3_server(
    seaweedfs: Served, fresh_prefix: str, tmp_path: Path
) -> None:
    secrets = {name: seaweedfs.options[name] for name in ("key", "secret")}
    shown = {name: value for name, value in seaweedfs.options.items() if name not in secrets}
    block = DatasetStore(
        url=f"{seaweedfs.url}/{fresh_prefix}",
        options=shown,
        secrets=SecretDict(secrets),
        cache_dir=str(tmp_path / "cache"),
    )
    block.check()
    block.save("on-s3")
    (version) = publish("v1", "on-s3")
    _, tree = train("on-s3")
    assert names(tree) == ALL
    assert len(version.packages) == 1
    assert tree.is_relative_to(tmp_path / "cache")


# -- flows to deploy -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files, and no metadata."""
    folder = tmp_path / "folder"
    folder.mkdir()
    draw_images(folder)
    return folder


def test_a_directory_is_published_packaged_later_and_cached(store: str, folder: Path) -> None:
    block = DatasetStore(url=store)
    publish_directory(block, str(folder), "my-images", "v1")
    (version,) = publish_directory(
        block,
        str(folder),
        "my-images",
        "v2",
        PublishOptions(base="dataset://my-images/latest", aliases=["stable"], packaging="off"),
    )
    assert (version.parent, version.packages) == ("dataset://my-images/v1", ())
    packaged = package_version_flow(block, "dataset://my-images/stable")
    assert (packaged.uri, packaged.digest) == (version.uri, version.digest)
    assert len(packaged.packages) == 1
    (path,) = warm_cache(block, ["dataset://my-images/stable"], ["dogs/*"]).values()
    assert names(Path(path)) == ["dogs/1.jpg"]


def test_a_directory_whose_metadata_names_no_version_is_refused(store: str, folder: Path) -> None:
    with pytest.raises(InvalidInputError, match="Nothing says which dataset version"):
        publish_directory(DatasetStore(url=store), str(folder))
    assert not list(Path(store).glob("outputs"))


@pytest.mark.parametrize("deployable", [publish_directory, package_version_flow, warm_cache])
def test_forms_have_titles_descriptions_and_the_store_first(deployable: Any) -> None:
    schema = deployable.parameters.model_dump()
    fields = schema["properties"]
    assert next(iter(fields)) == "store"
    assert "store" in schema["required"]
    assert deployable.description
    for name, field in fields.items():
        if name not in ("store", "options"):
            assert field.get("description"), f"{name} has no description"


def test_every_option_of_a_version_has_a_title_and_a_description() -> None:
    for field in PublishOptions.model_json_schema()["properties"].values():
        assert field["title"]
        assert field["description"].endswith(".")


@pytest.mark.parametrize("deployable", [publish_directory, package_version_flow, warm_cache])
def test_a_flow_can_be_served(deployable: Any, tmp_path: Path) -> None:
    """`serve` sends the flow by value to a process that validates its parameters there."""
    sent = tmp_path / "flow"
    sent.write_bytes(cloudpickle.dumps(deployable))
    code = (
        "import sys, cloudpickle\n"
        "flow = cloudpickle.load(open(sys.argv[1], 'rb'))\n"
        "given = {'store': {'url': 'memory://x'}, 'directory': 'd', 'uri': 'dataset://a/1', 'uris': ['dataset://a/1']}\n"
        "wanted = {name: given[name] for name in flow.parameters.required}\n"
        "print(type(flow.validate_parameters(wanted)['store']).__name__)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(sent)], capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == "DatasetStore", found.stderr


@pytest.mark.parametrize(
    "entrypoint",
    [
        "prefect_datasets.flows.publish:publish_directory",
        "prefect_datasets.flows.package_version:package_version_flow",
        "prefect_datasets.flows.resolve:warm_cache",
    ],
)
def test_a_flow_can_be_deployed_by_its_name(entrypoint: str) -> None:
    assert load_flow_from_entrypoint(entrypoint).name
