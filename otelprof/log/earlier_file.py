"""Reads a file of the log of a version before segments: bodies in its rows, and who has *not* passed them."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from otelprof.log.stored import Found, Stored, read_crashes


def read_earlier(connection: sqlite3.Connection) -> Found:
    """Everything in it: each request by itself, so that one that is damaged costs no other."""
    rows: set[int] = set()
    pending: dict[int, set[str]] = {}
    crashes, last_row, damaged = read_crashes(connection)
    try:
        for (row,) in connection.execute("SELECT id FROM requests"):
            rows.add(int(row))
    except sqlite3.Error:
        damaged = True
    try:
        for row, exporter in connection.execute("SELECT request, exporter FROM pending"):
            pending.setdefault(int(row), set()).add(str(exporter))
    except (sqlite3.Error, ValueError):
        damaged = True
    found, lost = [], []
    for row in sorted(rows | pending.keys()):
        one = _request(connection, row)
        if one is None:
            lost.append(row)
            continue
        known = tuple(name for name in one.about.exporters if name in pending.get(row, ()))
        # Whoever is not known to have passed it gets it: rather twice than never.
        in_doubt = not known or len(known) != len(pending[row])
        damaged |= in_doubt
        found.append(replace(one, pending=one.pending if in_doubt else known, crashes=crashes.get(row, {})))
    return Found(found, (), lost, damaged or bool(lost), max([last_row, *rows]))


def _request(connection: sqlite3.Connection, row: int) -> Stored | None:
    """A request, as if nobody had passed it; None when it is damaged."""
    try:
        found = connection.execute("SELECT checksum, about, body FROM requests WHERE id = ?", (row,))
        one = found.fetchone()
        return None if one is None else Stored.checked(row, *one)
    except (sqlite3.Error, ValueError):
        return None
