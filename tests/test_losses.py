# SPDX-License-Identifier: BSD-3-Clause
"""Losses of autoencoders: what goes with which output, threads, layouts, PyTorch, refusals.

Their formulas are held by `test_kernels.py`, `test_gradients.py` and `test_replay.py`.
"""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from helpers import assert_close, assert_identical, draw_batches, draw_x, with_value
from sae_fast import Autoencoder, DataError, StackedAutoencoder
from sae_fast.training.objective import LOSSES, SOFTMAX
from scipy import sparse

N, N_FEATURES = 611, 90
PAIRS = [
    (row.name, output) for row in LOSSES.values() for output in row.outputs if output != SOFTMAX
]
BOUNDED = [row.name for row in LOSSES.values() if np.isfinite(row.low)]


def train(x, loss, output, *, n_hidden=33, dtype="float32", n_threads=1, **options):
    """Train an autoencoder; give its parameters and its losses, over the set and per sample."""
    how = {"init": "he", "n_threads": n_threads, "dtype": dtype}
    ae = Autoencoder(N_FEATURES, n_hidden, output=output, **how)
    options = {"steps": 12, "batch_size": 97, "learning_rate": 1e-3, **options}
    history = ae.fit(x, loss=loss, eval_every=6, **options)
    return {**ae.parameters, "loss": history.loss, "errors": ae.score_samples(x)}


@pytest.mark.parametrize("zeros", [0.0, 0.8])
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_threads(loss, output, zeros):
    x = draw_x(N, N_FEATURES, zeros=zeros)
    expected = train(x, loss, output)
    for n_threads in (2, 3, 7):
        assert_identical(train(x, loss, output, n_threads=n_threads), expected)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_threads_of_wide_layers(n_threads):
    x, how = draw_x(N, 300, zeros=0.8), {"init": "he", "output": "sigmoid"}
    found = []
    for threads in (1, n_threads):
        ae = Autoencoder(300, 270, n_threads=threads, **how)
        history = ae.fit(x, steps=5, batch_size=53, loss="binary_cross_entropy")
        found.append({**ae.parameters, "loss": history.loss})
    assert_identical(*found)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_sparse_samples_train_as_dense_ones(loss, output, dtype):
    """Also where the delta reads the non-zeros alone."""
    x = draw_x(N, N_FEATURES, zeros=0.8)
    batches = draw_batches(12, 97, N)
    found = [
        train(one, loss, output, dtype=dtype, batches=batches, steps=None, batch_size=None)
        for one in (sparse.csr_matrix(x), np.maximum(x, 1e-30), x)
    ]
    assert_identical(found[0], found[2])
    assert_close(  # what is dense for its values
        {name: found[1][name] for name in ("W_enc", "W_dec")},
        {name: found[2][name] for name in ("W_enc", "W_dec")},
        {"float32": 1e-4, "float64": 1e-12}[dtype],
    )


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "poisson", "huber", "absolute_error"])
def test_a_loss_is_learnt(loss):
    x = draw_x(500, 40, zeros=0.5)
    output = {"binary_cross_entropy": "sigmoid", "poisson": "softplus"}.get(loss, "linear")
    ae = Autoencoder(40, 20, output=output, seed=0)
    mean = np.clip(x.mean(axis=0), 1e-6, 1)
    best_constant = {
        "binary_cross_entropy": -(x * np.log(mean) + (1 - x) * np.log(1 - mean)).sum(),
        "poisson": (mean - x * np.log(mean)).sum(),
        "huber": ((x - mean) ** 2 / 2).sum(),
        "absolute_error": np.abs(x - np.median(x, axis=0)).sum(),
    }[loss]
    history = ae.fit(x, steps=3000, learning_rate=3e-3, eval_every=1500, loss=loss)
    entropy = 0.0
    if loss == "binary_cross_entropy":
        inside = x[(x > 0) & (x < 1)].astype(np.float64)
        entropy = -(inside * np.log(inside) + (1 - inside) * np.log(1 - inside)).sum()
    elif loss == "poisson":
        entropy = (x[x > 0] * (1 - np.log(x[x > 0]))).sum()
    assert entropy < history.loss[-1] < entropy + 0.5 * (best_constant - entropy)


