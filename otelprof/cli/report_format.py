"""How a command writes what it found."""

from enum import StrEnum


class ReportFormat(StrEnum):
    """For people, or for machines."""

    TEXT = "text"
    JSON = "json"


class PageFormat(StrEnum):
    """The same, and for a comment on a pull request."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
