"""What may be shown of a configuration to somebody else: all, but secrets and what the environment holds.

The resolved values are shown, defaults included. Where the file has a reference, as `${env:NAME}`, the
reference is shown and not what it stands for, whatever became of it; what a key calls a secret, or a
configuration's model keeps as one, is cut.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, SecretStr

from otelprof.component import Kind
from otelprof.config.load import join

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otelprof.config.resolve import Config
    from otelprof.errors import ConfigProblem

CUT: Final = "(cut)"

_SECRET_WORDS: Final = r"key|token|secret|pass|pwd|(?<!allow_un)auth|credential|cookie|dsn|signature"  # noqa: S105 - words
# Everything below such a key is cut; a path to a secret is none.
_SECRET: Final = re.compile(rf"(?:{_SECRET_WORDS}|headers)(?!.*_file$)", re.IGNORECASE)
_REFERENCE: Final = re.compile(r"\$\{env:\w+\}")
_USERINFO: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_SECRET_PARAMETER: Final = re.compile(
    rf"(?<=[?&])([^=&#]*(?:{_SECRET_WORDS})[^=&#]*)=[^&#\s]*", re.IGNORECASE
)


class References(Mapping[str, str]):
    """An environment in which each variable holds the reference to itself."""

    def __getitem__(self, name: str) -> str:
        return f"${{env:{name}}}"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def disclosed(config: Config, written: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with its defaults, without secrets.

    Args:
        config: as it is run.
        written: the file, read with `References` as the environment.
    """
    resolved: dict[str, Any] = {
        kind.value: {str(id_): _plain(one.config) for id_, one in config.components[kind].items()}
        for kind in Kind
    }
    resolved["service"] = _plain(config.service)
    return without_secrets(_as_written(resolved, written))


def without_secrets(data: Mapping[str, Any], problems: Iterable[ConfigProblem] = ()) -> dict[str, Any]:
    """A configuration without what its keys call secret, and without credentials in URLs.

    Args:
        data: the sections by name, as read with `References`: no variable's value is in it.
        problems: what stands at their paths is cut, too: behind a key that is misspelt there may be a secret.
    """
    refused = {problem.path for problem in problems}
    return {
        # What a component is called says nothing of what it holds.
        section: {id_: _cut(one, join(section, id_), refused) for id_, one in body.items()}
        if isinstance(body, dict)
        else _cut(body, section, refused)
        for section, body in data.items()
    }


def _cut(value: Any, path: str, refused: AbstractSet[str], *, secret: bool = False) -> Any:  # noqa: ANN401 - whatever the YAML holds
    """A value without secrets; all of it is one when a key above said so."""
    secret = secret or path in refused
    if isinstance(value, Mapping):
        return {
            key: _cut(one, join(path, key), refused, secret=secret or bool(_SECRET.search(key)))
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_cut(one, f"{path}[{index}]", refused, secret=secret) for index, one in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    if secret:
        return value if value == "" or _is_reference(value) else CUT
    if isinstance(value, str):
        return _SECRET_PARAMETER.sub(rf"\1={CUT}", _USERINFO.sub(CUT, value))
    return value


def told(problems: Iterable[ConfigProblem], written: Mapping[str, Any]) -> list[str]:
    """Problems, one a line; what is wrong with a reference or a secret is left out: it may be in the text.

    Args:
        problems: of the configuration.
        written: the file, read with `References` as the environment.
    """
    references = list(_references(written, ""))
    lines = []
    for problem in problems:
        path = problem.path
        if _SECRET.search(path):
            lines.append(f"{path}: (cut: the path looks like that of a secret)")
        elif any(one.startswith(path) or path.startswith(one) for one in references):
            lines.append(f"{path}: (cut: the value comes from the environment)")
        else:
            lines.append(str(problem))
    return lines


def _plain(value: Any) -> Any:  # noqa: ANN401 - a field of any model
    """What YAML can write."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields.items()
        return {field.alias or name: _plain(getattr(value, name)) for name, field in fields}
    if isinstance(value, SecretStr):
        return CUT if value.get_secret_value() else ""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence | frozenset | set) and not isinstance(value, str):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | float):
        return value
    # A size is an int of its own class.
    return int(value) if isinstance(value, int) else str(value)


def _as_written(resolved: Any, written: Any) -> Any:  # noqa: ANN401 - whatever the YAML holds
    """The resolved values, with the file's own words where it has a reference."""
    if next(_references(written, ""), None) is None:
        return resolved
    if isinstance(resolved, dict) and isinstance(written, dict) and written.keys() <= resolved.keys():
        return {
            key: _as_written(one, written[key]) if key in written else one for key, one in resolved.items()
        }
    # What became of the value may stand elsewhere in what was resolved: only the file's words are safe, and
    # these only where no model called a part of it a secret.
    return CUT if _holds_a_cut(resolved) and not _is_reference(written) else written


def _is_reference(value: object) -> bool:
    """Whether a value is a reference, and nothing beside it."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def _holds_a_cut(value: Any) -> bool:  # noqa: ANN401 - whatever the YAML holds
    if isinstance(value, dict | list):
        return any(map(_holds_a_cut, value.values() if isinstance(value, dict) else value))
    return bool(value == CUT)


def _references(value: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - whatever the YAML holds
    """The paths of the file where a reference stands."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _references(one, join(path, key))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _references(one, f"{path}[{index}]")
    elif isinstance(value, str) and "${" in value:
        yield path
