# SPDX-License-Identifier: BSD-3-Clause
"""Penalties: the oracle and the core against central differences, trainings against the oracle.

PyTorch, which finds the gradients by itself, has the last word; threads, weights of samples, what
evaluations include, and what is refused come after it.
"""

from __future__ import annotations

import itertools

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
    _core,
    activations,
)
from sae_fast.base.streams import Purpose, stream_key
from sae_fast.core.networks import evaluate, new_network
from sae_fast.corruptions import Masking
from sae_fast.penalties import L1, CodeL1, Contractive, KLSparsity, MaxNorm
from sae_fast.training.penalties import PENALTIES
from test_gradients import SQUARED, Problem, assert_gradients
from test_reference import assert_same_gradients, central_differences

N, N_FEATURES, N_HIDDEN, N_STEPS = 50, 30, 8, 60

#: One of each that adds to the loss.
ADDED = {
    "l1": L1(0.3),
    "code_l1": CodeL1(0.2),
    "kl_sparsity": KLSparsity(0.7, target=0.15),
    "contractive": Contractive(0.4),
}
PAIRS = [
    (name, activation)
    for name in ADDED
    for activation in (["sigmoid"] if name == "kl_sparsity" else activations.NAMES)
]
ON_CODES = [name for name, penalty in ADDED.items() if penalty.on_codes]


def draw_parameters(rng, n_features=N_FEATURES, n_hidden=N_HIDDEN):
    shapes = {"W_enc": (n_features, n_hidden), "b_enc": n_hidden}
    shapes |= {"W_dec": (n_hidden, n_features), "b_dec": n_features}
    return {name: rng.normal(0, 0.4, shape) for name, shape in shapes.items()}


def case(zeros=0.5):
    x = draw_x(N, N_FEATURES, zeros=zeros).astype(np.float64)
    return x, draw_batches(N_STEPS, 12, N), draw_parameters(np.random.default_rng(3))


def test_every_penalty_has_its_oracle():
    assert list(ADDED) == list(ref.PENALTIES)
    assert {*ADDED, "max_norm"} == set(PENALTIES)
    assert list(ref.CURVATURES) == [*activations.NAMES, "top_k"]


@pytest.mark.parametrize(("name", "activation"), PAIRS)
def test_the_oracle(name, activation):
    rng = np.random.default_rng(5)
    p, x = draw_parameters(rng, 6, 4), rng.random((7, 6))
    weights = rng.random(7) + 0.5
    zero = 0.0, {key: np.zeros_like(value) for key, value in p.items()}

    def penalty(q):
        return ref.penalized(zero, name, q, x, activation, weights, **vars(ADDED[name]))

    assert np.abs(x @ p["W_enc"] + p["b_enc"]).min() > 1e-4  # away from kinks
    assert_same_gradients(penalty(p)[1], central_differences(lambda q: penalty(q)[0], p))


@pytest.mark.parametrize("layout", ["dense", "sparse"])
@pytest.mark.parametrize(("name", "activation"), PAIRS)
def test_the_core(name, activation, layout):
    hidden = _core.Activation[activation]
    problem = Problem((12, 9, 12), 11, loss=SQUARED, layout=layout, zeros=0.5, hidden=hidden)
    problem.penalties = ADDED[name]._options()
    assert_gradients(problem)


@pytest.mark.parametrize("name", ADDED)
def test_wide_layers(name):
    hidden = _core.Activation.sigmoid
    problem = Problem((300, 259, 300), 6, loss=SQUARED, zeros=0.3, hidden=hidden)
    problem.penalties = ADDED[name]._options()
    assert_gradients(problem, n_most=20)


@pytest.mark.parametrize("sizes", [(20, 9, 5, 9, 20), (280, 270, 5, 270, 280)], ids=str)
@pytest.mark.parametrize("name", ["code_l1", "kl_sparsity"])
def test_the_code_of_a_deep_autoencoder(name, sizes):
    problem = Problem(sizes, 9, loss=SQUARED, zeros=0.3, hidden=_core.Activation.sigmoid)
    problem.penalties = ADDED[name]._options()
    assert_gradients(problem, n_most=30)


