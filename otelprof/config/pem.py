"""The files that a TLS section names."""

from pathlib import Path

from otelprof.errors import ConfigError, ConfigProblem


def read_pem(path: Path, key: str) -> bytes:
    """The content of a certificate or key file.

    Args:
        path: where it is.
        key: the key of the configuration that names it, for the error.

    Raises:
        ConfigError: it cannot be read, or is not PEM.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError([ConfigProblem(key, f"{path} cannot be read: {error.strerror}")]) from error
    if b"-----BEGIN " not in content:
        raise ConfigError([ConfigProblem(key, f"{path} is not a PEM file")])
    return content
