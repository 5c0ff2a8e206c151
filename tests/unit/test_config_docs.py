"""The reference of the configuration says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from otelprof.admin.extension import AdminConfig
from otelprof.config.auth import AuthConfig
from otelprof.config.exporter import BatchConfig, ExporterConfig
from otelprof.config.models import PipelineConfig, ServiceConfig
from otelprof.config.resolve import load_config
from otelprof.config.rules import MatchConfig, RuleConfig
from otelprof.config.tls import ClientTLS, ServerTLS
from otelprof.exporter.datadog.config import DatadogExporterConfig
from otelprof.exporter.debug import DebugExporterConfig
from otelprof.exporter.file import FileExporterConfig, RotationConfig
from otelprof.exporter.object_storage import ObjectStorageConfig
from otelprof.exporter.otlp import OtlpExporterConfig
from otelprof.exporter.otlp_http import OtlpHttpExporterConfig
from otelprof.exporter.pyroscope.config import PyroscopeExporterConfig
from otelprof.extension.bearertokenauth import BearerTokenAuthConfig, TenantConfig
from otelprof.extension.file_storage import FileStorageConfig
from otelprof.extension.health_check import HealthCheckConfig
from otelprof.gate.config import GateConfig, TightenConfig
from otelprof.processor.linkage import LinkageConfig, LinkageRuleConfig
from otelprof.processor.memory_limiter import MemoryLimiterConfig
from otelprof.processor.redact import RedactConfig, TextRule
from otelprof.processor.sampling.config import BudgetConfig, SamplingConfig, SamplingRuleConfig
from otelprof.receiver.otlp import OtlpReceiverConfig
from otelprof.store.maintenance import MaintenanceConfig
from otelprof.store.retention import RetentionConfig

PAGE = (Path(__file__).parents[2] / "docs/reference/configuration.md").read_text(encoding="utf-8")
PIPELINE = {"receivers": ["a"], "exporters": ["b"]}
# Each model with the section that it is in, and with a value for what is required.
SECTIONS: list[tuple[type[BaseModel], str, dict[str, Any]]] = [
    (ServiceConfig, "service", {"pipelines": {"profiles": PIPELINE}}),
    (PipelineConfig, "service", PIPELINE),
    (ExporterConfig, "Every exporter", {}),
    (BatchConfig, "Batching", {}),
    (OtlpReceiverConfig, "otlp receiver", {"protocols": {"grpc": {}, "http": {}}}),
    (MemoryLimiterConfig, "memory_limiter processor", {"limit_mib": 1}),
    (LinkageConfig, "linkage processor", {}),
    (LinkageRuleConfig, "A rule of linkage", {"unlinked": "drop"}),
    (SamplingConfig, "sampling processor", {"rules": [{"match": {"trace": "kept"}, "action": "keep"}]}),
    (SamplingRuleConfig, "A rule of sampling", {"th": "8"}),
    (BudgetConfig, "A budget of sampling", {"bytes_per_day": "1GiB"}),
    (RedactConfig, "redact processor", {}),
    (TextRule, "A rule of redact", {}),
    (OtlpExporterConfig, "otlp exporter", {"endpoint": "far:4317"}),
    (OtlpHttpExporterConfig, "otlp_http exporter", {"endpoint": "http://far:4318"}),
    (DatadogExporterConfig, "datadog exporter", {}),
    (PyroscopeExporterConfig, "pyroscope exporter", {"endpoint": "http://far:4040"}),
    (DebugExporterConfig, "debug exporter", {}),
    (FileExporterConfig, "file exporter", {"path": "a.otlp"}),
    (RotationConfig, "Rotation of files", {}),
    (AdminConfig, "admin extension", {}),
    (BearerTokenAuthConfig, "bearertokenauth extension", {"tokens": ["x" * 16]}),
    (TenantConfig, "A tenant of bearertokenauth", {"tokens": ["x" * 16]}),
    (AuthConfig, "Authenticators", {"authenticator": "bearertokenauth"}),
    (HealthCheckConfig, "health_check extension", {}),
    (FileStorageConfig, "file_storage extension", {"directory": "queue"}),
    (ObjectStorageConfig, "object_storage exporter", {"url": "store"}),
    (MaintenanceConfig, "Maintenance of a store", {}),
    (RetentionConfig, "Retention of a store", {}),
    (GateConfig, "The gate", {}),
    (ClientTLS, "TLS of a client", {}),
    (ServerTLS, "TLS of a server", {"cert_file": "a", "key_file": "b"}),
]
# What is documented in a section of its own.
OWN_SECTION = (
    ClientTLS,
    ServerTLS,
    PipelineConfig,
    BatchConfig,
    AuthConfig,
    TenantConfig,
    RuleConfig,
    MatchConfig,
    RotationConfig,
    TextRule,
    BudgetConfig,
    MaintenanceConfig,
    RetentionConfig,
    TightenConfig,
)
each_section = pytest.mark.parametrize(
    ("model", "section", "required"), SECTIONS, ids=[one[0].__name__ for one in SECTIONS]
)


def documented(model: type[BaseModel], section: str) -> dict[str, str]:
    """The keys of a model that its section documents, with their defaults as they are written."""
    text = re.split(r"^## ", PAGE.partition(f"\n## {section}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| `([\w.]+)` \| [^|]+ \| ([^|]+) \|", text, re.MULTILINE)
    return {key: default for key, default in rows if key.partition(".")[0] in model.model_fields}


def leaves(model: type[BaseModel], prefix: str = "") -> set[str]:
    """The dotted keys of a model; what is documented in a section of its own is one key."""
    found = set()
    for name, field in model.model_fields.items():
        nested = [one for one in (field.annotation, *get_args(field.annotation)) if isinstance(one, type)]
        models = [one for one in nested if issubclass(one, BaseModel)]
        if models and not issubclass(models[0], OWN_SECTION):
            found |= leaves(models[0], f"{prefix}{name}.")
        else:
            found.add(f"{prefix}{name}")
    return found


@each_section
def test_keys(model: type[BaseModel], section: str, required: dict[str, Any]) -> None:  # noqa: ARG001 - the next test's
    """Every key is documented, and no other."""
    inherited = (
        set(ExporterConfig.model_fields)
        if section.endswith(" exporter") and model is not ExporterConfig
        else set()
    )
    expected = {key for key in leaves(model) if key.partition(".")[0] not in inherited}
    prefixes = {key.rpartition(".")[0] for key in expected}

    assert {key for key in documented(model, section) if key not in prefixes} == expected


@each_section
def test_defaults(model: type[BaseModel], section: str, required: dict[str, Any]) -> None:
    """Writing every documented default is the same as writing nothing."""
    written: dict[str, Any] = {}
    for key, default in documented(model, section).items():
        value: Any = None if default == "required" else yaml.safe_load(default.strip("`"))
        for part in reversed(key.split(".")):
            value = {part: value}
        if default != "required":
            merge(written, value)
    merge(written, required)

    assert model.model_validate(written) == model.model_validate(required)


def merge(target: dict[str, Any], source: dict[str, Any]) -> None:
    """Put a nested mapping into another."""
    for key, value in source.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = value


def test_example(tmp_path: Path) -> None:
    """The example at the head of the page can be run."""
    path = tmp_path / "config.yaml"
    path.write_text(PAGE.partition("```yaml\n")[2].partition("```")[0], encoding="utf-8")

    assert load_config(path, {}).warnings == ()
