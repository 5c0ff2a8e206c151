"""How the C library keeps freed memory while `otelprof run` serves.

Each request makes columns of megabytes and frees them soon after. By default glibc hands such pieces back to
the kernel at once, and the next request pays for every page again: a fifth of the hop's CPU time, measured.
`memory_limiter` asks for what is kept when memory is short.
"""

from __future__ import annotations

from ctypes import CDLL
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # malloc.h
_M_MMAP_THRESHOLD: Final = -3
# The most that glibc takes as a threshold for pieces of their own mapping.
_KEPT_BYTES: Final = 32 << 20


def keep_freed_memory() -> None:
    """Have the C library keep up to 32 MiB at the top of each of its heaps; only glibc can be asked."""
    mallopt = getattr(CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
