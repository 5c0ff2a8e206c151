"""From a YAML file to plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from otelprof.config.load import Document, read_document

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON = {
    "HOST": "collector",
    "PORT": "4317",
    "ON": "true",
    "EMPTY": "",
    "NUMERAL": "007",
    "YAML": "{a: 1}\nb: [2]",
    "REFERENCE": "${env:HOST}",
}


def read(tmp_path: Path, text: str) -> Document:
    """Read a file with this text."""
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return read_document(path, ENVIRON)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${env:HOST}", "collector"),
        ("${env:HOST}:${env:PORT}", "collector:4317"),
        ("${env:PORT}", 4317),
        ('"${env:PORT}"', "4317"),
        ("'${env:PORT}'", "4317"),
        ("${env:ON}", True),
        ('"${env:ON}"', "true"),
        ("${env:NUMERAL}", "007"),
        ("${env:EMPTY}", None),
        ('"${env:EMPTY}"', ""),
        ("${env:EMPTY:-other}", None),
        ("${env:UNSET:-4318}", 4318),
        ('"${env:UNSET:-}"', ""),
        ("${env:UNSET:-a:-b}", "a:-b"),
        ("${env:YAML}", "{a: 1}\nb: [2]"),
        ("${env:REFERENCE}", "${env:HOST}"),
        ('"$${env:HOST}"', "${env:HOST}"),
        ("a$$b", "a$b"),
        ("a$b", "a$b"),
        ("|\n  ${env:HOST}\n  ${env:PORT}", "collector\n4317\n"),
    ],
)
def test_environment(tmp_path: Path, written: str, value: Any) -> None:
    """A variable's text replaces its reference; unquoted it has its YAML type, and never structure."""
    document = read(tmp_path, f"key: {written}\n")

    assert document.problems == []
    assert document.data == {"key": value}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("${env:UNSET}", "the environment variable UNSET is not set, and ${env:UNSET} has no default"),
        ("${HOST}", "${HOST} is not understood: write ${env:NAME}, ${env:NAME:-default} or ${file:PATH}"),
        ("${file:/no/such}", "${file:/no/such} cannot be read: No such file or directory"),
        ("${file:${env:HOST}}", "${file:${env:HOST} is not understood"),
        ("${env:UNSET:-${env:HOST}}", "${env:UNSET:-${env:HOST} is not understood"),
        ("${env:}", "${env:} is not understood"),
        ("${env:A-B}", "${env:A-B} is not understood"),
    ],
)
def test_environment_problems(tmp_path: Path, written: str, message: str) -> None:
    """A variable that is not set, and a reference of another form, is a problem at its path."""
    (problem,) = read(tmp_path, f"section:\n  list: [first]\n  key: {written}\n").problems

    assert problem.path == "section.key"
    assert problem.message.startswith(message)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("no", "no"),
        ("on", "on"),
        ("null", None),
        ("~", None),
        ("12", 12),
        ("-3", -3),
        ("0x1F", 31),
        ("010", "010"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2.5", 2.5),
        ("2026-01-01", "2026-01-01"),
        ("=", "="),
        ("10s", "10s"),
        ("127.0.0.1:4317", "127.0.0.1:4317"),
    ],
)
def test_types(tmp_path: Path, written: str, value: Any) -> None:
    """Scalars have the types of YAML 1.2, as for a collector."""
    data = read(tmp_path, f"key: {written}").data

    assert (data, type(data["key"])) == ({"key": value}, type(value))


def test_keys_are_text(tmp_path: Path) -> None:
    """A key is the text that is written, whatever YAML would make of it."""
    assert read(tmp_path, "{404: a, on: b, null: c, '${env:HOST}': d}").data == {
        "404": "a",
        "on": "b",
        "null": "c",
        "${env:HOST}": "d",
    }


def test_duplicate_keys(tmp_path: Path) -> None:
    """A key that is there twice is a problem with its line; the first is kept."""
    document = read(tmp_path, "a:\n  b: 1\n  c: 2\n  b: 3\na: {}\n")

    assert document.data == {"a": {"b": 1, "c": 2}}
    assert list(map(str, document.problems)) == [
        "a.b: line 4: the key is here twice",
        "a: line 5: the key is here twice",
    ]