class TestOnPyTorch:
    """60 steps of Adam in PyTorch's form."""

    @pytest.mark.parametrize("zeros", [0.0, 0.6])
    def test_binary_cross_entropy_of_a_sigmoid(self, zeros):
        torch = pytest.importorskip("torch")
        nn = torch.nn
        x, batches = draw_x(200, 31, zeros=zeros).astype(np.float64), draw_batches(60, 23, 200)
        ae = Autoencoder(31, 17, activation="sigmoid", output="sigmoid", dtype="float64", init="he")
        encoder, activation, decoder, _ = module = ae.to_torch()
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
        criterion = nn.BCEWithLogitsLoss(reduction="sum")
        for batch in batches:
            rows = torch.from_numpy(x[batch])
            optimizer.zero_grad()
            criterion(decoder(activation(encoder(rows))), rows).backward()
            optimizer.step()
        options = {"batches": batches, "adam": "torch", "loss": "binary_cross_entropy"}
        history = ae.fit(x, **options)
        expected = {
            "W_enc": encoder.weight.T,
            "b_enc": encoder.bias,
            "W_dec": decoder.weight.T,
            "b_dec": decoder.bias,
        }
        expected = {name: value.detach().numpy() for name, value in expected.items()}
        assert_close(ae.parameters, expected, 1e-9)
        with torch.no_grad():
            rows = torch.from_numpy(x)
            value = criterion(decoder(activation(encoder(rows))), rows)
        assert history.loss[-1] == pytest.approx(float(value), rel=1e-9)

    @pytest.mark.parametrize(
        ("loss", "output", "criterion"),
        [
            ("huber", "linear", "SmoothL1Loss"),
            ("absolute_error", "linear", "L1Loss"),
            ("poisson", "softplus", "PoissonNLLLoss"),
        ],
    )
    def test_other_losses(self, loss, output, criterion):
        torch = pytest.importorskip("torch")
        x, batches = draw_x(200, 31, zeros=0.0).astype(np.float64), draw_batches(60, 23, 200)
        ae = Autoencoder(31, 17, output=output, dtype="float64", init="he")
        module = ae.to_torch()
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
        extra = {"log_input": False, "eps": 0.0} if loss == "poisson" else {}
        measure = getattr(torch.nn, criterion)(reduction="sum", **extra)
        for batch in batches:
            rows = torch.from_numpy(x[batch])
            optimizer.zero_grad()
            measure(module(rows), rows).backward()
            optimizer.step()
        ae.fit(x, batches=batches, adam="torch", loss=loss)
        decoder = next(layer for layer in reversed(module) if hasattr(layer, "weight"))
        expected = {
            "W_enc": module[0].weight.T,
            "b_enc": module[0].bias,
            "W_dec": decoder.weight.T,
            "b_dec": decoder.bias,
        }
        expected = {name: value.detach().numpy() for name, value in expected.items()}
        assert_close(ae.parameters, expected, 1e-9)


# What does not fit


def output_of(loss):
    return LOSSES[loss].outputs[0]


@pytest.mark.parametrize("method", ["fit", "pretrain"])
@pytest.mark.parametrize("where", ["x", "eval_set"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, np.asfortranarray])
@pytest.mark.parametrize("loss", BOUNDED)
def test_targets_out_of_range(loss, form, where, method):
    x = draw_x(70, N_FEATURES, zeros=0.6)
    if method == "fit":
        model = Autoencoder(N_FEATURES, 5, output=output_of(loss))
    else:
        model = StackedAutoencoder([N_FEATURES, 5], output=output_of(loss))
    low, high = LOSSES[loss].low, LOSSES[loss].high
    before = model.parameters
    for value in (low - 0.25, high + 0.25):
        if np.isinf(value):
            continue
        bad = form(with_value(x, value))
        given = {"x": bad} if where == "x" else {"x": x, "eval_set": bad}
        message = rf"^{where}: expected values .*{loss}.*got {value:g} in row 17, column 5$"
        with pytest.raises(DataError, match=message):
            getattr(model, method)(**given, loss=loss, steps=2)
    assert_identical(model.parameters, before)
    assert model._state is None
    getattr(model, method)(x, loss=loss, steps=2)


def test_what_a_sigmoid_cannot_reach_is_no_target_of_poisson():
    x = with_value(draw_x(70, N_FEATURES, zeros=0.6), 1.25)
    with pytest.raises(DataError, match=r"^x: expected values from 0 to 1 .*'sigmoid', got 1.25 "):
        Autoencoder(N_FEATURES, 5, output="sigmoid").fit(x, steps=2, loss="poisson")
    Autoencoder(N_FEATURES, 5, output="softplus").fit(x, steps=2, loss="poisson")


def test_targets_of_bytes_times_a_scale():
    x = (draw_x(70, N_FEATURES, zeros=0.6) * 255).astype(np.uint8)
    x[3, 4] = 255
    for form in (np.asarray, sparse.csr_matrix):
        ae = Autoencoder(N_FEATURES, 5, output="sigmoid")
        ae.fit(form(x), steps=2, loss="binary_cross_entropy", scale=1 / 255)
        with pytest.raises(DataError, match=r"from 0 to 1.*got 1\.\d+ in row 3, column 4"):
            ae.fit(form(x), steps=2, loss="binary_cross_entropy", scale=1 / 250)


