"""What otelprof runs on: versions, and what the machine and the container allow."""

from __future__ import annotations

import os
import platform
import re
import resource
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from otelprof import _core
from otelprof.component import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of control groups, version 2 and 1, as a container sees its own.
_LIMITS: Final = (
    "memory.max",
    "memory.high",
    "memory.current",
    "cpu.max",
    "pids.max",
    "memory/memory.limit_in_bytes",
    "cpu/cpu.cfs_quota_us",
    "cpu/cpu.cfs_period_us",
)
_CGROUPS: Final = Path("/sys/fs/cgroup")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


def versions() -> Iterator[str]:
    """What runs: otelprof with its core, the system, and all packages that otelprof or a plugin needs."""
    yield f"otelprof {distribution('otelprof').version}"
    yield f"core {_core.__version__}"
    yield f"{platform.python_implementation()} {platform.python_version()}"
    yield platform.platform()
    yield " ".join(platform.libc_ver()) or "libc unknown"
    yield ""
    for package in sorted(_packages(), key=lambda one: one.name.lower()):
        yield f"{package.name} {package.version}"


def _packages() -> list[Distribution]:
    """The plugins, otelprof, and what these need as far as it is installed."""
    points = (point for kind in Kind for point in entry_points(group=kind.entry_point_group))
    names = ["otelprof", *(point.dist.name for point in points if point.dist)]
    found: dict[str, Distribution] = {}
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name in found:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # of an extra that was not asked for, or for another system
        found[name] = package
        names += [match[0] for one in package.requires or () if (match := _NAME.match(one))]
    return list(found.values())


def machine() -> Iterator[str]:
    """Cores and memory, then the limits of the container and of this process."""
    memory = psutil.virtual_memory()
    yield f"cores {os.cpu_count()}"
    if sys.platform == "linux":
        yield f"cores for this process {len(os.sched_getaffinity(0))}"
    yield f"memory {memory.total} bytes, {memory.available} available"
    for name in _LIMITS:
        try:
            yield f"cgroup {name} {(_CGROUPS / name).read_text(encoding='ascii').strip()}"
        except OSError:
            continue  # there is none, or it is of the other version
    for name in ("RLIMIT_NOFILE", "RLIMIT_AS", "RLIMIT_NPROC"):
        soft, hard = resource.getrlimit(getattr(resource, name))
        yield f"{name} {_limit(soft)} (hard {_limit(hard)})"


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)