@pytest.mark.parametrize("zeros", [0.0, 0.8], ids=["dense", "sparse"])
@pytest.mark.parametrize(("name", "activation"), PAIRS)
def test_replay(name, activation, zeros):
    x, batches, initial = case(zeros)
    ae = Autoencoder(N_FEATURES, N_HIDDEN, dtype="float64", activation=activation)
    ae.parameters = initial
    history = ae.fit(x, batches=batches, weight_decay=0.1, penalties=[ADDED[name]], eval_every=20)

    def gradients_of(p, batch, rows=x):
        plain = ref.autoencoder_gradients(p, rows[batch], 0.1, activation=activation)
        return ref.penalized(plain, name, p, rows[batch], activation, **vars(ADDED[name]))

    expected, _ = ref.run(ref.optimizer_steps(initial, gradients_of, batches))
    assert_close(ae.parameters, expected, 1e-9)
    value, _ = gradients_of(ae.parameters, np.arange(N))
    assert history.loss[-1] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("name", ADDED)
def test_with_another_loss(name):
    x, batches, initial = case()
    functions = {"activation": "sigmoid", "output": "sigmoid"}
    ae = Autoencoder(N_FEATURES, N_HIDDEN, dtype="float64", **functions)
    ae.parameters = initial
    how = {"loss": "binary_cross_entropy", "penalties": [ADDED[name]]}
    ae.fit(x, batches=batches, eval_every=0, **how)

    def gradients_of(p, batch):
        rows = x[batch]
        plain = ref.autoencoder_gradients(p, rows, loss="binary_cross_entropy", **functions)
        return ref.penalized(plain, name, p, rows, "sigmoid", **vars(ADDED[name]))

    assert_close(ae.parameters, ref.run(ref.adam_steps(initial, gradients_of, batches))[0], 1e-9)


@pytest.mark.parametrize("name", ADDED)
def test_beside_noise_and_dropout(name):
    """Codes are of noisy samples, as the encoder reads them, and before dropout."""
    x, batches, initial = case()
    ae = Autoencoder(N_FEATURES, N_HIDDEN, dtype="float64", activation="sigmoid", seed=2)
    ae.parameters = initial
    how = {"corruption": Masking(0.3), "dropout": 0.4, "penalties": [ADDED[name]]}
    ae.fit(x, batches=batches, eval_every=0, **how)
    noise, dropout = (
        int(stream_key(2, purpose, 1)[0])
        for purpose in (Purpose.CORRUPTION, Purpose.PRETRAIN_DROPOUT)
    )
    f, df = ref.ACTIVATIONS["sigmoid"]
    steps = itertools.count(1)

    def gradients_of(p, batch):
        step = next(steps)
        noisy, _ = ref.CORRUPTIONS["masking"](x[batch], step, noise, 0.3)
        factor = ~ref.choose(dropout, 0.4, (len(batch), N_HIDDEN), step) / 0.6
        z = noisy @ p["W_enc"] + p["b_enc"]
        code = f(z) * factor
        delta_out = 2 * (code @ p["W_dec"] + p["b_dec"] - x[batch])
        delta = (delta_out @ p["W_dec"].T) * factor * df(z)
        gradients = {"W_enc": noisy.T @ delta, "b_enc": delta.sum(axis=0)}
        gradients |= {"W_dec": code.T @ delta_out, "b_dec": delta_out.sum(axis=0)}
        return ref.penalized((0.0, gradients), name, p, noisy, "sigmoid", **vars(ADDED[name]))

    assert_close(ae.parameters, ref.run(ref.adam_steps(initial, gradients_of, batches))[0], 1e-9)


@pytest.mark.parametrize("name", ON_CODES)
def test_weights_of_samples_count_samples(name):
    """A sample of weight 2 is as good as two of it, one of weight 0 as none."""
    x, _, initial = case()
    weight = np.arange(N) % 3
    results = []
    for rows, options in (
        (x, {"sample_weight": weight}),
        (np.repeat(x, weight, axis=0), {}),
    ):
        ae = Autoencoder(N_FEATURES, N_HIDDEN, dtype="float64", activation="sigmoid")
        ae.parameters = initial
        whole = np.tile(np.arange(len(rows)), (20, 1))
        history = ae.fit(rows, batches=whole, penalties=[ADDED[name]], eval_every=10, **options)
        results.append({**ae.parameters, "loss": np.array(history.loss)})
    assert_close(*results, 1e-9)


