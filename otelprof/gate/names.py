"""Names of functions without what varies from run to run, and where a stack stops saying who is to blame."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

STRIP: Final = (
    r"(?<=\$\$Lambda)(?:\$[0-9]+|\.0x[0-9a-f]+)?(?:/(?:0x)?[0-9a-f]+)?",  # JVM: made at run time
    r"(?<=\$Proxy)[0-9]+",
    r"(?<=MethodAccessor)[0-9]+",
    r"\+?0x[0-9a-fA-F]+",  # addresses, as of frames without a symbol
    r"(?:\.(?:isra|constprop|part|cold|llvm|lto_priv)\.[0-9]+|\.cold)+(?![\w.])",  # compilers' clones
    r" \[clone [^\]]*\]",
    r"::h[0-9a-f]{16}$",  # Rust
    r"(?:\.<locals>)?\.<(?:genexpr|listcomp|setcomp|dictcomp)>$",  # Python: a loop, not a function
    r"_\[[01ij]\]$",  # async-profiler: compiled, inlined or interpreted this time
)
"""Regular expressions of what is taken out of a name."""

FOLD: Final = (
    "runtime.asyncPreempt*",  # Go: where a signal met the function above
    "runtime.morestack*",
    "runtime.newstack",
    "*_[[]k]",  # async-profiler, perf: the kernel
    "entry_SYSCALL_64*",
    "el0t_64_sync*",
    "asm_exc_*",
    "asm_sysvec_*",
    "SafepointSynchronize::*",
    "SafepointMechanism::*",
)
"""Patterns, as for file names, of frames that are folded, with all below them, into their caller."""


UNKNOWN: Final = "(unknown)"
"""What is left of a name that is nothing but an address."""


class NameRules:
    """How names of functions are read.

    Args:
        strip: regular expressions of what is taken out of a name; a name that is nothing else is `UNKNOWN`.
        fold: patterns of frames that are folded into their caller, as those of `FOLD`.
    """

    def __init__(self, strip: Sequence[str] = STRIP, fold: Sequence[str] = FOLD) -> None:
        self._strip = re.compile("|".join(f"(?:{one})" for one in strip)) if strip else None
        self._fold = re.compile("|".join(translate(one) for one in fold)) if fold else None

    def name(self, raw: str) -> str:
        """A name without what varies."""
        stripped = self._strip.sub("", raw).strip() if self._strip else raw
        return stripped or UNKNOWN

    def is_folded(self, name: str) -> bool:
        """Whether a stack ends above this frame."""
        return self._fold is not None and self._fold.match(name) is not None
