"""What a pipeline's YAML says, checked: against the published schema first, then for what no schema can say.

A definition is plain JSON, with every default in it::

    {"name", "description", "workspace", "concurrency", "on_failure",
     "parameters": {name: {"default": text or None, "description"}}, "environment": {name: text},
     "schedules": [{"name", "cron": text or "", "every": text or "", "zone", "missed", "parameters": {name: text}}],
     "steps": [{"name", "script", "version": number or None, "arguments": [text], "environment": {name: text},
                "secrets": [name], "needs": [name], "inputs": [{"step", "files": [path]}], "limits": {name: number},
                "retries": {"count", "backoff_seconds", "exit_codes": [number]}, "workspace": text}]}
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path as FilePath
from typing import Any, Final

from jsonschema import Draft202012Validator, ValidationError

from portal.pipelines.yaml_source import Document, Path, Problem, Unreadable

Definition = dict[str, Any]
Refuse = Callable[[Path, str], None]

BACKOFF_SECONDS: Final = 5.0
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
_NAMED = re.compile(r"\s*(parameters|run|pipeline)\.([A-Za-z_][A-Za-z0-9_]*)\s*")
# Besides parameters: what a text may name.
NAMED: Final = frozenset({("run", "id"), ("run", "due_at"), ("pipeline", "name")})
KINDS = {
    "array": "a list",
    "object": "names with values",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "nothing",
}
_NAMES = {
    "^[A-Za-z_][A-Za-z0-9_]{0,63}$": "{} is no name for a variable: letters, digits and _ only, 64 at most.",
    "^[A-Z_][A-Z0-9_]{0,99}$": "{} is no name of a secret: capitals, digits and _ only.",
    "^[0-9]{1,9} (second|minute|hour|day)s?$": "{} is no interval: write a number and a unit, like 15 minutes.",
    "^[a-z0-9][a-z0-9_-]{0,63}$": "A step's name has small letters, digits, - and _ only, 64 at most.",
}
_SAID = {
    "anyOf": "This is of another form than it may have.",
    "enum": "This must be one of {}.",
    "minLength": "This must not be empty.",
    "minItems": "This must not be empty.",
    "maxLength": "This has more than {} characters.",
    "maxItems": "These are more than {}.",
    "maxProperties": "These are more than {}.",
    "minimum": "This must be {} at least.",
    "maximum": "This must be {} at most.",
    "uniqueItems": "Something is there twice.",
}


@cache
def schema() -> Mapping[str, Any]:
    """The JSON Schema of a pipeline."""
    found: Mapping[str, Any] = json.loads((FilePath(__file__).parent / "pipeline.schema.json").read_text())
    return found


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


class Draft:
    """A definition that is sound in itself; ``refuse`` collects what its surroundings find wrong with it."""

    def __init__(self, source: str) -> None:
        """Raises ``Unreadable``."""
        self._document = Document(source)
        self._problems: list[Problem] = []
        self._check_shape()
        self.definition = _normal(self._document)
        self._check_steps()
        self._check_schedules()
        self._check_texts()
        self.require_sound()

    def refuse(self, path: Path, message: str) -> None:
        """Note that the value of this path is wrong."""
        self._problems.append(self._document.problem(path, message))

    def require_sound(self) -> None:
        """Raises ``Unreadable`` if something was refused."""
        if self._problems:
            raise Unreadable(self._problems)

    def _check_shape(self) -> None:
        for error in _validator().iter_errors(self._document.value):
            for path, message in told(error):
                self.refuse(path, message)
        self.require_sound()

    def _check_steps(self) -> None:
        steps = self.definition["steps"]
        places: dict[str, int] = {}
        for index, step in enumerate(steps):
            if step["name"] in places:
                self.refuse(("steps", index, "name"), f"Another step is called {step['name']}.")
            places.setdefault(step["name"], index)
        for index, step in enumerate([] if self._problems else steps):
            for need in step["needs"]:
                if need == step["name"]:
                    self.refuse(("steps", index, "needs"), f"The step {need} needs itself.")
                elif need not in places:
                    self.refuse(("steps", index, "needs"), f"There is no step {need}.{_meant(need, places)}")
        if not self._problems:
            self._check_cycles(places)
        if not self._problems:
            self._check_inputs()

    def _check_schedules(self) -> None:
        names: set[str] = set()
        for index, schedule in enumerate(self.definition["schedules"]):
            if bool(schedule["cron"]) == bool(schedule["every"]):
                self.refuse(("schedules", index), "A schedule has either cron or every.")
            elif schedule["name"] in names:
                self.refuse(("schedules", index, "name"), f"Another schedule is called {schedule['name']}.")
            names.add(schedule["name"])
            known = self.definition["parameters"]
            for name in schedule["parameters"]:
                if name not in known:
                    message = f"There is no parameter {name}.{_meant(name, known)}"
                    self.refuse(("schedules", index, "parameters", name), message)
            for name, parameter in known.items():
                if parameter["default"] is None and name not in schedule["parameters"]:
                    message = f"{name} has no default: say here what it is to be."
                    self.refuse(("schedules", index, "parameters"), message)

    def _check_cycles(self, places: Mapping[str, int]) -> None:
        try:
            TopologicalSorter({step["name"]: step["needs"] for step in self.definition["steps"]}).prepare()
        except CycleError as error:
            cycle: Sequence[str] = error.args[1]
            around = " needs ".join(reversed(cycle))
            self.refuse(("steps", places[cycle[0]], "needs"), f"These steps need each other: {around}.")

    def _check_inputs(self) -> None:
        before = ancestors(self.definition["steps"])
        for index, step in enumerate(self.definition["steps"]):
            for place, given in enumerate(step["inputs"]):
                if given["step"] not in before[step["name"]]:
                    self.refuse(
                        ("steps", index, "inputs", place, "step"),
                        f"{step['name']} does not need {given['step']}, so its outputs may not be there.",
                    )
                for number, file in enumerate(given["files"]):
                    if file.startswith("/") or ".." in file.split("/"):
                        self.refuse(("steps", index, "inputs", place, "files", number), "This is no path of an output.")

    def _check_texts(self) -> None:
        known = self.definition["parameters"]
        for path, text in _texts(self.definition):
            for inside in _EXPRESSION.findall(text):
                found = _NAMED.fullmatch(inside)
                if found is None or (found[1] != "parameters" and (found[1], found[2]) not in NAMED):
                    self.refuse(path, f"${{{{{inside}}}}} means nothing: write parameters.NAME, run.id or run.due_at.")
                elif found[1] == "parameters" and found[2] not in known:
                    self.refuse(path, f"There is no parameter {found[2]}.{_meant(found[2], known)}")


def ancestors(steps: Sequence[Mapping[str, Any]]) -> dict[str, set[str]]:
    """For each step the names of all that must have ended before it. The steps must be free of cycles."""
    needs = {step["name"]: step["needs"] for step in steps}
    found: dict[str, set[str]] = {}
    for name in TopologicalSorter(needs).static_order():
        found[name] = set(needs[name]).union(*(found[need] for need in needs[name]))
    return found


def filled(text: str, values: Mapping[tuple[str, str], str]) -> str:
    """A text with what it names put in: ``values`` of ``("parameters", "day")``, ``("run", "id")`` and so on."""

    def value(found: re.Match[str]) -> str:
        named = _NAMED.fullmatch(found[1])
        return values.get((named[1], named[2]), "") if named else found[0]

    return _EXPRESSION.sub(value, text)


def _texts(definition: Definition) -> Iterator[tuple[Path, str]]:
    for name, text in definition["environment"].items():
        yield ("environment", name), text
    for index, step in enumerate(definition["steps"]):
        for place, text in enumerate(step["arguments"]):
            yield ("steps", index, "arguments", place), text
        for name, text in step["environment"].items():
            yield ("steps", index, "environment", name), text


def _meant(word: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Do you mean {near[0]}?" if near else ""


def told(error: ValidationError) -> Iterator[tuple[Path, str]]:
    """Where a schema is not met, in words."""
    path: Path = tuple(error.absolute_path)
    wanted: Any = error.validator_value
    found: Any = error.instance
    if error.validator == "additionalProperties" and isinstance(error.schema, Mapping):
        known = error.schema.get("properties", {})
        for name in found:
            if name not in known:
                yield (*path, name), f"There is no field {name} here.{_meant(name, known)}"
    elif error.validator == "required":
        missing = [name for name in wanted if name not in found]
        yield path, f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing."
    elif error.validator == "type":
        kinds = [wanted] if isinstance(wanted, str) else wanted
        yield path, f"This must be {'a single value' if len(kinds) > 1 else KINDS[kinds[0]]}."
    elif error.validator == "anyOf" and (nearer := [each for each in error.context or () if each.validator != "type"]):
        for each in nearer:  # of the form that it was meant to have
            yield from told(each)
    elif error.validator == "pattern":
        yield path, _NAMES[wanted].format(error.instance)
    elif error.validator in _SAID:
        listed = ", ".join(wanted) if isinstance(wanted, list) and error.validator == "enum" else wanted
        yield path, _SAID[error.validator].format(listed)
    else:
        yield path, error.message


def _normal(document: Document) -> Definition:
    value = document.value
    steps = []
    for index, step in enumerate(value["steps"]):
        before = [value["steps"][index - 1]["name"]] if index else []
        needs = step.get("needs", before)
        at: Path = ("steps", index)
        steps.append(
            {
                "name": step["name"],
                "script": step["script"],
                "version": step.get("version"),
                "arguments": [document.text((*at, "arguments", n)) for n in range(len(step.get("arguments", [])))],
                "environment": _texts_at(document, (*at, "environment"), step),
                "secrets": step.get("secrets", []),
                "needs": needs,
                "inputs": [
                    {"step": given["step"], "files": given.get("files", [])}
                    for given in step.get("inputs", [{"step": need} for need in needs])
                ],
                "limits": step.get("limits", {}),
                "retries": _retries(step.get("retries", 0)),
                "workspace": step.get("workspace", ""),
            }
        )
    return {
        "name": " ".join(value["name"].split()),
        "description": value.get("description", ""),
        "workspace": value.get("workspace", ""),
        "concurrency": value.get("concurrency", "queue"),
        "on_failure": value.get("on_failure", "stop"),
        "parameters": {name: _parameter(document, name) for name in value.get("parameters", {})},
        "environment": _texts_at(document, ("environment",), value),
        "schedules": [_schedule(document, index) for index in range(len(value.get("schedules", [])))],
        "steps": steps,
    }


def _texts_at(document: Document, path: Path, around: Mapping[str, Any]) -> dict[str, str]:
    """The texts by name that lie at a path, whose last part is their place in ``around``."""
    return {name: document.text((*path, name)) for name in around.get(str(path[-1]), {})}


def _schedule(document: Document, index: int) -> dict[str, Any]:
    given = document.value["schedules"][index]
    rule = given.get("cron", given.get("every", ""))
    return {
        "name": given.get("name", rule),
        "cron": given.get("cron", ""),
        "every": given.get("every", ""),
        "zone": given.get("zone", "UTC"),
        "missed": given.get("missed", "skip"),
        "parameters": _texts_at(document, ("schedules", index, "parameters"), given),
    }


def _parameter(document: Document, name: str) -> dict[str, str | None]:
    given = document.value["parameters"][name]
    path: Path = ("parameters", name)
    if given is None:
        return {"default": None, "description": ""}
    if not isinstance(given, dict):
        return {"default": document.text(path), "description": ""}
    default = document.text((*path, "default")) if "default" in given else None
    return {"default": default, "description": given.get("description", "")}


def _retries(given: int | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(given, int):
        return {"count": given, "backoff_seconds": BACKOFF_SECONDS, "exit_codes": []}
    return {
        "count": given["count"],
        "backoff_seconds": given.get("backoff_seconds", BACKOFF_SECONDS),
        "exit_codes": given.get("exit_codes", []),
    }
