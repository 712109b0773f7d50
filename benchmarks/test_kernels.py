# SPDX-License-Identifier: BSD-3-Clause
"""Where one way of computing a product overtakes another: the measurements behind two constants.

`Dense::is_wide` (cpp/sae/dense.cpp): from which width on BLAS beats our own tiles.
`kSparseDensity` (cpp/sae/input.cpp): up to which share of non-zeros the sparse layout wins.
Run: pytest benchmarks/test_kernels.py; rows of one group are alternatives.
"""

from __future__ import annotations

import numpy as np
import pytest
from sae_fast import _core

BATCH = 100
ISA = _core.build_config()["isa"]


@pytest.mark.parametrize("way", ["own tiles", "BLAS"])
@pytest.mark.parametrize("width", [64, 128, 256, 512, 1024])
def test_width(benchmark, width, way):
    """X (100, width) w (width, width) on one core."""
    benchmark.group = f"width {width}"
    rng = np.random.default_rng(0)
    x = rng.random((BATCH, width), dtype=np.float32)
    w = rng.random((width, width), dtype=np.float32)
    kernels = _core.kernels_float32
    if way == "BLAS":
        benchmark(kernels.gemm, False, False, x, w)
    else:
        benchmark(kernels.dense_forward, ISA, x, w, np.zeros(width, np.float32), False)


@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("percent", [10, 20, 30, 35, 40, 50])
@pytest.mark.parametrize("n_hidden", [10, 100, 200])
def test_density(benchmark, n_hidden, percent, layout):
    """A hundred steps of a 784-n_hidden-10 classifier on one core."""
    benchmark.group = f"784-{n_hidden}-10, {percent} % non-zero"
    rng = np.random.default_rng(0)
    x = rng.random((5000, 784), dtype=np.float32) * (rng.random((5000, 784)) < percent / 100)
    network = _core.Network_float32(
        [784, n_hidden, 10], [_core.Activation.relu, _core.Activation.identity]
    )
    for layer, shape in enumerate([(784, n_hidden), (n_hidden, 10)]):
        w = rng.normal(0, 0.05, shape).astype(np.float32)
        network.set_parameters(layer, w, np.zeros(shape[1], np.float32))
    source = _core.Input_float32(
        x.astype(np.float32), scale=1.0, layout=getattr(_core.Layout, layout), n_threads=1
    )
    trainer = _core.Trainer_float32(
        network,
        _core.Moments_float32(network),
        source,
        rng.integers(0, 10, len(x)),
        None,
        loss=_core.Loss.cross_entropy,
        batch_size=BATCH,
        adam=_core.AdamForm.tf1,
        learning_rate=1e-3,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-8,
        weight_decay=0.0,
    )
    batches = rng.integers(0, len(x), (100, BATCH))
    benchmark(trainer.run, batches, max_seconds=60, n_threads=1)
