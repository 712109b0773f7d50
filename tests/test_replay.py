# SPDX-License-Identifier: BSD-3-Clause
"""Training against the float64 oracle, step for step on the same batches.

Both start from the same parameters, rounded to float32, so that one run of the oracle serves both
precisions. Tolerances are relative to each parameter's largest absolute value.
"""

from __future__ import annotations

import functools
import itertools
from pathlib import Path

import numpy as np
import pytest
import reference as ref
from helpers import assert_close, assert_identical, draw_batches, draw_x, draw_y
from sae_fast import Autoencoder, DataError, StackedAutoencoder, activations, datasets
from sae_fast.training.objective import HEADS, LOSSES, SOFTMAX, losses_of
from sae_fast.training.optimizers import RULES

N_STEPS = 60
TOLERANCE = {"float32": 2e-4, "float64": 1e-9}
LOSS_TOLERANCE = {"float32": 1e-6, "float64": 1e-12}  # at the same parameters
SHARE_OF_ZEROS = {"sparse": 0.8, "dense": 0.0}

# n_samples, n_features, n_hidden, batch_size
AUTOENCODERS = {
    "article": (500, 784, 100, 100),
    "odd": (50, 37, 13, 7),
    "one unit": (9, 5, 1, 1),
    "wide": (80, 300, 261, 33),
}
# n_samples, sizes, n_classes, batch_size
NETWORKS = {
    "article": (500, (784, 100, 50, 25, 12, 5, 5), 10, 100),
    "odd": (50, (37, 13, 1, 4), 3, 7),
    "one layer": (20, (9, 3), 2, 1),
    "wide": (80, (300, 270, 257), 10, 33),
}
DECAYS = (0.0, 0.1)
LABEL_LOSSES = ("article", "cross_entropy")


def cases(shapes, options):
    """Every shape and layout; with them every (option, adam), for large shapes half of them."""
    return [
        (shape, layout, option, adam)
        for shape, layout, option, adam in itertools.product(
            shapes, SHARE_OF_ZEROS, options, ("tf1", "torch")
        )
        if shape not in ("article", "wide") or (option == options[0]) == (adam == "tf1")
    ]


def round_to_float32(parameters):
    return {name: value.astype(np.float32) for name, value in parameters.items()}


@functools.cache
def autoencoder_case(shape, layout, weight_decay, adam):
    """Data, batches, initial parameters, the oracle's parameters after some steps, all losses."""
    n_samples, n_features, n_hidden, batch_size = AUTOENCODERS[shape]
    x = draw_x(n_samples, n_features, zeros=SHARE_OF_ZEROS[layout])
    batches = draw_batches(N_STEPS, batch_size, n_samples)
    initial = round_to_float32(Autoencoder(n_features, n_hidden, init="normal").parameters)
    steps = list(ref.autoencoder_steps(initial, x, batches, weight_decay=weight_decay, adam=adam))
    losses = [ref.autoencoder_loss(p, x, weight_decay) for _, p in steps[19::20]]
    return x, batches, initial, {n: steps[n - 1][1] for n in (1, 2, N_STEPS)}, losses


@functools.cache
def network_case(shape, layout, loss, adam):
    """As `autoencoder_case`, with the labels, and (loss, accuracy) over all samples."""
    n_samples, sizes, n_classes, batch_size = NETWORKS[shape]
    x = draw_x(n_samples, sizes[0], zeros=SHARE_OF_ZEROS[layout])
    y = draw_y(n_samples, n_classes)
    batches = draw_batches(N_STEPS, batch_size, n_samples)
    initial = round_to_float32(StackedAutoencoder(sizes, n_classes, init="he").parameters)
    steps = list(ref.network_steps(initial, x, y, batches, loss=loss, adam=adam))
    curve = [ref.evaluate_network(p, x, y, loss) for _, p in steps[19::20]]
    return x, y, batches, initial, {n: steps[n - 1][1] for n in (1, 2, N_STEPS)}, curve


@functools.cache
def small_case():
    """Data, batches and initial parameters that keep every activation in its bends."""
    x = draw_x(50, 30, zeros=0.5).astype(np.float64)
    rng = np.random.default_rng(3)
    shapes = {"W_enc": (30, 8), "b_enc": 8, "W_dec": (8, 30), "b_dec": 30}
    initial = {name: rng.normal(0, 0.4, shape) for name, shape in shapes.items()}
    return x, draw_batches(N_STEPS, 12, 50), initial


