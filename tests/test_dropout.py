# SPDX-License-Identifier: BSD-3-Clause
"""Dropout of hidden units: against the oracle, with its own draws, and PyTorch with their masks."""

from __future__ import annotations

import numpy as np
import pytest
import reference as ref
from helpers import assert_close, assert_identical, draw_batches, draw_x, draw_y
from sae_fast import (
    Autoencoder,
    CheckpointError,
    DataError,
    RunCheckpoint,
    StackedAutoencoder,
    activations,
)
from sae_fast.base.streams import Purpose, stream_key
from sae_fast.corruptions import Gaussian, Masking, SaltAndPepper, Swap

N, N_CLASSES, RATE = 60, 4, 1e-3
SIZES = {"narrow": (30, 17, 9), "wide": (270, 261, 280, 5)}


def masks(seed, purpose, first, shapes, shares, step):
    """Factors of each hidden layer's outputs at a step."""
    found = []
    for layer, (shape, share) in enumerate(zip(shapes, shares, strict=True), start=first):
        key = int(stream_key(seed, purpose, layer)[0])
        found.append(np.where(ref.choose(key, share, shape, step), 0.0, 1 / (1 - share)))
    return found


def network_steps(before, x, y, batches, activation, masks_of):
    """Steps of a network whose hidden outputs are multiplied by masks."""
    f, df = ref.ACTIVATIONS[activation]
    step = iter(range(1, len(batches) + 1))

    def gradients_of(p, batch):
        factors = masks_of(next(step))
        outputs, z = [x[batch]], []
        for k, factor in enumerate(factors, start=1):
            z.append(outputs[-1] @ p[f"W{k}"] + p[f"b{k}"])
            outputs.append(f(z[-1]) * factor)
        top = len(factors) + 1
        value, delta = ref.classification_loss(
            outputs[-1] @ p[f"W{top}"] + p[f"b{top}"], y[batch], "cross_entropy"
        )
        gradients = {}
        for k in range(top, 0, -1):
            gradients[f"W{k}"] = outputs[k - 1].T @ delta
            gradients[f"b{k}"] = delta.sum(axis=0)
            if k > 1:
                delta = (delta @ p[f"W{k}"].T) * factors[k - 2] * df(z[k - 2])
        return value, gradients

    return ref.run(ref.adam_steps(before, gradients_of, batches, RATE))


@pytest.mark.parametrize("activation", activations.NAMES)
@pytest.mark.parametrize("layout", [0.0, 0.8], ids=["dense", "sparse"])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_finetuning_replayed(sizes, layout, activation):
    x = draw_x(N, sizes[0], zeros=layout).astype(np.float64)
    y, batches = draw_y(N, N_CLASSES), draw_batches(20, 12, N)
    net = StackedAutoencoder(
        sizes, N_CLASSES, init="he", activation=activation, dtype="float64", seed=5
    )
    before = net.parameters
    shares = [0.3, 0.5, 0.1][: len(sizes) - 1]
    net.finetune(x, y, batches=batches, dropout=shares, loss="cross_entropy")
    shapes = [(12, n) for n in sizes[1:]]

    def masks_of(step):
        return masks(5, Purpose.FINETUNE_DROPOUT, 1, shapes, shares, step)

    expected, _ = network_steps(before, x, y, batches, activation, masks_of)
    assert_close(net.parameters, expected, 1e-9)


@pytest.mark.parametrize("activation", activations.NAMES)
def test_autoencoder_replayed(activation):
    x, batches = draw_x(N, 30, zeros=0.5).astype(np.float64), draw_batches(20, 12, N)
    ae = Autoencoder(30, 17, activation=activation, dtype="float64", seed=2, layer=3)
    before = ae.parameters
    history = ae.fit(x, batches=batches, dropout=0.4, eval_every=20)
    f, df = ref.ACTIVATIONS[activation]
    step = iter(range(1, 21))

    def gradients_of(p, batch):
        (factor,) = masks(2, Purpose.PRETRAIN_DROPOUT, 3, [(12, 17)], [0.4], next(step))
        z = x[batch] @ p["W_enc"] + p["b_enc"]
        code = f(z) * factor
        error = code @ p["W_dec"] + p["b_dec"] - x[batch]
        delta = (2 * error @ p["W_dec"].T) * factor * df(z)
        gradients = {"W_enc": x[batch].T @ delta, "b_enc": delta.sum(axis=0)}
        gradients |= {"W_dec": code.T @ (2 * error), "b_dec": 2 * error.sum(axis=0)}
        return np.sum(error**2), gradients

    expected, _ = ref.run(ref.adam_steps(before, gradients_of, batches, RATE))
    assert_close(ae.parameters, expected, 1e-9)
    # evaluations take all units
    assert history.loss == [pytest.approx(np.sum((ae.reconstruct(x) - x) ** 2), rel=1e-9)]


