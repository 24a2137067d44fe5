"""What a user's s3fs options mean to obstore, and where credentials come from.

`plan_fast` decides, purely: a `FastPlan` or None, where an option asks for something that only
s3fs does. `Settings` then fills in what the options leave open, in the order in which botocore
looks: environment, profile, and whatever else its credential chain knows. botocore itself is
imported only where keys or an AWS configuration file make it necessary, because it is slow to load.
"""

# ruff: noqa: PLC0415 - clients are slow to load, and only some stores need them

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from prefect_datasets.core.errors import AccessDeniedError, InvalidInputError

CONNECT_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 30.0

# Options that change how s3fs works inside, not what the store sees.
_NO_MATTER = {
    "use_listings_cache",
    "listings_expiry_time",
    "max_paths",
    "skip_instance_cache",
    "default_block_size",
    "default_fill_cache",
    "default_cache_type",
    "cache_regions",
    "max_concurrency",
    "fixed_upload_size",
    "local_expiry_check",
    "asynchronous",
    "version_aware",
}
_ADDRESS = re.compile(r"https?://[^/\s?#]+(/[^\s?#]*)?")
_CLIENT = {"endpoint_url", "region_name", "use_ssl", "verify"}
_CLIENT_KEYS = {"aws_access_key_id", "aws_secret_access_key", "aws_session_token"}
_CONFIG = {
    "connect_timeout",
    "read_timeout",
    "retries",
    "max_pool_connections",
    "region_name",
    "signature_version",
    "s3",
    "tcp_keepalive",
    "request_checksum_calculation",
    "response_checksum_validation",
}
_OWN = {
    "key",
    "username",
    "secret",
    "password",
    "token",
    "anon",
    "endpoint_url",
    "use_ssl",
    "requester_pays",
    "profile",
    "client_kwargs",
    "config_kwargs",
    "s3_additional_kwargs",
}
_ENCRYPTION = {"ServerSideEncryption": "server_side_encryption", "SSEKMSKeyId": "sse_kms_key_id"}


@dataclass(frozen=True, slots=True)
class FastPlan:
    """What obstore has to be told.

    Attributes:
        endpoint: The address of the server, or None for Amazon's own or what the environment names.
        region: Its region, or None for what the environment names.
        key: Access key, or None for what the environment names.
        secret: Secret key, likewise.
        token: Session token, or None.
        anonymous: Whether requests are unsigned.
        profile: The profile of the AWS configuration to use, or None.
        verify: Whether certificates are checked, or a file of certificate authorities.
        config: Other settings of the store, in obstore's words.
        connect_timeout: Seconds to wait for a connection.
        read_timeout: Seconds to wait for the next bytes.
    """

    endpoint: str | None = None
    region: str | None = None
    key: str | None = None
    secret: str | None = None
    token: str | None = None
    anonymous: bool = False
    profile: str | None = None
    verify: bool | str = True
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    connect_timeout: float = CONNECT_TIMEOUT_SECONDS
    read_timeout: float = READ_TIMEOUT_SECONDS


def plan_fast(bucket: str, options: Mapping[str, Any]) -> FastPlan | None:
    """Translate s3fs options, or return None if any asks for what only s3fs does."""
    client = _nested(options, "client_kwargs")
    config = _nested(options, "config_kwargs")
    extra = _nested(options, "s3_additional_kwargs")
    addressing = _nested(config, "s3")
    if (
        set(options) - _OWN - _NO_MATTER
        or set(client) - _CLIENT - _CLIENT_KEYS
        or set(config) - _CONFIG
        or set(extra) - set(_ENCRYPTION)
        or options.get("version_aware")
        or options.get("use_ssl") is False
        or client.get("use_ssl") is False
        or config.get("signature_version") not in (None, "s3v4")
        or set(addressing) - {"addressing_style"}
        or addressing.get("addressing_style") == "virtual"
        or ":" in bucket  # the name of an access point
        or bucket.endswith("--x-s3")  # a directory bucket has sessions of its own
    ):
        return None
    more = {theirs: extra[ours] for ours, theirs in _ENCRYPTION.items() if ours in extra}
    if options.get("requester_pays"):
        more["request_payer"] = True
    return FastPlan(
        endpoint=options.get("endpoint_url") or client.get("endpoint_url"),
        region=client.get("region_name") or config.get("region_name"),
        key=options.get("key") or options.get("username") or client.get("aws_access_key_id"),
        secret=options.get("secret")
        or options.get("password")
        or client.get("aws_secret_access_key"),
        token=options.get("token") or client.get("aws_session_token"),
        anonymous=bool(options.get("anon")),
        profile=options.get("profile"),
        verify=client.get("verify", True),
        config=more,
        connect_timeout=_seconds(config.get("connect_timeout"), CONNECT_TIMEOUT_SECONDS),
        read_timeout=_seconds(config.get("read_timeout"), READ_TIMEOUT_SECONDS),
    )


