# SPDX-License-Identifier: BSD-3-Clause
"""The oracle against mathematics: central differences, closed forms and hand-computed Adam steps.

Inputs are redrawn until every hidden pre-activation is well away from the ReLU's kink.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference as ref

H = 1e-6  # step of the central differences
KINK = 1e-3  # least distance of a pre-activation from zero


def central_differences(loss_of, parameters):
    """Gradient of a scalar function of a parameter dict, one entry at a time."""
    gradients = {}
    for name, value in parameters.items():
        g = np.zeros_like(value)
        for index in np.ndindex(value.shape):
            ends = []
            for sign in (1.0, -1.0):
                moved = {k: v.copy() for k, v in parameters.items()}
                moved[name][index] += sign * H
                ends.append(loss_of(moved))
            g[index] = (ends[0] - ends[1]) / (2.0 * H)
        gradients[name] = g
    return gradients


def assert_same_gradients(got, expected):
    assert got.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(got[name], expected[name], rtol=1e-6, atol=1e-7, err_msg=name)


def draw_autoencoder(rng, n, n_in, n_hidden):
    while True:
        p = {
            "W_enc": rng.normal(size=(n_in, n_hidden)),
            "b_enc": rng.normal(size=n_hidden),
            "W_dec": rng.normal(size=(n_hidden, n_in)),
            "b_dec": rng.normal(size=n_in),
        }
        x = rng.uniform(size=(n, n_in))
        if np.abs(x @ p["W_enc"] + p["b_enc"]).min() > KINK:
            return p, x


def draw_network(rng, n, sizes):
    while True:
        p = {}
        for k, (n_in, n_out) in enumerate(itertools.pairwise(sizes), start=1):
            p[f"W{k}"] = rng.normal(size=(n_in, n_out))
            p[f"b{k}"] = rng.normal(size=n_out)
        x = rng.uniform(size=(n, sizes[0]))
        y = rng.integers(sizes[-1], size=n)
        activations, _ = ref.forward(p, x)
        z = [activations[k - 1] @ p[f"W{k}"] + p[f"b{k}"] for k in range(1, len(sizes) - 1)]
        if all(np.abs(layer).min() > KINK for layer in z):
            return p, x, y


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("n", "n_in", "n_hidden"), [(1, 1, 1), (1, 5, 3), (7, 4, 1), (6, 3, 8)])
def test_autoencoder_gradients(n, n_in, n_hidden, weight_decay):
    rng = np.random.default_rng([n, n_in, n_hidden])
    p, x = draw_autoencoder(rng, n, n_in, n_hidden)
    value, gradients = ref.autoencoder_gradients(p, x, weight_decay)
    assert value == ref.autoencoder_loss(p, x, weight_decay)
    assert_same_gradients(
        gradients, central_differences(lambda q: ref.autoencoder_loss(q, x, weight_decay), p)
    )


@pytest.mark.parametrize("loss", ["article", "cross_entropy"])
@pytest.mark.parametrize(
    ("n", "sizes"),
    [(1, [3, 4]), (1, [1, 1, 2]), (5, [4, 1, 3]), (7, [6, 5, 4, 3]), (4, [3, 4, 4, 4, 5])],
)
def test_network_gradients(n, sizes, loss):
    rng = np.random.default_rng([n, *sizes])
    p, x, y = draw_network(rng, n, sizes)
    value, gradients = ref.network_gradients(p, x, y, loss)
    assert value == pytest.approx(ref.evaluate_network(p, x, y, loss)[0], rel=1e-15)
    numerical = central_differences(lambda q: ref.evaluate_network(q, x, y, loss)[0], p)
    assert_same_gradients(gradients, numerical)


def test_clipped_samples_have_no_gradient():
    # Sample 0 is hopeless (p of class 1 is e^-40, below 1e-10), sample 1 is not.
    rng = np.random.default_rng(0)
    p = {"W1": rng.normal(size=(2, 3)), "b1": np.array([0.0, -40.0, 0.0])}
    x, y = 0.1 * rng.uniform(size=(2, 2)), np.array([1, 2])
    value, gradients = ref.network_gradients(p, x, y, "article")
    _, of_second = ref.network_gradients(p, x[1:], y[1:], "article")
    assert_same_gradients(gradients, of_second)
    numerical = central_differences(lambda q: ref.evaluate_network(q, x, y, "article")[0], p)
    assert_same_gradients(gradients, numerical)
    assert value == pytest.approx(10.0 * np.log(10.0) + ref.evaluate_network(p, x[1:], y[1:])[0])

    _, only_clipped = ref.network_gradients(p, x[:1], y[:1], "article")
    assert all(not g.any() for g in only_clipped.values())
    _, stable = ref.network_gradients(p, x[:1], y[:1], "cross_entropy")
    assert stable["b1"][1] == pytest.approx(-1.0)


def test_clip_range_is_closed():
    # With two classes and logits (0, -g), p of class 1 is 1 / (1 + e^g).
    gap = np.log(1.0 / ref.CLIP - 1.0)
    for g, passes in [(gap - 1e-6, True), (gap + 1e-6, False)]:
        _, delta = ref.classification_loss(np.array([[0.0, -g]]), np.array([1]), "article")
        assert delta.any() == passes
    # p = 1 is inside the range: the gradient there is p - t = 0 by itself, the loss zero.
    value, delta = ref.classification_loss(np.array([[800.0, 0.0]]), np.array([0]), "article")
    assert value == 0.0
    np.testing.assert_array_equal(delta, 0.0)


def test_losses_in_closed_form():
    p = {name: np.zeros(shape) for name, shape in [("W1", (4, 10)), ("b1", (10,))]}
    y = np.array([0, 3, 9])
    for loss in ("article", "cross_entropy"):
        value, accuracy = ref.evaluate_network(p, np.ones((3, 4)), y, loss)
        assert value == pytest.approx(3.0 * np.log(10.0))
        assert accuracy == pytest.approx(1.0 / 3.0)  # a tie goes to the first class
    huge = np.array([[1e5, 0.0]])
    assert ref.classification_loss(huge, np.array([1]), "cross_entropy")[0] == pytest.approx(1e5)
    capped = ref.classification_loss(huge, np.array([1]), "article")[0]
    assert capped == pytest.approx(10.0 * np.log(10.0))

    # One unit: code relu(2 * 3 + 1) = 7, reconstruction 0.5 * 7 - 1 = 2.5, error 3 - 2.5.
    one = {"W_enc": [[2.0]], "b_enc": [1.0], "W_dec": [[0.5]], "b_dec": [-1.0]}
    assert ref.autoencoder_loss(one, [[3.0]]) == pytest.approx(0.25)
    assert ref.autoencoder_loss(one, [[3.0]], 0.1) == pytest.approx(0.25 + 0.1 * (2.0 + 0.125))


def test_adam_by_hand():
    # One parameter with the constant gradient g: m = g (1 - b1^t) and v = g² (1 - b2^t), so the
    # corrected step is lr / (1 + eps / |g| ...), with eps seen before or after the correction.
    g, lr = 1e-6, 0.01
    batches = np.zeros((3, 1), dtype=int)

    def constant(p, batch):
        return 0.0, {"w": np.full(1, g)}

    for adam in ("tf1", "torch"):
        steps = ref.adam_steps({"w": [1.0]}, constant, batches, lr, adam)
        w = [1.0, *(p["w"][0] for _, p in steps)]
        for t in (1, 2, 3):
            root = np.sqrt(1.0 - 0.999**t)
            eps = 1e-8 / root if adam == "tf1" else 1e-8
            assert w[t - 1] - w[t] == pytest.approx(lr * g / (g + eps), rel=1e-9)
    with pytest.raises(ValueError, match="adamax"):
        list(ref.adam_steps({"w": [1.0]}, constant, batches, lr, "adamax"))


@pytest.mark.parametrize("adam", ["tf1", "torch"])
def test_training_learns_and_leaves_its_inputs_alone(adam):
    rng = np.random.default_rng(5)
    p, x = draw_autoencoder(rng, 20, 6, 4)
    before = {name: value.copy() for name, value in p.items()}
    batches = rng.integers(len(x), size=(200, 5))
    trained, losses = ref.train_autoencoder(p, x, batches, 0.01, 0.1, adam)
    assert losses.shape == (200,)
    assert losses[0] == ref.autoencoder_loss(before, x[batches[0]], 0.1)
    assert ref.autoencoder_loss(trained, x, 0.1) < 0.5 * ref.autoencoder_loss(p, x, 0.1)
    for name, value in p.items():
        np.testing.assert_array_equal(value, before[name])

    p, x, _ = draw_network(rng, 20, [6, 8, 3])
    y = x[:, :3].argmax(axis=1)
    steps = list(ref.network_steps(p, x, y, batches, 0.01, "article", adam))
    trained, losses = ref.train_network(p, x, y, batches, 0.01, "article", adam)
    np.testing.assert_array_equal(losses, [value for value, _ in steps])
    assert_same_gradients(trained, steps[-1][1])
    assert not np.array_equal(steps[0][1]["W1"], steps[1][1]["W1"])  # copies, not views
    assert ref.evaluate_network(trained, x, y)[0] < 0.5 * ref.evaluate_network(p, x, y)[0]


def test_probabilities_sum_to_one():
    p, x, y = draw_network(np.random.default_rng(6), 9, [4, 5, 3])
    probabilities = ref.predict_proba(p, x)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert ref.evaluate_network(p, x, y)[1] == np.mean(probabilities.argmax(axis=1) == y)
