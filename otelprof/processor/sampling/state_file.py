"""What a budget must not forget over a restart, on the disk: the ledgers of the day."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from otelprof.processor.sampling.controller import (
    LEAST_PROBABILITY,
    MAX_SERVICES,
    Ledger,
    Probabilities,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_FORMAT: Final = "otelprof.budget/1"
_EPOCH: Final = date(1970, 1, 1)
# Of `MAX_SERVICES` ledgers, each with a name of 200 characters that are escaped.
_MAX_FILE_BYTES: Final = 4 << 20
_PRIVATE: Final = 0o600

_Probability = Annotated[float, Field(ge=LEAST_PROBABILITY, le=1)]


class StateFileError(Exception):
    """The file cannot be used; the message names it and says why."""


class _LedgerState(BaseModel):
    """One ledger."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(ge=0, le=1)
    spent_bytes: float = Field(ge=0, allow_inf_nan=False)
    sampled: _Probability
    spared: _Probability


class BudgetState(BaseModel):
    """What is written down.

    Attributes:
        format: of the file.
        day: the UTC day of the ledgers.
        per: what has a ledger.
        ledgers: by key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["otelprof.budget/1"] = _FORMAT
    day: date
    per: Literal["service", "all"]
    ledgers: dict[str, _LedgerState] = Field(max_length=MAX_SERVICES + 1)

    @classmethod
    def of(cls, day: int, per: Literal["service", "all"], ledgers: Mapping[str, Ledger]) -> BudgetState:
        """The state of a controller; the day counts from the epoch."""
        states = {
            name: _LedgerState(share=one.share, spent_bytes=one.spent_bytes, **one.probabilities._asdict())
            for name, one in ledgers.items()
        }
        return cls(day=_EPOCH + timedelta(days=day), per=per, ledgers=states)

    def on(self, day: int, per: str) -> dict[str, Ledger]:
        """The ledgers as they are on a day, counted from the epoch: those of an earlier day begin anew.

        Raises:
            StateFileError: they are of a later day, or of something else.
        """
        if (self.day - _EPOCH).days > day:
            message = f"it is of {self.day}, which has not come yet"
            raise StateFileError(message)
        if self.per != per:
            message = f"it was written with per: {self.per}"
            raise StateFileError(message)
        is_same = (self.day - _EPOCH).days == day
        return {
            name: Ledger(
                share=one.share if is_same else 1.0,
                spent_bytes=one.spent_bytes if is_same else 0.0,
                probabilities=Probabilities(one.sampled, one.spared),
            )
            for name, one in self.ledgers.items()
        }


class StateFile:
    """The file of one budget: no other may write it meanwhile.

    Args:
        path: where it is; its folder must be there. `.tmp` and `.lock` stand beside it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_fd: int | None = None

    def open(self) -> None:
        """Make the file this budget's alone.

        Raises:
            StateFileError: another budget has it, or it cannot be written.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(self._beside("lock"), flags, _PRIVATE)
        except OSError as error:
            message = f"{self._path} cannot be written: {error.strerror}"
            raise StateFileError(message) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            message = f"{self._path} is in use by another budget: give each a state_file of its own"
            raise StateFileError(message) from error
        self._lock_fd = fd

    def read(self) -> BudgetState | None:
        """What was written down; None when nothing was.

        Raises:
            StateFileError: it cannot be read, or is something else.
        """
        try:
            with self._path.open("rb") as file:
                text = file.read(_MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            message = f"{self._path} cannot be read: {error.strerror}"
            raise StateFileError(message) from error
        if len(text) > _MAX_FILE_BYTES:
            message = f"{self._path} has more than {_MAX_FILE_BYTES} bytes"
            raise StateFileError(message)
        try:
            return BudgetState.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            message = f"{self._path} is not a budget's state: {place}: {first['msg']}"
            raise StateFileError(message) from error

    def write(self, state: BudgetState) -> None:
        """Replace the file, on the disk when this returns: a reader finds the old state or the new one.

        Raises:
            OSError: it cannot be written; the old one stays.
        """
        new = self._beside("tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(new, flags, _PRIVATE), "wb") as file:
            file.write(state.model_dump_json(indent=1).encode())
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """Let go of the file. Safe before `open`, and more than once."""
        fd, self._lock_fd = self._lock_fd, None
        if fd is not None:
            with suppress(OSError):  # it is released all the same when the descriptor goes
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def _beside(self, ending: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{ending}")
