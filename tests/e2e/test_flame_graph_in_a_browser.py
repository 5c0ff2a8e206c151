"""A flame graph in a real browser: names are shown, and nothing of them runs."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from otelprof._core import svg_from_folded
from tests.reference.hostile import HOSTILE_NAMES

if TYPE_CHECKING:
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OWN = "document.documentElement.setAttribute('data-owned', 'yes')"
ATTACKS = (
    f"<script>{OWN}</script>",
    f"</title></text></g></svg><script>{OWN}</script>",
    f"<image href='x' onerror=\"{OWN}\"/>",
    f'"/><animate onbegin="{OWN}" attributeName="x" dur="1s"/>',
    f"']]></script><script>{OWN}</script>",
)
# A picture that does run what it should not: the page would see it.
OWNED = f'<svg xmlns="http://www.w3.org/2000/svg"><g id="frames"><g/></g><script>{OWN}</script></svg>'
PAGE = """<!DOCTYPE html><html><body>
<iframe src="flame.svg" width="1200" height="800"></iframe><iframe src="owned.svg"></iframe>
<pre id="seen">nothing</pre>
<script>
onload = () => {
  const pictures = [...document.querySelectorAll("iframe")];
  document.getElementById("seen").textContent = JSON.stringify(pictures.map(one => {
    const picture = one.contentDocument;
    const frames = picture.querySelectorAll("#frames > g");
    for (const frame of frames)
      for (const name of ["mouseover", "click"])
        frame.firstChild?.dispatchEvent(new Event(name, {bubbles: true}));
    const owned = picture.documentElement.hasAttribute("data-owned");
    return {owned, scripts: picture.querySelectorAll("script").length, frames: frames.length,
            details: picture.getElementById("details")?.textContent ?? ""};
  }));
};
</script></body></html>
"""


def seen(folder: Path) -> list[dict[str, Any]]:
    """What the browser made of the two pictures of a folder."""
    (folder / "page.html").write_text(PAGE, encoding="utf-8")
    assert CHROMIUM is not None
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom")
    command = [CHROMIUM, *flags, "--virtual-time-budget=3000", f"--user-data-dir={folder / 'browser'}"]
    done = subprocess.run(  # noqa: S603 - a test's own
        [*command, (folder / "page.html").as_uri()], capture_output=True, text=True, timeout=55, check=True
    )
    match = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match is not None
    found: list[dict[str, Any]] = json.loads(html.unescape(match[1]))
    return found


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not here")
def test_nothing_of_a_name_runs(tmp_path: Path) -> None:
    """The picture's own script answers the mouse in the browser; nothing that a name says runs."""
    names = [name.replace(";", ":") for name in (*ATTACKS, *HOSTILE_NAMES.values())]
    svg = svg_from_folded(
        [(f"main;{name}", 100) for name in names], title=ATTACKS[0], subtitle=ATTACKS[1], unit=ATTACKS[2]
    )
    (tmp_path / "flame.svg").write_text(svg, encoding="utf-8")
    (tmp_path / "owned.svg").write_text(OWNED, encoding="utf-8")
    flame, owned = seen(tmp_path)

    assert (False, 1) == (flame["owned"], flame["scripts"])
    assert svg.count("<rect") - 1 == flame["frames"]
    assert flame["details"].startswith("Function: ")
    assert owned["owned"] is True
