# SPDX-License-Identifier: BSD-3-Clause
"""The binary tree in which gradients of chunks of a batch are summed, whoever has them.

A batch is cut into chunks of a fixed number of samples, whatever the number of processes; they are
the leaves. Each process has consecutive ones, and sums the nodes that are wholly its own.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..core.networks import accumulate


class Node(NamedTuple):
    """The chunks from `first` to before `end`, which are one node of the tree, or all it has."""

    first: int
    end: int
    size: int  # of such a node

    @property
    def place(self) -> int:
        """Its number among the nodes of its size."""
        return self.first // self.size


def nodes(first: int, end: int, n_chunks: int) -> Iterator[Node]:
    """Yield the largest nodes of a tree over so many chunks that make up a range of these."""
    while first < end:
        size = first & -first or 1 << (n_chunks - 1).bit_length()
        while end < min(first + size, n_chunks):
            size //= 2
        yield Node(first, min(first + size, n_chunks), size)
        first += size


@functools.cache
def shares(n_chunks: int, n: int) -> list[range]:
    """Return the chunks of each of n processes: consecutive ones, of few nodes.

    They are cut at multiples of the largest power of two that gives the most loaded process at most
    an eighth more than an even share, and each of them some.
    """
    most = -(-n_chunks // n) * 9 // 8
    unit = 1
    while (n_units := -(-n_chunks // (2 * unit))) >= n and -(-n_units // n) * 2 * unit <= most:
        unit *= 2
    n_units = -(-n_chunks // unit)
    ends = [min(n_units * rank // n * unit, n_chunks) for rank in range(n + 1)]
    return [range(*pair) for pair in itertools.pairwise(ends)]


def summed(parts: Sequence[tuple[Node, NDArray[Any]]]) -> NDArray[Any]:
    """Return the sum at the root of what is at nodes, in their order, in one of the arrays."""
    waiting: list[NDArray[Any]] = []

    def add_two() -> None:
        last = waiting.pop()
        accumulate(waiting[-1], last)

    for node, part in parts:
        waiting.append(part)
        place = node.place
        while place % 2:  # its neighbour has come before
            add_two()
            place //= 2
    while len(waiting) > 1:
        add_two()
    return waiting[0]
