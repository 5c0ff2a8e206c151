"""Who was profiled, in Datadog's words: the tags and headers of an upload."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from otelprof.exporter.datadog.tags import tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otelprof.exporter.datadog.dialects import Dialect

VERSION: Final = version("otelprof")
UNKNOWN_SERVICE: Final = "unknown-service"

# What becomes of a header must not end it.
_CONTAINER_ID: Final = re.compile(r"[0-9A-Za-z_.-]{1,128}")
# The names of a process that Datadog's host profiler asks for a service, in its order.
_SERVICE_VARIABLES: Final = (
    "process.environment_variable.DD_SERVICE",
    "process.environment_variable.OTEL_SERVICE_NAME",
)
_UNIFIED: Final = (
    ("env", ("deployment.environment.name", "deployment.environment")),
    ("version", ("service.version",)),
    ("host", ("host.name",)),
    ("runtime-id", ("service.instance.id",)),
)
_RUNTIME: Final = (
    ("runtime", ("process.runtime.name",)),
    ("runtime_version", ("process.runtime.version",)),
    ("process_id", ("process.pid",)),
    ("runtime_arch", ("host.arch",)),
    ("runtime_os", ("os.type",)),
)
# Where there is an Agent, it finds these by the container's id.
_KUBERNETES: Final = (
    ("pod_name", ("k8s.pod.name",)),
    ("container_name", ("k8s.container.name",)),
    ("kube_namespace", ("k8s.namespace.name",)),
)


@dataclass(frozen=True)
class Origin:
    """Who was profiled. Profiles of equal origins share uploads.

    Attributes:
        dialect: how Datadog's own uploader of it speaks.
        tags: in their order.
        headers: of each upload.
    """

    dialect: Dialect
    tags: tuple[str, ...]
    headers: tuple[tuple[str, str], ...]


def origin_of(
    resource: Mapping[str, str], dialect: Dialect, tags: Mapping[str, str], *, has_agent: bool
) -> Origin:
    """The origin of a resource.

    Args:
        resource: its attributes, of the wire.
        dialect: of its Profiles.
        tags: of every upload; they go before those of the resource.
        has_agent: whether an Agent finds out about the container.
    """
    own = _tags_of(resource, dialect, has_agent=has_agent)
    made = [*(pair for pair in own if pair[0] not in tags), *tags.items()]
    return Origin(
        dialect,
        tuple(found for key, value in made if (found := tag(key, value)) is not None),
        tuple(_headers_of(resource)),
    )


def process_labels(resource: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Labels that tell the processes of a service apart, where these share an upload."""
    labels = (("process_id", resource.get("process.pid", "")), ("process name", _executable(resource)))
    return tuple((key, value) for key, value in labels if value)


def _tags_of(resource: Mapping[str, str], dialect: Dialect, *, has_agent: bool) -> Iterator[tuple[str, str]]:
    service, is_inferred = _service_of(resource)
    yield "service", service
    if dialect.is_ebpf:
        yield "service_inferred", "yes" if is_inferred else "no"
        yield "runtime", "ebpf"
        # Datadog looks for the symbols of native frames, by the build ids of their files.
        yield "remote_symbols", "yes"
        yield "profiler_name", "otelprof"
        yield "cpu_arch", resource.get("host.arch", "")
    elif is_inferred:
        yield "service_inferred", "yes"
    yield "profiler_version", VERSION
    language = resource.get("telemetry.sdk.language", "")
    yield "language", "javascript" if dialect.family == "node" else language
    groups = (
        _UNIFIED,
        () if dialect.is_ebpf else _RUNTIME,
        () if has_agent else _KUBERNETES,
    )
    for key, attributes in (pair for group in groups for pair in group):
        yield key, next((resource[one] for one in attributes if resource.get(one)), "")


def _service_of(resource: Mapping[str, str]) -> tuple[str, bool]:
    """The service, and whether it is a guess."""
    told = (resource.get(key, "") for key in ("service.name", *_SERVICE_VARIABLES))
    service = next((one for one in told if one and not one.startswith("unknown_service")), "")
    return (service, False) if service else (_executable(resource) or UNKNOWN_SERVICE, True)


def _executable(resource: Mapping[str, str]) -> str:
    name = resource.get("process.executable.name", "") or resource.get("process.executable.path", "")
    return posixpath.basename(name)


def _headers_of(resource: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    container_id = resource.get("container.id", "")
    if _CONTAINER_ID.fullmatch(container_id):
        yield "datadog-container-id", container_id
        yield "datadog-entity-id", f"ci-{container_id}"
