"""What users' s3fs options, environment and AWS configuration mean to the fast way."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from prefect_datasets.core.errors import AccessDeniedError
from prefect_datasets.core.store import open_store
from prefect_datasets.core.store.s3 import S3Store
from prefect_datasets.core.store.s3_obstore import bucket_region
from prefect_datasets.core.store.s3_options import FastPlan, plan_fast, settle
from tests.servers.process import Served

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
NO_FILE = {"AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none"}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**NO_FILE, "AWS_EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(name, value)
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, FastPlan()),
        ({"key": "k", "secret": "s", "token": "t"}, FastPlan(key="k", secret="s", token="t")),
        ({"username": "k", "password": "s"}, FastPlan(key="k", secret="s")),
        ({"anon": True}, FastPlan(anonymous=True)),
        ({"profile": "p"}, FastPlan(profile="p")),
        ({"endpoint_url": "http://a"}, FastPlan(endpoint="http://a")),
        (
            {"client_kwargs": {"endpoint_url": "http://a", "region_name": "r", "verify": False}},
            FastPlan(endpoint="http://a", region="r", verify=False),
        ),
        (
            {"client_kwargs": {"aws_access_key_id": "k", "aws_secret_access_key": "s"}},
            FastPlan(key="k", secret="s"),
        ),
        ({"requester_pays": True}, FastPlan(config={"request_payer": True})),
        (
            {"s3_additional_kwargs": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "id"}},
            FastPlan(config={"server_side_encryption": "aws:kms", "sse_kms_key_id": "id"}),
        ),
        (
            {
                "config_kwargs": {
                    "read_timeout": 7,
                    "connect_timeout": 3,
                    "signature_version": "s3v4",
                }
            },
            FastPlan(read_timeout=7, connect_timeout=3),
        ),
        ({"config_kwargs": {"s3": {"addressing_style": "path"}}}, FastPlan()),
        ({"default_block_size": 5, "max_concurrency": 3}, FastPlan()),
    ],
)
def test_options_that_obstore_understands(options: dict[str, Any], expected: FastPlan) -> None:
    assert plan_fast("bucket", options) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"session": object()},
        {"version_aware": True},
        {"use_ssl": False},
        {"client_kwargs": {"api_version": "2006-03-01"}},
        {"config_kwargs": {"signature_version": "s3"}},
        {"config_kwargs": {"proxies": {"http": "x"}}},
        {"config_kwargs": {"s3": {"addressing_style": "virtual"}}},
        {"config_kwargs": {"s3": {"use_accelerate_endpoint": True}}},
        {"s3_additional_kwargs": {"ACL": "public-read"}},
        {"never_heard_of": 1},
    ],
)
def test_options_that_only_s3fs_understands(options: dict[str, Any]) -> None:
    assert plan_fast("bucket", options) is None


def test_buckets_that_only_s3fs_understands() -> None:
    assert plan_fast("arn:aws:s3:us-west-2:123456789012:accesspoint/ap", {}) is None
    assert plan_fast("express--usw2-az1--x-s3", {}) is None


def signing(plan: FastPlan, environment: Mapping[str, str]) -> tuple[str, str, str | None] | None:
    credentials = settle(plan, {**NO_FILE, **environment}).credentials
    if credentials is None:
        return None
    given = credentials()
    return given["access_key_id"], given["secret_access_key"], given["token"]


def test_where_credentials_come_from() -> None:
    given = FastPlan(key="a", secret="b")
    assert signing(FastPlan(), KEYS) == ("key", "secret", None)
    assert signing(FastPlan(), {**KEYS, "AWS_SESSION_TOKEN": "t"}) == ("key", "secret", "t")
    # A token of the environment does not belong to keys of the options.
    assert signing(given, {**KEYS, "AWS_SESSION_TOKEN": "t"}) == ("a", "b", None)
    assert signing(FastPlan(anonymous=True), KEYS) is None


def test_where_the_endpoint_comes_from() -> None:
    both = {**KEYS, "AWS_ENDPOINT_URL": "http://all", "AWS_ENDPOINT_URL_S3": "http://s3"}
    assert settle(FastPlan(), {**NO_FILE, **both}).endpoint == "http://s3"
    assert settle(FastPlan(endpoint="http://mine"), {**NO_FILE, **both}).endpoint == "http://mine"
    ignoring = {**NO_FILE, **both, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
    assert settle(FastPlan(), ignoring).endpoint is None


def test_a_profile_gives_keys_endpoint_and_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(
        "[default]\nregion=r0\n"
        "[profile lab]\nregion=r1\nendpoint_url=http://lab\nrole_session_name=x\n"
        "[profile svc]\nservices=s\n[services s]\ns3 =\n  endpoint_url = http://svc\n"
    )
    (tmp_path / "keys").write_text(
        "[lab]\naws_access_key_id=k1\naws_secret_access_key=s1\n"
        "[svc]\naws_access_key_id=k2\naws_secret_access_key=s2\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    lab = settle(FastPlan(profile="lab"))
    assert (lab.endpoint, lab.region) == ("http://lab", "r1")
    assert lab.credentials is not None
    assert lab.credentials()["access_key_id"] == "k1"
    assert lab.credentials()["expires_at"] is not None
    assert settle(FastPlan(profile="svc")).endpoint == "http://svc"
    # A profile that is asked for goes before keys of the environment, as for botocore.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    chosen = settle(FastPlan(profile="svc")).credentials
    assert chosen is not None
    assert chosen()["access_key_id"] == "k2"


def test_no_credentials_at_all() -> None:
    with pytest.raises(AccessDeniedError, match="No credentials for S3"):
        settle(FastPlan())


def test_the_file_of_a_profile_opens_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seaweedfs: Served, fresh_prefix: str
) -> None:
    options = seaweedfs.options
    (tmp_path / "config").write_text(
        f"[profile lab]\nregion=us-east-1\nendpoint_url={options['endpoint_url']}\n"
        f"aws_access_key_id={options['key']}\naws_secret_access_key={options['secret']}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for fast in (True, False):
        store = open_store(f"{seaweedfs.url}/{fresh_prefix}", {"profile": "lab", "fast": fast})
        assert isinstance(store, S3Store)
        assert store.is_fast is fast
        store.check()


def test_the_environment_alone_opens_a_store(
    monkeypatch: pytest.MonkeyPatch, seaweedfs: Served, fresh_prefix: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", str(seaweedfs.options["endpoint_url"]))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(seaweedfs.options["key"]))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(seaweedfs.options["secret"]))
    for fast in (True, False):
        open_store(f"{seaweedfs.url}/{fresh_prefix}", {"fast": fast}).check()


def test_keys_in_the_url_are_options_and_not_shown(seaweedfs: Served, fresh_prefix: str) -> None:
    key, secret = seaweedfs.options["key"], seaweedfs.options["secret"]
    url = f"s3://{key}:{secret}@test-bucket/{fresh_prefix}"
    store = open_store(url, {"endpoint_url": seaweedfs.options["endpoint_url"]})
    store.check()
    assert store.url == f"s3://test-bucket/{fresh_prefix}"
    assert str(secret) not in repr(store)


def test_odd_keys_of_others_are_read_through_s3fs(ministack: Served, fresh_prefix: str) -> None:
    root = open_store(ministack.url, ministack.options)
    assert isinstance(root, S3Store)
    key = f"{fresh_prefix}/a//b"
    root.s3fs.call("put_object", Key=key, Body=b"odd")
    assert root.read(key) == b"odd"
    found = root.info(key)
    assert found is not None
    assert found.n_bytes == 3


@pytest.mark.parametrize("fast", [True, False])
def test_listings_go_on_past_odd_keys_and_leave_out_marks(
    ministack: Served, fresh_prefix: str, fast: bool
) -> None:
    store = open_store(f"{ministack.url}/{fresh_prefix}", {**ministack.options, "fast": fast})
    assert isinstance(store, S3Store)
    written = ["a", "b/../c", "b//d", "b/e", "empty", "f\tg", "z"]
    for key in [*written, "b/mark/", "only-a-mark/"]:
        body = b"" if key in ("empty", "b/mark/", "only-a-mark/") else b"x"
        store.s3fs.call("put_object", Key=f"{fresh_prefix}/{key}", Body=body)
    assert [found.key for found in store.list("")] == sorted(written)


def test_opening_and_reading_is_quick_and_imports_no_botocore(
    seaweedfs: Served, fresh_prefix: str
) -> None:
    url = f"{seaweedfs.url}/{fresh_prefix}"
    open_store(url, seaweedfs.options).write("key", b"data")
    script = (
        "import json, sys\n"
        "from prefect_datasets.core.store import open_store\n"
        "url, options = json.loads(sys.argv[1])\n"
        "assert open_store(url, options).read('key') == b'data'\n"
        "heavy = {'botocore', 's3fs', 'fsspec', 'aiohttp', 'pyarrow', 'prefect', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    given = json.dumps([url, seaweedfs.options])
    done = subprocess.run(
        [sys.executable, "-c", script, given], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


class _Reply:
    def __init__(self, region: str | None) -> None:
        self._region = region

    def read(self) -> bytes:
        return b""

    def getheader(self, name: str) -> str | None:
        return self._region if name == "x-amz-bucket-region" else None


class _Amazon(http.client.HTTPConnection):
    """Stands for Amazon, which tests can't reach."""

    def __init__(self, region: str | None, *, breaks: bool = False) -> None:
        super().__init__("localhost")
        self._region, self._breaks = region, breaks

    def request(self, *args: object, **kwargs: object) -> None:
        if self._breaks:
            raise OSError

    def getresponse(self) -> Any:
        return _Reply(self._region)


def test_the_region_is_the_buckets_own() -> None:
    assert bucket_region("b", "us-east-1", connection=_Amazon("eu-west-3")) == "eu-west-3"
    assert bucket_region("b", "us-east-1", connection=_Amazon(None)) == "us-east-1"
    assert bucket_region("b", "eu-west-1", connection=_Amazon(None, breaks=True)) == "eu-west-1"
