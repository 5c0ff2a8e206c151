"""What a side of a comparison is on the command line."""

from __future__ import annotations

import pytest
import typer

from otelprof.cli.sides import cut_of, escaped, parse_terms
from otelprof.query.runs import Cut


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", {}),
        ("service.version=1.4", {"service.version": "1.4"}),
        ("a=1, b=x=y,c=", {"a": "1", "b": "x=y", "c": ""}),
        (r"a=1\,2,b=3", {"a": "1,2", "b": "3"}),
        (f"a={escaped('x,y,z')},b=1", {"a": "x,y,z", "b": "1"}),
    ],
)
def test_terms(text: str, terms: dict[str, str]) -> None:
    """Terms stand between commas, and a value may have one that is escaped."""
    assert terms == parse_terms(text)


@pytest.mark.parametrize("text", ["a", "a=1,", ",a=1", "=1", "a=1,a=2"])
def test_what_is_no_term(text: str) -> None:
    """Something that is no KEY=VALUE, or is there twice, is refused."""
    with pytest.raises(typer.BadParameter):
        parse_terms(text)


def test_cuts() -> None:
    """A window of a minute is what is taken when nothing is said, and only then."""
    assert Cut(60.0, None) == cut_of(None, None, "1m")
    assert Cut(None, "pod") == cut_of(None, "pod", "1m")
    assert Cut(30.0, "pod") == cut_of("30s", "pod", "1m")
    for window in ("0s", "soon"):
        with pytest.raises(typer.BadParameter):
            cut_of(window, None, "1m")
