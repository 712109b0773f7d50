# SPDX-License-Identifier: BSD-3-Clause
"""Random numbers: one counter-based stream (NumPy's Philox) for each purpose and layer of a seed.

Streams do not depend on each other or on what was drawn before, so that the arms of one seed share
their draws, and any position of a shuffle is known from its step alone.
"""

from __future__ import annotations

import enum

import numpy as np
from numpy.typing import NDArray


class Purpose(enum.IntEnum):
    """What a stream is for; the numbers are part of every seed's results."""

    WEIGHTS = 1
    BIASES = 2
    DECODER = 3
    PRETRAIN_ORDER = 4
    FINETUNE_ORDER = 5
    CORRUPTION = 6
    PRETRAIN_DROPOUT = 7
    FINETUNE_DROPOUT = 8


def stream_key(seed: int, purpose: Purpose, layer: int = 0) -> NDArray[np.uint64]:
    """Return Philox's key of the stream of (seed, purpose, layer): two numbers."""
    source = np.random.SeedSequence(seed, spawn_key=(purpose, layer))
    return source.generate_state(2, np.uint64).astype(np.uint64)


def generator(
    seed: int, purpose: Purpose, layer: int = 0, counter: int = 0, part: int = 0
) -> np.random.Generator:
    """Return the stream of (seed, purpose, layer), so many draws from its start.

    These are `counter` * 2**192 + `part` * 2**128.
    """
    key = stream_key(seed, purpose, layer)
    return np.random.Generator(
        np.random.Philox(key=key, counter=np.array([0, 0, part, counter], np.uint64))
    )


#: The part of an epoch's stream that blocks are shuffled by; windows have those from 0 on.
_BLOCKS = 2**64 - 1


class SampleOrder:
    """The order in which training visits the samples: one shuffled epoch after another.

    A batch that an epoch cannot fill takes the rest and goes on into the next epoch, so no sample
    is dropped and none is seen twice within an epoch (TensorFlow's `next_batch`). The counter of
    its :func:`generator` is the epoch.

    Where `block` and `window` are given, blocks of so many consecutive samples come in a random
    order, and so many samples of consecutive ones of these, a window, are shuffled among
    themselves. A window of all samples is the plain shuffle.
    """

    def __init__(
        self,
        n_samples: int,
        seed: int,
        purpose: Purpose,
        layer: int = 0,
        block: int | None = None,
        window: int | None = None,
    ) -> None:
        self.n_samples = n_samples
        self._stream = (seed, purpose, layer)
        self.block, self.window = block or n_samples, window or n_samples
        self._latest: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None
        self._visited: tuple[int, int] | None = None  # epoch and window
        self._permutation: NDArray[np.int64] = np.empty(0, np.int64)

    def in_windows(self, block: int, window: int) -> SampleOrder:
        """Return the order of the same stream in windows."""
        return SampleOrder(self.n_samples, *self._stream, block=block, window=window)

    def describe(self) -> dict[str, int]:
        """Return what else than seed and samples the order depends on: nothing in one window."""
        if self.window >= self.n_samples:
            return {}
        return {"block_size": self.block, "window": self.window}

    def _blocks(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the blocks of an epoch in their order, and where in it each window ends."""
        latest = self._latest
        if latest is None or latest[0] != epoch:
            n = self.n_samples
            blocks = np.arange(-(-n // self.block))
            if self.window < n:
                stream = generator(*self._stream, counter=epoch, part=_BLOCKS)
                blocks = stream.permutation(blocks)
            sizes = np.minimum(self.block, n - blocks * self.block)
            size = max(1, self.window // self.block)
            ends = np.add.reduceat(sizes, np.arange(0, len(blocks), size)).cumsum()
            self._latest = latest = epoch, blocks, ends
        return latest[1:]

    def _window(self, position: int) -> tuple[int, int, int]:
        """Return epoch and number of the window that a position is in, and where it ends."""
        epoch, within = divmod(position, self.n_samples)
        _, ends = self._blocks(epoch)
        number = int(np.searchsorted(ends, within, "right"))
        return epoch, number, epoch * self.n_samples + int(ends[number])

    def window_end(self, position: int) -> int:
        """Return where the window ends that the sample at a position belongs to."""
        return self._window(position)[2]

    def _samples(self, epoch: int, number: int) -> NDArray[np.int64]:
        """Return the samples of a window in their order."""
        if self._visited != (epoch, number):
            n, block = self.n_samples, self.block
            size = max(1, self.window // block)
            own = np.sort(self._blocks(epoch)[0][number * size : (number + 1) * size])
            samples = np.concatenate([np.arange(i * block, min(n, (i + 1) * block)) for i in own])
            stream = generator(*self._stream, counter=epoch, part=number)
            self._permutation = samples[stream.permutation(len(samples))]
            self._visited = epoch, number
        return self._permutation

    def batches(
        self, first_step: int, n_steps: int, batch_size: int, start: int = 0
    ) -> NDArray[np.int64]:
        """Return the sample numbers of steps ``first_step ...``, shape (n_steps, batch_size).

        `start` samples have been visited before step 0.
        """
        position = start + first_step * batch_size
        end = position + n_steps * batch_size
        parts = []
        while position < end:
            epoch, number, window_end = self._window(position)
            left = self._samples(epoch, number)[position - window_end :]
            parts.append(left[: end - position])
            position += len(parts[-1])
        return np.concatenate(parts).reshape(n_steps, batch_size)
