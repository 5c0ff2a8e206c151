"""Length-delimited records: four bytes of length, big-endian, then so many bytes of one request.

That is what the Collector's `file` exporter writes with `format: proto`, and with any compression, which is
of each record by itself. A file that was torn, by a crash or a full disk, loses its last record only.

No record is as long as 2**27 bytes: then a recording begins with a byte below 8, which no protobuf message,
JSON or text does (there is no field 0), and cannot be taken for anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER_BYTES: Final = 4
MAX_RECORD_BYTES: Final = (1 << 27) - 1
FIRST_BYTES: Final = bytes(range(MAX_RECORD_BYTES.bit_length() - 19))
"""What the first byte of a recording can be."""


def framed(record: bytes) -> bytes:
    """A record as it stands in a file.

    Raises:
        ValueError: it is empty, or as long as no record may be.
    """
    if not 0 < len(record) <= MAX_RECORD_BYTES:
        message = f"a record has {len(record)} bytes; 1 to {MAX_RECORD_BYTES} are allowed"
        raise ValueError(message)
    return len(record).to_bytes(HEADER_BYTES) + record


class Frames:
    """The whole records of a file, from where it stands.

    Args:
        file: at the start of a record.

    Attributes:
        end: where the last whole record that was read ended, counted from where the file stood.
        torn_bytes: what is behind it at the end of the file, once all was read: a record of which a part is
            missing, or zeros that a file system left after a crash.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.end = 0
        self.torn_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        """Each record. Memory: one record.

        Raises:
            OSError: the file cannot be read.
        """
        while header := self._file.read(HEADER_BYTES):
            length = int.from_bytes(header)
            is_record = len(header) == HEADER_BYTES and 0 < length <= MAX_RECORD_BYTES
            record = self._file.read(length) if is_record else b""
            if not is_record or len(record) < length:
                self.torn_bytes = len(header) + len(record) + _rest(self._file)
                return
            self.end += HEADER_BYTES + length
            yield record


def _rest(file: BinaryIO) -> int:
    count = 0
    while piece := file.read(1 << 20):
        count += len(piece)
    return count


def end_of_records(file: BinaryIO, size_bytes: int) -> int:
    """Where the last whole record of a file ends; only lengths are read.

    Args:
        file: seekable, at the start of its first record.
        size_bytes: of the whole file.

    Raises:
        OSError: the file cannot be read.
    """
    end = 0
    while len(header := file.read(HEADER_BYTES)) == HEADER_BYTES:
        length = int.from_bytes(header)
        if not 0 < length <= MAX_RECORD_BYTES or end + HEADER_BYTES + length > size_bytes:
            break
        end += HEADER_BYTES + length
        file.seek(end)
    return end
