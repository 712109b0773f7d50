# SPDX-License-Identifier: BSD-3-Clause
"""The core's gradients against central differences of the core's own loss, in float64.

With beta1 = beta2 = 0 a step of Adam is ``w -= lr g / (|g| + epsilon)``. An epsilon far above |g|
and an lr as large make that ``w -= scale g``, to a relative ``|g| / epsilon``: one step of the
trainer then shows the gradient of the whole chain. No oracle takes part.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference as ref
from helpers import core, core_input, core_optimizer, core_trainer, draw_x, draw_y, take_steps
from sae_fast import _core
from sae_fast.training.objective import LOSSES

EPSILON = 1e12
SCALE = 1e-3  # what a step subtracts, over the gradient
H = 1e-6  # half the distance of a central difference
TOLERANCE = 2e-6  # of the largest entry of a layer's gradient: what the differences are good for

SQUARED, CROSS_ENTROPY, ARTICLE = (
    _core.Loss.squared_error,
    _core.Loss.cross_entropy,
    _core.Loss.clipped_cross_entropy,
)
VALUE_LOSSES = [_core.Loss[name] for name in ref.VALUE_LOSSES]
# of values with the outputs that Python lets them have, of labels with all
PAIRS = [
    (loss, output)
    for loss in _core.Loss
    if loss is not _core.Loss.divergence  # test_clusters.py
    for output in _core.Activation
    if loss not in VALUE_LOSSES or output.name in LOSSES[loss.name].outputs
]


class Problem:
    """A network with parameters, one batch of samples, and a loss.

    Biases keep the pre-activations of hidden units away from a kink at zero, as the ReLU's, some
    units on and some off, so that a difference never crosses it.
    """

    def __init__(
        self,
        sizes,
        batch_size,
        *,
        loss,
        layout="automatic",
        zeros=0.0,
        decay=0.0,
        hidden=_core.Activation.relu,
        output=_core.Activation.linear,
        targets=None,
    ):
        functions = [hidden] * (len(sizes) - 2) + [output]
        self.network = core("Network", "float64")(list(sizes), functions)
        self.n_layers = len(sizes) - 1
        self.n_samples = batch_size
        self.loss, self.decay, self.penalties = loss, decay, {}
        x = draw_x(batch_size, sizes[0], zeros=zeros).astype(np.float64)
        self.data = core_input(x, "float64", layout)
        self.y = None if loss in VALUE_LOSSES else draw_y(batch_size, sizes[-1])
        self.targets = None
        if targets is not None:  # in this layout; else the samples are their own
            t = draw_x(batch_size, sizes[-1], zeros=zeros, seed=1).astype(np.float64)
            self.targets = core_input(t, "float64", targets)
        rng = np.random.default_rng(sizes)
        a = x
        for layer, (n_in, n_out) in enumerate(itertools.pairwise(sizes)):
            w = rng.normal(size=(n_in, n_out)) * np.sqrt(2 / n_in)
            z = a @ w
            on = rng.random(n_out) < 0.7
            on[0] = True
            # between two neighbours of the sorted pre-activations, where the gap is widest
            b = np.empty(n_out)
            for j in range(n_out):
                values = np.sort(z[:, j])
                gaps = np.diff(values, prepend=values[0] - 0.1)
                at = int(np.argmax(gaps)) if on[j] else 0
                b[j] = gaps[at] / 2 - values[at]
            if layer == self.n_layers - 1:
                b = rng.normal(size=n_out)
            self.network.set_parameters(layer, w, b)
            a = ref.ACTIVATIONS[functions[layer].name][0](z + b)
            if layer < self.n_layers - 1:
                assert np.abs(z + b).min() > 100 * H
                assert (a > 0).any()

    def value(self):
        return _core.evaluate(
            self.network,
            self.data,
            self.y,
            targets=self.targets,
            loss=self.loss,
            weight_decay=self.decay,
            penalties=self.penalties,
            n_threads=1,
        )[0]

    def scale_top_layer(self, factor):
        w, b = self.network.get_parameters(self.n_layers - 1)
        self.network.set_parameters(self.n_layers - 1, w * factor, b * factor)

    def gradients(self, corrected_epsilon=0.0):
        """Give (dw, db) of each layer as one step of the trainer shows it."""
        before = [self.network.get_parameters(layer) for layer in range(self.n_layers)]
        options = {"beta1": 0.0, "beta2": 0.0, "epsilon": EPSILON}
        trainer = core_trainer(
            self.network,
            self.data,
            self.y,
            dtype="float64",
            loss=self.loss,
            batch_size=self.n_samples,
            weight_decay=self.decay,
            penalties=self.penalties,
            optimizer=core_optimizer("adam", corrected_epsilon=corrected_epsilon, **options),
            targets=self.targets,
        )
        take_steps(trainer, np.arange(self.n_samples)[::-1].reshape(1, -1).copy(), SCALE * EPSILON)
        gradients = []
        for layer, (w, b) in enumerate(before):
            new_w, new_b = self.network.get_parameters(layer)
            gradients.append(((w - new_w) / SCALE, (b - new_b) / SCALE))
            self.network.set_parameters(layer, w, b)
        return gradients

    def difference(self, layer, change_w, change_b):
        """Give the central difference of the loss along a direction in one layer's parameters."""
        w, b = self.network.get_parameters(layer)
        ends = []
        for sign in (1, -1):
            self.network.set_parameters(layer, w + sign * H * change_w, b + sign * H * change_b)
            ends.append(self.value())
        self.network.set_parameters(layer, w, b)
        return (ends[0] - ends[1]) / (2 * H)


