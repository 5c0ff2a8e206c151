"""From a YAML file to plain values, with `${env:NAME}` and `${file:PATH}` expanded.

Scalars are typed as in YAML 1.2, so `no` and `2026-01-01` are texts, as they are to a collector. What a
variable holds can become a scalar, never structure. What is wrong is collected, not raised, so that a user
sees it together with what is wrong further on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from otelprof.errors import ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFERENCE: Final = re.compile(r"\$\$|\$\{([^}]*)\}")
_ENV: Final = re.compile(r"env:([A-Za-z_][0-9A-Za-z_]*)(?::-(.*))?", re.DOTALL)
_FILE: Final = "file:"
_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = f"{_TAG}merge"
_COLLECTIONS: Final = (f"{_TAG}map", f"{_TAG}seq")
_NOT_IN_YAML_1_2: Final = {f"{_TAG}{name}" for name in ("bool", "int", "timestamp", "value")}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with the scalar types of YAML 1.2."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own table, replaced as a whole
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NOT_IN_YAML_1_2]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def tag_of(self, text: str) -> str:
        """The type of a scalar that stands in the file without quotes."""
        tag = self.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call] # PyYAML's stubs
        return str(tag)


_Loader.add_implicit_resolver(
    f"{_TAG}bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    f"{_TAG}int", re.compile(r"(?:[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)


@dataclass
class Document:
    """What a configuration file says.

    Attributes:
        data: the file as plain values; a key is always text.
        order: the paths of the file, as `exporters.otlp.headers`, each with its place in it.
        problems: what is wrong with the file itself; where one is, `data` holds the text as it was written.
    """

    data: dict[str, Any] = field(default_factory=dict)
    order: dict[str, int] = field(default_factory=dict)
    problems: list[ConfigProblem] = field(default_factory=list)


def read_document(path: Path, environ: Mapping[str, str]) -> Document:
    """Read a configuration file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return Document(problems=[ConfigProblem("", f"{path} cannot be read: {error.strerror}")])
    try:
        reader = _Reader(_Loader(content), environ)
        data = reader.root()
    except yaml.YAMLError as error:
        return Document(problems=[ConfigProblem("", f"{path} is not YAML: {_explain(error, content)}")])
    except RecursionError:
        return Document(
            problems=[ConfigProblem("", f"{path} is nested too deep, or an alias contains itself")]
        )
    if not isinstance(data, dict):
        return Document(
            problems=[ConfigProblem("", f"{path} must be a mapping with receivers, exporters and service")]
        )
    return Document(data, reader.order, reader.problems)


class _Reader:
    """Turns nodes into values, and remembers where and what was wrong."""

    def __init__(self, loader: _Loader, environ: Mapping[str, str]) -> None:
        self.order: dict[str, int] = {}
        self.problems: list[ConfigProblem] = []
        self._loader = loader
        self._environ = environ

    def root(self) -> object:
        node = self._loader.get_single_node()
        return {} if node is None else self._value(node, "")

    def _value(self, node: yaml.Node, path: str) -> object:
        self.order.setdefault(path, len(self.order))
        if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTIONS:
            self._problem(path, f"{_line(node)}: the tag {node.tag} is not understood")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, f"{path}[{index}]") for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, object]:
        merged: dict[str, object] = {}
        own: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(path, f"{_line(key_node)}: a key must be a text")
            elif key_node.tag == _MERGE:
                merged = self._merge(value_node, path) | merged
            elif key in own:
                self._problem(join(path, key), f"{_line(key_node)}: the key is here twice")
            else:
                own[key] = self._value(value_node, join(path, key))
        return merged | own

    def _merge(self, node: yaml.Node, path: str) -> dict[str, object]:
        """What `<<` brings in: a mapping, or several of which the first to have a key wins."""
        value = self._value(node, path)
        merged: dict[str, object] = {}
        for source in value if isinstance(value, list) else [value]:
            if isinstance(source, dict):
                merged = source | merged
            else:
                self._problem(path, f"{_line(node)}: << needs a mapping")
        return merged

    def _scalar(self, node: yaml.Node, path: str) -> object:
        text = _REFERENCE.sub(lambda match: self._expand(match, path), node.value)
        is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
        tag = self._loader.tag_of(text) if is_plain and text != node.value else node.tag
        try:
            return self._loader.construct_object(yaml.ScalarNode(tag, text, node.start_mark, node.end_mark))
        except (yaml.constructor.ConstructorError, ValueError):
            self._problem(path, f"{_line(node)}: {node.value!r} is not of type {tag.removeprefix(_TAG)}")
            return text

    def _expand(self, match: re.Match[str], path: str) -> str:
        written = match[0]
        if written == "$$":
            return "$"
        if match[1] is not None and match[1].startswith(_FILE) and "${" not in match[1]:
            return self._file(match[1].removeprefix(_FILE), written, path)
        reference = _ENV.fullmatch(match[1])
        if reference is None or "${" in match[1]:
            self._problem(
                path,
                f"{written} is not understood: write ${{env:NAME}}, ${{env:NAME:-default}} or "
                "${file:PATH}, and $$ for a $",
            )
            return written
        return self._variable(reference, written, path)

    def _variable(self, reference: re.Match[str], written: str, path: str) -> str:
        name = reference[1]
        value: str | None = self._environ.get(name, reference[2])
        if value is None:
            self._problem(path, f"the environment variable {name} is not set, and {written} has no default")
            return written
        return value

    def _file(self, name: str, written: str, path: str) -> str:
        """The content of a file, as a secret that is mounted."""
        try:
            return Path(name).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            self._problem(path, f"{written} cannot be read: {why}")
            return written

    def _problem(self, path: str, message: str) -> None:
        self.problems.append(ConfigProblem(path, message))


def join(path: str, key: str) -> str:
    """The path of a key of the mapping at `path`."""
    return f"{path}.{key}" if path else key


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _explain(error: yaml.YAMLError, content: bytes) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"character {error.position + 1}: {error.reason}"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error)
    mark = error.problem_mark
    message = f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    lines = content.splitlines()
    if mark.line < len(lines) and b"${" in lines[mark.line]:
        message += "; inside { } and [ ], put ${...} in quotes"
    return message