@pytest.mark.parametrize("zeros", [0.0, 0.8], ids=["dense", "sparse"])
def test_max_norm(zeros):
    x, batches, initial = case(zeros)
    ae = Autoencoder(N_FEATURES, N_HIDDEN, dtype="float64")
    ae.parameters = initial
    most = np.median(np.linalg.norm(initial["W_enc"], axis=0))
    ae.fit(x, batches=batches, penalties=[MaxNorm(most)], learning_rate=0.01)

    def limit(p):
        p["W_enc"] = ref.limit_norms(p["W_enc"], most)

    def gradients_of(p, batch):
        return ref.autoencoder_gradients(p, x[batch])

    steps = ref.optimizer_steps(initial, gradients_of, batches, 0.01, after=limit)
    assert_close(ae.parameters, ref.run(steps)[0], 1e-9)
    norms = np.linalg.norm(ae.parameters["W_enc"], axis=0)
    assert norms.max() == pytest.approx(most, rel=1e-12)
    assert np.sum(norms > most * (1 - 1e-6)) in range(1, N_HIDDEN)
    ae.fit(x, batches=batches, penalties=[MaxNorm(most)])  # backward reads the bounded weights


def test_max_norm_of_a_network_leaves_the_layer_on_top():
    x, y = draw_x(N, N_FEATURES, zeros=0.3), draw_y(N, 4)
    net = StackedAutoencoder([N_FEATURES, 12, 7], 4, init="he", dtype="float64")
    batches = draw_batches(30, 12, N)
    initial = net.parameters
    net.finetune(x, y, batches=batches, penalties=[MaxNorm(0.8)], learning_rate=0.01)

    def limit(p):
        p |= {name: ref.limit_norms(p[name], 0.8) for name in ("W1", "W2")}

    def gradients_of(p, batch):
        return ref.network_gradients(p, x[batch], y[batch])

    steps = ref.optimizer_steps(initial, gradients_of, batches, 0.01, after=limit)
    assert_close(net.parameters, ref.run(steps)[0], 1e-9)


def test_l1_of_a_network():
    x, y = draw_x(N, N_FEATURES, zeros=0.8), draw_y(N, 4)
    net = StackedAutoencoder([N_FEATURES, 12, 7], 4, init="he", dtype="float64")
    batches = draw_batches(30, 12, N)
    initial = net.parameters
    net.finetune(x, y, batches=batches, penalties=[L1(0.2)])

    def gradients_of(p, batch):
        value, gradients = ref.network_gradients(p, x[batch], y[batch])
        for name in ("W1", "W2", "W3"):
            gradients[name] += 0.2 * np.sign(p[name])
        return value, gradients

    assert_close(net.parameters, ref.run(ref.adam_steps(initial, gradients_of, batches))[0], 1e-9)


def test_l1_is_flat_where_a_weight_is_zero():
    x = draw_x(N, N_FEATURES, zeros=0.8)
    x[:, [3, 17]] = 0  # no other gradient there
    ae = Autoencoder(N_FEATURES, N_HIDDEN, init="normal")
    w = ae.parameters["W_enc"]
    w[3, ::2] = 0
    ae.parameters = {"W_enc": w}
    ae.fit(x, steps=5, batch_size=10, penalties=[L1(0.1)])
    new = ae.parameters["W_enc"]
    assert not new[3, ::2].any()
    assert (np.abs(new[3, 1::2] - w[3, 1::2]) > 1e-4).all()
    assert (np.abs(new[17] - w[17]) > 1e-4).all()