def entries(shape, n_most, rng):
    """All positions of a small array; of a large one its corners and some others."""
    every = list(np.ndindex(shape))
    if len(every) <= n_most:
        return every
    corners = list(itertools.product(*({0, n // 2, n - 1} for n in shape)))
    chosen = rng.choice(len(every), n_most - len(corners), replace=False)
    return [*corners, *(every[i] for i in chosen)]


def assert_gradients(problem, n_most=60):
    """Compare entry by entry, and along a random direction that has a part of every entry."""
    rng = np.random.default_rng(0)
    gradients = problem.gradients()
    for layer, (dw, db) in enumerate(gradients):
        largest = max(np.abs(dw).max(), np.abs(db).max())
        assert largest > 1e-3, "no gradient, nothing to compare"
        limit = TOLERANCE * largest + 10 * np.finfo(np.float64).eps * problem.value() / H
        for is_bias, d in enumerate((dw, db)):
            for at in entries(d.shape, n_most, rng):
                change = [np.zeros_like(dw), np.zeros_like(db)]
                change[is_bias][at] = 1
                expected = problem.difference(layer, *change)
                assert abs(d[at] - expected) <= limit, (layer, "wb"[is_bias], at)
        change_w, change_b = (rng.choice([-1.0, 1.0], d.shape) for d in (dw, db))
        along = np.sum(dw * change_w) + np.sum(db * change_b)
        size = np.sqrt(np.sum(dw**2) + np.sum(db**2))
        root = np.sqrt(dw.size + db.size)
        expected = problem.difference(layer, change_w / root, change_b / root)
        assert abs(along / root - expected) <= TOLERANCE * size + limit, layer


SIZES = {
    "deep": (20, 12, 7, 5, 4),
    "one unit": (6, 1, 1, 3),
    "one feature": (1, 4, 3),
    "no hidden layer": (9, 4),
    "vectors and a rest": (33, 17, 25, 10),
}


@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("loss", [CROSS_ENTROPY, ARTICLE], ids=["cross_entropy", "article"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_network(sizes, loss, layout):
    assert_gradients(Problem(sizes, 9, loss=loss, layout=layout, zeros=0.5))


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("sizes", [(20, 7, 20), (5, 1, 5), (1, 3, 1), (33, 25, 33)], ids=str)
def test_autoencoder(sizes, layout, decay):
    assert_gradients(Problem(sizes, 9, loss=SQUARED, layout=layout, zeros=0.5, decay=decay))


@pytest.mark.parametrize("batch_size", [1, 2, 7, 13])
def test_batch_sizes(batch_size):
    assert_gradients(Problem((20, 12, 5), batch_size, loss=CROSS_ENTROPY))


@pytest.mark.parametrize(
    "sizes",
    [(256, 256, 10), (300, 257, 10), (257, 513, 270, 4), (8, 290, 300, 261)],
    ids=str,
)
def test_wide_layers(sizes):
    """Both sides at least 256: products go through BLAS, in tiles of 256 columns."""
    assert_gradients(Problem(sizes, 6, loss=CROSS_ENTROPY), n_most=20)


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("layout", ["sparse", "dense"])
def test_wide_autoencoder(layout, decay):
    problem = Problem((300, 259, 300), 6, loss=SQUARED, layout=layout, zeros=0.7, decay=decay)
    assert_gradients(problem, n_most=20)


def test_columns_without_any_value():
    """Where no sample has a value there is no gradient but the decay's."""
    for decay in (0.0, 0.3):
        problem = Problem((20, 7, 20), 9, loss=SQUARED, decay=decay)
        x = draw_x(9, 20, zeros=0.5).astype(np.float64)
        x[:, [0, 7, 19]] = 0
        for layout in ("sparse", "dense"):
            problem.data = core_input(x, "float64", layout)
            w, _ = problem.network.get_parameters(0)
            dw, _ = problem.gradients()[0]
            np.testing.assert_allclose(dw[[0, 7, 19]], decay * w[[0, 7, 19]], rtol=1e-9, atol=1e-12)
            assert np.abs(dw[1]).max() > 1e-3


@pytest.mark.parametrize("n_clipped", ["some", "all"])
def test_samples_below_the_clip(n_clipped):
    """Below 1e-10 the article's loss is flat; above, it is the cross entropy."""
    problem = Problem((20, 12, 4), 12, loss=ARTICLE)
    problem.scale_top_layer({"some": 8, "all": 1}[n_clipped])
    if n_clipped == "all":  # the right class of every sample is far behind another
        problem.y = np.where(problem.y == 0, 1, problem.y)
        w, _ = problem.network.get_parameters(1)
        problem.network.set_parameters(1, w, np.array([100.0, 0, 0, 0]))
    p = problem.network.predict(
        problem.data, first_layer=0, last_layer=2, softmax=True, n_threads=1
    )
    clipped = p[np.arange(12), problem.y] < 1e-10
    if n_clipped == "some":
        assert clipped.sum() == 4
        assert_gradients(problem)
    else:
        assert clipped.all()
        assert problem.value() == pytest.approx(12 * np.log(1e10), rel=1e-12)
        for dw, db in problem.gradients():
            assert not dw.any()
            assert not db.any()
        assert problem.difference(1, np.ones((12, 4)), np.zeros(4)) == 0


@pytest.mark.parametrize("hidden", list(_core.Activation), ids=lambda f: f.name)
@pytest.mark.parametrize(("loss", "output"), PAIRS, ids=lambda value: value.name)
@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_every_activation_and_loss(layout, loss, output, hidden):
    sizes = (12, 9, 12) if loss in VALUE_LOSSES else (12, 9, 5)
    assert_gradients(
        Problem(sizes, 11, loss=loss, layout=layout, zeros=0.5, hidden=hidden, output=output)
    )


@pytest.mark.parametrize(
    ("loss", "output"), [pair for pair in PAIRS if pair[0] in VALUE_LOSSES], ids=lambda v: v.name
)
@pytest.mark.parametrize("targets", ["dense", "sparse"])
def test_every_loss_of_targets(targets, loss, output):
    sizes, how = (12, 9, 33), {"zeros": 0.5, "output": output, "targets": targets}
    assert_gradients(Problem(sizes, 11, loss=loss, **how))


@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_cross_entropy_through_blas(layout):
    how = {"layout": layout, "zeros": 0.7, "output": _core.Activation.sigmoid}
    problem = Problem((300, 259, 300), 6, loss=_core.Loss.binary_cross_entropy, **how)
    assert_gradients(problem, n_most=20)


@pytest.mark.parametrize("hidden", list(_core.Activation), ids=lambda f: f.name)
def test_every_activation_through_blas(hidden):
    assert_gradients(Problem((257, 260, 258, 5), 7, loss=CROSS_ENTROPY, hidden=hidden))


@pytest.mark.parametrize("corrected", [0.0, 1.0], ids=["tf1", "torch"])
def test_both_forms_of_adam_show_the_same_gradient(corrected):
    problem = Problem((20, 12, 5), 9, loss=CROSS_ENTROPY)
    for (dw, db), (expected_dw, expected_db) in zip(
        problem.gradients(corrected), problem.gradients(), strict=True
    ):
        np.testing.assert_allclose(dw, expected_dw, rtol=1e-9)
        np.testing.assert_allclose(db, expected_db, rtol=1e-9)


def test_the_kernels_gradient():
    """With beta1 = 0 and no moments m is dw: against the difference of a linear layer's loss."""
    rng = np.random.default_rng(0)
    x, w, target = (rng.normal(size=shape) for shape in ((5, 6), (6, 9), (5, 9)))
    kernels, none = core("kernels", "float64"), np.zeros((6, 9))

    def value(w):
        return np.sum((x @ w - target) ** 2) + 0.15 * np.sum(w**2)

    optimizer, step = core_optimizer(beta1=0.0, beta2=0.5), (1, 0.1, 0.3)
    delta = kernels.loss_delta("baseline", SQUARED, (x @ w).ravel(), target.ravel())
    delta = delta.ravel()[:45].reshape(5, 9)
    _, (dense, _) = kernels.dense_update("baseline", x, delta, w, [none, none], optimizer, step)
    for i, j in np.ndindex(6, 9):
        change = np.zeros((6, 9))
        change[i, j] = H
        expected = (value(w + change) - value(w - change)) / (2 * H)
        assert dense[i, j] == pytest.approx(expected, rel=1e-6, abs=1e-6)
    rows = np.arange(5, dtype=np.uint32)
    for i in range(6):
        column = np.ascontiguousarray(x[:, i])
        row, zero = w[i : i + 1].copy(), none[i : i + 1].copy()
        _, (by_sparse, _) = kernels.sparse_update(
            "baseline", rows, column, delta, row, [zero, zero], optimizer, step
        )
        np.testing.assert_array_equal(by_sparse[0], dense[i])
