"""Publish dataset versions: `publish_outputs` in code, `publish_directory` as a deployment."""

from pathlib import Path
from typing import Annotated, Literal

from prefect import flow
from pydantic import BaseModel, ConfigDict, Field

from prefect_datasets.blocks.choice import choose_store
from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.metadata.declarations import VersionDeclaration, parse_base
from prefect_datasets.core.publish import publish as engine
from prefect_datasets.core.uri import DatasetUri, check_new_version_name
from prefect_datasets.core.versions.catalog import DatasetVersion
from prefect_datasets.flows.forms import (
    AliasNames,
    NewVersionName,
    OptionalDatasetName,
    OptionalVersionUri,
    Patterns,
    described,
    titled,
)
from prefect_datasets.flows.spread import publish_plan
from prefect_datasets.flows.templates import fill

PACKAGING: dict[str, bool | Literal["auto"] | None] = {
    "store": None,
    "on": True,
    "off": False,
    "auto": "auto",
}
SWITCH = {"store": None, "on": True, "off": False}


def publish_outputs(
    out: str | Path,
    *,
    store: DatasetStore | str | None = None,
    packaging: bool | Literal["auto"] | None = None,
    individual_files: bool | None = None,
    max_package_bytes: int | None = None,
) -> list[DatasetVersion]:
    """Package, upload and commit the versions that the outputs' metadata declares.

    In a flow the work is spread over task runs, one per part of a version (about a GiB); in a task
    or outside a run it is done right here. From an async flow, call it by
    `await asyncio.to_thread(publish_outputs, out)`, so that its event loop goes on meanwhile.

    Args:
        out: Folder of the outputs; where tasks run on several machines, one they share.
        store: A block, the name of a saved one, or a URL; left out, the default store.
        packaging: Whether versions are packaged, whatever their metadata and the environment say;
            "auto" decides by number and size of the files.
        individual_files: Whether each file is also stored as an object of its own.
        max_package_bytes: Most content bytes in one package.

    Returns:
        The versions, ordered by URI.

    Raises:
        InvalidInputError: Metadata or file names are wrong; all faults are listed, nothing is
            uploaded.
        AlreadyPublishedError: A version exists with other files.
    """
    block = choose_store(store)
    policy = block.policy(
        packaging=packaging,
        individual_files=individual_files,
        max_package_bytes=max_package_bytes,
    )
    plan = engine.plan_directory(Path(out), store=block.open(), policy=policy)
    return publish_plan(plan, block)


class PublishOptions(BaseModel):
    """What else can be said of a new version; a form in the Prefect UI."""

    model_config = ConfigDict(frozen=True)

    base: OptionalVersionUri = Field(
        default="",
        title="Made from",
        description="A version or alias whose files the new one inherits: dataset://NAME/VERSION.",
    )
    exclude: Patterns = Field(
        default_factory=list[str],
        title="Leave out",
        description="Paths or patterns of inherited files that the new version does not have.",
    )
    aliases: AliasNames = Field(
        default_factory=list[str],
        title="Aliases",
        description="Names in the dataset to move to the new version when it is there.",
    )
    packaging: Literal["store", "on", "off", "auto"] = Field(
        default="store",
        title="Packaging",
        description="Whether the version gets packages; 'store' leaves it to the store's settings.",
    )
    individual_files: Literal["store", "on", "off"] = Field(
        default="store",
        title="Individual files",
        description="Whether each file is also stored as an object of its own.",
    )


@described
@flow(name="publish-directory", flow_run_name="publish {directory}")
def publish_directory(
    store: Annotated[DatasetStore, titled("Store")],
    directory: Annotated[str, titled("Directory", min_length=1)],
    dataset: Annotated[OptionalDatasetName, titled("Dataset")] = "",
    version: Annotated[NewVersionName, titled("Version")] = "{scheduled:%Y-%m-%d}",
    options: Annotated[PublishOptions, titled("More")] = PublishOptions(),  # noqa: B008 - frozen
) -> list[DatasetVersion]:
    """Publish a directory of the machine that runs this as a dataset version.

    Args:
        store: Where to publish.
        directory: The directory; all its files become members of the version.
        dataset: Name of the dataset: lower case letters, digits, dots, underscores, dashes. Empty:
            the metadata in the directory says which versions to make; of the other fields only
            packaging counts then.
        version: Name of the version: letters, digits, dots, underscores, dashes.
            {scheduled:%Y-%m-%d} is the day the run was due, in UTC;
            {scheduled@Europe/Berlin:%Y-%m-%d} the day on a clock in Berlin.
        options: What else can be said of the version.
    """
    plan = engine.plan_directory(
        Path(directory).expanduser(),
        store=store.open(),
        to=[declaration(dataset, version, options)] if dataset else None,
        policy=store.policy(
            packaging=PACKAGING[options.packaging],
            individual_files=SWITCH[options.individual_files],
        ),
    )
    if not plan.versions:
        raise is_empty(directory)
    return publish_plan(plan, store)


def is_empty(source: str) -> InvalidInputError:
    """Return the error for a source that no version is made of."""
    return InvalidInputError(
        "Nothing says which dataset version to make",
        subject=source,
        hint="Name a dataset, or declare the version in the metadata that lies there.",
    )


def declaration(dataset: str, version: str, options: PublishOptions) -> VersionDeclaration:
    """Return the version that a form describes."""
    uri = DatasetUri.parse(fill(f"dataset://{dataset}/{version}"))
    check_new_version_name(uri)
    return VersionDeclaration(
        uri=uri,
        base=parse_base(fill(options.base), uri) if options.base else None,
        exclude=tuple(options.exclude),
        aliases=tuple(fill(alias) for alias in options.aliases),
    )