def test_merge(tmp_path: Path) -> None:
    """Anchors and `<<` work, and overriding a merged key is no duplicate."""
    text = "base: &base {x: 1, y: 2}\nmore: &more {y: 3, z: 4}\n"
    text += "one: &one\n  <<: *base\n  x: 5\ntwo: {<<: [*base, *more], w: 6}\nthree: *one\n"
    document = read(tmp_path, text)

    assert document.problems == []
    assert document.data["one"] == document.data["three"] == {"x": 5, "y": 2}
    assert document.data["two"] == {"x": 1, "y": 2, "z": 4, "w": 6}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2\nb: 3\n", "line 2, column 2: expected ',' or ']', but got ':'"),
        ("a: cost: 1\n", "line 1, column 8: mapping values are not allowed here"),
        ("a: {b: ${env:HOST}}\n", "inside { } and [ ], put ${...} in quotes"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: but found another document"),
        ("a: *nowhere\n", "line 1, column 4: found undefined alias 'nowhere'"),
        ("a: \x00\n", "character 4: special characters are not allowed"),
        ("- a\n", "must be a mapping with receivers, exporters and service"),
        ("just text\n", "must be a mapping with receivers, exporters and service"),
        ("a: &a [*a]\n", "is nested too deep, or an alias contains itself"),
        ("a: " + "[" * 5_000, "is nested too deep, or an alias contains itself"),
    ],
)
def test_syntax(tmp_path: Path, text: str, message: str) -> None:
    """What is not a YAML mapping is one problem, with its line."""
    document = read(tmp_path, text)

    assert document.data == {}
    (problem,) = document.problems
    assert message in problem.message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: !!python/tuple [b]\n", "a: line 1: the tag tag:yaml.org,2002:python/tuple is not understood"),
        ("a: !mine {b: c}\n", "a: line 1: the tag !mine is not understood"),
        ("a: !!python/name:os.system ''\n", "a: line 1: '' is not of type python/name:os.system"),
        ("a: !mine text\n", "a: line 1: 'text' is not of type !mine"),
        ("a: !!int text\n", "a: line 1: 'text' is not of type int"),
        ("? [a]\n: b\n", "line 1: a key must be a text"),
        ("a: {<<: b}\n", "a: line 1: << needs a mapping"),
    ],
)
def test_values_that_cannot_be_made(tmp_path: Path, text: str, problem: str) -> None:
    """Tags that are not plain data, and keys that are not text, are problems; nothing is run."""
    assert list(map(str, read(tmp_path, text).problems)) == [problem]


def test_empty(tmp_path: Path) -> None:
    """An empty file is an empty configuration."""
    assert (read(tmp_path, "# nothing\n").data, read(tmp_path, "").problems) == ({}, [])


def test_unreadable(tmp_path: Path) -> None:
    """A file that is not there is a problem."""
    (problem,) = read_document(tmp_path / "nowhere.yaml", {}).problems

    assert str(problem) == f"{tmp_path / 'nowhere.yaml'} cannot be read: No such file or directory"


def test_a_file_stands_for_what_is_in_it(tmp_path: Path) -> None:
    """`${file:}` is the content of a file without the line's end: a scalar, and never structure."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret: [x]\n", encoding="utf-8")
    document = read(tmp_path, f"a: ${{file:{secret}}}\nb: Bearer ${{file:{secret}}}\n")
    assert ({"a": "s3cret: [x]", "b": "Bearer s3cret: [x]"}, []) == (document.data, document.problems)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """A file of other bytes is a problem, and its content is not in it."""
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    (problem,) = read(tmp_path, f"a: ${{file:{tmp_path}/secret}}\n").problems
    assert f"a: ${{file:{tmp_path}/secret}} cannot be read: it is not UTF-8" == str(problem)


def test_a_value_of_another_type_is_shown_as_it_is_written(tmp_path: Path) -> None:
    """What a variable holds may be a secret, and is in no message."""
    (problem,) = read(tmp_path, 'a: !!int "${env:HOST}"\n').problems
    assert "a: line 1: '${env:HOST}' is not of type int" == str(problem)
