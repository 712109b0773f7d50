# SPDX-License-Identifier: BSD-3-Clause
"""What every training takes: epochs, schedules of the rate, weights of samples, an eval_set."""

from __future__ import annotations

import functools
import gc
import math
import pickle
import re

import numpy as np
import pytest
import reference as ref
import sae_fast
import scipy.sparse
from helpers import assert_close, assert_identical, draw_batches, draw_x, draw_y
from sae_fast import (
    Autoencoder,
    CheckpointError,
    DataError,
    DeadUnitWarning,
    DivergenceError,
    History,
    RunCheckpoint,
    StackedAutoencoder,
    _core,
)
from sae_fast.callbacks import EarlyStopping, Training
from sae_fast.optimizers import SGD, Adam, AdamW, RMSprop
from sae_fast.penalties import L1
from sae_fast.schedules import Constant, Cosine, Exponential, Step
from sae_fast.sklearn import StackedAutoencoderClassifier, StackedAutoencoderTransformer

SIZES = [12, 8, 4]
X = draw_x(90, 12, zeros=0.5)
Y = draw_y(90, 3)


def autoencoder(**options):
    return Autoencoder(12, 6, **options)


def snapshot(model):
    return pickle.dumps(model)


#: Calls of each kind of training.
TRAININGS = {
    "fit": lambda **o: autoencoder().fit(X, **o),
    "pretrain": lambda **o: StackedAutoencoder(SIZES).pretrain(X, **o)[0],
    "finetune_autoencoder": lambda **o: StackedAutoencoder(SIZES).finetune_autoencoder(X, **o),
    "finetune": lambda **o: StackedAutoencoder(SIZES, 3).finetune(X, Y, eval_set=(X, Y), **o),
}


@pytest.mark.parametrize("train", TRAININGS.values(), ids=TRAININGS)
class TestEpochs:
    @pytest.mark.parametrize(
        ("epochs", "batch_size", "steps"), [(1, 90, 1), (2, 20, 9), (3, 20, 14), (1, 7, 13)]
    )
    def test_as_many_whole_batches_as_hold_each_sample(self, train, epochs, batch_size, steps):
        found = train(epochs=epochs, batch_size=batch_size)
        assert found.steps == [steps]
        expected = train(steps=steps, batch_size=batch_size)
        assert (found.steps, found.loss) == (expected.steps, expected.loss)

    def test_beside_steps_or_batches(self, train):
        batches = draw_batches(3, 10, 90)
        for beside, options in (("steps", {"steps": 4}), ("batches", {"batches": batches})):
            with pytest.raises(DataError, match=f"^epochs: expected None beside {beside}, got 2"):
                train(epochs=2, **options)

    @pytest.mark.parametrize("value", [-1, 1.5, "2", True])
    def test_no_number(self, train, value):
        with pytest.raises(DataError, match=r"^epochs: expected an integer"):
            train(epochs=value)

    def test_none_at_all(self, train):
        if train is TRAININGS["pretrain"]:  # each layer stays as it is
            assert train(epochs=0).steps == []
        else:
            with pytest.raises(DataError, match=r"^epochs: expected an integer of at least 1"):
                train(epochs=0)


def test_each_sample_is_in_an_epoch():
    """What `epochs` counts by: the batches of the shuffle, up to the last sample's."""
    seen = []
    ae = autoencoder()

    def note(training):
        seen.append(training.schedule.batches(0, training.n_steps).ravel())

    ae.fit(X, epochs=3, batch_size=20, callbacks=[note])
    counts = np.bincount(seen[0], minlength=90)
    assert counts.min() == 3
    assert counts.sum() == 14 * 20


def test_epochs_for_each_layer():
    histories = StackedAutoencoder(SIZES).pretrain(X, epochs=[1, 3], batch_size=30)
    assert [history.steps for history in histories] == [[3], [9]]