@pytest.mark.parametrize("output", activations.NAMES)
@pytest.mark.parametrize("activation", activations.NAMES)
def test_every_activation(activation, output):
    x, batches, initial = small_case()
    functions = {"activation": activation, "output": output}
    ae = Autoencoder(30, 8, dtype="float64", weight_decay=0.1, **functions)
    ae.parameters = initial
    ae.fit(x, batches=batches, eval_every=0)

    def gradients_of(p, batch):
        return ref.autoencoder_gradients(p, x[batch], 0.1, **functions)

    expected, _ = ref.run(ref.optimizer_steps(initial, gradients_of, batches))
    assert_close(ae.parameters, expected, 1e-9)


@pytest.mark.parametrize("loss", LABEL_LOSSES)
def test_an_activation_for_each_layer(loss):
    x, batches, _ = small_case()
    y = draw_y(50, 4)
    for shift in (0, 4):
        names = activations.NAMES[shift:] + activations.NAMES[:shift]
        net = StackedAutoencoder([30, *range(12, 4, -1)], 4, activation=names, dtype="float64")
        rng = np.random.default_rng(shift)
        initial = {k: rng.normal(0, 0.4, v.shape) for k, v in net.parameters.items()}
        net.parameters = initial
        net.finetune(x, y, batches=batches, loss=loss)

        def gradients_of(p, batch, names=names):
            return ref.network_gradients(p, x[batch], y[batch], loss, names)

        expected, _ = ref.run(ref.optimizer_steps(initial, gradients_of, batches))
        assert_close(net.parameters, expected, 1e-9)


@pytest.mark.parametrize("output", ["linear", "sigmoid"])
@pytest.mark.parametrize("activation", activations.NAMES)
def test_every_activation_as_pytorch_has_it(activation, output):
    torch = pytest.importorskip("torch")
    x, batches, initial = small_case()
    ae = Autoencoder(30, 8, dtype="float64", activation=activation, output=output)
    ae.parameters = initial
    module = ae.to_torch()
    ae.fit(x, batches=batches, adam="torch")
    optimizer = torch.optim.Adam(module.parameters())
    for batch in torch.from_numpy(x[batches]):
        optimizer.zero_grad()
        ((module(batch) - batch) ** 2).sum().backward()
        optimizer.step()
    assert_close(ae.parameters, Autoencoder.from_torch(module).parameters, 1e-9)


@pytest.mark.parametrize("layout", SHARE_OF_ZEROS)
@pytest.mark.parametrize(
    ("loss", "output"),
    [(row.name, output) for row in LOSSES.values() for output in row.outputs if output != SOFTMAX],
)
def test_every_loss(loss, output, layout):
    x, batches, initial = small_case()
    x = draw_x(50, 30, zeros=SHARE_OF_ZEROS[layout]).astype(np.float64)
    ae = Autoencoder(30, 8, dtype="float64", weight_decay=0.1, output=output)
    ae.parameters = initial
    history = ae.fit(x, batches=batches, eval_every=20, loss=loss, eval_set=x)

    def gradients_of(p, batch):
        return ref.autoencoder_gradients(p, x[batch], 0.1, output=output, loss=loss)

    steps = list(ref.optimizer_steps(initial, gradients_of, batches))
    assert_close(ae.parameters, steps[-1][1], 1e-9)
    of_all = [
        ref.autoencoder_gradients(p, x, output=output, loss=loss)[0] for _, p in steps[19::20]
    ]
    np.testing.assert_allclose(history.loss, of_all, rtol=1e-9)


@pytest.mark.parametrize("n_targets", [1, 5])
@pytest.mark.parametrize(
    ("head", "loss"), [(head, loss) for head in HEADS for loss in losses_of(head, head=True)]
)
def test_every_head(head, loss, n_targets):
    x, batches, _ = small_case()
    y = draw_x(50, n_targets, zeros=0.4, seed=2).astype(np.float64)
    weight = np.random.default_rng(0).random(50)
    net = StackedAutoencoder([30, 8, 6], n_targets=n_targets, head=head, dtype="float64", init="he")
    initial = net.parameters
    given = {"loss": loss, "eval_set": (x, y), "sample_weight": weight}
    history = net.finetune(x, y, batches=batches, eval_every=20, **given)

    def gradients_of(p, batch):
        sums = None
        for i in batch:  # each by itself, since the oracle knows no weights
            _, gradients = ref.network_gradients(p, x[i : i + 1], y[i : i + 1], loss, head=head)
            one = {name: weight[i] * g for name, g in gradients.items()}
            sums = one if sums is None else {name: sums[name] + g for name, g in one.items()}
        return 0.0, sums

    steps = list(ref.optimizer_steps(initial, gradients_of, batches))
    assert_close(net.parameters, steps[-1][1], 1e-9)
    of_all = [ref.network_gradients(p, x, y, loss, head=head)[0] for _, p in steps[19::20]]
    np.testing.assert_allclose(history.loss, of_all, rtol=1e-9)
    value, share = net.evaluate(x, y, loss=loss)
    assert value == history.loss[-1]
    _, logits = ref.forward(net.parameters, x)
    outputs = ref.ACTIVATIONS[head][0](logits)
    if head == "sigmoid":
        np.testing.assert_allclose(net.predict_proba(x), outputs, rtol=1e-9)
        np.testing.assert_array_equal(net.predict(x), outputs > 0.5)
        assert share == history.accuracy[-1] == np.mean((outputs > 0.5) == (y > 0.5))
    else:
        np.testing.assert_allclose(net.predict(x), outputs, rtol=1e-9, atol=1e-12)
        assert np.isnan(share)
        assert history.accuracy == []