class TestTorch:
    """The loss is written down, and autograd does the rest."""

    def penalty(self, torch, name, code, z, p):
        s = ADDED[name].__dict__
        if name == "l1":
            return s["strength"] * (p["W_enc"].abs().sum() + p["W_dec"].abs().sum())
        if name == "code_l1":
            return s["strength"] * code.abs().sum()
        if name == "kl_sparsity":
            mean, target = code.mean(dim=0), torch.tensor(s["target"], dtype=torch.float64)
            coin = torch.distributions.Bernoulli
            return (
                s["strength"]
                * len(code)
                * torch.distributions.kl_divergence(coin(target), coin(mean)).sum()
            )
        slope = torch.autograd.grad(code.sum(), z, create_graph=True)[0]
        return s["strength"] * ((slope**2) @ (p["W_enc"] ** 2).sum(dim=0)).sum()

    @pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
    @pytest.mark.parametrize("name", ADDED)
    def test_sixty_steps(self, name, activation):
        torch = pytest.importorskip("torch")
        if (name, activation) not in PAIRS:
            pytest.skip("refused")
        x, batches, initial = case()
        ae = Autoencoder(N_FEATURES, N_HIDDEN, dtype="float64", activation=activation)
        ae.parameters = initial
        ae.fit(x, batches=batches, penalties=[ADDED[name]], adam="torch", eval_every=0)
        p = {key: torch.tensor(value, requires_grad=True) for key, value in initial.items()}
        optimizer = torch.optim.Adam(p.values(), lr=1e-3)
        for batch in batches:
            rows = torch.tensor(x[batch])
            z = rows @ p["W_enc"] + p["b_enc"]
            code = getattr(torch, activation)(z)
            loss = ((code @ p["W_dec"] + p["b_dec"] - rows) ** 2).sum()
            optimizer.zero_grad()
            (loss + self.penalty(torch, name, code, z, p)).backward()
            optimizer.step()
        assert_close(ae.parameters, {k: v.detach().numpy() for k, v in p.items()}, 1e-9)

    def test_max_norm(self):
        torch = pytest.importorskip("torch")
        x, batches, initial = case()
        ae = Autoencoder(N_FEATURES, N_HIDDEN, dtype="float64")
        ae.parameters = initial
        ae.fit(x, batches=batches, penalties=[MaxNorm(2.0)], adam="torch", eval_every=0)
        p = {key: torch.tensor(value, requires_grad=True) for key, value in initial.items()}
        optimizer = torch.optim.Adam(p.values(), lr=1e-3)
        for batch in batches:
            rows = torch.tensor(x[batch])
            code = torch.relu(rows @ p["W_enc"] + p["b_enc"])
            optimizer.zero_grad()
            ((code @ p["W_dec"] + p["b_dec"] - rows) ** 2).sum().backward()
            optimizer.step()
            with torch.no_grad():
                p["W_enc"] /= p["W_enc"].norm(dim=0).div(2.0).clamp(min=1.0)
        assert_close(ae.parameters, {k: v.detach().numpy() for k, v in p.items()}, 1e-9)


ALL = (L1(0.01), MaxNorm(0.9), CodeL1(0.02), KLSparsity(0.1, target=0.2), Contractive(0.05))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("sizes", "zeros"),
    [((784, 100), 0.8), ((200, 101), 0.0), ((300, 301), 0.8), ((300, 301), 0.0)],
    ids=["sparse", "dense", "wide, sparse", "wide, dense"],
)
def test_threads(sizes, zeros, dtype):
    x = draw_x(311, sizes[0], zeros=zeros)
    found = []
    for n_threads in (1, 2, 3, 7):
        ae = Autoencoder(*sizes, activation="sigmoid", dtype=dtype, n_threads=n_threads)
        history = ae.fit(x, steps=6, batch_size=53, penalties=ALL, eval_every=3)
        found.append({**ae.parameters, "loss": np.array(history.loss)})
    for other in found[1:]:
        assert_identical(other, found[0])


def test_threads_of_a_stack():
    x, y = draw_x(311, 120, zeros=0.5), draw_y(311, 4)
    found = []
    for n_threads in (1, 3):
        net = StackedAutoencoder([120, 60, 31], 4, activation="sigmoid", n_threads=n_threads)
        options = {"steps": 8, "batch_size": 53}
        net.pretrain(x, penalties=ALL, **options)
        net.finetune_autoencoder(x, penalties=[*ALL[:4]], **options)
        net.finetune(x, y, penalties=ALL[:2], **options)
        found.append({**net.parameters, "reconstruction": net.reconstruct(x)})
    assert_identical(*found)


def test_several_add_up():
    x, batches, initial = case()
    ae = Autoencoder(N_FEATURES, N_HIDDEN, dtype="float64", activation="sigmoid")
    ae.parameters = initial
    ae.fit(x, batches=batches, penalties=tuple(ADDED.values()), eval_every=0)

    def gradients_of(p, batch):
        found = ref.autoencoder_gradients(p, x[batch], activation="sigmoid")
        for name, penalty in ADDED.items():
            found = ref.penalized(found, name, p, x[batch], "sigmoid", **vars(penalty))
        return found

    assert_close(ae.parameters, ref.run(ref.adam_steps(initial, gradients_of, batches))[0], 1e-9)


