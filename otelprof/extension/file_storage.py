"""The `file_storage` extension: where queues are kept that survive the process (`sending_queue.storage`)."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from otelprof.component import ComponentConfig, ComponentSettings, ExtensionFactory
from otelprof.config.dead_letter import DeadLetterConfig
from otelprof.config.units import Duration
from otelprof.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from otelprof.control import ServiceControl


class FileStorageConfig(ComponentConfig):
    """The `file_storage` extension, with the collector's keys.

    Attributes:
        directory: of the files; no other otelprof uses it at the same time.
        create_directory: make it when it is not there, readable by this user alone.
        fsync: have the disk confirm each request before the client is told. Without it, a power cut may lose
            the last ones; the end of the process loses nothing either way.
        max_age: seconds after which a request is dropped, counted; 0 keeps everything.
        dead_letter: what becomes of requests that no attempt can deliver.
    """

    directory: Path
    create_directory: bool = False
    fsync: bool = False
    max_age: Duration = 0.0
    dead_letter: DeadLetterConfig = DeadLetterConfig()

    @property
    def keeps_queues(self) -> bool:
        """Queues can be kept here."""
        return True


class FileStorage:
    """Sees to the directory; the log itself is the pipeline's."""

    def __init__(
        self, config: FileStorageConfig, settings: ComponentSettings, _control: "ServiceControl"
    ) -> None:
        self._config = config
        self._path = f"extensions.{settings.id}.directory"

    def start(self) -> None:
        """Have the directory.

        Raises:
            ConfigError: it is not there, or cannot be made.
        """
        directory = self._config.directory
        if self._config.create_directory:
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError([ConfigProblem(self._path, f"cannot be made: {error}")]) from error
        if not directory.is_dir():
            message = f"{directory} is not a directory: make it, or write create_directory: true"
            raise ConfigError([ConfigProblem(self._path, message)])

    def shutdown(self) -> None:
        """Nothing."""


factory: Final = ExtensionFactory(FileStorageConfig, FileStorage)
