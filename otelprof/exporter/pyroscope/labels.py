"""The labels of a series: which resource attributes become some, and what the server takes of them.

Every set of labels is an entry of Pyroscope's index, so that only attributes of a list become labels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME: Final = "__name__"
SERVICE_NAME: Final = "service_name"
# The server's defaults: `validation.max-length-label-value`, `.max-label-names-per-series`.
MAX_VALUE_BYTES: Final = 2048
MAX_LABELS: Final = 30

_NO_LABEL: Final = re.compile(r"[^0-9A-Za-z_]")
_UNKNOWN_SERVICE: Final = "unknown_service"


@dataclass(frozen=True)
class LabelRules:
    """Which labels a series has.

    Attributes:
        attributes: resource attributes that become labels, the most important first.
        external: labels of every series, which attributes of the same name give way to.
        max_labels: of one series, `__name__` and `service_name` included.
    """

    attributes: Sequence[str]
    external: Mapping[str, str]
    max_labels: int = MAX_LABELS


@dataclass(frozen=True)
class LabelSet:
    """The labels of one series.

    Attributes:
        pairs: names and values, sorted by name, none twice.
        cut: how many values were shortened.
        left_out: how many labels found no room, or another one of their name.
    """

    pairs: tuple[tuple[str, str], ...]
    cut: int
    left_out: int


@lru_cache(maxsize=256)  # of the configuration, again and again
def label_name(attribute: str) -> str:
    """An attribute's key as every version of Pyroscope and Grafana shows it: `k8s_pod_name`."""
    name = _NO_LABEL.sub("_", attribute)
    return f"_{name}" if name[:1].isdigit() else name


def service_name(resource: Mapping[str, str]) -> str:
    """`service.name`, or what the semantic conventions say in its place."""
    executable = resource.get("process.executable.name")
    unknown = f"{_UNKNOWN_SERVICE}:{executable}" if executable else _UNKNOWN_SERVICE
    return resource.get("service.name") or unknown


def labels(name: str, resource: Mapping[str, str], rules: LabelRules) -> LabelSet:
    """The labels of a series.

    Args:
        name: `__name__`.
        resource: attributes.
        rules: which of them are taken.
    """
    wanted = [(NAME, name), *rules.external.items()]
    if SERVICE_NAME not in rules.external:
        wanted.insert(1, (SERVICE_NAME, service_name(resource)))
    found = ((label_name(key), resource.get(key)) for key in rules.attributes)
    wanted += [(key, value) for key, value in found if value]
    taken: dict[str, str] = {}
    cut = left_out = 0
    for key, value in wanted:
        if key in taken or len(taken) == rules.max_labels:
            left_out += 1
            continue
        taken[key] = shortened(value)
        cut += taken[key] != value
    return LabelSet(tuple(sorted(taken.items())), cut, left_out)


def shortened(value: str) -> str:
    """A value as long as the server takes, cut between characters."""
    return value.encode()[:MAX_VALUE_BYTES].decode(errors="ignore")
