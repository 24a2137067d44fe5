"""What is wrong with a `valohai.yaml`, told so that a person can mend it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from jsonschema.exceptions import ValidationError

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.valohai.reading.document import Document, list_of, mapping_of
from prefect_datasets.valohai.reading.names import suggest

_MOST_SHOWN = 20
_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys to values",
    "null": "null",
}


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that is wrong, or worth a look.

    Attributes:
        line: Where, counted from 1.
        message: What, without a full stop.
        hint: What to do now, as a sentence; may be empty.
    """

    line: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}".rstrip(". ") + "." if self.hint else self.message


def refuse(document: Document, faults: Iterable[Fault]) -> InvalidInputError:
    """Make one error of all faults: a lone one as itself, several a line each."""
    found = sorted(set(faults))
    path = document.path
    if len(found) == 1:
        only = found[0]
        return InvalidInputError(only.message, subject=f"{path}:{only.line}", hint=only.hint)
    shown = [f"line {fault.line}: {fault}" for fault in found[:_MOST_SHOWN]]
    if len(found) > _MOST_SHOWN:
        shown.append(f"and {len(found) - _MOST_SHOWN} more")
    return InvalidInputError(
        f"{len(found)} things are wrong in this file",
        subject=str(path),
        hint="Correct these lines.",
        faults=tuple(shown),
    )


def schema_fault(error: ValidationError, document: Document) -> Fault:
    """Tell a person what a schema's validator found."""
    error = _nearest(error)
    keys = list(error.absolute_path)
    where = place(document.data, keys)
    if error.validator == "additionalProperties":
        unknown = _unknown_keys(error)[0]
        return Fault(
            document.line(*keys, unknown),
            f"{where} has no key {unknown!r}",
            suggest(unknown, _known_keys(error)),
        )
    message, hint = _explain(error)
    return Fault(document.line(*keys), f"{where}: {message}", hint)


def place(data: Any, keys: Sequence[str | int]) -> str:
    """Name the value at `keys` as people call it: `step 'train', input 'images', default`."""
    words: list[str] = []
    value = data
    for key in keys:
        value = _at(value, key)
        name = _name_of(value)
        if isinstance(key, str):
            words.append(f"{key} {name!r}" if name else key)
        elif words:  # the file itself is a list; its items are named by their kind
            words[-1] = f"{words[-1].removesuffix('s')} {repr(name) if name else key + 1}"
    return ", ".join(words) or "The file"


def _nearest(error: ValidationError) -> ValidationError:
    """Follow a choice of several forms down to the one that was meant."""
    while error.validator in ("oneOf", "anyOf") and (meant := _meant_form(error)):
        error = min(meant, key=lambda fault: -len(fault.absolute_path))
    return error


def _meant_form(error: ValidationError) -> list[ValidationError]:
    """Return what is wrong with the only form whose type and constants the value has."""
    forms: dict[Any, list[ValidationError]] = {}
    for fault in error.context:
        forms.setdefault(fault.relative_schema_path[0], []).append(fault)
    here = len(error.absolute_path)
    fitting = [
        faults
        for faults in forms.values()
        if not any(f.validator == "const" for f in faults)
        and not any(f.validator == "type" and len(f.absolute_path) == here for f in faults)
    ]
    return fitting[0] if len(fitting) == 1 else []


def _explain(error: ValidationError) -> tuple[str, str]:
    value, wanted = error.instance, cast("Any", error.validator_value)
    match error.validator:
        case "required":
            missing = [key for key in wanted if key not in mapping_of(value)]
            verb = "is" if len(missing) == 1 else "are"
            return f"{', '.join(missing)} {verb} missing", f"Add `{missing[0]}:`."
        case "type":
            return _wrong_type(value, list_of(wanted) or [wanted])
        case "enum":
            return f"{value!r} is none of the choices", suggest(str(value), map(str, wanted))
        case "maxLength":
            return f"{value!r} is longer than {wanted} characters", "Use a shorter one."
        case _:
            types: list[Any] = [e.validator_value for e in error.context if e.validator == "type"]
            if types and len(types) == len(error.context):
                return _wrong_type(value, types)
            return error.message, "Write it as the reference of valohai.yaml has it."


def _wrong_type(value: Any, wanted: Sequence[str]) -> tuple[str, str]:
    message = f"{value!r} is not {' or '.join(_WORDS.get(kind, kind) for kind in wanted)}"
    if value is None:
        return "nothing stands here", "Write a value, or indent the lines below it further."
    if "string" in wanted and isinstance(value, int | float):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        return message, f'Put it in quotes: "{text}".'
    if wanted == ["array"] and isinstance(value, dict):
        return "a list is needed here", "Begin each item with `- `."
    return message, "Write it as such."


def _unknown_keys(error: ValidationError) -> list[str]:
    known = _known_keys(error)
    return [str(key) for key in mapping_of(error.instance) if key not in known]


def _known_keys(error: ValidationError) -> list[str]:
    return list(mapping_of(error.schema).get("properties", {}))


def _at(value: Any, key: str | int) -> Any:
    try:
        return value[key]
    except (LookupError, TypeError):
        return None


def _name_of(value: Any) -> str:
    """Return an item's name; a top-level item's stands in the mapping below its kind."""
    name = mapping_of(value).get("name")
    return name if isinstance(name, str) else ""
