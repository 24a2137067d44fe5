"""The forms of the shipped flows: what they show, and what they refuse before there is a run."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow, flow
from prefect.client.orchestration import get_client
from prefect.deployments.runner import DeploymentApplyError
from prefect.exceptions import PrefectHTTPStatusError
from prefect.utilities.callables import parameter_schema
from pydantic import TypeAdapter, ValidationError

from prefect_datasets import DatasetStore, flows
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.store import open_store
from prefect_datasets.core.versions.aliases import list_aliases
from prefect_datasets.flows import forms
from prefect_datasets.flows.forms import NewVersionName, parse_size
from prefect_datasets.flows.serve import SHIPPED

VALID = [
    "v1",
    "V_1.2-x",
    "2026-03-28",
    "latest2",
    "{scheduled}",
    "{scheduled:}",
    "{scheduled:%F}",
    "{scheduled:%Y-%m-%dT%H%M}",
    "{scheduled:%-d}",
    "x-{scheduled@Europe/Berlin:%Y}",
    "{scheduled@Etc/GMT+5:%H}.{scheduled:%d}",
]
INVALID = [
    "",
    "latest",
    "a b",
    "a/b",
    "a..b",
    "-x",
    ".x",
    "größe",
    "{other}",
    "{scheduled",
    "{scheduled:%Y/%m}",
    "{scheduled:%H:%M}",
    "{scheduled:%c}",
    "{scheduled:%z}",
    "{scheduled:-%Y}",
    "a.{scheduled:.%Y}",
    "{scheduled:%Y.}{scheduled:.%Y}",
    "{scheduled:%Y.}.x",
    "a version such as v1 or {scheduled:%Y-%m-%d}",
]


def is_accepted(type_: Any, text: str) -> tuple[bool, bool]:
    """Tell whether the schema takes a text, as the server sees it, and whether Python does."""
    adapter: TypeAdapter[Any] = TypeAdapter(type_)
    try:
        adapter.validate_python(text)
    except ValidationError:
        in_python = False
    else:
        in_python = True
    return re.search(adapter.json_schema()["pattern"], text) is not None, in_python


@pytest.mark.parametrize("name", SHIPPED)
def test_every_parameter_has_a_title_and_a_description(name: str) -> None:
    schema = parameter_schema(getattr(flows, name)).model_dump()
    assert schema["properties"]["store"]["$ref"] == "#/definitions/DatasetStore", "a picker"
    assert "store" in schema["required"]
    for parameter, shown in schema["properties"].items():
        assert shown["title"] != parameter
        assert shown["description"].endswith("."), parameter
    of_models = [
        definition
        for title, definition in schema["definitions"].items()
        if title not in ("DatasetStore", "SecretDict")
    ]
    for definition in of_models:
        for parameter, shown in definition["properties"].items():
            assert shown["title"] != parameter
            assert shown["description"].endswith("."), parameter


def test_a_name_imported_from_the_package_is_the_flow() -> None:
    for name in SHIPPED:
        assert isinstance(getattr(flows, name), Flow)
    assert set(flows.__all__) == set(flows._HOMES)


@pytest.mark.parametrize("text", VALID)
def test_names_that_can_be_published_are_accepted(text: str) -> None:
    assert is_accepted(forms.NewVersionName, text) == (True, True)
    assert is_accepted(forms.NewVersionUri, f"dataset://x/{text}") == (True, True)
    assert is_accepted(forms.VersionUri, f"dataset://x/{text}") == (True, True)


@pytest.mark.parametrize("text", INVALID)
def test_names_that_cannot_be_published_are_refused_twice(text: str) -> None:
    assert is_accepted(forms.NewVersionName, text) == (False, False)
    assert is_accepted(forms.NewVersionUri, f"dataset://x/{text}")[0] is False


@pytest.mark.parametrize(
    ("type_", "valid", "invalid"),
    [
        (forms.VersionUri, "dataset://x/latest", "dataset://X/v1"),
        (forms.NewVersionUri, "dataset://latest/x", "dataset://x/latest"),
        (forms.OptionalVersionUri, "", "x/v1"),
        (forms.DatasetName, "sensors-{scheduled:%Y}", "sensors-{scheduled:%b}"),
        (forms.OptionalDatasetName, "", "Sensors"),
        (forms.AliasName, "nightly", "latest"),
        (forms.OptionalSize, "1.5 GB", "many"),
        (forms.OptionalSize, "", "-1"),
    ],
)
def test_each_type_has_a_rule_of_its_own(type_: Any, valid: str, invalid: str) -> None:
    assert is_accepted(type_, valid) == (True, True)
    assert is_accepted(type_, invalid) == (False, False)


def test_a_time_zone_that_there_is_not_is_refused_by_python() -> None:
    adapter: TypeAdapter[str] = TypeAdapter(forms.NewVersionName)
    with pytest.raises(ValidationError, match="No such time zone 'Europe/Atlantis'"):
        adapter.validate_python("{scheduled@Europe/Atlantis}")


@pytest.mark.parametrize(
    ("text", "n_bytes"), [("0", 0), ("500M", 500_000_000), ("1.5 GB", 1_500_000_000), ("7k", 7_000)]
)
def test_sizes(text: str, n_bytes: int) -> None:
    assert parse_size(text) == n_bytes
    with pytest.raises(InvalidInputError):
        parse_size(f"{text}?")


# -- the same, asked of a server --------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> dict[str, Any]:
    """A saved block, as a deployment's parameters name it."""
    name = f"of-test-{uuid.uuid4().hex[:8]}"
    DatasetStore(url=str(tmp_path / "store"), cache_dir=str(tmp_path / "cache")).save(name)
    return {"$ref": {"block_document_slug": f"dataset-store/{name}"}}