def test_central_differences():
    """One step of SGD shows the gradient; the masks of step 1 are held fixed."""
    sizes, shares, h = (12, 9, 7), (0.3, 0.5), 1e-5
    x, y = draw_x(15, 12, zeros=0.3).astype(np.float64), draw_y(15, N_CLASSES)
    net = StackedAutoencoder(sizes, N_CLASSES, init="he", activation="tanh", dtype="float64")
    before = net.parameters
    every = np.arange(15)[None]
    net.finetune(
        x, y, batches=every, dropout=shares, loss="cross_entropy", optimizer="sgd",
        learning_rate=RATE,
    )  # fmt: skip
    first, second = masks(0, Purpose.FINETUNE_DROPOUT, 1, [(15, 9), (15, 7)], shares, 1)

    def value(p):
        a = np.tanh(x @ p["W1"] + p["b1"]) * first
        a = np.tanh(a @ p["W2"] + p["b2"]) * second
        return ref.classification_loss(a @ p["W3"] + p["b3"], y, "cross_entropy")[0]

    rng = np.random.default_rng(1)
    for name, w in before.items():
        gradient = (w - net.parameters[name]) / RATE
        change = rng.normal(size=w.shape)
        ends = [value({**before, name: w + sign * h * change}) for sign in (1, -1)]
        size = np.linalg.norm(gradient) * np.linalg.norm(change)
        assert size > 0
        assert abs(np.sum(gradient * change) - (ends[0] - ends[1]) / (2 * h)) <= 1e-7 * size, name


def test_pytorch_with_the_same_masks():
    torch = pytest.importorskip("torch")
    x, batches = draw_x(N, 30, zeros=0.5).astype(np.float64), draw_batches(60, 12, N)
    y, shares, sizes = draw_y(N, N_CLASSES), (0.3, 0.5), (30, 17, 9)
    net = StackedAutoencoder(sizes, N_CLASSES, init="he", activation="sigmoid", dtype="float64")
    p = {name: torch.tensor(value, requires_grad=True) for name, value in net.parameters.items()}
    net.finetune(x, y, batches=batches, dropout=shares, loss="cross_entropy", adam="torch")
    adam = torch.optim.Adam(p.values(), lr=RATE)
    for step, batch in enumerate(batches, start=1):
        factors = masks(0, Purpose.FINETUNE_DROPOUT, 1, [(12, 17), (12, 9)], shares, step)
        a = torch.tensor(x[batch])
        for k, factor in enumerate(factors, start=1):
            a = torch.sigmoid(a @ p[f"W{k}"] + p[f"b{k}"]) * torch.tensor(factor)
        logits = a @ p["W3"] + p["b3"]
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(y[batch]), reduction="sum")
        adam.zero_grad()
        loss.backward()
        adam.step()
    expected = {name: value.detach().numpy() for name, value in p.items()}
    assert_close(net.parameters, expected, 1e-9)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_the_number_of_threads_has_no_influence(sizes):
    x, y = draw_x(N, sizes[0], zeros=0.5), draw_y(N, N_CLASSES)
    found = []
    for n_threads in (1, 2, 3):
        net = StackedAutoencoder(sizes, N_CLASSES, n_threads=n_threads)
        net.pretrain(x, steps=5, batch_size=20, dropout=0.2)
        net.finetune(x, y, steps=5, batch_size=20, dropout=0.5)
        found.append(net.parameters)
    assert_identical(found[0], found[1])
    assert_identical(found[0], found[2])


def test_going_on_is_as_training_at_once():
    x = draw_x(N, 30, zeros=0.5)
    once, twice = Autoencoder(30, 9), Autoencoder(30, 9)
    once.fit(x, steps=10, batch_size=20, dropout=0.5)
    for _ in range(2):
        twice.fit(x, steps=5, batch_size=20, dropout=0.5, continued=True)
    assert_identical(once.parameters, twice.parameters)


@pytest.mark.parametrize("noise", [Masking(0.3), Gaussian(), SaltAndPepper(), Swap()])
def test_taken_up_from_a_checkpoint(noise, tmp_path):
    """With noise, too: draws know the step; a training with other noise is another one."""
    x = draw_x(N, 30, zeros=0.5)

    def run(*callbacks, **changes):
        ae = Autoencoder(30, 9)
        options = {"corruption": noise, "dropout": 0.3, **changes}
        ae.fit(x, steps=30, batch_size=20, eval_every=10, callbacks=[*callbacks], **options)
        return ae.parameters

    def break_off(training):
        if training.step == 20:
            raise KeyError

    with pytest.raises(KeyError):
        run(RunCheckpoint(tmp_path, 5), break_off)
    for changes in ({"dropout": 0.2}, {"corruption": Masking(0.4)}, {"corruption": None}):
        with pytest.raises(CheckpointError):
            run(RunCheckpoint(tmp_path, 5), **changes)
    assert_identical(run(RunCheckpoint(tmp_path, 5)), run())


def test_none_is_as_it_was():
    x = draw_x(N, 30, zeros=0.5)
    plain, none, some = (Autoencoder(30, 9) for _ in range(3))
    plain.fit(x, steps=5, batch_size=20)
    none.fit(x, steps=5, batch_size=20, dropout=[0])
    some.fit(x, steps=5, batch_size=20, dropout=0.1)
    assert_identical(plain.parameters, none.parameters)
    assert (plain.parameters["W_enc"] != some.parameters["W_enc"]).any()


@pytest.mark.parametrize("dropout", [1, -0.1, 2, None, "a", np.nan, [0.1], [0.1] * 3, [0.1, 1]])
@pytest.mark.parametrize("method", ["pretrain", "finetune"])
def test_what_is_no_dropout(method, dropout):
    net = StackedAutoencoder([30, 17, 9], N_CLASSES)
    before, x = net.parameters, draw_x(N, 30, zeros=0.5)
    data = (x,) if method == "pretrain" else (x, draw_y(N, N_CLASSES))
    with pytest.raises(DataError, match=r"^dropout: expected "):
        getattr(net, method)(*data, steps=2, dropout=dropout)
    assert_identical(net.parameters, before)
    assert not net.pretrained