@pytest.mark.parametrize("name", ADDED)
def test_what_evaluations_include(name):
    """Over the training's samples, more than a chunk, the penalties; on an eval_set, none."""
    x, _, initial = case()
    x = np.concatenate([x, x[::-1] ** 2, np.sqrt(x)])
    losses = []
    for options in ({}, {"eval_set": x}):
        ae = Autoencoder(N_FEATURES, N_HIDDEN, dtype="float64", activation="sigmoid")
        ae.parameters = initial
        history = ae.fit(x, batches=[[0, 1]], penalties=[ADDED[name]], **options)
        losses.append(history.loss[-1])
    plain = ref.autoencoder_gradients(ae.parameters, x, activation="sigmoid")
    value, _ = ref.penalized(plain, name, ae.parameters, x, "sigmoid", **vars(ADDED[name]))
    assert losses == pytest.approx([value, plain[0]], rel=1e-12)


def test_large_sparse_sets_too():
    """Where the loss of a set without penalties needs no reconstruction."""
    x = draw_x(5000, 60, zeros=0.9).astype(np.float64)
    ae = Autoencoder(60, 5, dtype="float64")
    history = ae.fit(x, steps=20, penalties=[CodeL1(0.5)], eval_every=20)
    code = np.abs(ae.encode(x)).sum()
    error = np.sum((ae.reconstruct(x) - x) ** 2)
    assert history.loss[-1] == pytest.approx(error + 0.5 * code, rel=1e-10)


