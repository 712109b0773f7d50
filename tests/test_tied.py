# SPDX-License-Identifier: BSD-3-Clause
"""Tied weights: one matrix with the gradient of both uses, and how it is seen, set and stored."""

from __future__ import annotations

import copy
import io
import itertools
import pickle

import numpy as np
import pytest
import reference as ref
import sae_fast
from helpers import (
    assert_close,
    assert_identical,
    core,
    core_input,
    core_optimizer,
    core_trainer,
    draw_batches,
    draw_x,
    draw_y,
    take_steps,
)
from sae_fast import Autoencoder, DataError, ModelFileError, StackedAutoencoder, _core
from sae_fast.activations import TopK
from sae_fast.corruptions import Masking
from sae_fast.exchange.model_file import from_bytes, to_bytes
from sae_fast.optimizers import SGD, Adam, AdamW, RMSprop
from sae_fast.penalties import MaxNorm
from test_model_file import split, with_description

X = draw_x(60, 30, zeros=0.5)
BATCHES = draw_batches(60, 12, 60)


def autoencoder(n_features=30, n_hidden=9, **options):
    ae = Autoencoder(
        n_features, n_hidden, **{"tied": True, "dtype": "float64", "n_threads": 1, **options}
    )
    rng = np.random.default_rng(0)
    shapes = {name: p.shape for name, p in ae.parameters.items() if name != "W_dec"}
    ae.parameters = {name: rng.normal(0, 0.3, shape) for name, shape in shapes.items()}
    return ae


def free(parameters):
    """Without what is a copy."""
    return {name: value for name, value in parameters.items() if name != "W_dec"}


def assert_tied(model):
    p = model.parameters
    np.testing.assert_array_equal(p["W_dec"], p["W_enc"].T)


@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("shape", [(30, 9), (300, 270)], ids=str)
@pytest.mark.parametrize("functions", [("relu", "linear"), ("sigmoid", "tanh"), (4, "linear")])
def test_the_oracle_does_the_same(functions, shape, layout):
    activation, output = functions
    x = draw_x(60, shape[0], zeros=0.7 if layout == "sparse" else 0.0)
    named = TopK(activation) if isinstance(activation, int) else activation
    ae = autoencoder(*shape, activation=named, output=output, weight_decay=0.1)
    start = free(ae.parameters)

    def gradients_of(p, batch):
        return ref.autoencoder_gradients(p, x[batch], 0.1, activation=activation, output=output)

    expected, _ = ref.run(ref.optimizer_steps(start, gradients_of, BATCHES))
    history = ae.fit(x, batches=BATCHES)
    assert_close(free(ae.parameters), expected, 1e-9)
    assert_tied(ae)
    everything = np.arange(60)
    x = x[everything]
    loss, _ = ref.autoencoder_gradients(expected, x, 0.1, activation=activation, output=output)
    assert history.loss[-1] == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize("sizes", [(14, 6, 14), (14, 9, 5, 9, 14), (260, 258, 260)], ids=str)
@pytest.mark.parametrize("layout", ["sparse", "dense"])
def test_central_differences(layout, sizes):
    """Of the core's own loss: what a step of plain descent takes, over its rate."""
    rng, n_layers = np.random.default_rng(0), len(sizes) - 1
    data = core_input(draw_x(11, sizes[0], zeros=0.5).astype(np.float64), "float64", layout)
    network = core("Network", "float64")(
        sizes, [_core.Activation.tanh] * n_layers, [0] * n_layers, tied=True
    )
    penalties = {"l1": 0.05, **({"contractive": 0.2} if n_layers == 2 else {})}
    loss = {"loss": _core.Loss.squared_error, "weight_decay": 0.3, "penalties": penalties}
    shapes = list(itertools.pairwise(sizes))
    start = [(rng.normal(0, n[0] ** -0.5, n), rng.normal(0, 0.1, n[1])) for n in shapes]
    start = [(w + np.copysign(1e-3, w), b) for w, b in start]  # away from the kink of |w|

    def put(layers):
        for at, layer in enumerate(layers):
            network.set_parameters(at, *layer)

    def value(layers):
        put(layers)
        return _core.evaluate(network, data, None, n_threads=1, **loss)[0]

    put(start)
    descent = core_optimizer("sgd", momentum=0.0)
    trainer = core_trainer(
        network, data, None, dtype="float64", batch_size=11, optimizer=descent, **loss
    )
    take_steps(trainer, np.arange(11).reshape(1, -1), 1e-6)
    after = [network.get_parameters(at) for at in range(n_layers)]
    for at in range(n_layers):
        np.testing.assert_array_equal(after[at][0], after[n_layers - 1 - at][0].T)
    for at, kind in itertools.product(range(n_layers), (0, 1)):
        if kind == 0 and at >= n_layers // 2:
            continue
        direction = rng.normal(size=start[at][kind].shape)
        ends = []
        for sign in (1, -1):
            moved = [list(layer) for layer in start]
            moved[at][kind] = start[at][kind] + sign * 1e-6 * direction
            ends.append(value(moved))
        gradient = (start[at][kind] - after[at][kind]) / 1e-6
        slope = (ends[0] - ends[1]) / 2e-6
        assert slope == pytest.approx((gradient * direction).sum(), rel=2e-6)


