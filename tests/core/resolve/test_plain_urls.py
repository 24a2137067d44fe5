"""Inputs that are URLs of objects, with wildcards, and web addresses."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.errors import InvalidInputError, NotFoundError, StoreError
from tests.core.published import write_files
from tests.core.resolve.small_versions import take
from tests.core.trees import CountingStore, files_of


@pytest.mark.parametrize(
    ("pattern", "keep", "expected"),
    [
        ("*.txt", "suffix", {"r.txt"}),
        ("in/*.txt", "none", {"a.txt"}),
        ("in/**.txt", "suffix", {"a.txt", "deep/b.txt"}),
        ("in/**/*.txt", "none", {"a.txt", "b.txt"}),
        ("in/deep/b.txt", "none", {"b.txt"}),
    ],
)
def test_plain_urls_with_wildcards(
    store: CountingStore,
    cache: Cache,
    tmp_path: Path,
    pattern: str,
    keep: Any,
    expected: set[str],
) -> None:
    files = {"r.txt": b"r", "in/a.txt": b"a", "in/deep/b.txt": b"b", "in/c.csv": b"c"}
    root = write_files(tmp_path / "plain", files)
    found = take(store, cache, f"file://{root}/{pattern}", keep_directories=keep)
    assert set(files_of(found.path)) == expected


def test_a_changed_object_is_fetched_again_and_only_that(
    store: CountingStore, cache: Cache, tmp_path: Path
) -> None:
    root = write_files(tmp_path / "plain", {"a": b"1" * 100, "b": b"2" * 100})
    url = f"file://{root}/*"
    assert take(store, cache, url).n_fetched_bytes == 200
    assert take(store, cache, url).is_warm
    (root / "a").write_bytes(b"3" * 100)
    os.utime(root / "a", (1, 1))
    found = take(store, cache, url)
    assert found.n_fetched_bytes == 100
    assert files_of(found.path) == {"a": b"3" * 100, "b": b"2" * 100}


@pytest.mark.parametrize(
    ("url", "error", "match"),
    [
        ("file://{}/none", NotFoundError, "No such object"),
        ("file://{}/*.none", NotFoundError, "None of 1 objects matches"),
        ("nonsense", InvalidInputError, "Not a URL"),
        ("datum://unknown", NotFoundError, "No such datum alias"),
        ("dataset://pets", InvalidInputError, "Not a dataset version URI"),
    ],
)
def test_uris_that_name_nothing(
    store: CountingStore,
    cache: Cache,
    tmp_path: Path,
    url: str,
    error: type[Exception],
    match: str,
) -> None:
    root = write_files(tmp_path / "plain", {"a": b"1"})
    with pytest.raises(error, match=match):
        take(store, cache, url.format(root))


class Web(BaseHTTPRequestHandler):
    """Serves `/d/file` with an ETag, and breaks off `/short`."""

    content = b"content" * 1000
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hash(self.content)}"')
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: 10 if self.path == "/short" else None])

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002  (the base's)


@pytest.fixture
def web() -> Any:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_web_address_is_fetched_when_it_changes(
    store: CountingStore, cache: Cache, web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{web}/d/file"
    assert files_of(take(store, cache, url).path) == {"d/file": Web.content}
    assert take(store, cache, url, keep_directories="none").is_warm
    monkeypatch.setattr(Web, "content", b"other")
    assert files_of(take(store, cache, url).path) == {"d/file": b"other"}


def test_a_transfer_that_breaks_off_leaves_nothing(
    store: CountingStore, cache: Cache, web: str
) -> None:
    with pytest.raises(StoreError, match="bytes are missing"):
        take(store, cache, f"{web}/short")
    with pytest.raises(NotFoundError):
        take(store, cache, f"{web}/missing")
    assert not list(cache.entries())
