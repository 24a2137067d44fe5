"""Publish what lies in a store already: `publish_prefix` as a deployment."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from prefect_datasets.blocks.choice import choose_store
from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.publish.prefix import plan_prefix
from prefect_datasets.core.versions.catalog import DatasetVersion
from prefect_datasets.flows.forms import (
    BlockName,
    NewVersionName,
    OptionalDatasetName,
    Patterns,
    Url,
    described,
    titled,
)
from prefect_datasets.flows.publish import PACKAGING, SWITCH, PublishOptions, declaration, is_empty
from prefect_datasets.flows.spread import publish_plan
from prefect_datasets.flows.templates import fill


class PrefixOptions(PublishOptions):
    """What else can be said of a version made of a prefix; a form in the Prefect UI."""

    include: Patterns = Field(
        default_factory=list[str],
        title="Only these objects",
        description="Patterns of the objects that are wanted, relative to the prefix, such as "
        "**/*.csv. None: all.",
    )
    credentials: BlockName = Field(
        default="",
        title="Credentials",
        description="Name of a saved Dataset Store whose options open the prefix. Empty: those of "
        "the store, where it is of the same kind, else those of the machine.",
    )
    read_all: bool = Field(
        default=False,
        title="Read everything again",
        description="Whether objects are read, too, that did not change since they were published.",
    )


@described
@flow(name="publish-prefix", flow_run_name="publish {prefix}")
def publish_prefix(
    store: Annotated[DatasetStore, titled("Store")],
    prefix: Annotated[Url, titled("Prefix")],
    dataset: Annotated[OptionalDatasetName, titled("Dataset")] = "",
    version: Annotated[NewVersionName, titled("Version")] = "{scheduled:%Y-%m-%d}",
    options: Annotated[PrefixOptions, titled("More")] = PrefixOptions(),  # noqa: B008 - frozen
) -> list[DatasetVersion]:
    """Publish what lies below a prefix of any store as a dataset version, never by the local disk.

    Args:
        store: Where to publish.
        prefix: The prefix, such as s3://bucket/raw or s3://bucket/raw/**/*.csv.
            {scheduled:%Y-%m-%d} in it is the day the run was due.
        dataset: Name of the dataset: lower case letters, digits, dots, underscores, dashes. Empty:
            the metadata below the prefix says which versions to make.
        version: Name of the version: letters, digits, dots, underscores, dashes.
            {scheduled:%Y-%m-%d} is the day the run was due, in UTC;
            {scheduled@Europe/Berlin:%Y-%m-%d} the day on a clock in Berlin.
        options: What else can be said of the version.
    """
    named = options.credentials
    plan = plan_prefix(
        fill(prefix),
        store=store.open(),
        options=choose_store(named).spec().options if named else None,
        include=options.include,
        to=[declaration(dataset, version, options)] if dataset else None,
        policy=store.policy(
            packaging=PACKAGING[options.packaging],
            individual_files=SWITCH[options.individual_files],
        ),
        read_all=options.read_all,
    )
    if not plan.versions:
        raise is_empty(prefix)
    return publish_plan(plan, store)
