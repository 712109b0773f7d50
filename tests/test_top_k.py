# SPDX-License-Identifier: BSD-3-Clause
"""k-sparse codes: which units stay, gradients, replays, and how they travel."""

from __future__ import annotations

import copy
import io
import json
import pickle

import numpy as np
import pytest
import reference as ref
import sae_fast
from helpers import assert_close, assert_identical, core, core_input, draw_batches, draw_x, draw_y
from sae_fast import Autoencoder, DataError, ModelFileError, StackedAutoencoder, _core
from sae_fast.activations import TopK
from sae_fast.exchange.model_file import from_bytes, to_bytes
from test_model_file import with_description

ISAS = _core.build_config()["available_isas"]
X = draw_x(60, 30, zeros=0.5)
BATCHES = draw_batches(60, 12, 60)


def autoencoder(k=3, n_hidden=9, **options):
    ae = Autoencoder(
        30, n_hidden, **{"activation": TopK(k), "dtype": "float64", "n_threads": 1, **options}
    )
    rng = np.random.default_rng(0)
    ae.parameters = {name: rng.normal(0, 0.4, p.shape) for name, p in ae.parameters.items()}
    return ae


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("isa", ISAS)
def test_the_largest_of_a_row(isa, dtype):
    kernels, rng = core("kernels", dtype), np.random.default_rng(0)
    tiny, huge = np.finfo(dtype).tiny, np.finfo(dtype).max
    rows = [
        rng.normal(size=(20, 37)),
        rng.normal(size=(20, 37)).clip(-1.0, 0.3),  # many equal ones
        rng.integers(-2, 3, (20, 37)).astype(float),
        10.0 ** rng.uniform(-30, 30, (20, 37)) * rng.choice([-1, 1], (20, 37)),
        np.full((1, 37), -1.5),
        np.array([[-tiny, tiny, 0.0, -huge, huge, -np.inf, np.inf] * 5]),
    ]
    for a in rows:
        a = a.astype(dtype)
        for k in {1, 2, 7, a.shape[1] - 1, a.shape[1]}:
            places = np.argsort(-a, axis=1, kind="stable")[:, :k]
            expected = np.zeros_like(a)
            np.put_along_axis(expected, places, np.take_along_axis(a, places, 1), 1)
            np.testing.assert_array_equal(kernels.keep_largest(isa, k, a), expected)


@pytest.mark.parametrize("isa", ISAS)
def test_divergence_is_not_hidden(isa):
    a = np.array([[1.0, np.nan, 3.0, 2.0, -np.nan]], np.float32)
    kept = core("kernels", "float32").keep_largest(isa, 3, a)
    np.testing.assert_array_equal(kept, [[0, np.nan, 3, 0, np.nan]])


@pytest.mark.parametrize("n_hidden", [9, 300])
@pytest.mark.parametrize("n_features", [30, 280])
def test_codes(n_hidden, n_features):
    x = draw_x(150, n_features, zeros=0.0)
    ae = Autoencoder(n_features, n_hidden, activation=TopK(4), init="he", dtype="float64")
    p = ae.parameters
    z = x.astype(np.float64) @ p["W_enc"] + p["b_enc"]
    code = ae.encode(x)
    np.testing.assert_allclose(code, ref.top_k(4)[0](z), rtol=1e-12, atol=1e-13)
    assert ((code != 0).sum(axis=1) == 4).all()
    np.testing.assert_allclose(
        ae.reconstruct(x), code @ p["W_dec"] + p["b_dec"], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("output", sae_fast.activations.NAMES)
@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize("k", [1, 3])  # the decoder reads non-zeros, or all
def test_the_oracle_does_the_same(k, layout, output):
    x = X if layout == "sparse" else draw_x(60, 30, zeros=0.0)
    ae = autoencoder(k, output=output, weight_decay=0.1)
    start = ae.parameters

    def gradients_of(p, batch):
        return ref.autoencoder_gradients(p, x[batch], 0.1, activation=k, output=output)

    expected, _ = ref.run(ref.optimizer_steps(start, gradients_of, BATCHES))
    ae.fit(x, batches=BATCHES)
    assert_close(ae.parameters, expected, 1e-9)


def test_gradients():
    """Central differences of the core's loss, where no unit comes or goes."""
    ae = autoencoder()
    p = ae.parameters
    _, gradients = ref.autoencoder_gradients(p, X, activation=3)
    data = core_input(X.astype(np.float64), "float64")
    rng = np.random.default_rng(1)

    def loss(name, value):
        network = core("Network", "float64")(
            [30, 9, 30], [_core.Activation.top_k, _core.Activation.linear], [3, 0]
        )
        q = {**p, name: value}
        network.set_parameters(0, q["W_enc"], q["b_enc"])
        network.set_parameters(1, q["W_dec"], q["b_dec"])
        one = _core.Loss.squared_error
        return _core.evaluate(network, data, None, loss=one, weight_decay=0.0, n_threads=1)[0]

    for name, value in p.items():
        direction = rng.normal(size=value.shape)
        up, down = (loss(name, value + sign * 1e-6 * direction) for sign in (1, -1))
        expected = (gradients[name] * direction).sum()
        assert (up - down) / 2e-6 == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("n_features", "n_hidden", "k"), [(30, 9, 3), (30, 9, 9), (270, 300, 25)], ids=str
)
def test_pytorch_does_the_same(n_features, n_hidden, k):
    torch = pytest.importorskip("torch")
    x = draw_x(60, n_features, zeros=0.0).astype(np.float64)
    ae = Autoencoder(n_features, n_hidden, activation=TopK(k), dtype="float64", init="he")
    module = ae.to_torch()
    ae.fit(x, batches=BATCHES, adam="torch")
    optimizer = torch.optim.Adam(module.parameters())
    for batch in torch.from_numpy(x[BATCHES]):
        optimizer.zero_grad()
        ((module(batch) - batch) ** 2).sum().backward()
        optimizer.step()
    assert_close(ae.parameters, Autoencoder.from_torch(module).parameters, 1e-9)


