"""Saved blocks where no Prefect API is configured: read from Prefect's database, without a server.

Prefect itself would start a temporary server to answer, which takes several times as long, writes
to the database and tells on the terminal what troubles it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.server.database import provide_database_interface
from prefect.server.models.block_documents import read_block_document_by_name
from sqlalchemy.engine import make_url

from prefect_datasets.block_names import BLOCK_TYPE
from prefect_datasets.core.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL


def saved_store(name: str) -> dict[str, Any] | None:
    """Return the fields of a saved DatasetStore block, secrets included, or None.

    Raises:
        StoreError: The database can't be read.
    """
    url = make_url(provide_database_interface().database_config.connection_url)
    if _is_missing(url):  # to open it would make it
        return None
    try:
        return asyncio.run(_read(name))
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise StoreError(
            f"Prefect's database could not be read ({type(error).__name__}: {said})",
            subject=url.render_as_string(),  # without its password
            hint="Run `prefect server database upgrade`, set PREFECT_API_URL, or name the store by "
            "its URL.",
        ) from error


def _is_missing(url: URL) -> bool:
    """Tell whether the database is a file that is not there."""
    file = url.database or ""
    return (
        url.get_backend_name() == "sqlite"
        and not file.startswith("file:")
        and not Path(file).exists()
    )


async def _read(name: str) -> dict[str, Any] | None:
    database = provide_database_interface()
    try:
        async with database.session_context() as session:
            document = await read_block_document_by_name(
                session, name=name, block_type_slug=BLOCK_TYPE, include_secrets=True
            )
    finally:
        await (await database.engine()).dispose()
    return document.data if document else None
