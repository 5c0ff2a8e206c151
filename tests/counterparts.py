"""The end of `make test`: which optional counterparts were there, and what was not tested without them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

_ROOT = Path(__file__).resolve().parent.parent

GO: Final = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")  # where Go's installer puts it
"""The Go toolchain, whose `go tool pprof` reads what is written."""

DATADOG: Final = _ROOT / ".counterparts" / "bin" / "python"
"""The interpreter of `make counterparts`, with Datadog's uploader for Python and its agent for tests."""

PYROSCOPE_URL: Final = os.environ.get("OTELPROF_PYROSCOPE_URL", "")
"""A Pyroscope server that tests may write to."""

# Name, whether it is there, and what the tests do with it.
COUNTERPARTS = (
    (
        "recordings of shared/data",
        (_ROOT.parent / "shared" / "data" / "otlp").is_dir(),
        "every recording, not only those of tests/data, comes out meaning the same",
    ),
    (
        "captured uploads of shared/data",
        (_ROOT.parent / "shared" / "data" / "datadog").is_dir(),
        "the intake that judges the datadog exporter takes what Datadog's own uploaders sent",
    ),
    (
        "chromium",
        any(map(shutil.which, ("chromium", "chromium-browser"))),
        "a flame graph runs nothing that a name in it says, in a browser",
    ),
    (
        "make counterparts",
        DATADOG.exists(),
        "the datadog exporter's uploads are those of Datadog's own uploader for Python",
    ),
    ("Go", GO is not None, "`go tool pprof` reads the pprofs that are written, with the same totals"),
    (
        "OTELPROF_PYROSCOPE_URL",
        bool(PYROSCOPE_URL),
        "what is pushed to a real Pyroscope server is found again by service, span and trace",
    ),
)


def main() -> None:
    """Print one line for each."""
    absent = [(name, what) for name, is_there, what in COUNTERPARTS if not is_there]
    for name, what in absent:
        sys.stdout.write(f"absent: {name}; not tested: {what}\n")
    if not absent:
        names = ", ".join(name for name, _, _ in COUNTERPARTS)
        sys.stdout.write(f"optional counterparts: none was absent ({names})\n")


if __name__ == "__main__":
    main()