@pytest.mark.parametrize(("loss", "output"), itertools.product(LOSSES, ["linear", "sigmoid"]))
def test_pairs(loss, output):
    x = draw_x(70, N_FEATURES, zeros=0.6)
    ae = Autoencoder(N_FEATURES, 5, output=output)
    stack = StackedAutoencoder([N_FEATURES, 5], output=output)
    if output in LOSSES[loss].outputs:
        ae.fit(x, steps=1, loss=loss)
        stack.pretrain(x, steps=1, loss=loss)
        return
    for call in (ae.fit, stack.pretrain):
        with pytest.raises(DataError, match=f"loss: expected one of .* '{output}', got '{loss}'"):
            call(x, steps=1, loss=loss)
        with pytest.raises(DataError, match=r"loss: expected one of .*got 'mse'"):
            call(x, steps=1, loss="mse")


@pytest.mark.parametrize(
    ("head", "loss", "needed"),
    [
        (None, "bce", "'binary_cross_entropy' needs output='sigmoid'"),
        (None, "binary_crossentropy", "'binary_cross_entropy' needs output='sigmoid'"),
        (None, "poisson", "'poisson' needs output='sigmoid' or 'softplus'"),
        ("linear", "bce", "'binary_cross_entropy' needs head='sigmoid'"),
        ("linear", "categorical_crossentropy", "'cross_entropy' needs n_classes"),
    ],
)
def test_what_a_loss_that_does_not_fit_needs_is_said(head, loss, needed):
    x = draw_x(70, N_FEATURES, zeros=0.6)
    if head is None:
        train = functools.partial(Autoencoder(N_FEATURES, 5).fit, x)
    else:
        net = StackedAutoencoder([N_FEATURES, 5], n_targets=2, head=head)
        train = functools.partial(net.finetune, x, x[:, :2])
    with pytest.raises(DataError, match=f"^loss: expected one of .*, got '{loss}'; {needed}$"):
        train(steps=1, loss=loss)


def test_a_loss_for_each_layer():
    x = draw_x(70, N_FEATURES, zeros=0.6)
    sizes, outputs = [N_FEATURES, 8, 5], ["sigmoid", "linear"]
    losses = ["binary_cross_entropy", "huber"]
    net = StackedAutoencoder(sizes, activation="sigmoid", output=outputs, init="he")
    histories = net.pretrain(x, steps=10, batch_size=20, loss=losses)
    first = Autoencoder(N_FEATURES, 8, activation="sigmoid", output="sigmoid", init="he")
    history = first.fit(x, steps=10, batch_size=20, loss=losses[0])
    assert histories[0].loss == history.loss
    assert_identical(net.autoencoders[0].parameters, first.parameters)
    with pytest.raises(DataError, match="loss: expected one value, or one for each of 2 layers"):
        net.pretrain(x, steps=1, loss=losses[:1])


@pytest.mark.parametrize(
    ("loss", "activation", "fits"),
    [
        ("binary_cross_entropy", "sigmoid", True),
        ("binary_cross_entropy", "relu", False),
        ("binary_cross_entropy", "tanh", False),
        ("poisson", "relu", True),
        ("poisson", "softplus", True),
        ("poisson", "sigmoid", True),
        ("poisson", "elu", False),
        ("squared_error", "tanh", True),
    ],
)
def test_codes_that_a_loss_cannot_restore(loss, activation, fits):
    """Refused by what their activation may give, before the first layer is trained."""
    x = draw_x(70, N_FEATURES, zeros=0.6)
    output = LOSSES[loss].outputs[0]
    net = StackedAutoencoder([N_FEATURES, 8, 5], activation=activation, output=output)
    before = net.parameters
    if fits:
        net.pretrain(x, steps=2, loss=loss)
        return
    with pytest.raises(DataError, match=f"'{loss}' at layer 2, got those of '{activation}'"):
        net.pretrain(x, steps=2, loss=loss)
    assert_identical(net.parameters, before)
    net.pretrain(x, steps=2, loss=[loss, "squared_error"])


def test_units_of_ones_own():
    """Samples that are all tiny train in units of their own where the loss is the same in them."""
    x = draw_x(200, 30, zeros=0.0) * 1e-4
    for loss, power in (("squared_error", 2), ("absolute_error", 1)):
        ae = Autoencoder(30, 10)
        history = ae.fit(x, steps=300, loss=loss)
        assert ae._units.unit != 1
        expected = (np.abs(ae.reconstruct(x) - x.astype(np.float64)) ** power).sum()
        assert history.loss[-1] == pytest.approx(expected, rel=1e-4)
        with pytest.raises(DataError, match="units of its own, got 'huber'"):
            ae.fit(x, steps=1, loss="huber")
        ae.parameters = ae.parameters
        ae.fit(x, steps=1, loss="huber")
    ae = Autoencoder(30, 10, seed=0)
    history = ae.fit(x, steps=20, loss="huber")
    assert not ae._units
    expected = ((ae.reconstruct(x) - x.astype(np.float64)) ** 2 / 2).sum()
    assert history.loss[-1] == pytest.approx(expected, rel=1e-4)
