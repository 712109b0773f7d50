# SPDX-License-Identifier: BSD-3-Clause
"""Layers of centers, and deep embedded clustering on top of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import core, core_input, core_optimizer, core_trainer, take_steps
from reference import student_t
from sae_fast import StackedAutoencoder, _core
from sae_fast.models.clusters import Clusters, decided

SIZES, N_CLUSTERS, N = (12, 9, 4), 5, 40
FUNCTIONS = [_core.Activation.sigmoid, _core.Activation.linear, _core.Activation.linear]


def problem(dtype="float64", sizes=SIZES, n_clusters=N_CLUSTERS, n=N):
    """Give a network under centers, samples, and targets; parameters are drawn."""
    rng = np.random.default_rng(7)
    widths = (*sizes, n_clusters)
    network = core("Network", dtype)(list(widths), FUNCTIONS, centers=True)
    for layer, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
        w, b = rng.normal(size=(n_in, n_out)), rng.normal(size=n_out)
        if layer == len(sizes) - 1:
            b[:] = 0
        network.set_parameters(layer, w.astype(dtype), b.astype(dtype))
    x = rng.random((n, sizes[0])).astype(dtype)
    p = rng.random((n, n_clusters)) ** 3
    return network, x, (p / p.sum(axis=1, keepdims=True)).astype(dtype)


def codes_of(network, x):
    (w1, b1), (w2, b2), _ = (network.get_parameters(layer) for layer in range(3))
    return (1 / (1 + np.exp(-(x @ w1 + b1)))) @ w2 + b2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_clusters", [2, 5, 17])
def test_assignments_are_students(dtype, n_clusters):
    network, x, _ = problem(dtype, n_clusters=n_clusters)
    q = network.predict(
        core_input(x, dtype), first_layer=0, last_layer=3, softmax=True, n_threads=1
    )
    centers = network.get_parameters(2)[0].T.astype(np.float64)
    expected = student_t(codes_of(network, x.astype(np.float64)), centers)
    np.testing.assert_allclose(q, expected, rtol=2e-5 if dtype == "float32" else 1e-12)


def value_of(network, data, targets):
    return _core.evaluate(
        network, data, None, targets=targets, loss=_core.Loss.divergence, weight_decay=0.0,
        penalties={}, n_threads=1,
    )[0]  # fmt: skip


def test_divergence_is_kullback_and_leiblers():
    network, x, p = problem()
    p[0] = 0, 0, 1, 0, 0  # 0 log 0 = 0
    found = value_of(network, core_input(x, "float64"), core_input(p, "float64"))
    q = student_t(codes_of(network, x), network.get_parameters(2)[0].T)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(p > 0, p * np.log(p / q), 0).sum()
    assert found == pytest.approx(expected, rel=1e-12)


def trained(dtype, data, targets, network, n_steps, n_threads=1, rate=1e-3):
    trainer = core_trainer(
        network, data, None, targets=targets, dtype=dtype, loss=_core.Loss.divergence,
        batch_size=N, optimizer=core_optimizer("sgd", momentum=0.0),
    )  # fmt: skip
    batches = np.tile(np.arange(N)[::-1], (n_steps, 1)).copy()
    take_steps(trainer, batches, rate, n_threads)
    return [network.get_parameters(layer) for layer in range(3)]


def test_gradients_are_central_differences():
    network, x, p = problem()
    data, targets = core_input(x, "float64"), core_input(p, "float64")
    before = [network.get_parameters(layer) for layer in range(3)]
    rate, h = 1e-6, 1e-6
    after = trained("float64", data, targets, network, 1, rate=rate)
    for layer, ((w, b), (new_w, new_b)) in enumerate(zip(before, after, strict=True)):
        for one, ((w0, b0), (_, _)) in enumerate(zip(before, after, strict=True)):
            network.set_parameters(one, w0, b0)
        dw, db = (w - new_w) / rate, (b - new_b) / rate
        assert np.abs(dw).max() > 0.01
        if layer == 2:
            assert not db.any()  # centers have no biases
        for at in np.ndindex(w.shape):
            ends = []
            for sign in (1, -1):
                moved = w.copy()
                moved[at] += sign * h
                network.set_parameters(layer, moved, b)
                ends.append(value_of(network, data, targets))
            network.set_parameters(layer, w, b)
            difference = (ends[0] - ends[1]) / (2 * h)
            assert dw[at] == pytest.approx(difference, abs=2e-7 * np.abs(dw).max() + 1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_do_not_matter(dtype):
    found = []
    for n_threads in (1, 2, 3, 8):
        network, x, p = problem(dtype)
        data, targets = core_input(x, dtype), core_input(p, dtype)
        found.append(trained(dtype, data, targets, network, 20, n_threads))
    for other in found[1:]:
        for (w, b), (w2, b2) in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(w, w2)
            np.testing.assert_array_equal(b, b2)


def test_steps_are_pytorchs():
    torch = pytest.importorskip("torch")
    network, x, p = problem()
    start = [network.get_parameters(layer) for layer in range(3)]
    after = trained(
        "float64", core_input(x, "float64"), core_input(p, "float64"), network, 50, rate=1e-2
    )
    (w1, b1), (w2, b2), (w3, _) = start
    tensors = [torch.tensor(one, requires_grad=True) for one in (w1, b1, w2, b2, w3)]
    optimizer = torch.optim.SGD(tensors, lr=1e-2)
    given, target = torch.tensor(x), torch.tensor(p)
    for _ in range(50):
        optimizer.zero_grad()
        code = torch.sigmoid(given @ tensors[0] + tensors[1]) @ tensors[2] + tensors[3]
        near = 1 / (1 + ((code[:, :, None] - tensors[4]) ** 2).sum(dim=1))
        q = near / near.sum(dim=1, keepdim=True)
        (target * (target / q).log()).sum().backward()
        optimizer.step()
    found = [after[0][0], after[0][1], after[1][0], after[1][1], after[2][0]]
    for ours, theirs in zip(found, tensors, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-9, atol=1e-12)


def test_targets_are_more_decided_and_clusters_count_alike():
    q = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8]], np.float32)
    p = decided(q)
    size = q.astype(np.float64).sum(axis=0)
    expected = q.astype(np.float64) ** 2 / size
    np.testing.assert_allclose(p, expected / expected.sum(axis=1, keepdims=True))
    assert decided(np.array([[1.0, 0.0]])).tolist() == [[1.0, 0.0]]  # an empty cluster
    twice = decided(q, np.array([2.0, 1.0, 1.0]))
    np.testing.assert_allclose(twice[1:], decided(q[[0, 0, 1, 2]])[2:])


@pytest.mark.parametrize(
    "options", [{"activations": [_core.Activation.relu]}, {"kept": [1, 0]}, {"tied": True}]
)
def test_centers_that_cannot_be(options):
    activations = options.pop("activations", [_core.Activation.relu, _core.Activation.linear])
    sizes = [6, 3, 6][: len(activations) + 1]
    with pytest.raises(ValueError, match="centers"):
        core("Network", "float32")(sizes, activations, centers=True, **options)


def blobs(n=600, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    centers = rng.normal(size=(4, 10)) * 3
    return (centers[y] + rng.normal(size=(n, 10))).astype(np.float32), y


def test_a_refinement_ends_when_labels_stay():
    x, _ = blobs()
    net = StackedAutoencoder([10, 16, 3], activation=["relu", "linear"], n_threads=2)
    net.pretrain(x, steps=300)
    codes = net.encode(x)
    clusters = Clusters(net, codes[:4])
    found = clusters.refine(
        x, steps=5000, update_every=20, tol=0.0, batch_size=100, learning_rate=1e-3,
        optimizer="adam", sample_weight=None, scale=None, progress=False,
    )  # fmt: skip
    assert found.converged
    assert found.changes[-1] == 0
    assert len(found.changes) < 250
    np.testing.assert_array_equal(found.labels, clusters.assignments(x).argmax(axis=1))
    clusters.copy_to(net)
    q = student_t(net.encode(x).astype(np.float64), clusters.centers.astype(np.float64))
    np.testing.assert_allclose(clusters.assignments(x), q, atol=1e-4)


sklearn = pytest.importorskip("sklearn")

from sae_fast import DataError, EmptyClusterWarning, callbacks  # noqa: E402
from sae_fast.activations import TopK  # noqa: E402
from sae_fast.sklearn import DeepEmbeddedClustering  # noqa: E402
from sklearn.metrics import adjusted_rand_score  # noqa: E402

SHORT = {"units": (16, 3), "steps": 300, "random_state": 0}


def test_clusters_are_found_and_new_rows_assigned():
    x, y = blobs()
    dec = DeepEmbeddedClustering(4, **SHORT).fit(x[:400])
    assert adjusted_rand_score(y[:400], dec.labels_) > 0.9
    assert adjusted_rand_score(y[400:], dec.predict(x[400:])) > 0.9
    np.testing.assert_array_equal(dec.predict(x[:400]), dec.labels_)
    q = dec.transform(x)
    np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-5)
    codes = dec.network_.encode(x).astype(np.float64)
    np.testing.assert_allclose(q, student_t(codes, dec.cluster_centers_), atol=1e-3)
    assert dec.converged_
    assert dec.n_iter_ == len(dec.changes_)
    assert dec.changes_[-1] <= dec.tol
    assert dec.get_feature_names_out().tolist() == [f"deepembeddedclustering{i}" for i in range(4)]
    assert not hasattr(dec, "partial_fit")


def test_clustering_makes_assignments_more_decided():
    x, _ = blobs()
    before = DeepEmbeddedClustering(4, cluster_steps=0, **SHORT).fit(x)
    after = DeepEmbeddedClustering(4, cluster_learning_rate=1e-2, **SHORT).fit(x)
    assert (before.n_iter_, before.converged_) == (0, False)
    np.testing.assert_array_equal(before.labels_, before.predict(x))
    np.testing.assert_array_equal(before.start_labels_, after.start_labels_)
    assert after.transform(x).max(axis=1).mean() > before.transform(x).max(axis=1).mean() + 0.05


@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_seed_says_all(n_threads):
    x, _ = blobs()
    dec = DeepEmbeddedClustering(4, n_threads=n_threads, **SHORT).fit(x)
    again = DeepEmbeddedClustering(4, n_threads=2, **SHORT).fit(x)
    np.testing.assert_array_equal(dec.cluster_centers_, again.cluster_centers_)
    np.testing.assert_array_equal(dec.transform(x), again.transform(x))


def test_uint8_sparse_and_weights():
    x, _ = blobs()
    scipy_sparse = pytest.importorskip("scipy.sparse")
    pixels = ((x - x.min()) / np.ptp(x) * 255).astype(np.uint8)
    options = {"standardize": False, **SHORT}
    of_bytes = DeepEmbeddedClustering(4, **SHORT, scale=1 / 255).fit(pixels)
    of_floats = DeepEmbeddedClustering(4, **options).fit(pixels * np.float32(1 / 255))
    np.testing.assert_array_equal(of_bytes.labels_, of_floats.labels_)
    sparse = DeepEmbeddedClustering(4, **options).fit(scipy_sparse.csr_matrix(x))
    assert sparse.labels_.shape == (600,)
    weight = np.ones(600)
    weight[:100] = 0
    weighted = DeepEmbeddedClustering(4, **SHORT).fit(x, sample_weight=weight)
    assert len(weighted.labels_) == 500


def test_callbacks_see_the_autoencoders(tmp_path):
    x, _ = blobs()
    seen = []
    looking = [
        lambda training: seen.append(training.title),
        callbacks.EarlyStopping(),
        callbacks.Checkpoint(tmp_path / "checkpoint.safetensors", every=100),
    ]
    dec = DeepEmbeddedClustering(4, callbacks=looking, tune_steps=50, **SHORT).fit(x)
    plain = DeepEmbeddedClustering(4, tune_steps=50, **SHORT).fit(x)
    assert len(set(seen)) == 3
    np.testing.assert_array_equal(dec.labels_, plain.labels_)


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_empty_clusters_are_told():
    x = np.repeat(np.eye(6, dtype=np.float32)[:2], 50, axis=0)
    with pytest.warns(EmptyClusterWarning, match="of 5 have no rows"):
        DeepEmbeddedClustering(5, units=3, steps=50, random_state=0).fit(x)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"n_clusters": 0}, "n_clusters"),
        ({"n_clusters": 2.5}, "n_clusters"),
        ({"n_clusters": 601}, "n_samples=600, got 601"),
        ({"n_init": 0}, "n_init"),
        ({"update_every": 0}, "update_every"),
        ({"cluster_steps": -1}, "cluster_steps"),
        ({"cluster_learning_rate": "fast"}, "cluster_learning_rate"),
        ({"cluster_optimizer": "sdg"}, "cluster_optimizer"),
        ({"tol": 1.5}, "tol"),
        ({"tol": -1}, "tol"),
        ({"activation": ["relu", TopK(1)]}, "TopK"),
        ({"activation": "rleu"}, "activation"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(options, complaint):
    x, _ = blobs()
    dec = DeepEmbeddedClustering(**{"n_clusters": 4, "units": (16, 3), "steps": 10**9, **options})
    with pytest.raises(DataError, match=complaint):
        dec.fit(x)
    assert not hasattr(dec, "labels_")
