# SPDX-License-Identifier: BSD-3-Clause
"""A stack tuned as one deep autoencoder: replayed, refused, interrupted, continued, travelling."""

from __future__ import annotations

import copy
import pickle
import sys
import threading

import numpy as np
import pytest
import reference as ref
import sae_fast
from helpers import assert_close, assert_identical, draw_batches, draw_x, draw_y
from sae_fast import DataError, DivergenceError, StackedAutoencoder

SIZES = (30, 12, 7, 4)
X = draw_x(80, 30, zeros=0.5)
BATCHES = draw_batches(60, 12, 80)


def stack(pretrained=True, **options):
    net = StackedAutoencoder(SIZES, **{"n_classes": 3, "n_threads": 1, **options})
    if pretrained:
        net.pretrain(X, steps=20)
    return net


def unrolled(net):
    """Parameters of the layers that samples go through, in their order."""
    own = net.parameters
    layers = [(own[f"W{ae.layer}"], own[f"b{ae.layer}"]) for ae in net.autoencoders]
    decoders = [ae.parameters for ae in reversed(net.autoencoders)]
    layers += [(one["W_dec"], one["b_dec"]) for one in decoders]
    return {
        f"{name}{at}": value
        for at, layer in enumerate(layers, start=1)
        for name, value in zip("Wb", layer, strict=True)
    }


def activations_of(net):
    decoders = [ae.output for ae in reversed(net.autoencoders)]
    return [*(ae.activation for ae in net.autoencoders), *decoders]


@pytest.mark.parametrize("pretrained", [True, False])
@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_the_oracle_does_the_same(activation, pretrained):
    net = stack(pretrained, dtype="float64", activation=activation, init="he")
    start, functions = unrolled(net), activations_of(net)

    def gradients_of(p, batch):
        return ref.unrolled_gradients(p, X[batch], functions, 0.1)

    expected, _ = ref.run(ref.optimizer_steps(start, gradients_of, BATCHES))
    history = net.finetune_autoencoder(X, batches=BATCHES, weight_decay=0.1, eval_every=0)
    assert_close(unrolled(net), expected, 1e-9)
    loss, _ = ref.unrolled_gradients(expected, X, functions, 0.1)
    assert history.loss == [pytest.approx(loss, rel=1e-9)]


def test_pytorch_does_the_same():
    torch = pytest.importorskip("torch")
    net = stack(dtype="float64", activation="sigmoid")
    module = net.to_torch("reconstruction")
    optimizer = torch.optim.Adam(module.parameters(), lr=2e-3, eps=1e-8)
    x = torch.from_numpy(X.astype(np.float64))
    for batch in BATCHES:
        optimizer.zero_grad()
        (module(x[batch]) - x[batch]).square().sum().backward()
        optimizer.step()
    net.finetune_autoencoder(X, batches=BATCHES, learning_rate=2e-3, adam="torch")
    linear = [one for one in module if isinstance(one, torch.nn.Linear)]
    expected = {}
    for at, one in enumerate(linear, start=1):
        expected[f"W{at}"] = one.weight.detach().numpy().T
        expected[f"b{at}"] = one.bias.detach().numpy()
    assert_close(unrolled(net), expected, 1e-9)


def test_gradients():
    """Central differences of the oracle's loss, which the product follows step by step."""
    net, rng = stack(dtype="float64", activation="sigmoid"), np.random.default_rng(0)
    p = {name: rng.normal(0, 0.6, value.shape) for name, value in unrolled(net).items()}
    functions = activations_of(net)
    _, gradients = ref.unrolled_gradients(p, X, functions, 0.1)
    for name, value in p.items():
        direction = rng.normal(size=value.shape)
        ends = []
        for sign in (-1, 1):
            moved = {**p, name: value + sign * 1e-6 * direction}
            ends.append(ref.unrolled_gradients(moved, X, functions, 0.1)[0])
        slope = (ends[1] - ends[0]) / 2e-6
        assert slope == pytest.approx((gradients[name] * direction).sum(), rel=1e-6)


