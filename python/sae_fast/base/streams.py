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


def generator(seed: int, purpose: Purpose, layer: int = 0, counter: int = 0) -> np.random.Generator:
    """Return the stream of (seed, purpose, layer), `counter` * 2**192 draws from its start."""
    key = stream_key(seed, purpose, layer)
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, counter]))


class SampleOrder:
    """The order in which training visits the samples: one shuffled epoch after another.

    A batch that an epoch cannot fill takes the rest and goes on into the next epoch, so no sample
    is dropped and none is seen twice within an epoch (TensorFlow's `next_batch`). The counter of
    its :func:`generator` is the epoch.
    """

    def __init__(self, n_samples: int, seed: int, purpose: Purpose, layer: int = 0) -> None:
        self.n_samples = n_samples
        self._stream = (seed, purpose, layer)
        self._epoch = -1
        self._permutation: NDArray[np.int64] = np.empty(0, np.int64)

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
            epoch, start = divmod(position, self.n_samples)
            if epoch != self._epoch:
                stream = generator(*self._stream, counter=epoch)
                self._permutation, self._epoch = stream.permutation(self.n_samples), epoch
            parts.append(self._permutation[start : start + end - position])
            position += len(parts[-1])
        return np.concatenate(parts).reshape(n_steps, batch_size)
