"""Arithmetic over stacks of many runs: a part of the stub of `otelprof._core`.

Columns are little-endian, as those of `Profiles.stack_columns`: frames are places in a list of functions (32
bits, unsigned), ends say where among the frames each stack ends (64 bits, unsigned), weights are doubles.
"""

from collections.abc import Sequence

def distinct_frames(frames: bytes, ends: bytes, functions: int) -> tuple[bytes, bytes]:
    """The functions of each stack, each once, where it is first met: frames and ends.

    Args:
        frames: of all stacks.
        ends: of each stack.
        functions: how many there are.

    Raises:
        ValueError: a column is cut, an end is not among the frames, or a frame is no function.
    """

def joint_weights(frames: bytes, ends: bytes, weights: bytes, places: bytes, count: int) -> bytes:
    """What stacks weigh that both of two functions are in: `count` rows of `count` doubles.

    Args:
        frames: of all stacks.
        ends: of each stack.
        weights: of each stack.
        places: the row of each function (32 bits, unsigned); 2**32 - 1 for one that is left out.
        count: how many rows there are.

    Raises:
        ValueError: as `distinct_frames`, or columns do not belong together.
    """

def merge_stacks(
    runs: Sequence[tuple[bytes, bytes]], places: bytes, count: int, rest: int
) -> tuple[bytes, bytes, bytes]:
    """The stacks of several runs under new places, each once, in the order in which they are met.

    Args:
        runs: frames and ends of each.
        places: the new place of each function (32 bits, unsigned); 2**32 - 1 for one that is left out.
        count: how many new places there are.
        rest: what stands for a stack of which nothing is left.

    Returns:
        Frames and ends; and which of these stacks each of those is that came (32 bits, unsigned).

    Raises:
        ValueError: as `distinct_frames`, or columns do not belong together.
    """