@pytest.mark.parametrize(
    ("rule", "options"),
    [(rule, options) for rule, (_, _, variants) in ref.RULES.items() for options in variants],
)
def test_every_optimizer(rule, options):
    x, batches, initial = small_case()
    ae = Autoencoder(30, 8, dtype="float64", weight_decay=0.1)
    ae.parameters = initial
    ae.fit(x, batches=batches, eval_every=0, optimizer=RULES[rule](**options))

    def gradients_of(p, batch):
        return ref.autoencoder_gradients(p, x[batch], 0.1)

    steps = ref.optimizer_steps(initial, gradients_of, batches, rule=rule, **options)
    assert_close(ae.parameters, ref.run(steps)[0], 1e-9)


def test_every_activation_loss_and_optimizer_has_its_oracle():
    assert [*activations.NAMES, "top_k"] == list(ref.ACTIVATIONS)  # which has numbers beside it
    assert list(RULES) == list(ref.RULES)
    of_values = [row.name for row in LOSSES.values() if SOFTMAX not in row.outputs]
    assert of_values == list(ref.VALUE_LOSSES)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "layout", "weight_decay", "adam"), cases(AUTOENCODERS, DECAYS))
def test_autoencoder(shape, layout, weight_decay, adam, dtype):
    x, batches, initial, expected, losses = autoencoder_case(shape, layout, weight_decay, adam)
    n_features, n_hidden = initial["W_enc"].shape
    for n_steps, parameters in expected.items():
        ae = Autoencoder(n_features, n_hidden, weight_decay=weight_decay, dtype=dtype, n_threads=1)
        ae.parameters = initial
        history = ae.fit(x, batches=batches[:n_steps], adam=adam, eval_every=20)
        assert_close(ae.parameters, parameters, TOLERANCE[dtype])
    assert history.steps == [20, 40, 60]
    np.testing.assert_allclose(history.loss, losses, rtol=TOLERANCE[dtype])
    assert history.loss[-1] == pytest.approx(
        ref.autoencoder_loss(ae.parameters, x, weight_decay), rel=LOSS_TOLERANCE[dtype]
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "layout", "loss", "adam"), cases(NETWORKS, LABEL_LOSSES))
def test_network(shape, layout, loss, adam, dtype):
    x, y, batches, initial, expected, curve = network_case(shape, layout, loss, adam)
    _, sizes, n_classes, _ = NETWORKS[shape]
    for n_steps, parameters in expected.items():
        net = StackedAutoencoder(sizes, n_classes, init="he", dtype=dtype, n_threads=1)
        net.parameters = initial
        history = net.finetune(
            x, y, batches=batches[:n_steps], loss=loss, adam=adam, eval_every=20, eval_set=(x, y)
        )
        assert_close(net.parameters, parameters, TOLERANCE[dtype])
    assert history.steps == [20, 40, 60]
    np.testing.assert_allclose(history.loss, [loss for loss, _ in curve], rtol=TOLERANCE[dtype])
    at_end = ref.evaluate_network(net.parameters, x, y, loss)
    assert history.loss[-1] == pytest.approx(at_end[0], rel=LOSS_TOLERANCE[dtype])
    assert history.accuracy[-1] == at_end[1]
    assert net.evaluate(x, y, loss=loss) == (history.loss[-1], history.accuracy[-1])


@pytest.mark.parametrize("zeros", [0.0, 0.8])
def test_more_rows_than_wide_layers_take_at_a_time(zeros):
    """A few steps: in many, some unit of so many rows comes so near to its kink that it differs."""
    x, y = draw_x(1300, 300, zeros=zeros), draw_y(1300, 10)
    batches = draw_batches(3, 1201, 1300)
    net = StackedAutoencoder([300, 270, 257], 10, init="he")
    expected, _ = ref.train_network(net.parameters, x, y, batches)
    net.finetune(x, y, batches=batches)
    assert_close(net.parameters, expected, TOLERANCE["float32"])


