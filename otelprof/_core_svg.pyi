"""Flame graphs: a part of the stub of `otelprof._core`, where all of it is at run time."""

from collections.abc import Sequence

def svg_from_folded(
    stacks: Sequence[tuple[str, int]],
    *,
    title: str = "Flame graph",
    subtitle: str | None = None,
    unit: str = "samples",
    colors: str = "hot",
    width: int | None = None,
    inverted: bool = False,
) -> str:
    """The flame graph of folded stacks, as SVG with a script of its own for zoom and search.

    Names are hostile text: they come out as text, without control characters and such as hide or reorder
    others, and cut in the middle after 1,000 characters. The same input makes the same bytes.

    Args:
        stacks: `root;...;leaf` with a value each; what is not above zero is left out.
        title: above the picture.
        subtitle: under the title.
        unit: what the values count.
        colors: `hot`, `mem`, `io`, `red`, `green`, `blue`, `aqua`, `yellow`, `purple`, `orange`, `wakeup`,
            `java`, `js`, `perl`, `python` or `rust`.
        width: pixels, 200 to 100,000; as wide as the window when None.
        inverted: callers on top.

    Raises:
        ValueError: no value is above zero, or an argument is not allowed.
    """

def svg_diff(
    before: Sequence[tuple[str, int]],
    after: Sequence[tuple[str, int]],
    *,
    normalize: bool = False,
    title: str = "Differential flame graph",
    subtitle: str | None = None,
    unit: str = "samples",
    width: int | None = None,
    inverted: bool = False,
) -> str:
    """The differential flame graph: as wide as `after`, red where it grew, blue where it shrank.

    Args:
        before: folded stacks, as `svg_from_folded` takes them.
        after: the same, later.
        normalize: scale `before` to the total of `after`, so that only shares are compared.
        title: above the picture.
        subtitle: under the title.
        unit: what the values count.
        width: pixels, 200 to 100,000; as wide as the window when None.
        inverted: callers on top.

    Raises:
        ValueError: no value of `after` is above zero, or an argument is not allowed.
    """
