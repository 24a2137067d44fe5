from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from prefect_datasets.core.errors import (
    AccessDeniedError,
    InvalidInputError,
    NotFoundError,
    StoreError,
)
from prefect_datasets.core.store import open_store
from prefect_datasets.core.store.gcs import GcsStore
from prefect_datasets.core.store.translate import missing_package, redacted
from tests.servers.process import Served


@pytest.mark.parametrize(
    ("url", "shown", "kind", "bucket"),
    [
        ("s3://bucket", "s3://bucket", "s3", "bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b", "s3", "bucket"),
        ("s3a://bucket/a", "s3://bucket/a", "s3", "bucket"),
        ("s3://key:secret@bucket/a", "s3://bucket/a", "s3", "bucket"),
        ("gs://bucket/a", "gs://bucket/a", "gs", "bucket"),
        ("gcs://bucket", "gs://bucket", "gs", "bucket"),
        ("az://container/a", "az://container/a", "az", "container"),
        (
            "abfs://container@account.dfs.core.windows.net/a",
            "abfs://container@account.dfs.core.windows.net/a",
            "abfs",
            "container",
        ),
        ("memory://a/b", "memory://a/b", "memory", "a"),
        ("file:///a/b", "file:///a/b", "file", "/a/b"),
        ("/a/b c", "file:///a/b%20c", "file", "/a/b c"),
        ("http://me:pass@host:80/a", "http://host:80/a", "http", "host:80"),
        ("http://host/a", "http://host/a", "http", "host"),
    ],
)
def test_urls(url: str, shown: str, kind: str, bucket: str) -> None:
    store = open_store(url)
    assert (store.url, store.kind, store.bucket) == (shown, kind, bucket)


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("here/store")
    monkeypatch.chdir("/")
    store.write("key", b"1")
    assert (tmp_path / "here/store/key").read_bytes() == b"1"
    assert open_store(store.url).read("key") == b"1"


@pytest.mark.parametrize(
    "url",
    [
        *("", "s3://", "s3:///a", "gs://", "az:///x", "nonsense://a", "http://[", "~nobody-here/a"),
        *("s3:/bucket", "s3//bucket", "gs:bucket", "file:/x", "https:/host"),
    ],
)
def test_a_wrong_url_is_the_callers_fault(url: str) -> None:
    with pytest.raises(InvalidInputError):
        open_store(url)


def test_a_folder_may_be_called_like_a_scheme(tmp_path: Path) -> None:
    for name in ("s3", "s3/x", "gsm", "./s3:/bucket"):
        assert open_store(str(tmp_path / name)).kind == "file"
        assert open_store(name).kind == "file"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prefect_datasets.core.store.find_spec", lambda _: None)
    with pytest.raises(StoreError, match=r'pip install "prefect-datasets\[azure\]"'):
        open_store("az://container")
    assert "dask" in str(missing_package("dask", ImportError("Install dask")))


def test_no_secret_in_messages() -> None:
    options = {"account_key": "abc123def", "nested": {"sas_token": "xyz789xyz"}, "key": "public"}
    text = "at https://host/c?sig=s3cr3t&se=1 with AccountKey=abc123def; xyz789xyz public"
    shown = redacted(text, options)
    assert "public" in shown
    for secret in ("s3cr3t", "abc123def", "xyz789xyz"):
        assert secret not in shown


class TestLocal:
    def test_what_a_kill_leaves_is_not_listed(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path))
        upload = store.upload("a/b", 5)
        upload.piece(0, 0, b"1234")
        assert list(store.list("")) == []
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] != []
        upload.abort()
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_a_failed_write_leaves_nothing(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path))
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/file").touch()
        with pytest.raises(InvalidInputError, match="share a name"):
            store.write("folder", b"1")
        with pytest.raises(InvalidInputError, match="share a name"):
            store.write("folder/file/below", b"1")
        assert [found.key for found in store.list("")] == ["folder/file"]
        assert len(list(tmp_path.rglob("*"))) == 2

    def test_errors_of_the_file_system(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path))
        with pytest.raises(InvalidInputError, match="too long"):
            store.write("x" * 300, b"1")
        if os.geteuid():
            tmp_path.chmod(0o500)
            with pytest.raises(AccessDeniedError, match="Not allowed to write"):
                store.write("key", b"1")
            tmp_path.chmod(0o700)

    def test_create_where_there_are_no_links(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_links(*_: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", no_links)
        store = open_store(str(tmp_path))
        store.create("a/key", b"1")
        with pytest.raises(StoreError, match="there already"):
            store.create("a/key", b"2")
        assert store.read("a/key") == b"1"
        assert [path.name for path in (tmp_path / "a").iterdir()] == ["key"]

    def test_copies_where_the_kernel_can_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def can_not(*_: object) -> int:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "copy_file_range", can_not)
        store = open_store(str(tmp_path))
        data = os.urandom(9 << 20)
        store.write("a", data)
        store.copy("a", "b")
        assert store.read("b") == data

    def test_a_missing_root_is_empty(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path / "none"))
        assert list(store.list("")) == []
        assert store.list_folders("") == []
        assert store.info("key") is None
        with pytest.raises(NotFoundError):
            store.read("key")
        assert store.abort_stale_uploads(0) == 0


class TestGcs:
    @pytest.fixture(autouse=True)
    def nowhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine without credentials, in no cloud."""
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NO_GCE_CHECK", "true")
        for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG"):
            monkeypatch.delenv(name, raising=False)

    def test_without_credentials_nobody_is_waited_for(
        self, fake_gcs: Served, fresh_prefix: str
    ) -> None:
        """What is public can be read; what is sent to other machines says nothing of this one."""
        options = {name: value for name, value in fake_gcs.options.items() if name != "token"}
        store = open_store(f"{fake_gcs.url}/{fresh_prefix}", options)
        assert isinstance(store, GcsStore)
        store.write("key", b"1")
        assert store.fs.credentials.method == "anon"
        assert "token" not in pickle.loads(pickle.dumps(store))._options

    def test_credentials_that_are_named_and_not_there(
        self, fake_gcs: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        missing = str(tmp_path / "no-such.json")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", missing)
        with pytest.raises(AccessDeniedError, match=r"no-such\.json"):
            open_store(fake_gcs.url, {"endpoint_url": fake_gcs.options["endpoint_url"]}).read("key")
