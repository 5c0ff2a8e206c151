"""The configuration of the `object_storage` exporter: options stay secret, and no request takes for ever."""

from __future__ import annotations

from otelprof.exporter.object_storage import ObjectStorageConfig

OPTIONS = {"aws_region": "eu-north-1", "aws_secret_access_key": "hidden"}


def test_options_are_secret() -> None:
    """What the object store is told is shown nowhere."""
    config = ObjectStorageConfig.model_validate({"url": "s3://bucket", "storage_options": OPTIONS})
    assert "hidden" not in f"{config} {config!r} {config.model_dump()} {config.model_dump_json()}"
    assert OPTIONS.items() <= config.store_options().items()


def test_a_request_has_a_timeout() -> None:
    """`timeout` bounds each request and its retries, unless the options say otherwise."""
    config = ObjectStorageConfig.model_validate({"url": "s3://bucket", "timeout": "1.5s"})
    assert {"timeout": "1500ms", "retry_timeout": "1500ms"} == config.store_options()
    keys = {"url": "s3://bucket", "storage_options": {"retry_timeout": "1m"}}
    assert {"timeout": "30000ms", "retry_timeout": "1m"} == ObjectStorageConfig.model_validate(
        keys
    ).store_options()
