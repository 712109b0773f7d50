# SPDX-License-Identifier: BSD-3-Clause
"""Where one way of computing a product overtakes another: the measurements behind two constants.

Of dense layers: our own tiles beside BLAS, by width (cpp/sae/layers/strategy.cpp).
`kSparseDensity` (cpp/sae/data/input.cpp): up to which share of non-zeros the sparse layout wins.
`kByteDensity`, there: from which share on bytes are faster than lists.
Run: pytest benchmarks/test_kernels.py; rows of one group are alternatives.
"""

from __future__ import annotations

import numpy as np
import pytest
from pieces import LINEAR, make_network, make_trainer, take_steps
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
        benchmark(kernels.dense_forward, ISA, x, w, np.zeros(width, np.float32), LINEAR)


@pytest.mark.parametrize("values", ["few", "many"])
@pytest.mark.parametrize("percent", [5, 8, 10, 20, 35])
@pytest.mark.parametrize("n_features", [64, 784, 5000])
def test_few_values(benchmark, n_features, percent, values):
    """A hundred steps of a classifier with bytes, from `kByteDensity` on, or lists."""
    benchmark.group = f"{n_features}-100-10, {percent} % non-zero"
    rng = np.random.default_rng(0)
    shape = (5000, n_features)
    numbers = rng.integers(1, 256, shape) if values == "few" else rng.random(shape)
    x = (numbers * (rng.random(shape) < percent / 100)).astype(np.float32)
    source = _core.Input_float32(x, scale=1 / 255, layout=_core.Layout.sparse, n_threads=1)
    labels = rng.integers(0, 10, len(x))
    network = make_network([n_features, 100, 10])
    trainer = make_trainer(network, source, labels, _core.Loss.cross_entropy, batch_size=BATCH)
    batches = rng.integers(0, len(x), (100, BATCH))
    benchmark(take_steps, trainer, batches, 1)


@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("percent", [10, 20, 30, 35, 40, 50])
@pytest.mark.parametrize("n_hidden", [10, 100, 200])
def test_density(benchmark, n_hidden, percent, layout):
    """A hundred steps of a 784-n_hidden-10 classifier on one core."""
    benchmark.group = f"784-{n_hidden}-10, {percent} % non-zero"
    rng = np.random.default_rng(0)
    x = rng.random((5000, 784), dtype=np.float32) * (rng.random((5000, 784)) < percent / 100)
    network = make_network([784, n_hidden, 10])
    source = _core.Input_float32(
        x.astype(np.float32), scale=1.0, layout=getattr(_core.Layout, layout), n_threads=1
    )
    labels = rng.integers(0, 10, len(x))
    trainer = make_trainer(network, source, labels, _core.Loss.cross_entropy, batch_size=BATCH)
    batches = rng.integers(0, len(x), (100, BATCH))
    benchmark(take_steps, trainer, batches, 1)