def test_samples_below_the_clip():
    """The article's loss has no gradient there; the case makes sure that there are some."""
    x, y = draw_x(60, 20, zeros=0.5), draw_y(60, 4)
    batches = draw_batches(N_STEPS, 30, 60)
    net = StackedAutoencoder([20, 12, 8], 4, init="he", dtype="float64")
    net.parameters = {"W3": net.parameters["W3"] * 4000}
    initial = net.parameters
    net.finetune(x, y, batches=batches)
    expected, _ = ref.train_network(initial, x, y, batches)
    _, logits = ref.forward(initial, x[batches[0]])
    p_right = np.exp(ref.log_softmax(logits))[np.arange(30), y[batches[0]]]
    assert 3 <= np.sum(p_right < ref.CLIP) <= 27
    assert_close(net.parameters, expected, TOLERANCE["float64"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("one_for_all", [True, False])
def test_pretraining_is_one_autoencoder_after_another(one_for_all, dtype):
    sizes = (784, 100, 50, 25, 12, 5, 5)
    x = draw_x(200, 784, zeros=0.8)
    batches = [draw_batches(30, 20, 200, seed=1 if one_for_all else layer) for layer in range(6)]
    net = StackedAutoencoder(sizes, 10, init="he", seed=3, dtype=dtype)
    initial = net.parameters
    histories = net.pretrain(
        x, batches=batches[0] if one_for_all else batches, eval_every=10, adam="torch"
    )
    codes = x
    for k in range(1, 7):
        ae = Autoencoder(sizes[k - 1], sizes[k], seed=3, layer=k, dtype=dtype)
        ae.parameters = {"W_enc": initial[f"W{k}"], "b_enc": initial[f"b{k}"]}
        history = ae.fit(codes, batches=batches[k - 1], eval_every=10, adam="torch")
        codes = ae.encode(codes)
        assert_identical(net.autoencoders[k - 1].parameters, ae.parameters)
        assert_identical(
            {name: net.parameters[name] for name in (f"W{k}", f"b{k}")},
            {f"W{k}": ae.parameters["W_enc"], f"b{k}": ae.parameters["b_enc"]},
        )
        assert (histories[k - 1].steps, histories[k - 1].loss) == (history.steps, history.loss)
    assert_identical({"codes": net.encode(x)}, {"codes": codes})
    assert_identical(
        {name: net.parameters[name] for name in ("W7", "b7")},
        {name: initial[name] for name in ("W7", "b7")},
    )
    reconstruction = codes
    for ae in reversed(net.autoencoders):
        reconstruction = ae.decode(reconstruction)
    assert_identical({"x": net.reconstruct(x)}, {"x": reconstruction})


def test_pretraining_takes_each_layers_activations():
    x, batches = draw_x(60, 20, zeros=0.5), draw_batches(30, 20, 60)
    names, outputs = ["sigmoid", "selu", "linear"], ["sigmoid", "softplus", "elu"]
    net = StackedAutoencoder([20, 12, 8, 4], activation=names, output=outputs)
    initial = net.parameters
    net.pretrain(x, batches=batches)
    codes = x
    for k, (n_in, n_out) in enumerate(itertools.pairwise(net.sizes), start=1):
        functions = {"activation": names[k - 1], "output": outputs[k - 1]}
        ae = Autoencoder(n_in, n_out, layer=k, **functions)
        assert_identical({"W": ae.parameters["W_enc"]}, {"W": initial[f"W{k}"]})
        ae.fit(codes, batches=batches)
        codes = ae.encode(codes)
        assert_identical(net.autoencoders[k - 1].parameters, ae.parameters)
    assert_identical({"codes": net.encode(x)}, {"codes": codes})
    for ae in reversed(net.autoencoders):
        codes = ae.decode(codes)
    assert_identical({"x": net.reconstruct(x)}, {"x": codes})


def test_a_second_training_starts_with_fresh_moments():
    x, batches = draw_x(50, 37, zeros=0.5), draw_batches(20, 7, 50)
    ae = Autoencoder(37, 13, dtype="float64")
    expected = ae.parameters
    for _ in range(2):
        ae.fit(x, batches=batches)
        expected, _ = ref.train_autoencoder(expected, x, batches)
    assert_close(ae.parameters, expected, TOLERANCE["float64"])


def test_learning_rate():
    x, batches = draw_x(50, 37, zeros=0.5), draw_batches(20, 7, 50)
    ae = Autoencoder(37, 13, dtype="float64")
    expected, _ = ref.train_autoencoder(ae.parameters, x, batches, learning_rate=0.0123)
    ae.fit(x, batches=batches, learning_rate=0.0123)
    assert_close(ae.parameters, expected, TOLERANCE["float64"])


MODELS = {
    "autoencoder": lambda dtype: Autoencoder(7, 3, dtype=dtype),
    "stack": lambda dtype: StackedAutoencoder([7, 3], 2, dtype=dtype),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
class TestParameters:
    def test_round_trip(self, build, dtype):
        model = build(dtype)
        rng = np.random.default_rng(0)
        new = {k: rng.normal(size=v.shape).astype(dtype) for k, v in model.parameters.items()}
        model.parameters = new
        assert_identical(model.parameters, new)

    def test_they_are_copies(self, build, dtype):
        model = build(dtype)
        before = model.parameters
        for value in model.parameters.values():
            value += 1
        assert_identical(model.parameters, before)
        given = {name: value + 1 for name, value in before.items()}
        model.parameters = given
        expected = {name: value.copy() for name, value in given.items()}
        for value in given.values():
            value += 1
        assert_identical(model.parameters, expected)

    def test_some_of_them(self, build, dtype):
        model = build(dtype)
        before = model.parameters
        first = next(iter(before))
        model.parameters = {first: before[first] * 2}
        assert_identical(model.parameters, {**before, first: before[first] * 2})

    def test_other_types_and_layouts(self, build, dtype):
        model = build(dtype)
        rng = np.random.default_rng(0)
        whole = {k: rng.integers(-9, 9, v.shape) for k, v in model.parameters.items()}
        expected = {name: value.astype(dtype) for name, value in whole.items()}
        for convert in (np.asfortranarray, np.ndarray.tolist, lambda v: v.astype(">f8")):
            model.parameters = {name: np.zeros(v.shape) for name, v in whole.items()}
            model.parameters = {name: convert(value) for name, value in whole.items()}
            assert_identical(model.parameters, expected)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, build, dtype, value):
        model = build(dtype)
        before = model.parameters
        name = list(before)[-1]
        bad = {k: v + 1 for k, v in before.items()}
        bad[name][-1] = value
        with pytest.raises(DataError, match=rf"parameters\['{name}'\].*finite"):
            model.parameters = bad
        assert_identical(model.parameters, before)

    def test_wrong_shape(self, build, dtype):
        model = build(dtype)
        before = model.parameters
        name = list(before)[-2]
        bad = {k: v + 1 for k, v in before.items()}
        bad[name] = bad[name].T
        shape = before[name].shape
        with pytest.raises(DataError, match=rf"{name}.*\({shape[0]}, {shape[1]}\).*got"):
            model.parameters = bad
        assert_identical(model.parameters, before)

    def test_unknown_name(self, build, dtype):
        model = build(dtype)
        before = model.parameters
        with pytest.raises(DataError, match=r"got \['W_hidden'\]"):
            model.parameters = {next(iter(before)): np.zeros(1), "W_hidden": np.zeros(1)}
        assert_identical(model.parameters, before)

    @pytest.mark.parametrize("value", ["text", None, 1j])
    def test_no_numbers(self, build, dtype, value):
        model = build(dtype)
        name, array = next(iter(model.parameters.items()))
        with pytest.raises(DataError, match=f"{name}.*numbers"):
            model.parameters = {name: np.full(array.shape, value)}


@pytest.fixture(scope="module")
def mnist(mnist_dir: Path) -> datasets.Dataset:
    return datasets.load_mnist(mnist_dir, download=False)


class TestOnMnist:
    """The same on real images, at the article's sizes."""

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_autoencoder(self, mnist, dtype):
        x = mnist.x_train[:1000]
        batches = draw_batches(N_STEPS, 100, len(x))
        ae = Autoencoder(784, 100, weight_decay=0.1, dtype=dtype)
        expected, _ = ref.train_autoencoder(ae.parameters, x, batches, weight_decay=0.1)
        ae.fit(x, batches=batches)
        assert_close(ae.parameters, expected, TOLERANCE[dtype])

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_network(self, mnist, dtype):
        x, y = mnist.x_train[:1000], mnist.y_train[:1000]
        batches = draw_batches(N_STEPS, 100, len(x))
        net = StackedAutoencoder([784, 100, 50, 25, 12, 5, 5], 10, init="he", dtype=dtype)
        expected, _ = ref.train_network(net.parameters, x, y, batches)
        net.finetune(x, y, batches=batches)
        assert_close(net.parameters, expected, TOLERANCE[dtype])