@pytest.mark.parametrize("sizes", [(30, 40, 20), (280, 300, 270)], ids=str)
@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_any_number_of_threads(sizes, layout):
    x = draw_x(70, sizes[0], zeros=0.7 if layout == "sparse" else 0.0)
    found = []
    for n_threads in (1, 2, 3, 8):
        net = StackedAutoencoder(
            sizes, 3, activation=[TopK(4), TopK(2)], n_threads=n_threads, init="he"
        )
        net.pretrain(x, steps=15, batch_size=23, dropout=0.2)
        net.finetune_autoencoder(x, steps=10, batch_size=23)
        net.finetune(x, draw_y(70, 3), steps=15, batch_size=23)
        decoders = {f"d{ae.layer}": ae.parameters["W_dec"] for ae in net.autoencoders}
        found.append({**net.parameters, **decoders, "codes": net.encode(x)})
    for other in found[1:]:
        assert_identical(found[0], other)


def test_it_travels(tmp_path):
    pytest.importorskip("torch")
    ae = autoencoder(init="data")
    ae.fit(X, steps=20)
    net = StackedAutoencoder([30, 9, 4], 3, activation=[TopK(3), "relu"])
    net.pretrain(X, steps=20)
    for model in (ae, net):
        again = [
            sae_fast.load(model.save(tmp_path / "model.safetensors")),
            pickle.loads(pickle.dumps(model)),
            copy.deepcopy(model),
        ]
        for other in again:
            assert other.activation == model.activation
            assert_identical(other.parameters, model.parameters)
            assert_identical({"r": other.reconstruct(X)}, {"r": model.reconstruct(X)})
        assert "top_k(3)" in model.summary()
        part = model.to_torch("reconstruction")
        assert "TopKModule(k=3)" in repr(pickle.loads(pickle.dumps(part)))
    assert Autoencoder.from_torch(ae.to_torch()).activation == TopK(3)
    assert StackedAutoencoder.from_torch(net.to_torch()).activation == (TopK(3), "relu")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_onnxruntime_does_the_same(dtype):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    ae = autoencoder(dtype=dtype)
    ae.fit(X, steps=20)
    for part, expected in (("encoder", ae.encode(X)), ("reconstruction", ae.reconstruct(X))):
        file = ae.export_onnx(io.BytesIO(), part).getvalue()
        (got,) = onnxruntime.InferenceSession(file).run(None, {"x": X.astype(dtype)})
        np.testing.assert_allclose(got, expected, atol=1e-5 if dtype == "float32" else 1e-12)


def test_continued_is_the_same_as_one_training():
    one, two = autoencoder(), autoencoder()
    one.fit(X, steps=30, batch_size=11)
    two.fit(X, steps=10, batch_size=11)
    two = pickle.loads(pickle.dumps(two))
    two.fit(X, steps=20, batch_size=11, continued=True)
    assert_identical(one.parameters, two.parameters)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TopK(0), "k: expected an integer of at least 1, got 0"),
        (lambda: TopK(2.5), "k: expected an integer"),
        (lambda: Autoencoder(8, 4, activation=TopK(5)), r"4 units of layer 1, got TopK\(k=5\)"),
        (lambda: Autoencoder(8, 4, output=TopK(2)), "output: .* which is for hidden layers"),
        (
            lambda: StackedAutoencoder([8, 6, 4], activation=TopK(5)),
            r"activation: expected TopK of at most the 4 units of layer 2, got TopK\(k=5\)",
        ),
        (lambda: StackedAutoencoder([8, 6], output=[TopK(2)]), "output: .* for hidden layers"),
        (lambda: Autoencoder(8, 4, activation="top_k"), r"activation: expected one.*TopK\(k\)"),
        (lambda: Autoencoder(8, 4, activation=TopK), r"got the class TopK, not an object of it"),
        (lambda: Autoencoder(8, 4, activation={"name": "top_k", "k": 2}), "activation: expected"),
    ],
)
def test_what_does_not_fit(build, message):
    with pytest.raises(DataError, match=message):
        build()


@pytest.mark.parametrize(
    "activation",
    [
        {"name": "top_k", "k": 10},
        {"name": "top_k", "k": 0},
        {"name": "top_k", "k": "3"},
        {"name": "top_k"},
        {"name": "relu", "k": 3},
        "top_k",
        ["top_k"],
    ],
    ids=json.dumps,
)
def test_files_that_do_not_fit(activation):
    def change(description):
        description["architecture"]["activation"] = activation
        return description

    with pytest.raises(ModelFileError):
        from_bytes(with_description(to_bytes(autoencoder()), change), "file")