class TestSchedules:
    """tests/test_torch_optimizers.py has them step for step beside PyTorch's."""

    def test_formulas(self):
        steps = range(0, 60, 7)
        w, rate = 10, 0.3
        risen = {t: rate * (t + 1) / (w + 1) for t in steps if t < w}
        for schedule, after in (
            (Constant(rate, warmup=w), lambda t: rate),
            (Step(rate, every=9, factor=0.2, warmup=w), lambda t: rate * 0.2 ** (t // 9)),
            (Exponential(rate, every=9, factor=0.2, warmup=w), lambda t: rate * 0.2 ** (t / 9)),
            (
                Cosine(rate, steps=50, final=0.1, warmup=w),
                lambda t: 0.1 + 0.2 * (1 + math.cos(math.pi * min(t / 40, 1))) / 2,
            ),
        ):
            found = [schedule(t) for t in steps]
            expected = [risen.get(t, after(t - w)) for t in steps]
            np.testing.assert_allclose(found, expected, rtol=1e-12)

    @pytest.mark.parametrize("optimizer", [Adam(), AdamW(), SGD(0.9), RMSprop()])
    def test_each_step_has_its_rate(self, optimizer):
        """A step after another by hand is the same as a schedule's."""
        schedule = Exponential(0.01, every=3, factor=0.5, warmup=2)
        whole, by_hand = autoencoder(), autoencoder()
        whole.fit(X, steps=8, batch_size=20, optimizer=optimizer, learning_rate=schedule)
        for t in range(8):
            by_hand.fit(
                X,
                steps=1,
                batch_size=20,
                optimizer=optimizer,
                learning_rate=lambda _, t=t: schedule(t),
                continued=t > 0,
            )
        assert_identical(whole.parameters, by_hand.parameters)

    @pytest.mark.parametrize("rate", [Cosine(0.01, steps=40, warmup=3), lambda t: 0.01 / (1 + t)])
    def test_continued(self, rate):
        whole, parts = autoencoder(), autoencoder()
        whole.fit(X, steps=40, batch_size=20, learning_rate=rate)
        parts.fit(X, steps=13, batch_size=20, learning_rate=rate)
        parts.fit(X, steps=27, batch_size=20, learning_rate=rate, continued=True)
        assert_identical(whole.parameters, parts.parameters)

    def test_a_cosine_ends_with_the_training(self):
        told, untold = autoencoder(), autoencoder()
        told.fit(X, steps=10, learning_rate=Cosine(0.01, steps=10))
        untold.fit(X, steps=10, learning_rate=Cosine(0.01))
        assert_identical(told.parameters, untold.parameters)
        told.fit(X, steps=5, learning_rate=Cosine(0.01, steps=15), continued=True)
        untold.fit(X, steps=5, learning_rate=Cosine(0.01), continued=True)
        assert_identical(told.parameters, untold.parameters)

    def test_a_function_is_called_once_for_each_step(self):
        asked = []

        def rate(t):
            asked.append(t)
            return 0.01

        autoencoder().fit(X, steps=250, batch_size=20, learning_rate=rate)
        assert asked == [*range(250)]
        given = iter([0.01] * 250)
        counted = autoencoder()
        counted.fit(X, steps=250, batch_size=20, learning_rate=lambda t: next(given))
        other = autoencoder()
        other.fit(X, steps=250, batch_size=20, learning_rate=0.01)
        assert_identical(counted.parameters, other.parameters)

    def test_for_each_layer(self):
        rates = [Step(0.01, every=2), lambda t: 0.001]
        net, one = StackedAutoencoder(SIZES), Autoencoder(12, 8)
        net.pretrain(X, steps=5, batch_size=20, learning_rate=rates)
        one.fit(X, steps=5, batch_size=20, learning_rate=rates[0])
        assert_identical(net.autoencoders[0].parameters, one.parameters)

    @pytest.mark.parametrize("train", TRAININGS.values(), ids=TRAININGS)
    def test_a_constant_is_a_number(self, train):
        seen = []
        options = {"steps": 5, "callbacks": [lambda t: seen.append(t.settings["learning_rate"])]}
        number, constant = (train(learning_rate=r, **options) for r in (0.01, Constant(0.01)))
        assert number.loss == constant.loss
        assert set(seen) == {0.01}

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -1e-3, "fast", None, 1j])
    @pytest.mark.parametrize("call", ["fit", "pretrain", "finetune", "finetune_autoencoder"])
    def test_a_function_that_begins_with_no_rate(self, call, bad):
        model = autoencoder() if call == "fit" else StackedAutoencoder(SIZES, 3)
        arguments = (X, Y) if call == "finetune" else (X,)
        model.fit(X, steps=3) if call == "fit" else model.pretrain(X, steps=3)
        before = snapshot(model)
        with pytest.raises(DataError, match=r"^learning_rate\(0\): expected a"):
            getattr(model, call)(*arguments, steps=5, learning_rate=lambda t: bad)
        assert snapshot(model) == before

    def test_a_second_layer_that_cannot_begin(self):
        net = StackedAutoencoder(SIZES)
        before = snapshot(net)
        for rate in (lambda t: -1, Cosine(0.1, warmup=50)):
            with pytest.raises(DataError, match=r"^(learning_rate\[1\]\(0\)|warmup): expected"):
                net.pretrain(X, steps=5, learning_rate=[0.1, rate])
            assert snapshot(net) == before

    def test_a_function_that_fails_later(self, monkeypatch):
        """Once all was well: the model is where the last step before left it, and can go on."""
        monkeypatch.setattr("sae_fast.training.rates._MOST_ASKED", 23)  # within a stretch
        ae, other = autoencoder(), autoencoder()
        options = {"batch_size": 20, "eval_every": 10}
        asked = []

        def rate(step):
            asked.append(step)
            return math.nan if step >= 25 else 0.01

        with pytest.raises(DataError, match=r"^learning_rate\(25\): .*, got nan"):
            ae.fit(X, steps=50, learning_rate=rate, **options)
        assert asked == [*range(26)]
        other.fit(X, steps=20, learning_rate=0.01, **options)
        assert_identical(ae.parameters, other.parameters)
        for model in (ae, other):
            model.fit(X, steps=5, learning_rate=0.01, continued=True, **options)
        assert_identical(ae.parameters, other.parameters)

    @pytest.mark.parametrize(
        ("rate", "third"),
        [(0.03, " (0.01)"), (Cosine(0.03), " (0.01)"), (lambda t: 0.03, "")],
    )
    def test_advice_about_dead_units(self, rate, third):
        ae = autoencoder(init="he")
        ae.parameters = {"b_enc": np.full(6, -100.0)}
        with pytest.warns(DeadUnitWarning, match=re.escape(f"of the learning_rate{third}, or")):
            ae.fit(X, steps=2, learning_rate=rate)

    def test_advice_about_one_sample(self):
        with pytest.warns(DeadUnitWarning, match="6 of 6 units dead: .* more samples than one"):
            autoencoder().fit(X[:1], steps=2)

    @pytest.mark.parametrize(
        ("options", "advice"),
        [
            ({"weight_decay": 1e38}, "weight_decay 1e+38: less than 1 / learning_rate, 1e+03, may"),
            ({"optimizer": AdamW(1e38)}, "weight_decay 1e+38: less than 1 / learning_rate, 1e+03"),
            ({"penalties": [L1(1e38)]}, "a smaller learning_rate or smaller penalties may help"),
            ({"learning_rate": 1e38}, "a smaller learning_rate may help"),
        ],
    )
    def test_advice_about_divergence(self, options, advice):
        with pytest.raises(DivergenceError, match=f"; {re.escape(advice)}"):
            autoencoder().fit(X, steps=20, **{"learning_rate": 1e-3, **options})

    def test_samples_to_measure_on_beside_labels(self):
        """Which `finetune` takes; nothing learns labels here."""
        pair = X, np.zeros(len(X), int)
        for train in (autoencoder().fit, StackedAutoencoder(SIZES).pretrain):
            with pytest.raises(DataError, match=r"^eval_set: expected samples .* got a pair"):
                train(X, steps=2, eval_set=pair)
            with pytest.raises(DataError, match=r"^eval_set: expected samples .* a tuple of 1"):
                train(X, steps=2, eval_set=(X,))

    def test_an_argument_that_there_is_not(self):
        net = StackedAutoencoder(SIZES, 3)
        with pytest.raises(TypeError, match=r"^StackedAutoencoder.finetune\(\) .* 'epoch'$"):
            net.finetune(X, Y, epoch=2)

    def test_what_is_derived_from_a_schedule_is_called(self):
        class Harmonic(Constant):
            def __call__(self, step):
                return self.rate / (1 + step)

        trained = []
        for rate in (Harmonic(0.1), lambda step: 0.1 / (1 + step)):
            ae = autoencoder()
            ae.fit(X, steps=3, learning_rate=rate)
            trained.append(ae.parameters)
        assert_identical(*trained)

    def test_a_rate_of_zero_moves_nothing(self):
        for optimizer in (Adam(), AdamW(), SGD(0.9), RMSprop()):
            for dtype in ("float32", "float64"):
                ae = autoencoder(dtype=dtype, init="he")
                before = ae.parameters
                ae.fit(X, steps=5, batch_size=20, optimizer=optimizer, learning_rate=lambda t: 0)
                assert_identical(ae.parameters, before)

    @pytest.mark.parametrize(
        ("build", "message"),
        [
            (lambda: Constant(0), "rate: expected a positive number, got 0"),
            (lambda: Constant(0.1, warmup=-1), "warmup: expected an integer of at least 0, got -1"),
            (lambda: Step(0.1, every=0), "every: expected an integer of at least 1, got 0"),
            (lambda: Step(0.1, every=1, factor=2), "factor: expected at most 1, got 2"),
            (lambda: Exponential(0.1, every=1, factor=0), "factor: expected a positive number"),
            (lambda: Cosine(math.nan), "rate: expected a positive number, got nan"),
            (lambda: Cosine(0.1, final=0.2), "final: expected at most 0.1, got 0.2"),
            (lambda: Cosine(0.1, steps=5, warmup=5), "warmup: expected less than the 5 steps"),
            (lambda: Cosine(0.1)(3), "steps: expected a number outside of a training, got None"),
            (lambda: Constant(0.1)(-1), "step: expected an integer of at least 0, got -1"),
        ],
    )
    def test_out_of_range(self, build, message):
        with pytest.raises(DataError, match=f"^{message}"):
            build()

    @pytest.mark.parametrize("value", [0, -1, "fast", Cosine, math.nan, {}])
    @pytest.mark.parametrize("train", TRAININGS.values(), ids=TRAININGS)
    def test_no_rate(self, train, value):
        with pytest.raises(DataError, match=r"^learning_rate: expected a"):
            train(learning_rate=value, steps=3)

    def test_estimators(self):
        rate = Cosine(0.01, warmup=2)
        codes = StackedAutoencoderTransformer(4, steps=20, learning_rate=rate).fit_transform(X)
        assert np.isfinite(codes).all()
        classifier = StackedAutoencoderClassifier(
            (8, 4), steps=20, learning_rate=rate, pretrain_learning_rate=lambda t: 1e-3
        )
        assert classifier.fit(X, Y).predict(X).shape == (90,)
        classifier.set_params(learning_rate="fast")
        with pytest.raises(DataError, match=r"^learning_rate: expected a number"):
            classifier.fit(X, Y)


