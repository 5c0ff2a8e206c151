"""From pydantic's errors to what a user can act on: where, what, what is allowed, what was probably meant."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import BaseModel, ValidationError

from otelprof.config.load import join
from otelprof.config.models import UNDEFINED_REFERENCE
from otelprof.errors import ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic_core import ErrorDetails

_MAX_SHOWN: Final = 60
# What stands at such a path is not shown.
_SECRET: Final = re.compile(r"key|token|secret|passw|auth|headers|credential", re.IGNORECASE)
_EXPECTED: Final = re.compile(r"'([^']*)'")
_KINDS: Final = {
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "string_type": "a text (put it in quotes)",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "path_type": "a path",
}
# Keys that a collector's user will try, and why they are not here.
_NOT_OFFERED: Final = {
    "insecure_skip_verify": "it would trust anybody's certificate; use ca_file or server_name_override",
    "block_on_overflow": "a full queue refuses, and the client sends again; see on_overflow",
    "wait_for_result": "disable the queue (enabled: false) to wait for the exporter",
}


def explain(error: ValidationError, model: type[BaseModel], data: object, path: str) -> list[ConfigProblem]:
    """One problem for each error.

    Args:
        error: what pydantic found.
        model: what was validated against, for its known keys.
        data: what was validated, for its paths.
        path: where `data` is in the file.
    """
    return [_problem(detail, model, data, path) for detail in error.errors(include_url=False)]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """What was probably meant."""
    return next(iter(get_close_matches(word, known, n=1)), None)


def _problem(detail: ErrorDetails, model: type[BaseModel], data: object, path: str) -> ConfigProblem:
    kind, loc, context = detail["type"], detail["loc"], detail.get("ctx", {})
    where = _path(path, loc, data, is_missing=kind == "missing")
    message, hint = _message(detail, where), None
    if kind == "extra_forbidden":
        key, known = str(loc[-1]), _known_keys(model, loc)
        if key in _NOT_OFFERED:
            message = f"is not offered: {_NOT_OFFERED[key]}"
        else:
            message, hint = f"is not a known key; known are {', '.join(known)}", nearest(key, known)
    elif kind == UNDEFINED_REFERENCE:
        hint = nearest(context["wrong"], context["known"])
    elif kind in {"literal_error", "enum"}:
        hint = nearest(str(detail["input"]), _EXPECTED.findall(context["expected"]))
    return ConfigProblem(where, message, hint)


def _message(detail: ErrorDetails, where: str) -> str:
    kind = detail["type"]
    if kind == "missing":
        return "is required"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind == UNDEFINED_REFERENCE:
        return detail["msg"]
    expected = f"must be {_KINDS[kind]}" if kind in _KINDS else detail["msg"].replace("Input should", "must")
    return expected if _SECRET.search(where) else f"{expected}, not {_shown(detail['input'])}"


def _shown(value: object) -> str:
    """A value as the user wrote it, unless it is long."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _path(path: str, loc: tuple[int | str, ...], data: Any, *, is_missing: bool) -> str:  # noqa: ANN401 - as written
    """The path in the file: pydantic's `loc` without the names of its own validators."""
    for part in loc:
        if isinstance(data, list) and isinstance(part, int):
            path, data = f"{path}[{part}]", data[part]
        elif isinstance(data, dict) and part in data:
            path, data = join(path, str(part)), data[part]
    return join(path, str(loc[-1])) if is_missing else path


def _known_keys(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that could stand at `loc`: those of the models that the field before it holds."""
    models = [model]
    for part in loc[:-1]:
        fields = [field for one in models for key, field in _fields(one).items() if key == part]
        # What is no field is a key of a mapping, a place in a list or a validator's name: the models stay.
        if fields:
            models = [found for field in fields for found in _models(field.annotation)]
    return [key for one in models for key in _fields(one)]


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
