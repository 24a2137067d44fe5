"""Inputs of every kind, laid out as a step of Valohai's finds them."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path

import pytest

from prefect_datasets.core.errors import AccessDeniedError, InvalidInputError, NotFoundError
from prefect_datasets.core.publish.publish import package_version
from prefect_datasets.core.store import Store, open_store
from prefect_datasets.core.uri import DatasetUri
from prefect_datasets.core.versions import aliases
from prefect_datasets.valohai.plan import InputPlan, KeepDirectories
from prefect_datasets.valohai.running.runner import NamespaceChoice
from prefect_datasets.valohai.running.urls import object_url, understood
from tests.servers.process import Served
from tests.valohai import steps
from tests.valohai.steps import Heard, Machine


def listed(machine: Machine, plan: InputPlan) -> tuple[list[str], Heard]:
    """Return the files that a step finds in its input, which its config file lists as well."""
    log = Heard()
    outcome = machine.run(
        "cd /valohai/inputs/x && find . -type f | sort | sed 's#^./##'",
        "cp /valohai/config/inputs.json /valohai/outputs",
        inputs=[plan],
        log=log,
    )
    if outcome.error is not None:
        raise outcome.error
    config = json.loads(machine.stored(outcome)["inputs.json"])["x"]
    assert sorted(file["name"] for file in config["files"]) == sorted(log.lines)
    for file in config["files"]:
        assert file["path"] == f"/valohai/inputs/x/{file['name']}"
        assert file["size"] >= 0
        assert "input_id" not in file
    return log.lines, log


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a file at its top and others below."""
    folder = tmp_path / "data"
    for path in ("top.csv", "a/1.csv", "a/b/2.csv", "a/b/3.txt"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    return folder


@pytest.mark.parametrize(
    ("packaging", "keep", "expected"),
    [
        (True, None, ["cats/a", "dogs/b"]),
        (False, None, ["a", "b"]),
        (True, "none", ["a", "b"]),
        (False, "full", ["cats/a", "dogs/b"]),
    ],
)
def test_layout_of_a_version(
    machine: Machine, packaging: bool, keep: KeepDirectories | None, expected: list[str]
) -> None:
    machine.publish("dataset://pets/v1", {"cats/a": "a", "dogs/b": "b"}, packaging=packaging)
    found, _ = listed(machine, InputPlan("x", ("dataset://pets/v1",), keep_directories=keep))
    assert found == expected


def test_packages_made_later_change_no_layout(machine: Machine) -> None:
    machine.publish("dataset://pets/v1", {"cats/a": "a"})
    package_version(DatasetUri("pets", "v1"), store=machine.store)
    assert listed(machine, InputPlan("x", ("dataset://pets/v1",)))[0] == ["a"]


def test_what_is_known_of_a_file_is_in_the_config(machine: Machine) -> None:
    made = machine.publish("dataset://pets/v1", {"cats/a": "a"}, packaging=True)
    log = Heard()
    machine.run("cat /valohai/config/inputs.json", inputs={"x": "dataset://pets/v1"}, log=log)
    (file,) = json.loads(log.text)["x"]["files"]
    datum = made.outputs[0].datum
    assert (file["uri"], file["datum_id"]) == (f"datum://{datum}", datum)
    assert file["storage_uri"].endswith(f"outputs/{made.execution}/files/cats/a")
    assert len(file["checksums"]["sha256"]) == 64
    assert file["metadata"] == [{"valohai.dataset-versions": ["dataset://pets/v1"]}]


def test_aliases_are_resolved_once(machine: Machine) -> None:
    machine.publish("dataset://pets/v1", {"a": "1"})
    aliases.set_alias(machine.store, DatasetUri("pets", "v1"), "good")
    log = Heard()
    outcome = machine.run(
        "true", inputs={"x": ["dataset://pets/good", "dataset://pets/v1"]}, log=log
    )
    assert outcome.error is None, "the same version twice is one"
    assert outcome.inputs == {"x": ("dataset://pets/v1",)}
    assert log.inputs[0].brought[0].asked == "dataset://pets/good"


def test_datums_by_id_and_alias(machine: Machine) -> None:
    machine.write("meta.json", json.dumps({"valohai.alias": "best"}))
    first = machine.run(
        "mkdir -p /valohai/outputs/deep; echo one > /valohai/outputs/deep/one.txt",
        "cp meta.json /valohai/outputs/deep/one.txt.metadata.json",
        "echo two > /valohai/outputs/two.txt",
    )
    ids = {output.path: output.datum for output in first.outputs}
    uris = ("datum://best", f"datum://{ids['two.txt']}")
    assert listed(machine, InputPlan("x", uris))[0] == ["one.txt", "two.txt"]
    kept = InputPlan("x", uris, keep_directories="full")
    assert listed(machine, kept)[0] == ["deep/one.txt", "two.txt"]
    outcome = machine.run("true", inputs={"x": uris})
    assert outcome.inputs["x"][0] == f"datum://{ids['deep/one.txt']}"


@pytest.mark.parametrize(
    ("pattern", "keep", "expected"),
    [
        ("top.csv", None, ["top.csv"]),
        ("a/**.csv", None, ["1.csv", "2.csv"]),
        ("**/*.csv", "suffix", ["a/1.csv", "a/b/2.csv", "top.csv"]),
        ("a/*", None, ["1.csv"]),
        ("a/b/2.csv", None, ["2.csv"]),
    ],
)
def test_files_of_this_machine(
    machine: Machine,
    files: Path,
    pattern: str,
    keep: KeepDirectories | None,
    expected: Sequence[str],
) -> None:
    plan = InputPlan("x", (f"file://{files}/{pattern}",), keep_directories=keep)
    assert listed(machine, plan)[0] == list(expected)


def test_files_on_s3(tmp_path: Path, seaweedfs: Served, fresh_prefix: str) -> None:
    store = open_store(f"{seaweedfs.url}/{fresh_prefix}", seaweedfs.options)
    _fill(store, {"raw/a/1.csv": "1", "raw/2.csv": "2", "raw/3.txt": "3"})
    machine = steps.machine(tmp_path, store)
    url = f"{seaweedfs.url}/{fresh_prefix}/raw/**.csv"
    assert listed(machine, InputPlan("x", (url,)))[0] == ["1.csv", "2.csv"]
    kept = InputPlan("x", (url,), keep_directories="suffix")
    assert listed(machine, kept)[0] == ["2.csv", "a/1.csv"]
    full = listed(machine, InputPlan("x", (url,), keep_directories="full"))[0]
    assert full == [f"{fresh_prefix}/raw/2.csv", f"{fresh_prefix}/raw/a/1.csv"]


def _fill(store: Store, objects: dict[str, str]) -> None:
    for key, text in objects.items():
        store.write(key, text.encode())


@pytest.fixture
def web(files: Path) -> Generator[str]:
    """A web server with the files."""
    handler = partial(_Quiet, directory=str(files))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_files_of_the_web_behind_a_password(machine: Machine, web: str) -> None:
    url = web.replace("http://", "http://user:p%40ss@")
    log = Heard()
    outcome = machine.run("cat /valohai/inputs/x/secret", inputs={"x": f"{url}/secret"}, log=log)
    assert outcome.error is None
    assert log.text == "behind a password"
    assert outcome.inputs == {"x": (f"{web}/secret",)}, "the password is kept nowhere"
    assert log.inputs[0].brought[0].asked == f"{web}/secret"
    refused = machine.run("true", inputs={"x": f"{url.replace('user', 'other')}/secret"})
    assert isinstance(refused.error, AccessDeniedError)
    assert "p%40ss" not in str(refused.error)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    def do_GET(self) -> None:
        if self.path != "/secret":
            super().do_GET()
            return
        allowed = self.headers["Authorization"] == "Basic dXNlcjpwQHNz"  # user:p@ss
        body = b"behind a password" if allowed else b""
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_files_of_the_web(machine: Machine, web: str) -> None:
    plan = InputPlan("x", (f"{web}/a/1.csv?token=1", f"{web}/top.csv"))
    assert listed(machine, plan)[0] == ["1.csv", "top.csv"]


def test_a_file_gets_the_name_that_is_asked_for(machine: Machine, files: Path) -> None:
    one = InputPlan("x", (f"file://{files}/top.csv",), filename="renamed.csv")
    assert listed(machine, one)[0] == ["renamed.csv"]
    several = InputPlan("x", (f"file://{files}/a/**.csv",), filename="renamed.csv")
    assert listed(machine, several)[0] == ["1.csv", "2.csv"], "ignored where there are several"


def test_uris_of_all_kinds_in_one_input(machine: Machine, files: Path, web: str) -> None:
    made = machine.publish("dataset://pets/v1", {"cats/a": "a", "dogs/b": "b"}, packaging=True)
    uris = (
        f"file://{files}/a/**.csv",
        "dataset://pets/latest",
        f"{web}/top.csv",
        f"datum://{made.outputs[1].datum}",
    )
    found, _ = listed(machine, InputPlan("x", uris))
    assert found == ["1.csv", "2.csv", "b", "cats/a", "dogs/b", "top.csv"]


@pytest.mark.parametrize("kind", ["bubblewrap", "unshare", "plain"])
def test_the_step_can_change_neither_inputs_nor_cache(
    machine: Machine, kind: NamespaceChoice
) -> None:
    machine.publish("dataset://pets/v1", {"a/f": "original"}, packaging=True)
    machine.namespace = kind
    for link in ("dataset://pets/v1", ["dataset://pets/v1", "dataset://pets/v1"]):
        machine.run("echo x > $VH_INPUTS_DIR/x/a/f; true", inputs={"x": link})
    log = Heard()
    machine.run("cat $VH_INPUTS_DIR/x/a/f", inputs={"x": "dataset://pets/v1"}, log=log)
    assert log.text == "original"


def test_flattening_that_would_overwrite_names_both(machine: Machine) -> None:
    machine.publish("dataset://pets/v1", {"cats/1.jpg": "a", "dogs/1.jpg": "b"})
    outcome = machine.run("true", inputs={"x": "dataset://pets/v1"})
    assert isinstance(outcome.error, InvalidInputError)
    assert "cats/1.jpg" in str(outcome.error)
    assert "dogs/1.jpg" in str(outcome.error)
    assert "keep-directories" in str(outcome.error)


@pytest.mark.parametrize(("name", "filename"), [("../x", None), ("x", "../../x"), ("..", None)])
def test_names_do_not_lead_out(
    machine: Machine, files: Path, name: str, filename: str | None
) -> None:
    plan = InputPlan(name, (f"file://{files}/top.csv",), filename=filename)
    outcome = machine.run("true", inputs=[plan])
    assert isinstance(outcome.error, InvalidInputError)
    assert machine.kept() == []
    assert not list(machine.root.glob("**/x"))


def test_two_datums_of_one_name_collide(machine: Machine) -> None:
    outcome = machine.run("cd /valohai/outputs; mkdir a b; echo 1 > a/model; echo 2 > b/model")
    uris = [f"datum://{output.datum}" for output in outcome.outputs]
    failed = machine.run("true", inputs={"x": uris})
    assert isinstance(failed.error, InvalidInputError)
    for uri in uris:
        assert uri in str(failed.error)


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("datum://01a20000-0000-4000-8000-000000000000", NotFoundError),
        ("datum://no-such-alias", NotFoundError),
        ("file:///no/such/file", NotFoundError),
        ("dataset://Bad/v1", InvalidInputError),
        ("swift://project/container/key", InvalidInputError),
        ("nonsense", InvalidInputError),
    ],
)
def test_what_can_not_be_brought(machine: Machine, uri: str, error: type[Exception]) -> None:
    outcome = machine.run("true", inputs={"x": uri})
    assert isinstance(outcome.error, error), repr(outcome.error)
    assert uri in str(outcome.error)


def test_urls_of_azure_are_those_that_fsspec_knows() -> None:
    azure = understood("azure://account/container/a/b.csv")
    assert azure == "abfss://container@account.dfs.core.windows.net/a/b.csv"


def test_the_url_of_each_object() -> None:
    assert object_url("s3://bucket/a/**.csv", "a/b/1.csv") == "s3://bucket/a/b/1.csv"
    assert object_url("file:///data/a/*.csv", "1.csv") == "file:///data/a/1.csv"
    assert object_url("https://host/a/1.csv?x=1", "a/1.csv") == "https://host/a/1.csv?x=1"
