"""S3 over TLS with a certificate authority of one's own, as on-premises stores have it."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from prefect_datasets.core.errors import StoreError
from prefect_datasets.core.store import Range, Store, open_store
from prefect_datasets.core.store.s3 import S3Store
from tests.servers.faultproxy import FaultProxy
from tests.servers.process import Served
from tests.stores.contents import keys, spread

CLIENTS = pytest.mark.parametrize("fast", [True, False], ids=["obstore", "s3fs"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority, a certificate that it signed, and one that signed itself."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    leaf = ["-addext", "basicConstraints=critical,CA:FALSE"]
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key"]
    for arguments in (
        [*new, "-subj", "/CN=Tests", "-keyout", "ca.key", "-out", "ca.pem"],
        [*new, *name, *leaf, *signed, "-keyout", "signed.key", "-out", "signed.pem"],
        [*new, *name, "-keyout", "alone.key", "-out", "alone.pem"],
    ):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    return folder


def tls_proxy(seaweedfs: Served, authority: Path, name: str) -> FaultProxy:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / f"{name}.pem", authority / f"{name}.key")
    return FaultProxy(str(seaweedfs.options["endpoint_url"]), tls=context)


@pytest.fixture
def proxy(seaweedfs: Served, authority: Path) -> Generator[FaultProxy]:
    with tls_proxy(seaweedfs, authority, "signed") as running:
        yield running


@pytest.fixture
def options(seaweedfs: Served, proxy: FaultProxy, fast: bool) -> dict[str, object]:
    return {**seaweedfs.options, "endpoint_url": proxy.url, "fast": fast}


def use(store: Store) -> None:
    """Do a bit of everything."""
    size = 5 << 20  # the least that S3 takes
    data = spread(size + 1000)
    store.check()
    store.create("record", b"1")
    with store.upload("big", size + len(data)) as upload:
        upload.piece(0, 0, data[:size])
        upload.piece(1, size, data)
        upload.complete()
    with store.upload("copied", size) as upload:
        upload.copy(0, 0, Range("big", size, size))
        upload.complete()
    assert store.read_many([Range("copied", 0, size), Range("record", 0, 1)]) == [data[:size], b"1"]
    assert keys(store) == ["big", "copied", "record"]


@CLIENTS
def test_an_authority_from_the_environment(
    seaweedfs: Served,
    options: dict[str, object],
    authority: Path,
    monkeypatch: pytest.MonkeyPatch,
    fresh_prefix: str,
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority / "ca.pem"))
    use(open_store(f"{seaweedfs.url}/{fresh_prefix}", options))


@CLIENTS
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_an_authority_from_the_options(
    seaweedfs: Served, options: dict[str, object], authority: Path, fresh_prefix: str, fast: bool
) -> None:
    for verify in (str(authority / "ca.pem"), False):
        url = f"{seaweedfs.url}/{fresh_prefix}-{bool(verify)}"
        store = open_store(url, {**options, "client_kwargs": {"verify": verify}})
        assert isinstance(store, S3Store)
        assert store.is_fast is fast
        use(store)


@CLIENTS
def test_an_unknown_authority_is_refused(seaweedfs: Served, options: dict[str, object]) -> None:
    with pytest.raises(StoreError, match=r"can't be reached|certificate"):
        open_store(seaweedfs.url, options).check()


def test_a_certificate_that_signed_itself_is_left_to_s3fs(
    seaweedfs: Served, authority: Path, fresh_prefix: str
) -> None:
    with tls_proxy(seaweedfs, authority, "alone") as proxy:
        given = {
            "endpoint_url": proxy.url,
            "client_kwargs": {"verify": str(authority / "alone.pem")},
        }
        store = open_store(f"{seaweedfs.url}/{fresh_prefix}", {**seaweedfs.options, **given})
        assert isinstance(store, S3Store)
        assert not store.is_fast
        use(store)
