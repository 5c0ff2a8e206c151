"""Runs of one version, from a folder: each with its profiles by type, and what it says of itself.

A folder that holds profiles is a run, and so is every folder below it that does; the type of a profile is
then the stem of its file (`cpu.pb.gz` is `cpu`), since converters call wall profiles `cpu`. Profiles that lie
in the named folder itself are a run each, of the types that they hold; with a `run.json` beside them they are
one.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from otelprof.errors import PermanentError
from otelprof.gate.profile_file import read_profiles, type_name
from otelprof.recording.files import SUFFIXES
from otelprof.recording.reader import JFR
from otelprof.telemetry.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from otelprof.gate.profile_file import RunProfile

METADATA_FILE: Final = "run.json"
MAX_RUNS: Final = 1000
MAX_METADATA_BYTES: Final = 1 << 20
DEFAULT_WORK_KEY: Final = "requests"
_THREADS: Final = 4
"""That read runs at once: nearly all of it is done in the core, without the GIL."""
_STEM: Final = re.compile(r"[^.]+")


@dataclass(frozen=True, eq=False)
class Run:
    """One run.

    Attributes:
        name: of its folder or file, below the folder that was named.
        profiles: by type.
        metadata: what its `run.json` says; empty without one.
    """

    name: str
    profiles: Mapping[str, RunProfile]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def number(self, key: str) -> float | None:
        """A number that `run.json` gives; None when it gives none above zero."""
        value = self.metadata.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if 0 < value < float("inf") else None


@dataclass(frozen=True)
class Work:
    """What the cost of a run is divided by.

    Attributes:
        key: of `run.json`, and the name of the unit.
        amount: of every run, when it was given; None reads it from `run.json`.
    """

    key: str
    amount: float | None = None

    @classmethod
    def parse(cls, text: str) -> Work:
        """Read `requests=7000`, or `requests` for what each `run.json` says.

        Raises:
            ValueError: it is neither.
        """
        key, equals, amount = text.partition("=")
        if re.fullmatch(r"[A-Za-z_][\w.-]{0,62}", key) and not equals:
            return cls(key)
        if key and re.fullmatch(r"[0-9]+(\.[0-9]+)?", amount) and float(amount) > 0:
            return cls(key, float(amount))
        message = f"{text!r} is no unit of work: write requests=7000, or the name of a key of run.json"
        raise ValueError(message)

    def of(self, run: Run) -> float | None:
        """The work that a run did; None when it does not say."""
        return self.amount if self.amount is not None else run.number(self.key)


def read_runs(
    path: Path, *, service: str | None = None, types: Iterable[str] | None = None
) -> tuple[Run, ...]:
    """The runs of a folder, in order of their names; of a file, the one run that it is.

    Args:
        path: a folder of run folders or of files, a run folder, or a file.
        service: only what is of this `service.name`.
        types: only these; all of them when None. A file that is of another type is not read.

    Raises:
        PermanentError: nothing is there, or a file cannot be read; names it.
    """
    wanted = None if types is None else frozenset(types)
    if path.is_file():
        return (_run(path.name, [path], {}, wanted, service, is_folder=False),)
    folders = _folders(path)
    if not folders:
        if any(path.rglob("*.jfr")):
            message = f"{path} holds no profile but recordings: {JFR}"
            raise PermanentError(message)
        what = "holds no profile" if path.is_dir() else "is neither a file nor a folder"
        message = f"{path} {what}: a folder of runs is expected, each a folder of profiles or a file"
        raise PermanentError(message)
    to_read: list[partial[Run]] = []
    for folder, files in folders.items():
        metadata = _metadata(folder)
        if folder == path and metadata is None:
            to_read += [
                partial(_run, file.name, [file], {}, wanted, service, is_folder=False) for file in files
            ]
        else:
            name = folder.relative_to(path).as_posix() if folder != path else path.name
            to_read.append(partial(_run, name, files, metadata or {}, wanted, service, is_folder=True))
    with ThreadPoolExecutor(_THREADS, "otelprof-gate-reader") as pool:
        return tuple(pool.map(partial.__call__, to_read))


def _folders(path: Path) -> dict[Path, list[Path]]:
    """The folders that hold profiles, in order, each with its files.

    Raises:
        PermanentError: there are too many.
    """
    folders: dict[Path, list[Path]] = {}
    for file in sorted(path.rglob("*")) if path.is_dir() else ():
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.name.endswith(SUFFIXES) and file.name != METADATA_FILE and not hidden and file.is_file():
            folders.setdefault(file.parent, []).append(file)
    count = len(folders) + len(folders.get(path, ()))
    if count > MAX_RUNS:
        message = f"{path} holds {count} runs; at most {MAX_RUNS} are read: name a folder of fewer"
        raise PermanentError(message)
    return folders


def _run(  # noqa: PLR0913 - what a run is made of
    name: str,
    files: list[Path],
    metadata: Mapping[str, Any],
    types: frozenset[str] | None,
    service: str | None,
    *,
    is_folder: bool,
) -> Run:
    profiles: dict[str, RunProfile] = {}
    for file in files:
        stem = _STEM.match(file.name)
        named_type = type_name(stem[0] if stem else file.name) if is_folder else None
        if types is not None and named_type is not None and named_type not in types:
            continue
        for profile in read_profiles(file, named_type, service):
            if profile.type in profiles:
                message = f"{file.parent} holds two profiles of the type {profile.type}: keep one"
                raise PermanentError(message)
            if types is None or profile.type in types:
                profiles[profile.type] = profile
    return Run(printable(name), profiles, metadata)


def _metadata(folder: Path) -> dict[str, Any] | None:
    """What `run.json` says; None when there is none.

    Raises:
        PermanentError: it is no JSON object.
    """
    path = folder / METADATA_FILE
    try:
        with path.open("rb") as file:
            content = file.read(MAX_METADATA_BYTES + 1)
        value = json.loads(content) if len(content) <= MAX_METADATA_BYTES else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        message = f"{path} cannot be read: {error}"
        raise PermanentError(message) from error
    if not isinstance(value, dict):
        message = f"{path} is no JSON object of at most {MAX_METADATA_BYTES} bytes"
        raise PermanentError(message)
    return value