def deploy(a_flow: Any, **parameters: Any) -> Any:
    """Make a deployment of a flow; return its id."""
    name = f"of-test-{uuid.uuid4().hex[:8]}"
    return a_flow.to_deployment(name, parameters=parameters).apply()


def start(deployment: Any, **parameters: Any) -> Any:
    """Ask for a run of a deployment, as the form does."""
    with get_client(sync_client=True) as client:
        return client.create_flow_run_from_deployment(deployment, parameters=parameters)


@pytest.mark.parametrize(
    ("name", "parameters", "field"),
    [
        ("publish_directory", {"directory": "x", "version": "{scheduled:%Y/%m}"}, "version"),
        ("publish_directory", {"directory": ""}, "directory"),
        ("publish_directory", {"directory": "x", "options": {"base": "images"}}, "options.base"),
        (
            "publish_directory",
            {"directory": "x", "options": {"aliases": ["latest"]}},
            "options.aliases[0]",
        ),
        ("publish_prefix", {"prefix": "bucket/raw"}, "prefix"),
        ("publish_prefix", {"prefix": "s3://me:secret@bucket/raw"}, "prefix"),
        ("package_version_flow", {"uri": "images"}, "uri"),
        ("verify_version", {"uri": "dataset://a/b", "depth": "very"}, "depth"),
        ("prune_cache", {"keep": "much"}, "keep"),
        ("warm_cache", {"uris": []}, "uris"),
        ("check_store", {"store": {}}, "store"),
    ],
)
def test_a_form_refuses_before_there_is_a_run(
    store: dict[str, Any], name: str, parameters: dict[str, Any], field: str
) -> None:
    shipped = getattr(flows, name)
    deployment = deploy(shipped)
    with pytest.raises(PrefectHTTPStatusError, match=re.escape(field)) as refused:
        start(deployment, **{"store": store, **parameters})
    assert refused.value.response.status_code == 409