def test_what_it_tuned_is_used():
    net = stack()
    code, before = net.encode(X), net.reconstruction_error(X)
    history = net.finetune_autoencoder(X, steps=300)
    assert net.reconstruction_error(X) < 0.9 * before
    assert history.mean_loss[-1] == pytest.approx(30 * net.reconstruction_error(X), rel=1e-5)
    assert np.abs(net.encode(X) - code).max() > 0.01
    np.testing.assert_allclose(net.decode(net.encode(X)), net.reconstruct(X), atol=1e-5)
    assert net.score_samples(X).mean() == pytest.approx(net.reconstruction_error(X), rel=1e-5)
    for ae in net.autoencoders:
        np.testing.assert_array_equal(ae.parameters["W_enc"], net.parameters[f"W{ae.layer}"])
    tuned = net.parameters
    net.finetune(X, draw_y(80, 3), steps=1, learning_rate=1e-9)
    np.testing.assert_allclose(net.parameters["W1"], tuned["W1"], atol=1e-6)


def test_without_pretraining():
    net = stack(False)
    net.finetune_autoencoder(X, steps=1000)
    assert net.pretrained
    assert net.reconstruction_error(X) < 0.7 * X.var(axis=0).mean()


@pytest.mark.parametrize("n_threads", [2, 3, 8])
def test_any_number_of_threads(n_threads):
    one, more = stack(), stack()
    more.n_threads = n_threads
    for net in (one, more):
        net.finetune_autoencoder(X, steps=30)
    assert_identical(unrolled(one), unrolled(more))


def test_two_parts_are_the_whole():
    whole, parts = stack(), stack()
    whole.finetune_autoencoder(X, steps=50)
    parts.finetune_autoencoder(X, steps=20)
    parts = pickle.loads(pickle.dumps(parts))
    parts.finetune_autoencoder(X, steps=30, continued=True)
    assert_identical(unrolled(whole), unrolled(parts))


def test_eval_set_and_early_stopping():
    net = stack(False)
    stop = sae_fast.callbacks.EarlyStopping(patience=3)
    history = net.finetune_autoencoder(
        X[:60], steps=5000, eval_every=10, learning_rate=0.02, eval_set=X[60:], callbacks=[stop]
    )
    assert history.steps[-1] < 5000
    assert min(history.mean_loss) == pytest.approx(30 * net.reconstruction_error(X[60:]), rel=1e-5)


def test_a_refusal_changes_nothing():
    class Refuse(sae_fast.callbacks.Callback):
        def on_start(self, training):
            raise DataError("no")

    for net in (stack(), stack(False)):
        before, pretrained = unrolled(net), net.pretrained
        for options in (
            {"callbacks": [Refuse()]},
            {"steps": 0},
            {"eval_set": X[:, :3]},
            {"learning_rate": -1},
            {"corruption": 5},
            {"batches": [[80]]},
        ):
            with pytest.raises(DataError):
                net.finetune_autoencoder(X, **options)
            assert_identical(unrolled(net), before)
            assert net.pretrained == pretrained
            assert net.scale is None


def test_divergence_goes_back():
    net = stack()
    before = unrolled(net)
    with pytest.raises(DivergenceError, match=r"tuning \(30 → 4 → 30\) diverged"):
        net.finetune_autoencoder(X, steps=10, learning_rate=1e30)
    assert_identical(unrolled(net), before)


def test_callbacks_see_it_as_it_is(tmp_path):
    net = stack()
    seen = []

    def look(training):
        own = training.model.encode(X)
        np.testing.assert_array_equal(own, net.encode(X))
        np.testing.assert_array_equal(training.model.reconstruct(X), net.reconstruct(X))
        path = training.model.save(tmp_path / "net.safetensors")
        np.testing.assert_array_equal(sae_fast.load(path).encode(X), own)
        seen.append(training.step)
        assert len(training.model.parameters) == 12

    net.finetune_autoencoder(X, steps=20, eval_every=10, callbacks=[look])
    assert seen == [10, 20]


def test_what_is_kept_where_a_callback_ends_it():
    net = stack()
    before = unrolled(net)

    def end(training):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.finetune_autoencoder(X, steps=20, eval_every=10, callbacks=[end])
    whole = stack()
    whole.finetune_autoencoder(X, steps=10)
    assert_identical(unrolled(net), unrolled(whole))
    assert not np.array_equal(unrolled(net)["W1"], before["W1"])


