"""How a command writes what it found."""

from enum import StrEnum


class ReportFormat(StrEnum):
    """For people, or for machines."""

    TEXT = "text"
    JSON = "json"