def test_what_a_form_says_begins_with_what_to_write(store: dict[str, Any]) -> None:
    deployment = deploy(flows.verify_version)
    with pytest.raises(PrefectHTTPStatusError) as refused:
        start(deployment, store=store, uri="images")
    assert "'images' does not match '^(dataset://NAME/VERSION" in refused.value.response.text


def validate(shipped: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Ask as the form does when its button is pressed: which fields are wrong."""
    body = {"schema": parameter_schema(shipped).model_dump(), "values": values}
    with get_client(sync_client=True) as client:
        return client.request("POST", "/ui/schemas/validate", json=body).json()


def new_row(shipped: Any, *path: str) -> str:
    """Return what the form writes in a new row of a list."""
    shown: Any = parameter_schema(shipped).model_dump()
    for name in path:
        shown = shown[name]
    return shown["items"]["default"]


@pytest.mark.parametrize("name", ["publish_directory", "publish_prefix", "publish_recurring"])
@pytest.mark.parametrize("field", ["aliases", "exclude"])
def test_a_row_that_is_left_empty_is_accepted(name: str, field: str) -> None:
    shipped = getattr(flows, name)
    model = {"publish_directory": "PublishOptions", "publish_prefix": "PrefixOptions"}
    of_form = model.get(name, "RecurringOptions")
    row = new_row(shipped, "definitions", of_form, "properties", field)
    values: dict[str, Any] = {
        "store": {"$ref": {"block_document_id": str(uuid.uuid4())}},
        "directory": "x",
        "prefix": "s3://bucket/x",
        "source": "x",
        "dataset": "pets",
    }
    taken = parameter_schema(shipped).properties
    values = {key: value for key, value in values.items() if key in taken}
    assert validate(shipped, values | {"options": {field: [row, "nightly"]}})["valid"]
    wrong = validate(shipped, values | {"options": {field: [row, 5]}})
    assert "'index': 1" in str(wrong["errors"])
    assert field in str(wrong["errors"])


def test_empty_rows_count_for_nothing(store: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("1")
    options = {"aliases": ["", "nightly", ""], "exclude": [""]}
    asked = {"directory": str(tmp_path / "out"), "dataset": "pets", "version": "v1"}
    run = start(deploy(flows.publish_directory), store=store, options=options, **asked)
    given = flows.publish_directory.validate_parameters(
        run.parameters | {"store": DatasetStore(url=str(tmp_path / "store"))}
    )
    flows.publish_directory(**given)
    found = list_aliases(open_store(str(tmp_path / "store")), "pets")
    assert found.targets == {"nightly": "v1"}


@pytest.mark.parametrize(
    ("uris", "said"),
    [
        ([], "should be non-empty"),
        (["", ""], "does not contain items"),
        (["", "images"], "uris[1]"),
        (["", None], "uris[1]"),
    ],
)
def test_a_form_that_was_refused_starts_a_run_once_it_is_right(
    store: dict[str, Any], uris: list[str | None], said: str
) -> None:
    deployment = deploy(flows.warm_cache)
    with pytest.raises(PrefectHTTPStatusError, match=re.escape(said)) as refused:
        start(deployment, store=store, uris=uris)
    assert "uris" in refused.value.response.text
    right = start(deployment, store=store, uris=["", "dataset://images/v1"])
    assert right.state is not None
    assert right.state.is_scheduled()
    given = flows.warm_cache.validate_parameters(
        right.parameters | {"store": DatasetStore(url="x")}
    )
    assert given["uris"] == ["dataset://images/v1"]


def test_a_template_that_gives_an_invalid_name_is_refused_when_it_is_deployed() -> None:
    @flow
    def nightly(version: NewVersionName = "{scheduled}") -> str:
        return version

    with pytest.raises(DeploymentApplyError, match="version such as"):
        deploy(nightly, version="{scheduled:%Y/%m/%d}")
    right = deploy(nightly, version="{scheduled:%Y-%m-%d}")
    assert start(right).parameters == {"version": "{scheduled:%Y-%m-%d}"}