class TestCheckpoints:
    def program(self, folder, rate, steps=40, broken_at=None, optimizer="adamw"):
        def interrupt(training):
            if training.step == broken_at:
                raise KeyboardInterrupt

        ae = autoencoder()
        ae.fit(
            X,
            steps=steps,
            batch_size=20,
            eval_every=5,
            learning_rate=rate,
            optimizer=optimizer,
            callbacks=[interrupt, RunCheckpoint(folder, every=7)],
        )
        return ae.parameters

    @pytest.mark.parametrize("optimizer", ["adamw", "rmsprop", SGD(0.9, nesterov=True)])
    @pytest.mark.parametrize("rate", [Cosine(0.01, warmup=3), Step(0.01, every=9), math.exp])
    def test_a_resumed_run_has_the_same_bits(self, tmp_path, rate, optimizer):
        if rate is math.exp:  # a function with a name
            rate = falling
        expected = self.program(tmp_path / "whole", rate, optimizer=optimizer)
        with pytest.raises(KeyboardInterrupt):
            self.program(tmp_path / "parts", rate, broken_at=20, optimizer=optimizer)
        found = self.program(tmp_path / "parts", rate, optimizer=optimizer)
        assert_identical(found, expected)

    @pytest.mark.parametrize(
        "other", [0.01, Cosine(0.01), Cosine(0.01, warmup=4), Step(0.01, every=3), math.exp]
    )
    def test_another_rate_is_refused(self, tmp_path, other):
        with pytest.raises(KeyboardInterrupt):
            self.program(tmp_path, Cosine(0.01, warmup=3), broken_at=20)
        with pytest.raises(CheckpointError, match=r"learning_rate .* where it has .*'warmup': 3"):
            self.program(tmp_path, other)

    def test_functions_go_by_their_names(self, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            self.program(tmp_path, falling, broken_at=20)
        with pytest.raises(CheckpointError, match=r"learning_rate .*exp.* where it has .*falling"):
            self.program(tmp_path, math.exp)
        with pytest.raises(CheckpointError, match=r"learning_rate .*partial.* where it has"):
            self.program(tmp_path, functools.partial(falling))

    def test_a_cosine_of_other_length_is_another(self, tmp_path):
        self.program(tmp_path, Cosine(0.01))
        with pytest.raises(CheckpointError, match=r"'steps': 50.*'steps': 40"):
            self.program(tmp_path, Cosine(0.01), steps=50)
        assert_identical(
            self.program(tmp_path / "told", Cosine(0.01, steps=50), steps=40)
            and self.program(tmp_path / "told", Cosine(0.01, steps=50), steps=50),
            self.program(tmp_path / "whole", Cosine(0.01), steps=50),
        )


def falling(t):
    return 0.01 / (1 + t)


class TestRates:
    """Without a `learning_rate`, and what float32 cannot hold."""

    def rate_of(self, optimizer, x=X, batch_size=30):
        seen = []
        autoencoder().fit(
            x,
            steps=1,
            batch_size=batch_size,
            optimizer=optimizer,
            callbacks=[lambda t: seen.append(t.settings["learning_rate"])],
        )
        return seen[0]

    def test_sgd_has_its_own(self):
        x = X.astype(np.float64)
        expected = 0.3 / (30 * (1 + (x**2).sum(axis=1).mean()))
        assert self.rate_of("sgd") == pytest.approx(expected, rel=1e-6)
        assert self.rate_of("sgd", batch_size=10) == pytest.approx(3 * expected, rel=1e-6)
        assert self.rate_of(SGD(0.9)) == pytest.approx(expected / 10, rel=1e-6)
        for other in ("adamw", "rmsprop"):
            assert self.rate_of(other) == self.rate_of("adam") == 1e-3

    @pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
    @pytest.mark.parametrize("optimizer", ["sgd", SGD(0.9), SGD(0.9, nesterov=True)])
    @pytest.mark.parametrize("batch_size", [10, 90])
    def test_sgd_learns(self, optimizer, size, batch_size):
        x = X * np.float32(size)
        history = autoencoder().fit(
            x, steps=400, batch_size=batch_size, eval_every=1, optimizer=optimizer
        )
        assert history.loss[-1] <= 0.9 * history.loss[0] or size < 1

    @pytest.mark.parametrize("rate", [1e-320, 1e-60, 1e60, 1e300])
    @pytest.mark.parametrize(
        "optimizer", ["adam", "adamw", "sgd", SGD(0.9, nesterov=True), "rmsprop"]
    )
    def test_weights_without_a_gradient_stay(self, optimizer, rate):
        """A column that is always 0: no rate makes a NaN of its weights, whatever the others do."""
        x = X.copy()
        x[:, 3] = 0
        for dtype in ("float32", "float64"):
            for layout in (x, scipy.sparse.csr_array(x)):
                ae = autoencoder(dtype=dtype, init="he")
                ae.parameters = {"W_enc": ae.parameters["W_enc"] * (np.arange(12) != 3)[:, None]}
                try:
                    ae.fit(layout, steps=1, batch_size=20, optimizer=optimizer, learning_rate=rate)
                except ArithmeticError:  # DivergenceError
                    continue
                np.testing.assert_array_equal(ae.parameters["W_enc"][3], 0)

    def test_weights_without_a_gradient_lose_what_adamw_takes(self):
        x = X.copy()
        x[:, 3] = 0
        for layout in (x, scipy.sparse.csr_array(x)):
            ae = autoencoder(dtype="float64", init="he")
            before = ae.parameters["W_enc"][3]
            ae.fit(layout, steps=5, batch_size=20, optimizer=AdamW(0.5), learning_rate=0.1)
            np.testing.assert_allclose(ae.parameters["W_enc"][3], before * 0.95**5, rtol=1e-12)


@pytest.mark.parametrize("optimizer", [AdamW(0.5), RMSprop(), SGD(0.9)])
def test_any_number_of_threads(optimizer):
    x = draw_x(200, 300, zeros=0.5)
    weight = np.random.default_rng(0).random(200)
    found = []
    for n_threads in (1, 2, 3):
        ae = Autoencoder(300, 270, n_threads=n_threads)
        rate = Cosine(1e-3, warmup=2)
        options = {"optimizer": optimizer, "learning_rate": rate, "sample_weight": weight}
        history = ae.fit(x, steps=6, batch_size=50, eval_every=2, **options)
        found.append({**ae.parameters, "loss": np.array(history.loss)})
    assert_identical(found[1], found[0])
    assert_identical(found[2], found[0])


class TestSampleWeight:
    WEIGHT = np.random.default_rng(1).integers(0, 4, 90).astype(np.float64)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("layout", [np.asarray, scipy.sparse.csr_array], ids=["dense", "csr"])
    def test_against_the_oracle(self, layout, dtype):
        """The gradient of a batch is that of one with each sample as often as its weight says."""
        batches = draw_batches(60, 20, 90)
        ae = autoencoder(dtype=dtype, weight_decay=0.1)
        initial = ae.parameters
        history = ae.fit(layout(X), batches=batches, sample_weight=self.WEIGHT, eval_every=60)

        def gradients_of(p, batch):
            return ref.autoencoder_gradients(
                p, X[np.repeat(batch, self.WEIGHT[batch].astype(int))], 0.1
            )

        expected, _ = ref.run(ref.optimizer_steps(initial, gradients_of, batches))
        assert_close(ae.parameters, expected, {"float32": 3e-5, "float64": 1e-9}[dtype])
        repeated = np.repeat(X, self.WEIGHT.astype(int), axis=0)
        loss = ref.autoencoder_loss(ae.parameters, repeated, 0.1)
        assert history.loss[0] == pytest.approx(loss, rel=1e-5 if dtype == "float32" else 1e-12)

    @pytest.mark.parametrize("layout", ["dense", "sparse"])
    def test_the_gradient_is_that_of_the_loss(self, layout):
        """Central differences of the weighted loss that is reported, of all samples as a batch."""
        x = X.astype(np.float64)
        data = x if layout == "dense" else scipy.sparse.csr_array(x)
        weight, h, scale = self.WEIGHT + 0.5, 1e-6, 1e-6
        ae = autoencoder(dtype="float64", init="he", weight_decay=0.3)
        rng = np.random.default_rng(0)
        ae.parameters = {
            name: value + rng.normal(0, 0.1, value.shape) for name, value in ae.parameters.items()
        }
        before = ae.parameters

        def train(parameters, rate):
            ae.parameters = parameters
            batches = np.arange(90).reshape(1, -1)
            how = {"optimizer": "sgd", "learning_rate": rate, "eval_every": 0}
            history = ae.fit(data, batches=batches, sample_weight=weight, **how)
            return history.loss[0]

        train(before, scale)
        gradient = {name: (before[name] - ae.parameters[name]) / scale for name in before}
        for name, value in before.items():
            change = rng.choice([-1.0, 1.0], value.shape)
            ends = [train({**before, name: value + s * h * change}, 1e-300) for s in (1, -1)]
            along = (gradient[name] * change).sum()
            size = np.abs(gradient[name]).sum()
            assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(along, abs=2e-6 * size)

    def test_each_layer_has_the_weights(self):
        net = StackedAutoencoder(SIZES)
        options = {"steps": 20, "batch_size": 20, "sample_weight": self.WEIGHT}
        histories = net.pretrain(X, **options)
        codes = X
        for layer, (n_in, n_out) in enumerate(((12, 8), (8, 4)), start=1):
            ae = Autoencoder(n_in, n_out, layer=layer)
            history = ae.fit(codes, **options)
            assert_identical(net.autoencoders[layer - 1].parameters, ae.parameters)
            assert history.loss == histories[layer - 1].loss
            codes = ae.encode(codes)

    def test_ones_change_nothing(self):
        plain, weighted = autoencoder(), autoencoder()
        a = plain.fit(X, steps=20, batch_size=20)
        b = weighted.fit(X, steps=20, batch_size=20, sample_weight=np.ones(90))
        assert_identical(plain.parameters, weighted.parameters)
        assert a.loss == pytest.approx(b.loss, rel=1e-6)

    def test_an_eval_set_has_none(self):
        ae = autoencoder()
        history = ae.fit(X, steps=5, sample_weight=self.WEIGHT, eval_set=X)
        loss, _ = _core.evaluate(
            ae._network,
            ae._samples(X, None),
            None,
            loss=_core.Loss.squared_error,
            weight_decay=0.0,
            n_threads=1,
        )
        assert history.loss == [loss]

    @pytest.mark.parametrize(
        ("weight", "message"),
        [
            (np.ones(89), r"expected shape \(90,\), got \(89,\)"),
            (np.full(90, -1), "expected finite numbers of at least 0, got -1 at position 0"),
            (np.full(90, np.nan), "expected finite numbers of at least 0, got nan"),
            (np.full(90, 1e300), "expected finite numbers of at least 0, got 1e"),
            ("many", "expected"),
        ],
    )
    @pytest.mark.parametrize("train", TRAININGS.values(), ids=TRAININGS)
    def test_refused(self, train, weight, message):
        with pytest.raises(DataError, match=f"^sample_weight: {message}"):
            train(sample_weight=weight, steps=3)

    def test_what_is_changed_meanwhile(self):
        weight = self.WEIGHT.copy()

        def change(_):
            weight[:] = np.nan

        plain, disturbed = autoencoder(), autoencoder()
        options = {"steps": 20, "batch_size": 20, "eval_every": 5}
        plain.fit(X, sample_weight=self.WEIGHT, **options)
        disturbed.fit(X, sample_weight=weight, callbacks=[change], **options)
        assert_identical(plain.parameters, disturbed.parameters)


def test_weight_decay_of_one_training():
    own, given = autoencoder(weight_decay=0.5), autoencoder(weight_decay=7)
    own.fit(X, steps=10, batch_size=20)
    given.fit(X, steps=10, batch_size=20, weight_decay=0.5)
    assert_identical(own.parameters, given.parameters)
    assert given.weight_decay == 7
    with pytest.raises(DataError, match=r"^weight_decay: expected a number of at least 0, got -1"):
        given.fit(X, weight_decay=-1)


class TestEarlyStoppingOnHeldOutLoss:
    HELD_OUT = draw_x(40, 12, zeros=0.5, seed=5)
    FEW = X[:10]  # so few that the rest is soon forgotten

    def train(self, method, stopping):
        how = {"steps": 20_000, "batch_size": 10, "eval_every": 20, "learning_rate": 0.02}
        return method(self.FEW, eval_set=self.HELD_OUT, callbacks=[stopping], **how)

    def test_fit(self):
        stopping = EarlyStopping(patience=4)
        ae = autoencoder()
        history = self.train(ae.fit, stopping)
        assert history.steps[-1] < 20_000
        assert stopping.best == min(history.loss) < history.loss[-1]
        assert stopping.best_step == history.steps[int(np.argmin(history.loss))]
        error = ((ae.reconstruct(self.HELD_OUT) - self.HELD_OUT) ** 2).sum()
        assert error == pytest.approx(stopping.best, rel=1e-5)

    def test_each_layer_of_pretraining(self):
        best = []

        class Noted(EarlyStopping):
            def on_layer_end(self, training):
                best.append((self.best, training.history))

        net = StackedAutoencoder(SIZES, init="he")
        self.train(net.pretrain, Noted(patience=4))
        codes = self.HELD_OUT
        for ae, (figure, history) in zip(net.autoencoders, best, strict=True):
            assert history.steps[-1] < 20_000
            assert figure == min(history.loss) < history.loss[-1]
            error = ((ae.reconstruct(codes) - codes) ** 2).sum()
            assert error == pytest.approx(figure, rel=1e-4)
            codes = ae.encode(codes)
        assert_identical({"codes": net.encode(self.HELD_OUT)}, {"codes": codes})


class TestMeans:
    def test_a_history_says_them(self):
        history = History([10], [90.0], seconds=0.1, n_samples=30)
        assert history.mean_loss == [3.0]
        assert repr(history) == "<History of 10 steps, loss 3 per sample, 0.1 s>"
        assert repr(History([10], [90.0], seconds=0.1)) == "<History of 10 steps, loss 90, 0.1 s>"

    def test_a_bar_says_them(self, capsys):
        history = autoencoder().fit(X, steps=20, progress=True)
        assert f"loss {history.mean_loss[-1]:.4g} per sample" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: Autoencoder(3, 2, activation="rleu"), "'relu'"),
        (lambda: Autoencoder(3, 2, activation="ReLU"), "'relu'"),
        (lambda: StackedAutoencoder([3, 2], init="norml"), "'normal'"),
        (lambda: Autoencoder(3, 2, activation="logistic"), "'sigmoid'"),  # scikit-learn's
        (lambda: autoencoder().fit(X, loss="MSE"), "'squared_error'"),
        (lambda: autoencoder().fit(X, optimizer="sdg"), "'sgd'"),
        (lambda: autoencoder().fit(X, optimizer="AdamW"), "'adamw'"),
        (lambda: Autoencoder(3, 2, init="xavier"), "'glorot'"),
        (lambda: StackedAutoencoder(SIZES, 3).finetune(X, Y, loss="log_loss"), "'cross_entropy'"),
        (
            lambda: StackedAutoencoder(SIZES, 3).finetune(X, Y, loss="crossentropy"),
            "'cross_entropy'",
        ),
    ],
)
def test_the_nearest_name(call, hint):
    with pytest.raises(DataError, match=f"expected one of .*, got .*; did you mean {hint}[?]$"):
        call()