def test_units_at_the_ends_of_a_sigmoid():
    """A mean of exactly 0 or 1 has a finite divergence, and no gradient that is none."""
    x = draw_x(N, N_FEATURES, zeros=0.5)
    ae = Autoencoder(N_FEATURES, N_HIDDEN, activation="sigmoid", init="normal")
    ae.parameters = {"b_enc": np.array([-2000, 2000] * (N_HIDDEN // 2))}
    history = ae.fit(x, steps=5, batch_size=10, penalties=[KLSparsity(1.0, 0.1)])
    assert np.isfinite(history.loss).all()


def test_they_make_codes_sparse_and_weights_small():
    x = draw_x(300, 64, zeros=0.5)

    def train(*penalties, activation="relu"):
        ae = Autoencoder(64, 32, activation=activation)
        ae.fit(x, steps=600, batch_size=50, learning_rate=3e-3, penalties=penalties)
        return ae

    free, free_sigmoid = train(), train(activation="sigmoid")
    sparse = train(CodeL1(0.5))
    assert np.mean(sparse.encode(x) > 1e-3) < 0.7 * np.mean(free.encode(x) > 1e-3)
    few = train(L1(0.5))
    assert np.abs(few.parameters["W_enc"]).sum() < 0.5 * np.abs(free.parameters["W_enc"]).sum()
    kl = train(KLSparsity(1.0, 0.1), activation="sigmoid")
    away = [np.abs(ae.encode(x).mean(axis=0) - 0.1).max() for ae in (kl, free_sigmoid)]
    assert away[0] < 0.05 < away[1]
    calm = train(Contractive(0.3), activation="sigmoid")
    nearby = x + 0.01 * np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    moved = [np.sum((ae.encode(nearby) - ae.encode(x)) ** 2) for ae in (calm, free_sigmoid)]
    assert moved[0] < 0.5 * moved[1]


def test_a_strength_of_zero_changes_nothing():
    x, batches, _ = case()
    found = []
    for penalties in ((), [L1(0), CodeL1(0), KLSparsity(0), Contractive(0), MaxNorm(1e9)]):
        ae = Autoencoder(N_FEATURES, N_HIDDEN, activation="sigmoid")
        history = ae.fit(x, batches=batches, penalties=penalties)
        found.append({**ae.parameters, "loss": np.array(history.loss)})
    assert_identical(*found)


class TestRefusals:
    @pytest.mark.parametrize("value", ["l1", L1(0.1), 0.1, None, {L1(0.1)}, {"l1": 0.1}])
    def test_no_list(self, value):
        self.refused(value, r"^penalties: expected a list of objects of sae_fast\.penalties \(L1, ")

    @pytest.mark.parametrize("value", ["l1", 0.1, L1, None, [L1(1.0)]])
    def test_no_penalty(self, value):
        self.refused([value], r"^penalties: expected objects of sae_fast\.penalties \(L1, .*, got ")

    def test_two_of_a_kind(self):
        self.refused([L1(1), CodeL1(1), L1(2)], "^penalties: expected one L1, got 2$")

    def test_another_code(self):
        self.refused(
            [KLSparsity(1)],
            r"^penalties: expected a code of activation 'sigmoid' for KLSparsity\(strength=1.0, "
            r"target=0.05\), got one of 'relu'$",
        )

    @pytest.mark.parametrize(
        "penalty", [L1(1e39), CodeL1(1e300), Contractive(1e39), MaxNorm(1e-50), MaxNorm(1e99)]
    )
    def test_what_float32_cannot_hold(self, penalty):
        net, ae = StackedAutoencoder([4, 3], 2), Autoencoder(4, 2)
        for train in (ae.fit, net.pretrain, net.finetune_autoencoder):
            with pytest.raises(DataError, match=r"^penalties: expected numbers that float32"):
                train(np.ones((3, 4)), penalties=[penalty])
        with pytest.raises(DataError, match=r"^weight_decay: expected numbers that .* got 1e\+39$"):
            ae.fit(np.ones((3, 4)), weight_decay=1e39)
        assert not ae.parameters["b_enc"].any()
        assert not ae.parameters["b_dec"].any()

    def refused(self, penalties, message):
        net = StackedAutoencoder([4, 3, 2], 2, dtype="float64")
        x, y = np.ones((3, 4)), [0, 1, 0]
        ae = Autoencoder(4, 2)
        trainings = (
            (ae, lambda: ae.fit(x, penalties=penalties)),
            (net, lambda: net.pretrain(x, penalties=penalties)),
            (net, lambda: net.finetune_autoencoder(x, penalties=penalties)),
        )
        for model, train in trainings:
            before = model.parameters
            with pytest.raises(DataError, match=message):
                train()
            assert_identical(model.parameters, before)
        return net, x, y

    @pytest.mark.parametrize("name", ON_CODES)
    def test_codes_in_fine_tuning(self, name):
        net = StackedAutoencoder([4, 3], 2, activation="sigmoid")
        with pytest.raises(DataError, match=r"^penalties: expected L1 or MaxNorm, .* got "):
            net.finetune(np.ones((3, 4)), [0, 1, 0], penalties=[ADDED[name]])

    def test_several_layers_to_the_code(self):
        net = StackedAutoencoder([4, 3, 2], activation="sigmoid")
        with pytest.raises(DataError, match=r"^penalties: expected one layer to .*, got 2$"):
            net.finetune_autoencoder(np.ones((3, 4)), penalties=[Contractive(1)])

    @pytest.mark.parametrize("kind", [L1, CodeL1, KLSparsity, Contractive])
    @pytest.mark.parametrize("value", [-1, "a", None, float("nan"), float("inf"), True])
    def test_strengths(self, kind, value):
        with pytest.raises(DataError, match=r"^strength: expected a number"):
            kind(value)

    @pytest.mark.parametrize("value", [0, -1, "a", float("inf")])
    def test_norms(self, value):
        with pytest.raises(DataError, match=r"^norm: expected a "):
            MaxNorm(value)

    @pytest.mark.parametrize("value", [0, 1, -1, "a", float("nan")])
    def test_targets(self, value):
        with pytest.raises(DataError, match=r"^target: expected "):
            KLSparsity(1, value)


def test_the_core_refuses_what_it_cannot_compute():
    x = _core.Input_float64(np.ones((3, 4)), scale=1.0, layout=_core.Layout.dense, n_threads=1)
    relu, deep, odd = (
        new_network("float64", widths, ["relu"] * (len(widths) - 1))
        for widths in ((4, 2, 4), (4, 3, 2, 3, 4), (4, 3, 3, 4))
    )
    for network, penalties in (
        (relu, {"kl_sparsity": 1.0, "kl_target": 0.1}),
        (deep, {"contractive": 1.0}),
        (odd, {"code_l1": 1.0}),
        (relu, {"l3": 1.0}),
    ):
        with pytest.raises(ValueError, match=r"expected|no penalty"):
            evaluate(network, x, None, 1, loss="squared_error", penalties=penalties)


def test_settings_identify_a_training(tmp_path):
    x = draw_x(N, N_FEATURES, zeros=0.5)

    def train(penalties, resume):
        ae = Autoencoder(N_FEATURES, N_HIDDEN)
        keeper = RunCheckpoint(tmp_path, every=5, resume=resume)
        ae.fit(x, steps=10, batch_size=10, penalties=penalties, callbacks=[keeper])
        return ae

    first = train([L1(0.1)], resume=False)
    assert_identical(train([L1(0.1)], resume=True).parameters, first.parameters)
    for other in ([L1(0.2)], [CodeL1(0.1)], []):
        with pytest.raises(CheckpointError, match="penalties"):
            train(other, resume=True)
