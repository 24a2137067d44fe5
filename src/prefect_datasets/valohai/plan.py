"""What one run of a step will be, decided before anything runs, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from prefect_datasets.core.errors import DatasetError
from prefect_datasets.core.format.record import VersionRecord
from prefect_datasets.core.versions.aliases import Moved

ParameterValue = str | int | float | bool | list[str] | list[int] | list[float]
KeepDirectories = Literal["full", "suffix", "none"]


@dataclass(frozen=True, slots=True)
class Given:
    """What comes from outside the file: the command line, a form, the edges of a pipeline.

    Attributes:
        parameters: Values by name, as text or typed; a list where a parameter takes several. None
            stands for no value at all, against a default too.
        inputs: URIs by input; they replace the defaults. No URIs leave an input empty.
        environment: Variables by name; they go before the step's own.
        append_inputs: Inputs whose given URIs come after the defaults instead of replacing them.
        override: What a pipeline's node overrides, as the file has it: values only.
        fail_fast: Whether the first command that fails ends the step; else the last one decides.
        write_repository: Whether the step may change the checkout itself.
        repository: Folder of the checkout; left out, the file's own.
    """

    parameters: Mapping[str, object] = field(default_factory=dict[str, object])
    inputs: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    append_inputs: frozenset[str] = frozenset()
    override: Mapping[str, Any] | None = None
    fail_fast: bool = True
    write_repository: bool = False
    repository: Path | None = None


@dataclass(frozen=True, slots=True)
class InputPlan:
    """One input of a run.

    Attributes:
        name: Its name, and that of its folder.
        uris: What to bring, in this order; none for an input that stays empty.
        keep_directories: What the file says; None where it says nothing, which is not `none`.
        filename: The name its only file gets; ignored where there are several.
        optional: Whether a run without it is right.
    """

    name: str
    uris: tuple[str, ...]
    keep_directories: KeepDirectories | None = None
    filename: str | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One run of a step: nothing in it has to be asked of the file again.

    Attributes:
        step: Name of the step.
        image: Its image; commands run without a container unless somebody provides one.
        commands: Its commands with parameters filled in.
        parameters: Values by name, in the file's order; one without a value is not in it.
        inputs: Its inputs, all that are declared, in the file's order.
        environment: The step's variables, then those given.
        repository: Folder of the checkout.
        source_path: Folder in the checkout that `{source-path}` stands for.
        time_limit: Most seconds it may run.
        no_output_timeout: Most seconds it may be silent.
        fail_fast: Whether the first command that fails ends it; else the last one decides.
        write_repository: Whether it may change the checkout itself.
        warnings: What the user should know before it runs, a line each.
    """

    step: str
    image: str
    commands: tuple[str, ...]
    parameters: Mapping[str, ParameterValue]
    inputs: tuple[InputPlan, ...]
    environment: Mapping[str, str]
    repository: Path
    source_path: str | None = None
    time_limit: float | None = None
    no_output_timeout: float | None = None
    fail_fast: bool = True
    write_repository: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a run wrote and the store has.

    Attributes:
        path: Below the outputs, with `/`.
        n_bytes: Its size.
        datum: Its id: `datum://<id>` brings it.
    """

    path: str
    n_bytes: int
    datum: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run.

    Attributes:
        execution: Its id.
        exit_code: What the commands ended with; 128 + signal where one killed them.
        outputs: Its outputs in path order, also those from before a failure.
        versions: Dataset versions it made.
        aliases: Names that were pointed at them, with what they stood for before.
        metadata: The last value of everything it printed as JSON.
        series: All values of each, oldest first, of a long series the newest.
        inputs: The URIs of each input, with aliases and `latest` resolved.
        parameters: The values it ran with.
        seconds: How long the commands ran.
        error: Why it failed; None where it did not.
    """

    execution: str
    exit_code: int
    outputs: tuple[Output, ...] = ()
    versions: tuple[VersionRecord, ...] = ()
    aliases: tuple[Moved, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    series: Mapping[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict[str, ParameterValue])
    seconds: float = 0.0
    error: DatasetError | None = None