@pytest.mark.parametrize(
    "optimizer", [Adam("torch"), AdamW(0.5), SGD(0.9, nesterov=True), RMSprop()], ids=str
)
def test_pytorch_does_the_same(optimizer):
    torch = pytest.importorskip("torch")
    ae = autoencoder(activation="sigmoid")
    p = free(ae.parameters)
    leaves = {name: torch.tensor(value, requires_grad=True) for name, value in p.items()}
    weights, biases = [leaves["W_enc"]], [leaves["b_enc"], leaves["b_dec"]]
    groups = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
    rate = 1e-3
    descent = {
        "adam": lambda: torch.optim.Adam(groups, rate),
        "adamw": lambda: torch.optim.AdamW(groups, rate, weight_decay=0.5),
        "sgd": lambda: torch.optim.SGD(groups, rate, momentum=0.9, nesterov=True),
        "rmsprop": lambda: torch.optim.RMSprop(groups, rate),
    }[optimizer.name]()
    for batch in torch.from_numpy(X.astype(np.float64)[BATCHES]):
        descent.zero_grad()
        code = torch.sigmoid(batch @ leaves["W_enc"] + leaves["b_enc"])
        out = code @ leaves["W_enc"].T + leaves["b_dec"]
        ((out - batch) ** 2).sum().backward()
        descent.step()
    ae.fit(X, batches=BATCHES, learning_rate=rate, optimizer=optimizer)
    expected = {name: leaf.detach().numpy() for name, leaf in leaves.items()}
    assert_close(free(ae.parameters), expected, 1e-9)


@pytest.mark.parametrize("sizes", [(70, 40, 20), (280, 300, 270)], ids=str)
@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_any_number_of_threads(layout, sizes):
    x = draw_x(70, sizes[0], zeros=0.8 if layout == "sparse" else 0.0)
    found = []
    for n_threads in (1, 2, 3, 8):
        net = StackedAutoencoder(sizes, 3, tied=True, n_threads=n_threads)
        net.pretrain(x, steps=15, batch_size=23, corruption=Masking(0.2))
        net.finetune_autoencoder(x, steps=10, batch_size=23)
        for ae in net.autoencoders:
            assert_tied(ae)
        biases = {f"b_dec{ae.layer}": ae.parameters["b_dec"] for ae in net.autoencoders}
        found.append({**net.parameters, **biases, "restored": net.reconstruct(x)})
    for other in found[1:]:
        assert_identical(found[0], other)


def test_the_whole_stack_stays_tied():
    net = StackedAutoencoder([30, 12, 7], 3, tied=True, dtype="float64", activation="sigmoid")
    net.pretrain(X, steps=20)
    net.finetune(X, draw_y(60, 3), steps=20)  # the network's encoders leave their decoders
    start = {
        f"{name}{layer}": net.parameters[f"{name}{layer}"] for layer in (1, 2) for name in "Wb"
    }
    start |= {f"b{5 - ae.layer}": ae.parameters["b_dec"] for ae in net.autoencoders}

    def gradients_of(p, batch):
        return ref.unrolled_gradients(p, X[batch], ["sigmoid"] * 2 + ["linear"] * 2, 0.1)

    expected, _ = ref.run(ref.optimizer_steps(start, gradients_of, BATCHES))
    net.finetune_autoencoder(X, batches=BATCHES, weight_decay=0.1)
    for layer, ae in enumerate(net.autoencoders, start=1):
        assert_tied(ae)
        got = {
            "W": ae.parameters["W_enc"],
            "b": ae.parameters["b_enc"],
            "d": ae.parameters["b_dec"],
        }
        wanted = {"W": f"W{layer}", "b": f"b{layer}", "d": f"b{5 - layer}"}
        assert_close(got, {key: expected[name] for key, name in wanted.items()}, 1e-9)
        np.testing.assert_array_equal(net.parameters[f"W{layer}"], ae.parameters["W_enc"])


def test_norms_are_limited_once():
    net = StackedAutoencoder([30, 12, 7], tied=True)
    net.pretrain(X, steps=20, penalties=[MaxNorm(0.3)])
    for ae in net.autoencoders:
        assert_tied(ae)
        assert np.linalg.norm(ae.parameters["W_enc"], axis=0).max() < 0.3 + 1e-6


@pytest.mark.parametrize("init", ["data", "he", "normal"])
def test_it_learns(init):
    x = draw_x(300, 30, zeros=0.3)
    ae = Autoencoder(30, 20, tied=True, init=init)
    before = ae.reconstruction_error(x) if init != "data" else np.var(x)
    ae.fit(x, steps=1000)
    assert_tied(ae)
    assert ae.reconstruction_error(x) < 0.5 * before