def test_corruption_is_of_what_it_reads():
    plain, noisy = stack(), stack()
    plain.finetune_autoencoder(X, steps=50)
    noisy.finetune_autoencoder(X, steps=50, corruption=sae_fast.corruptions.Masking(0.3))
    assert not np.array_equal(unrolled(plain)["W1"], unrolled(noisy)["W1"])


def test_bytes_and_units():
    pixels = (X * 255).astype(np.uint8)
    net = stack(False)
    net.finetune_autoencoder(pixels, steps=5, scale=1 / 255)
    assert net.scale == net.autoencoders[0].scale == 1 / 255
    far = stack(False)
    far.finetune_autoencoder(X + np.float32(300), steps=600)
    assert far.reconstruction_error(X + np.float32(300)) < 0.8 * X.var(axis=0).mean()
    far.parameters = {"b1": far.parameters["b1"]}  # now it reads samples as they are
    error = far.reconstruction_error(X + np.float32(300))
    with pytest.warns(sae_fast.ScaleWarning):
        far.finetune_autoencoder(X + np.float32(300), steps=1, learning_rate=1e-9)
    assert far.reconstruction_error(X + np.float32(300)) == pytest.approx(error, rel=0.05)


def test_copies_and_files(tmp_path):
    net = stack()
    net.finetune_autoencoder(X, steps=20)
    for again in (copy.deepcopy(net), sae_fast.load(net.save(tmp_path / "net.safetensors"))):
        assert_identical(unrolled(again), unrolled(net))


def test_no_training_within_another():
    net = stack()
    met = []

    def train(training):
        for call in (net.finetune_autoencoder, net.pretrain):
            with pytest.raises(DataError, match="a model that is not in training"):
                call(X)
            met.append(call)

    net.finetune_autoencoder(X, steps=2, callbacks=[train])
    assert len(met) == 2


def test_callbacks_are_given_what_they_may_ask_of_a_stack():
    net = stack(False)
    seen = []

    def look(training):
        model = training.model
        assert (model.sizes, model.n_hidden, model.pretrained) == (SIZES, 4, True)
        assert model.count_dead_units(X) == net.count_dead_units(X)
        for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert isinstance(again, StackedAutoencoder)
            assert_identical(unrolled(again), unrolled(net))
        np.testing.assert_array_equal(net.reconstruct(X), model.reconstruct(X))
        assert model._part("encoder").layers[0].w.shape == (30, 12)
        with pytest.raises(AttributeError):
            model.nothing_of_the_kind  # noqa: B018
        seen.append(training.step)

    net.finetune_autoencoder(X, steps=20, eval_every=10, callbacks=[look])
    assert seen == [10, 20]


def test_files_written_meanwhile_are_of_one_moment():
    net = StackedAutoencoder([60, 300, 200, 50], n_threads=1)
    x, mixed, done = draw_x(500, 60, zeros=0.5), [], threading.Event()

    def save():
        while not done.is_set():
            again = pickle.loads(pickle.dumps(net))
            own = again.parameters
            mixed.append(
                any(
                    not np.array_equal(own[f"W{ae.layer}"], ae.parameters["W_enc"])
                    for ae in again.autoencoders
                )
            )

    class Often(sae_fast.callbacks.Callback):
        every = 1

        def on_step(self, training):
            """Look, so that the layers are copied before."""

    net.finetune_autoencoder(x, steps=1)
    thread = threading.Thread(target=save)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        net.finetune_autoencoder(x, steps=150, callbacks=[Often()])
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert mixed
    assert not any(mixed)


def test_dropout_of_all_hidden_layers():
    plain, some, none = stack(), stack(), stack()
    plain.finetune_autoencoder(X, steps=30)
    some.finetune_autoencoder(X, steps=30, dropout=[0, 0, 0.5, 0, 0])
    none.finetune_autoencoder(X, steps=30, dropout=0.0)
    assert_identical(unrolled(plain), unrolled(none))
    assert not np.array_equal(unrolled(plain)["W1"], unrolled(some)["W1"])
    with pytest.raises(DataError, match="dropout"):
        plain.finetune_autoencoder(X, dropout=[0.1, 0.1])