def test_no_name_is_near():
    with pytest.raises(DataError, match=r"got 'quadratic'$"):
        autoencoder().fit(X, optimizer="quadratic")


def test_a_function_is_asked_for_all_of_its_rates_before_anything_changes():
    ae = sae_fast.Autoencoder(6, 3, n_threads=1)
    before = ae.parameters
    x = np.random.default_rng(0).random((50, 6), dtype=np.float32)
    with pytest.raises(sae_fast.DataError, match=r"learning_rate\(150\): expected a number"):
        ae.fit(x, steps=500, learning_rate=lambda step: 1e-3 if step < 150 else None)
    for name, value in ae.parameters.items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("rate", ["cosine", sae_fast.schedules.Cosine, "0.01"])
def test_what_is_no_rate_is_told_what_is(rate):
    with pytest.raises(sae_fast.DataError, match=r"object of sae_fast\.schedules or a function"):
        sae_fast.Autoencoder(6, 3).fit(np.ones((5, 6)), learning_rate=rate)


def test_a_resumed_history_is_per_sample(tmp_path):
    x = np.random.default_rng(0).random((50, 6), dtype=np.float32)
    seen = []

    class Look(sae_fast.callbacks.Callback):
        def on_start(self, training):
            seen.append(training.history.mean_loss[-1:])

    for steps in (20, 40):
        ae = sae_fast.Autoencoder(6, 3, n_threads=1)
        keep = sae_fast.RunCheckpoint(tmp_path, every=10)
        history = ae.fit(x, steps=steps, eval_every=10, callbacks=[keep, Look()])
    assert seen[0] == []
    assert seen[1] == [history.mean_loss[1]]


def test_a_training_leaves_nothing_to_the_garbage_collector():
    """Samples and codes are large: their memory is the next layer's at once."""
    from sae_fast.training.feed import Feed

    net = StackedAutoencoder([12, 8, 4], 3, seed=0)
    x, y = draw_x(60, 12, zeros=0.2), draw_y(60, 3)
    gc.collect()
    gc.disable()
    try:
        net.pretrain(x, steps=3)
        net.finetune(x, y, steps=3)
        kinds = (Feed, Training)
        assert not [one for one in gc.get_objects() if type(one) in kinds]
    finally:
        gc.enable()
