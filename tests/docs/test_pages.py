"""The pages for people: what they point at is there, and what they show works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from otelprof.config.resolve import load_config

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDERS: Final = ("docs", "tests", "benchmarks", "examples", "config")
PAGES: Final = sorted([*ROOT.glob("*.md"), *(page for one in FOLDERS for page in (ROOT / one).rglob("*.md"))])
EXPORTERS: Final = sorted((ROOT / "docs" / "exporters").glob("*.md"))
COLLECTORS: Final = sorted((ROOT / "config").glob("*.collector.yaml"))
# What the gate reads has a test of its own.
CONFIGURATIONS: Final = sorted({*(ROOT / "config").glob("*.yaml")} - {*COLLECTORS, ROOT / "config/gate.yaml"})

# Code is no prose: a link in it is not followed.
_CODE: Final = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_YAML: Final = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PLACEHOLDER: Final = re.compile(r"\b(?:TBD|TODO|FIXME|XXX)\b")

each_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def links(page: Path) -> list[str]:
    """Where a page points to, outside of the web."""
    found: list[str] = _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8")))
    return [link for link in found if "://" not in link and not link.startswith("mailto:")]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def examples(page: str) -> list[dict[str, Any]]:
    """The YAML blocks of a page."""
    return [yaml.safe_load(block) for block in _YAML.findall((ROOT / page).read_text(encoding="utf-8"))]


def is_the_collectors(example: dict[str, Any]) -> bool:
    """Whether a block is for the Collector: it has an exporter that is only there."""
    return "otlp_grpc" in example.get("exporters", {})


def test_there_are_pages() -> None:
    """The pages that every reader looks for are there."""
    expected = {"README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"}
    assert expected == expected & {page.name for page in PAGES}


@each_page
def test_links(page: Path) -> None:
    """Every relative link points to a file or folder that is there, and to a heading that it has."""
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert [] == broken


@each_page
def test_nothing_is_left_to_write(page: Path) -> None:
    """No page promises to be written."""
    assert [] == _PLACEHOLDER.findall(page.read_text(encoding="utf-8"))


def test_the_readme_shows_both_sides() -> None:
    """README has an example for the Collector and one for otelprof."""
    assert [True, False] == [is_the_collectors(example) for example in examples("README.md")]


def test_the_readmes_configuration_runs(tmp_path: Path) -> None:
    """README's example for otelprof is a good configuration, without a warning."""
    path = tmp_path / "config.yaml"
    for example in examples("README.md"):
        if not is_the_collectors(example):
            path.write_text(yaml.safe_dump(example), encoding="utf-8")
            assert () == load_config(path, {}).warnings


@pytest.mark.parametrize("page", EXPORTERS, ids=[page.stem for page in EXPORTERS])
def test_the_exporters_configurations_run(page: Path, tmp_path: Path) -> None:
    """The examples on an exporter's page are good; those of exporters alone, in a pipeline. None warns."""
    path = tmp_path / "config.yaml"
    around: dict[str, Any] = {"receivers": {"otlp": {"protocols": {"grpc": {}}}}}
    for example in examples(str(page.relative_to(ROOT))):
        if not is_the_collectors(example):
            pipeline = {"receivers": ["otlp"], "exporters": list(example["exporters"])}
            whole = {**around, "service": {"pipelines": {"profiles": pipeline}}, **example}
            path.write_text(yaml.safe_dump(whole), encoding="utf-8")
            environ = dict.fromkeys(re.findall(r"\$\{env:(\w+)\}", path.read_text(encoding="utf-8")), "text")
            assert () == load_config(path, environ).warnings


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=[path.name for path in CONFIGURATIONS])
def test_configurations_run(path: Path) -> None:
    """What is in config/ is good as it is, with no variable set, and without a warning."""
    assert () == load_config(path, {}).warnings


def test_a_collectors_side_has_ours() -> None:
    """What is for the Collector names the component types that it has, and stands beside a file of ours."""
    assert ["gateway.collector.yaml"] == [path.name for path in COLLECTORS]
    for path in COLLECTORS:
        example = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert is_the_collectors(example)
        assert path.with_name(path.name.replace(".collector", "")) in CONFIGURATIONS


def test_the_readmes_verbs_are_the_makefiles() -> None:
    """Every `make` verb that a page tells the reader to type is in the Makefile."""
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    told = {
        verb
        for page in PAGES
        for verb in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert set() == told - verbs
    assert {"demo", "test"} <= told