def test_samples_in_their_own_units():
    """An encoder in units of its own is no transpose of its decoder: tied ones take none."""
    x = draw_x(200, 30, zeros=0.0) * 1e-4
    ae = Autoencoder(30, 9, tied=True)
    with pytest.warns(sae_fast.errors.ScaleWarning):
        ae.fit(x, steps=20)
    assert_tied(ae)


class TestParameters:
    def test_the_decoder_follows(self):
        ae = autoencoder()
        before = ae.parameters
        w = before["W_enc"] + 1
        ae.parameters = {"W_enc": w}
        assert_identical(ae.parameters, {**before, "W_enc": w, "W_dec": w.T})
        ae.parameters = {"W_enc": 2 * w, "W_dec": 2 * w.T, "b_dec": before["b_dec"] - 1}
        assert_tied(ae)
        ae.parameters = {"W_dec": 2 * w.T}  # as it is
        ae.parameters = ae.parameters
        code = ae.encode(X)
        np.testing.assert_allclose(ae.decode(code), code @ (2 * w.T) + before["b_dec"] - 1)

    @pytest.mark.parametrize("names", [["W_dec"], ["W_dec", "W_enc"], ["W_dec", "b_enc"]])
    def test_a_contradiction_changes_nothing(self, names):
        ae = autoencoder()
        before = ae.parameters
        with pytest.raises(DataError, match=r"\['W_dec'\]: expected the transpose of W_enc"):
            ae.parameters = {name: before[name] + 1 + (name == "W_dec") for name in names}
        assert_identical(ae.parameters, before)

    def test_each_counts_once(self):
        ae = autoencoder()
        assert f"{30 * 9 + 9 + 30:,} parameters" in ae.summary()
        assert "tied" in repr(ae)

    @pytest.mark.parametrize("tied", ["yes", 2, None])
    def test_what_is_no_choice(self, tied):
        for build in (Autoencoder, lambda *n, **options: StackedAutoencoder(n, **options)):
            with pytest.raises(DataError, match="tied: expected True or False"):
                build(8, 4, tied=tied)


def test_it_travels(tmp_path):
    ae = autoencoder(init="data")
    ae.fit(X, steps=20)
    net = StackedAutoencoder([30, 9, 4], 3, tied=True)
    net.pretrain(X, steps=20)
    for model in (ae, net):
        again = [
            sae_fast.load(model.save(tmp_path / "model.safetensors")),
            pickle.loads(pickle.dumps(model)),
            copy.deepcopy(model),
        ]
        for other in again:
            assert other.tied
            assert_identical(other.parameters, model.parameters)
            assert_identical({"r": other.reconstruct(X)}, {"r": model.reconstruct(X)})
    header, _ = split(to_bytes(ae))
    assert sorted(header.keys() - {"__metadata__"}) == ["W_enc", "b_dec", "b_enc"]


def test_files_that_do_not_fit():
    def change(description):
        description["architecture"]["tied"] = not description["architecture"]["tied"]
        return description

    for model in (autoencoder(), autoencoder(tied=False)):
        with pytest.raises(ModelFileError):
            from_bytes(with_description(to_bytes(model), change), "file")


def test_other_runtimes_have_copies():
    torch = pytest.importorskip("torch")
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    ae = autoencoder()
    expected = ae.reconstruct(X)
    with torch.no_grad():
        got = ae.to_torch()(torch.from_numpy(X.astype(np.float64))).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    file = ae.export_onnx(io.BytesIO()).getvalue()
    (got,) = onnxruntime.InferenceSession(file).run(None, {"x": X.astype(np.float64)})
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_continued_is_the_same_as_one_training():
    one, two = autoencoder(), autoencoder()
    one.fit(X, steps=30, batch_size=11)
    two.fit(X, steps=10, batch_size=11)
    two = pickle.loads(pickle.dumps(two))
    two.fit(X, steps=20, batch_size=11, continued=True)
    assert_identical(one.parameters, two.parameters)


def test_divergence_goes_back():
    ae = autoencoder()
    with pytest.raises(sae_fast.DivergenceError):
        ae.fit(X, steps=50, learning_rate=1e200, eval_every=1, optimizer="sgd")
    assert_tied(ae)
    assert np.isfinite(ae.reconstruct(X)).all()


@pytest.mark.parametrize(
    ("sizes", "kept"), [((5, 3, 4), []), ((5, 3), []), ((5, 3, 5), [4, 0]), ((5, 3, 5), [1])]
)
def test_the_core_refuses(sizes, kept):
    functions = [_core.Activation.relu] * (len(sizes) - 1)
    with pytest.raises(ValueError, match="expected"):
        core("Network", "float64")(list(sizes), functions, kept, tied=True)
