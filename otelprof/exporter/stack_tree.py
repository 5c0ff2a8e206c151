"""The hottest stacks as a tree that a person can read in a terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Of a chain of frames without a branch, so many are shown at each end.
_CHAIN_END_FRAMES: Final = 2
# Of a name, what tells it from others is at its ends: package and method.
_MAX_FRAME_CHARS: Final = 48


@dataclass
class StackNode:
    """A frame, with all that it called.

    Attributes:
        frames: from the caller down; more than one where nothing branches.
        value: of all shown stacks through here.
        callees: by name, as they were met.
    """

    frames: list[str]
    value: int = 0
    callees: dict[str, StackNode] = field(default_factory=dict)


def stack_tree(stacks: Sequence[tuple[str, int]]) -> StackNode:
    """Merge stacks by their common callers.

    Args:
        stacks: `root;...;leaf` with a value, as `Profiles.fold` gives them.

    Returns:
        A root without frames; its value is the sum.
    """
    root = StackNode([])
    for stack, value in stacks:
        node = root
        node.value += value
        for frame in stack.split(";"):
            node = node.callees.setdefault(frame, StackNode([frame]))
            node.value += value
    return root


def tree_lines(root: StackNode) -> Iterator[tuple[int, str, str]]:
    """The nodes below a root, hottest first.

    Yields:
        The node's value, the branches to draw before it, and its frames on one line.
    """
    # A list instead of recursion: a stack may be deeper than Python's own.
    pending = [(node, "", is_last) for node, is_last in _by_value(root)]
    while pending:
        node, indent, is_last = pending.pop()
        while len(node.callees) == 1:
            (callee,) = node.callees.values()
            if callee.value != node.value:
                break
            node = StackNode(node.frames + callee.frames, node.value, callee.callees)
        yield node.value, indent + ("└ " if is_last else "├ "), _chain(node.frames)
        below = indent + ("  " if is_last else "│ ")
        pending.extend((callee, below, last) for callee, last in _by_value(node))


def _by_value(node: StackNode) -> list[tuple[StackNode, bool]]:
    """Callees with whether they are drawn last, coldest first: the next to draw is at the end."""
    callees = sorted(node.callees.values(), key=lambda callee: callee.value)
    return [(callee, place == 0) for place, callee in enumerate(callees)]


def _chain(frames: list[str]) -> str:
    hidden = len(frames) - 2 * _CHAIN_END_FRAMES
    if hidden > 1:
        frames = [*frames[:_CHAIN_END_FRAMES], f"… {hidden} more …", *frames[-_CHAIN_END_FRAMES:]]
    return " → ".join(map(_shortened, frames))


def _shortened(frame: str) -> str:
    half = _MAX_FRAME_CHARS // 2
    return frame if len(frame) <= _MAX_FRAME_CHARS else f"{frame[: half - 1]}…{frame[-half:]}"
