# SPDX-License-Identifier: BSD-3-Clause
"""What the article's experiment is made of, piece by piece: the rows of `docs/performance.md`.

On MNIST where `SAE_FAST_DATA_DIR` or the cache has it, else on the embedded strokes. Two versions
are compared by running this file with each, in turn; quote the minima, which other work on the
machine disturbs least.
Run: pytest benchmarks/test_steps.py --benchmark-columns=min,median,stddev
"""

from __future__ import annotations

import numpy as np
import pytest
import sae_fast
from pieces import make_network, make_trainer, take_steps
from sae_fast import _core

N_STEPS = 100
ARTICLE = [784, 100, 50, 25, 12, 5, 5, 10]
DECODER = [784, 100, 784]


@pytest.fixture(scope="module")
def data():
    try:
        return sae_fast.datasets.load("mnist", None, offline=True)
    except sae_fast.DatasetUnavailableError:
        return sae_fast.datasets.load_strokes()


@pytest.fixture(scope="module")
def x_train(data):
    return core_input(data.x_train, data.scale)


@pytest.fixture(scope="module")
def x_test(data):
    return core_input(data.x_test, data.scale)


def core_input(x, scale, n_threads=2):
    layout = _core.Layout.automatic
    return _core.Input_float32(x, scale=scale or 1.0, layout=layout, n_threads=n_threads)


def run_steps(benchmark, trainer, n_samples, n_threads):
    rng = np.random.default_rng(0)
    batches = rng.permutation(n_samples)[: N_STEPS * 100].reshape(N_STEPS, 100).astype(np.int64)
    benchmark.extra_info["steps"] = N_STEPS
    benchmark(take_steps, trainer, batches, n_threads)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_hundred_finetuning_steps(benchmark, data, x_train, n_threads):
    labels = data.y_train.astype(np.int64)
    trainer = make_trainer(make_network(ARTICLE), x_train, labels, _core.Loss.clipped_cross_entropy)
    run_steps(benchmark, trainer, len(labels), n_threads)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_hundred_steps_of_the_first_autoencoder(benchmark, x_train, n_threads):
    trainer = make_trainer(make_network(DECODER), x_train, None, _core.Loss.squared_error)
    run_steps(benchmark, trainer, x_train.n_samples, n_threads)


@pytest.mark.parametrize("kept", [25, 125, 126])  # of the last the decoder reads all units
def test_hundred_steps_of_sparse_codes(benchmark, x_train, kept):
    functions = [_core.Activation.top_k, _core.Activation.linear]
    network = _core.Network_float32([784, 1000, 784], functions, [kept, 0])
    rng = np.random.default_rng(0)
    for layer, shape in enumerate([(784, 1000), (1000, 784)]):
        w = rng.normal(0, 0.01, shape).astype(np.float32)
        network.set_parameters(layer, w, np.zeros(shape[1], np.float32))
    trainer = make_trainer(network, x_train, None, _core.Loss.squared_error)
    run_steps(benchmark, trainer, x_train.n_samples, 1)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_evaluation_on_the_test_set(benchmark, data, x_test, n_threads):
    labels = data.y_test.astype(np.int64)
    benchmark(
        _core.evaluate,
        make_network(ARTICLE),
        x_test,
        labels,
        loss=_core.Loss.clipped_cross_entropy,
        weight_decay=0.0,
        n_threads=n_threads,
    )


@pytest.mark.parametrize("n_threads", [1, 2])
def test_loss_of_the_first_autoencoder_over_the_training_set(benchmark, x_train, n_threads):
    benchmark(
        _core.evaluate,
        make_network(DECODER),
        x_train,
        None,
        loss=_core.Loss.squared_error,
        weight_decay=0.0,
        n_threads=n_threads,
    )


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_non_zeros_of_the_training_set(benchmark, data, kind):
    x, scale = data.x_train, data.scale
    if kind == "float32":
        x, scale = np.multiply(x, scale or 1.0, dtype=np.float32), None
    benchmark.pedantic(core_input, (x, scale), rounds=10)


@pytest.mark.parametrize("sizes", [ARTICLE[:-1], [784, 1000, 1000, 1000]], ids=["article", "wide"])
def test_predict_one_row(benchmark, data, sizes):
    net = sae_fast.StackedAutoencoder(sizes, n_classes=10, init="he", seed=0)
    row = np.multiply(data.x_test[:1], data.scale or 1.0, dtype=np.float32)
    benchmark(net.predict, row)
