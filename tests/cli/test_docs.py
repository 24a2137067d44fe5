"""docs/cli.md says what `--json` prints: every command is run and its keys compared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Run

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
V1, V2 = "dataset://pets/v1", "dataset://pets/v2"

COMMANDS = {
    "publish": ["publish", "pets", "--to", "dataset://pets/v3"],
    "package": ["package", V1],
    "run": ["run", "greet", "-f", "steps.yaml"],
    "list": ["list"],
    "list DATASET": ["list", "pets"],
    "show": ["show", V1],
    "diff": ["diff", V1, V2],
    "resolve": ["resolve", V1],
    "verify": ["verify", V1],
    "alias": ["alias", V1, "prod"],
    "delete": ["delete", V1],
    "gc": ["gc"],
    "cache list": ["cache", "list"],
    "cache prune": ["cache", "prune"],
    "cache verify": ["cache", "verify"],
    "cache clear": ["cache", "clear"],
}


def keys(text: str) -> set[str]:
    """The outermost keys of `{a, b: [{c}], d}`."""
    flat = text.strip("{}")
    while (inner := re.sub(r"\{[^{}]*\}|\[[^\[\]]*\]", "", flat)) != flat:
        flat = inner
    return {part.partition(":")[0].strip() for part in flat.split(",")}


def documents() -> dict[str, str]:
    """Command and document of the rows of the table."""
    section = TEXT.partition("## JSON")[2]
    found = re.findall(r"^\| ((?:`[\w ]+`(?:, )?)+) \| (.+?) \|$", section, flags=re.MULTILINE)
    return {
        command: document
        for commands, document in found
        for command in re.findall(r"`([^`]+)`", commands)
    }


def version_keys() -> set[str]:
    table = TEXT.partition("A *version* is:")[2].partition("| command |")[0]
    return {
        key
        for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
        for key in re.findall(r"`(\w+)`", row)
    }


@pytest.fixture
def two_versions(run: Run, pets: Path) -> None:
    for uri in (V1, V2):
        (pets / "name.txt").write_text(uri)
        assert run("publish", pets, "--to", uri).code == 0
    step = "- step: {name: greet, image: any, command: echo hello}"
    (pets.parent / "steps.yaml").write_text(step)


@pytest.mark.usefixtures("two_versions")
@pytest.mark.parametrize(("name", "arguments"), COMMANDS.items(), ids=COMMANDS)
def test_documents_have_the_keys_that_are_told(run: Run, name: str, arguments: list[str]) -> None:
    told = documents()[name]
    body = run(*arguments, "--json").json
    if name == "show":
        assert set(body) == version_keys() | {"store", "aliases"}
        return
    assert set(body) == keys(re.findall(r"`(\{.*?\})`", told)[0])
    versions = [*body.get("versions", []), *(each["latest"] for each in body.get("datasets", []))]
    assert all(set(version) == version_keys() for version in versions)


def test_every_command_is_told(run: Run) -> None:
    help_text = run("--help").out
    commands = set(re.findall(r"^    (\w+) ", help_text, re.MULTILINE)) - {"cache"}
    assert len(commands) > 10
    assert commands <= {name.split()[0] for name in documents()}
    assert {name for name in commands if f"`{name}" not in TEXT} == set()
