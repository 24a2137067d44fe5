"""Versions that a schedule makes: `publish_recurring` as a deployment."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from prefect import flow
from pydantic import BaseModel, ConfigDict, Field

from prefect_datasets.blocks.dataset_store import DatasetStore
from prefect_datasets.core.errors import AlreadyPublishedError, InvalidInputError
from prefect_datasets.core.metadata.declarations import VersionDeclaration
from prefect_datasets.core.publish import publish as engine
from prefect_datasets.core.publish.plan import Plan
from prefect_datasets.core.publish.prefix import plan_prefix
from prefect_datasets.core.uri import DatasetUri, check_new_version_name
from prefect_datasets.core.versions import catalog
from prefect_datasets.core.versions.catalog import DatasetVersion
from prefect_datasets.core.versions.recurring import Turn, due_of, properties
from prefect_datasets.flows.due import (
    fill_for,
    is_before_its_day,
    is_repeated,
    read_due,
    repeats,
)
from prefect_datasets.flows.forms import (
    AliasNames,
    DatasetName,
    NewVersionName,
    Patterns,
    described,
    titled,
)
from prefect_datasets.flows.publish import PACKAGING, SWITCH
from prefect_datasets.flows.spread import publish_plan
from prefect_datasets.tasks.recurring import look_up, move_alias
from prefect_datasets.tasks.run import Logger, current_run, scheduled_start


class RecurringOptions(BaseModel):
    """What else can be said of recurring versions; a form in the Prefect UI."""

    model_config = ConfigDict(frozen=True)

    contents: Literal["new files", "all files"] = Field(
        default="new files",
        title="The source holds",
        description="'new files': files that are new or changed; all others are those of the "
        "version that was due before. 'all files': what is not there is not in the version.",
    )
    exclude: Patterns = Field(
        default_factory=list[str],
        title="Leave out",
        description="Paths or patterns of files of the version before that this one does not have.",
    )
    aliases: AliasNames = Field(
        default_factory=list[str],
        title="Aliases",
        description="Names that stand for the newest version, such as nightly. They are moved when "
        "it is there, and never back to an older one.",
    )
    due: str = Field(
        default="",
        title="Due",
        description="To make a version that was missed: when it was due, such as 2026-11-22 or "
        "2026-11-22T01:00. Empty: when the run is due.",
    )
    packaging: Literal["store", "on", "off", "auto"] = Field(
        default="store",
        title="Packaging",
        description="Whether versions get packages; 'store' leaves it to the store's settings.",
    )
    individual_files: Literal["store", "on", "off"] = Field(
        default="store",
        title="Individual files",
        description="Whether each file is also stored as an object of its own.",
    )


@described
@flow(name="publish-recurring", flow_run_name="publish {dataset} from {source}")
def publish_recurring(
    store: Annotated[DatasetStore, titled("Store")],
    source: Annotated[str, titled("Source", min_length=1)],
    dataset: Annotated[DatasetName, titled("Dataset")],
    version: Annotated[NewVersionName, titled("Version")] = "{scheduled:%Y-%m-%d}",
    options: Annotated[RecurringOptions, titled("More")] = RecurringOptions(),  # noqa: B008 - frozen
) -> DatasetVersion | None:
    """Make the version that is due, once, from the one that was due before it.

    Late, doubled, repeated and back-filled runs make the versions that were due, in any order.

    Args:
        store: Where to publish.
        source: A directory of the machine that runs this, or a prefix of a store such as
            s3://bucket/raw. {scheduled:%Y-%m-%d} in it is the day the run was due.
        dataset: Name of the dataset.
        version: Name of the version: {scheduled:%Y-%m-%d} is the day the run was due, in UTC;
            {scheduled@Europe/Berlin:%Y-%m-%d} the day on a clock in Berlin.
        options: What else can be said of the versions.

    Returns:
        The version, made now or before; None if it was made and deleted.
    """
    run = current_run()
    assert run is not None, "a flow run"
    due = read_due(options.due, name=version) if options.due else scheduled_start()
    uri = DatasetUri.parse(fill_for(f"dataset://{dataset}/{version}", due))
    check_new_version_name(uri)
    if repeats(version):
        run.logger.warning(
            "%s: two hours have one name when the clocks go back; add %%Z to it", version
        )
    turn = look_up(uri, due, options.aliases, store=store)
    if turn.is_deleted:
        run.logger.warning("%s was made and deleted: it is not made again", uri)
        return None
    is_new = not turn.is_done and _make(turn, store, fill_for(source, due), options, run.logger)
    if not is_new:
        _say_it_is_there(uri, due, version, store, run.logger)
    for alias in options.aliases:
        if moved := move_alias(uri, alias, is_new=is_new, store=store):
            run.logger.info("%s is %s now", alias, moved.version)
    return DatasetVersion.from_record(catalog.find(store.open(), uri))


def _make(
    turn: Turn, store: DatasetStore, source: str, options: RecurringOptions, logger: Logger
) -> bool:
    """Make a version; return whether it was this run that made it."""
    _say_what_it_is_made_from(turn, logger)
    try:
        publish_plan(_plan(turn, store, source, options), store)
    except AlreadyPublishedError:
        # Another run of the same night was quicker, and found other files.
        if catalog.read_record(store.open(), turn.uri) is None:
            raise
        return False
    return True


def _plan(turn: Turn, store: DatasetStore, source: str, options: RecurringOptions) -> Plan:
    has_all = options.contents == "all files" and turn.base is not None
    declaration = VersionDeclaration(
        uri=turn.uri,
        base=turn.base,
        exclude=("**",) if has_all else tuple(options.exclude) if turn.base else (),
        properties=properties(turn.due),
    )
    policy = store.policy(
        packaging=PACKAGING[options.packaging], individual_files=SWITCH[options.individual_files]
    )
    if "://" in source:
        return plan_prefix(source, store=store.open(), to=[declaration], policy=policy)
    path = Path(source).expanduser()
    return engine.plan_directory(path, store=store.open(), to=[declaration], policy=policy)


def _say_what_it_is_made_from(turn: Turn, logger: Logger) -> None:
    base = f"made from {turn.base}" if turn.base else "no version was due before it"
    logger.info("%s, due %s: %s", turn.uri, _utc(turn.due), base)
    if turn.base is None and turn.n_later:
        logger.warning(
            "%s has the files of the source alone: all other versions were due later",
            turn.uri,
        )


def _say_it_is_there(
    uri: DatasetUri, due: datetime, name: str, store: DatasetStore, logger: Logger
) -> None:
    """Say that there is nothing to make.

    Raises:
        InvalidInputError: It was made for another time that has the same name by the turning of
            the clocks.
    """
    record = catalog.find(store.open(), uri)
    made_for = due_of(record)
    if is_repeated(name, made_for, due):
        raise InvalidInputError(
            f"The clocks went back, and the version was made for {_utc(made_for)}",
            subject=str(uri),
            hint="Add %Z to the version's name, or leave its time zone out.",
        )
    if made_for != due and is_before_its_day(name, due):
        raise InvalidInputError(
            "The clocks went forward at midnight, and the run was due before: on the day of a "
            "version that is there",
            subject=str(uri),
            hint="Let the schedule run at 3:00; this night can be made up for with `due`.",
        )
    why = "" if made_for == due else f", when {_utc(made_for)} was due"
    logger.info("%s was made %sZ%s: nothing to do", uri, record.created[:19], why)


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
