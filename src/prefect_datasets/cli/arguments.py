"""What can be written on the command line."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from typing import Any, NoReturn

from prefect_datasets.cli import values

_PROGRAM = "prefect-datasets"
_COLUMNS = 80  # where there is no terminal


class _Help(argparse.HelpFormatter):
    """Knows how wide the terminal is; argparse imports `shutil` for each argument to find out."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    with suppress(ValueError, KeyError):
        if (columns := int(os.environ["COLUMNS"])) > 0:
            return columns
    with suppress(OSError):
        return os.get_terminal_size(1).columns or _COLUMNS
    return _COLUMNS


class _Arguments(argparse.ArgumentParser):
    """Says what is wrong on one line, without the usage in front of it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Help, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (`{self.prog} --help` shows what can be written)\n")


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """Build the parser; `call` in its result is `module:function` of the subcommand.

    Args:
        command: The subcommand that is asked for, if that is known: no other is set up then, for
            all of them cost a third of what the interpreter's start does.
    """
    root = _Arguments(
        prog=_PROGRAM,
        description="Immutable, packaged dataset versions on any object store.",
        epilog=f"`{_PROGRAM} COMMAND --help` explains a command.",
    )
    root.add_argument("--version", action="store_true", help="print the release and exit")
    commands = root.add_subparsers(
        title="commands",
        prog=_PROGRAM,
        metavar="COMMAND",
        dest="command",
        parser_class=_Arguments,
    )
    groups = dict.fromkeys([_GROUP_OF[command]] if command in _GROUP_OF else _GROUP_OF.values())
    for add in groups:
        add(commands)
    return root


# argparse has no public name for what `add_subparsers` returns.
_Commands = argparse._SubParsersAction  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _command(
    commands: _Commands[_Arguments], name: str, call: str, text: str, *, store: bool = True
) -> _Arguments:
    """Add a subcommand with the options that all have."""
    command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    command.set_defaults(call=f"prefect_datasets.cli.{call}")
    if store:
        command.add_argument(
            "--store",
            metavar="STORE",
            help="URL of the store, or name of a saved DatasetStore block (default: the saved "
            "block `default`, else PREFECT_DATASETS_STORE, else the embedded store)",
        )
    command.add_argument("--json", action="store_true", help="print JSON for programs")
    return command


def _add_making(commands: _Commands[_Arguments]) -> None:
    demo = _command(
        commands,
        "demo",
        "demo:demo",
        "publish, train on, change and look at real images",
        store=False,
    )
    demo.add_argument(
        "--dir", metavar="DIR", help="where the demo keeps all it writes (default: a new folder)"
    )
    _add_publish(commands)
    package = _command(
        commands, "package", "make:package", "make packages for a version that has none"
    )
    package.add_argument("uri", type=values.uri, metavar="URI")


def _add_publish(commands: _Commands[_Arguments]) -> None:
    publish = _command(commands, "publish", "make:publish", "publish a folder as a dataset version")
    publish.add_argument(
        "directory",
        metavar="DIR",
        help="the folder with the files, or the URL of objects: s3://BUCKET/FOLDER",
    )
    publish.add_argument(
        "--to",
        type=values.new_uri,
        metavar="URI",
        help="the version to make, of all files (default: what the metadata in DIR declares)",
    )
    publish.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="GLOB",
        help="only objects that match, where DIR is a URL (repeatable)",
    )
    publish.add_argument(
        "--packaging",
        choices=("on", "off", "auto"),
        help="make packages: on, off, or auto: where there are many small files (default: what the "
        "metadata and the store say)",
    )
    publish.add_argument(
        "--individual-files",
        choices=("on", "off"),
        help="also store each file as an object of its own; off leaves the packages alone "
        "(default: what the store says, else on)",
    )
    _add_base(publish)
    publish.add_argument(
        "--alias",
        action="append",
        default=[],
        type=values.alias,
        metavar="NAME",
        help="alias to point at the new version (repeatable)",
    )


def _add_base(publish: _Arguments) -> None:
    publish.add_argument(
        "--from",
        dest="base",
        type=values.uri,
        metavar="URI",
        help="take over the files of this version",
    )
    publish.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="GLOB",
        help="inherited files to leave out (repeatable)",
    )


def _add_running(commands: _Commands[_Arguments]) -> None:
    from prefect_datasets.cli.run_arguments import add_run  # noqa: PLC0415  no other needs it

    run = _command(commands, "run", "step:run", "run a step or a pipeline of a valohai.yaml")
    add_run(run)
    _add_cache_dir(run)


def _add_serving(commands: _Commands[_Arguments]) -> None:
    serve = _command(
        commands,
        "serve",
        "serve:serve",
        "serve all shipped flows: forms in the Prefect UI, whose runs this process runs",
    )
    serve.add_argument(
        "--limit",
        type=values.positive,
        metavar="N",
        help="most runs at once (default: PREFECT_RUNNER_PROCESS_LIMIT, else 5)",
    )


def _add_reading(commands: _Commands[_Arguments]) -> None:
    listing = _command(commands, "list", "read:list_", "list datasets, or the versions of one")
    listing.add_argument("dataset", nargs="?", type=values.dataset, metavar="DATASET")
    show = _command(commands, "show", "read:show_version", "show what a version is made of")
    show.add_argument("uri", type=values.uri, metavar="URI")
    files = _command(commands, "files", "read:files", "list the files of a version")
    files.add_argument("uri", type=values.uri, metavar="URI")
    _add_include(files)
    diff = _command(commands, "diff", "read:diff", "show what changed from one version to another")
    diff.add_argument("old", type=values.uri, metavar="URI")
    diff.add_argument("new", type=values.uri, metavar="URI")


def _add_resolving(commands: _Commands[_Arguments]) -> None:
    resolve = _command(
        commands, "resolve", "resolve:resolve", "make a version's files available on this machine"
    )
    resolve.add_argument(
        "uri",
        type=values.resolvable,
        metavar="URI",
        help="dataset://NAME/VERSION, datum://ID or a plain URL",
    )
    resolve.add_argument(
        "--to", metavar="DIR", help="folder to make (default: print the path in the cache)"
    )
    _add_include(resolve)
    resolve.add_argument(
        "--shard",
        type=values.shard,
        metavar="K/N",
        help="only one of N equal shares: 0/N to (N-1)/N",
    )
    resolve.add_argument(
        "--link",
        choices=("symlink", "hardlink", "copy"),
        default="symlink",
        help="what DIR is: a link to the read-only files, a folder of hard links, or a copy that "
        "can be written to (default: symlink)",
    )
    resolve.add_argument(
        "--keep-directories",
        choices=("full", "suffix", "none"),
        default="full",
        help="folders to keep: all, those below the wildcard, or none (default: full)",
    )
    _add_cache_dir(resolve)


def _add_maintaining(commands: _Commands[_Arguments]) -> None:
    verify = _command(commands, "verify", "maintain:verify", "check a version against its digests")
    verify.add_argument("uri", type=values.uri, metavar="URI")
    depth = verify.add_mutually_exclusive_group()
    depth.add_argument(
        "--quick",
        action="store_true",
        help="check that every object exists with the right size (default)",
    )
    depth.add_argument("--deep", action="store_true", help="read every byte of both copies")
    verify.add_argument(
        "--repair", action="store_true", help="write a damaged copy anew from the good one"
    )
    alias = _command(commands, "alias", "maintain:alias", "point an alias at a version")
    alias.add_argument("uri", type=values.uri, metavar="URI")
    alias.add_argument("alias", type=values.alias, metavar="NAME")
    delete = _command(commands, "delete", "maintain:delete", "delete a version")
    delete.add_argument("uri", type=values.uri, metavar="URI")
    _add_yes(delete)
    garbage = _command(
        commands, "gc", "maintain:collect_garbage", "free what no version uses any more"
    )
    garbage.add_argument(
        "--outputs-older-than",
        type=values.n_days,
        metavar="DAYS",
        help="also free outputs that are in no version, such as those of failed steps, and that no "
        "datum alias names (default: they stay)",
    )
    _add_yes(garbage)


def _add_cache(commands: _Commands[_Arguments]) -> None:
    cache = commands.add_parser(
        "cache",
        help="look after the versions cached on this machine",
        description="Look after the versions cached on this machine.",
    )
    actions = cache.add_subparsers(
        title="commands", metavar="COMMAND", dest="action", required=True, parser_class=_Arguments
    )
    listing = _command(actions, "list", "cache:list_", "list what is cached")
    prune = _command(actions, "prune", "cache:prune", "free what is not in use, least used first")
    prune.add_argument(
        "--max-bytes",
        type=values.n_bytes,
        metavar="SIZE",
        help="keep up to this much, such as 50G (default: the store's cache budget, else nothing)",
    )
    verify = _command(actions, "verify", "cache:verify", "check cached files against their digests")
    verify.add_argument(
        "--repair", action="store_true", help="free what is damaged, so that it is fetched anew"
    )
    clear = _command(actions, "clear", "cache:clear", "free everything that is not in use")
    _add_yes(clear)
    for command in (listing, prune, verify, clear):
        _add_cache_dir(command)


def _add_include(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="GLOB",
        help="only files that match (repeatable): * within a folder, ** across",
    )


def _add_cache_dir(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--cache-dir",
        metavar="DIR",
        help="the cache's folder (default: PREFECT_DATASETS_CACHE, else below the Prefect home)",
    )


def _add_yes(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--yes", action="store_true", help="do it; without this, only say what would be done"
    )


_GROUP_OF = {
    "demo": _add_making,
    "publish": _add_making,
    "package": _add_making,
    "run": _add_running,
    "serve": _add_serving,
    "list": _add_reading,
    "show": _add_reading,
    "files": _add_reading,
    "diff": _add_reading,
    "resolve": _add_resolving,
    "verify": _add_maintaining,
    "alias": _add_maintaining,
    "delete": _add_maintaining,
    "gc": _add_maintaining,
    "cache": _add_cache,
}