def _nested(options: Mapping[str, Any], name: str) -> dict[str, Any]:
    return options.get(name) or {}


def _seconds(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) else default


class Credentials:
    """Gives obstore the keys to sign with, as often as it asks."""

    def __init__(self, give: Callable[[], tuple[str, str, str | None]], *, fixed: bool) -> None:
        self._give = give
        self._fixed = fixed

    def __call__(self) -> dict[str, Any]:
        """Return the keys; those of botocore's are asked for again after five minutes."""
        key, secret, token = self._give()
        until = None if self._fixed else datetime.now(UTC) + timedelta(minutes=5)
        return {
            "access_key_id": key,
            "secret_access_key": secret,
            "token": token,
            "expires_at": until,
        }


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the server is and how to sign.

    Attributes:
        endpoint: Address of the server, or None for Amazon's own.
        region: Region, or None if nobody says.
        credentials: The keys, or None for unsigned requests.
        authorities: File of certificate authorities, or None for the system's.
        verify: Whether certificates are checked.
    """

    endpoint: str | None
    region: str | None
    credentials: Credentials | None
    authorities: str | None
    verify: bool


def settle(plan: FastPlan, environment: Mapping[str, str] | None = None) -> Settings:
    """Fill in from the environment and the AWS configuration what the plan leaves open.

    Raises:
        AccessDeniedError: There are no credentials.
        InvalidInputError: The address of the server is none.
    """
    environment = os.environ if environment is None else environment
    endpoint = plan.endpoint or _endpoint_of(environment)
    region = plan.region or environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION")
    credentials = None if plan.anonymous else _plain_credentials(plan, environment)
    if _needs_botocore(plan, environment, endpoint, credentials):
        session = _session(plan.profile)
        endpoint = endpoint or _configured_endpoint(session)
        region = region or session.get_config_variable("region")
        if not plan.anonymous:
            credentials = credentials or _chain_credentials(session)
    if endpoint:
        check_endpoint(endpoint)
    authorities = plan.verify if isinstance(plan.verify, str) else None
    return Settings(
        endpoint=endpoint,
        region=region,
        credentials=credentials,
        authorities=authorities or environment.get("AWS_CA_BUNDLE") or None,
        verify=bool(plan.verify),
    )


def check_endpoint(endpoint: str) -> None:
    """Raise `InvalidInputError` unless a server can have the address: clients panic at others."""
    if _ADDRESS.fullmatch(endpoint) is None:
        raise InvalidInputError(
            "Not the address of a server",
            subject=endpoint,
            hint="Write endpoint_url as in http://HOST:PORT or https://HOST.",
        )


def _endpoint_of(environment: Mapping[str, str]) -> str | None:
    if environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or None


def _plain_credentials(plan: FastPlan, environment: Mapping[str, str]) -> Credentials | None:
    """Return keys that stand in the options, or in the environment if no profile is named."""
    if plan.key and plan.secret:
        given = (plan.key, plan.secret, plan.token)
        return Credentials(lambda: given, fixed=True)
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if key and secret and not plan.profile:
        token = environment.get("AWS_SESSION_TOKEN") or environment.get("AWS_SECURITY_TOKEN")
        found = (key, secret, token or None)
        return Credentials(lambda: found, fixed=True)
    return None


def _needs_botocore(
    plan: FastPlan,
    environment: Mapping[str, str],
    endpoint: str | None,
    credentials: Credentials | None,
) -> bool:
    if plan.profile or (credentials is None and not plan.anonymous):
        return True
    if endpoint:
        return False
    # The file may name an endpoint, even where keys and region stand elsewhere.
    return config_file(environment).exists()


def config_file(environment: Mapping[str, str] | None = None) -> Path:
    """Return the path of the AWS configuration file, which need not be there."""
    environment = os.environ if environment is None else environment
    return Path(environment.get("AWS_CONFIG_FILE") or "~/.aws/config").expanduser()


def _session(profile: str | None) -> Any:
    import botocore.session  # pyright: ignore[reportMissingTypeStubs]

    session = cast("Any", botocore.session.Session(profile=profile))
    session.get_scoped_config()  # refuses a profile that does not exist
    return session


def _configured_endpoint(session: Any) -> str | None:
    from botocore.configprovider import (  # pyright: ignore[reportMissingTypeStubs]
        ConfiguredEndpointProvider,
    )

    provider: Any = ConfiguredEndpointProvider(
        full_config=session.full_config, scoped_config=session.get_scoped_config(), client_name="s3"
    )
    return provider.provide()


def _chain_credentials(session: Any) -> Credentials:
    found = session.get_credentials()
    if found is None:
        raise AccessDeniedError(
            "No credentials for S3",
            hint="Set key and secret, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile; "
            "for a public bucket set anon=true.",
        )

    def give() -> tuple[str, str, str | None]:
        frozen = found.get_frozen_credentials()
        return frozen.access_key, frozen.secret_key, frozen.token

    return Credentials(give, fixed=False)
