"""An audit log's anchor in an object store: each record a second time, as an object that is made once.

Record 12 is `000000012.json`, put there only if there is none yet (`If-None-Match` on S3): of two who append
behind the same record one is refused, so that the chain cannot fork; whoever was refused reads what the other
wrote, and goes on behind it. The newest object is the head.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from otelprof.errors import PermanentError, UnavailableError
from otelprof.gate.audit import MAX_LINE_BYTES
from otelprof.store.store import check_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from obstore.store import ObjectStore

_NAME: Final = re.compile(r"(?P<sequence>[0-9]{9})\.json")
_RETRY_SECS: Final = 30
_CLIENT: Final = {"timeout": "30s", "connect_timeout": "10s"}


class AnchorStore:
    """Records of one audit log, under a URL.

    Args:
        url: `s3://`, `gs://`, `az://`, or `file://` with a folder.
        options: of the object store, as `aws_region`; credentials come from the environment.
        makes_folder: if there is none yet.

    Raises:
        PermanentError: obstore is not installed, the URL is none, has credentials, or an option is not known.
    """

    def __init__(
        self, url: str, options: Mapping[str, str] | None = None, *, makes_folder: bool = False
    ) -> None:
        if find_spec("obstore") is None:
            message = "an anchor in a store needs obstore: pip install 'otelprof[gate]'"
            raise PermanentError(message)
        self.url = url
        try:
            check_url(url)
        except ValueError as error:
            raise PermanentError(str(error)) from error
        with self._errors("is no place for an anchor", permanent=True):
            self._store = _opened(url, dict(options or {}), makes_folder=makes_folder)

    def newest(self) -> int:
        """The number of the newest record; 0 when none is anchored.

        Raises:
            UnavailableError: the store cannot be reached.
        """
        import obstore  # noqa: PLC0415 - only where there is such an anchor

        with self._errors("cannot be read"):
            names = [item["path"] for page in obstore.list(self._store) for item in page]
        return max((int(match["sequence"]) for name in names if (match := _NAME.fullmatch(name))), default=0)

    def line(self, sequence: int) -> bytes:
        """A record, as it stands in the log.

        Raises:
            PermanentError: it is not there, or too large.
            UnavailableError: the store cannot be reached.
        """
        import obstore  # noqa: PLC0415 - as above

        with self._errors("cannot be read"):
            try:
                found = obstore.get(self._store, _name(sequence))
            except FileNotFoundError as error:
                message = f"{self.url} lacks record {sequence}, and has later ones: an object was removed"
                raise PermanentError(message) from error
            is_short = found.meta["size"] <= MAX_LINE_BYTES
            content = bytes(found.bytes()) if is_short else b""
        if not is_short:
            message = f"{self.url}: record {sequence} has more than {MAX_LINE_BYTES} bytes"
            raise PermanentError(message)
        return content

    def add(self, sequence: int, line: bytes) -> bool:
        """Put a record there; False when there is another one of this number.

        Raises:
            UnavailableError: the store cannot be reached.
        """
        import obstore  # noqa: PLC0415 - as above
        from obstore.exceptions import AlreadyExistsError  # noqa: PLC0415 - as above

        with self._errors("cannot be written"):
            try:
                obstore.put(self._store, _name(sequence), line, mode="create")
            except AlreadyExistsError:
                # By this very call, perhaps: an answer that is lost is asked for again.
                return self.line(sequence) == line
        return True

    @contextmanager
    def _errors(self, what: str, *, permanent: bool = False) -> Iterator[None]:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - as above

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            first = next(iter(str(error).splitlines()), "")
            message = f"{self.url} {what}: {first}"
            raise (PermanentError if permanent else UnavailableError)(message) from error


def _name(sequence: int) -> str:
    return f"{sequence:09}.json"


def _opened(url: str, options: dict[str, str], *, makes_folder: bool) -> ObjectStore:
    from obstore.store import LocalStore, from_url  # noqa: PLC0415 - as above

    if url.startswith("file://"):
        return LocalStore.from_url(url, mkdir=makes_folder)
    # As delta-rs has it, what is of the client and what is of the store stand in one list.
    client: dict[str, Any] = {**_CLIENT}
    for key in [key for key in options if key.endswith("allow_http")]:
        client["allow_http"] = options.pop(key)
    of_store: dict[str, Any] = {
        "config": options,
        "client_options": client,
        "retry_config": {"max_retries": 3, "retry_timeout": timedelta(seconds=_RETRY_SECS)},
    }
    opened: ObjectStore = from_url(url, **of_store)
    return opened
