"""Where things can be looked at: an object in its cloud's console, a run in the Prefect UI."""

import os
import re
from urllib.parse import quote
from uuid import UUID

from prefect.settings import get_current_settings

from prefect_datasets.core.store import Store

_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")


def web_page(store: Store, key: str) -> str:
    """Return the address of an object in the console of its cloud, or an empty string.

    A store with an endpoint of its own has no console that is known here. Opening the page takes a
    login of that cloud; the address itself is no secret.
    """
    if store.endpoint or any(os.environ.get(name) for name in _ENDPOINTS):
        return ""
    kind, _, rest = store.url_of(key).partition("://")
    bucket, _, path = rest.partition("/")
    if kind == "s3":
        return f"https://console.aws.amazon.com/s3/object/{bucket}?prefix={quote(path, safe='')}"
    if kind == "gs":
        return f"https://console.cloud.google.com/storage/browser/_details/{bucket}/{quote(path)}"
    return ""


def run_page(flow_run_id: UUID | str) -> str:
    """Return the address of a flow run in the Prefect UI, or an empty string."""
    ui = get_current_settings().ui_url
    return f"{ui.rstrip('/')}/runs/flow-run/{flow_run_id}" if ui else ""


def artifact_key(dataset: str) -> str:
    """Return the key of a dataset's summaries, so that they form one history.

    Prefect allows lower case letters, digits and dashes only; names that become the same that way
    are told apart by nothing but the text.
    """
    return "dataset-" + re.sub(r"[^a-z0-9]+", "-", dataset).strip("-")


def artifact_page(key: str) -> str:
    """Return the address of all artifacts of a key in the Prefect UI, or an empty string."""
    ui = get_current_settings().ui_url
    return f"{ui.rstrip('/')}/artifacts/key/{key}" if ui else ""
