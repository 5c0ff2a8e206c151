"""docs/writing_an_exporter.md shows the very files of the example, and names all of the test kit."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLE: Final = ROOT / "examples" / "webhook_exporter"
PAGE: Final = (ROOT / "docs" / "writing_an_exporter.md").read_text(encoding="utf-8")
MAX_LINES: Final = 30
KIT: Final = ("clock", "contract", "sink")


def blocks(language: str) -> list[str]:
    """The code blocks of the page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def source(name: str) -> str:
    """A file of the example."""
    return (EXAMPLE / name).read_text(encoding="utf-8")


def test_the_page_shows_the_example() -> None:
    """Module and package are shown as they are, and of the test the part that a reader has to write."""
    module, test = blocks("python")
    assert (source("otelprof_webhook.py"), [source("pyproject.toml")]) == (module, blocks("toml"))
    assert test in source("test_otelprof_webhook.py")


def test_the_example_is_short() -> None:
    """A whole exporter takes no more than 30 lines, blank ones aside."""
    assert len([line for line in source("otelprof_webhook.py").splitlines() if line]) <= MAX_LINES


@pytest.mark.parametrize("name", KIT)
def test_the_kit_says_what_is_public(name: str) -> None:
    """`__all__` of each module of the kit is what it defines without an underscore, and the page names it."""
    module = import_module(f"otelprof.testing.{name}")
    defined = set()
    for node in ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            defined.add(node.target.id)
    public = {one for one in defined if not one.startswith("_")}
    assert public == set(module.__all__)
    assert set() == {one for one in public if f"`{one}" not in PAGE}


def test_the_kit_is_all_there() -> None:
    """Every module of the kit is on the page."""
    modules = {path.stem for path in (ROOT / "otelprof" / "testing").glob("*.py")} - {"__init__"}
    assert set(KIT) == modules
    assert set() == {name for name in KIT if f"`otelprof.testing.{name}`" not in PAGE}
