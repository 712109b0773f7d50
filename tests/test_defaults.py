# SPDX-License-Identifier: BSD-3-Clause
"""Defaults that train: rates and starts that keep units alive, and warnings where they cannot."""

from __future__ import annotations

import contextlib
import copy
import pickle
import warnings

import numpy as np
import pytest
import sae_fast
import scipy.sparse
from helpers import assert_identical
from sae_fast import (
    Autoencoder,
    DataError,
    DeadUnitWarning,
    DivergenceError,
    SaeFastWarning,
    ScaleWarning,
    StackedAutoencoder,
    UntrainedWarning,
)
from sae_fast.core.inputs import as_input
from sae_fast.training.sizes import Sizes

RNG = np.random.default_rng(0)
PLAIN = RNG.random((200, 20), dtype=np.float32)
WIDE = RNG.random((120, 3000), dtype=np.float32)  # as genes scaled to [0, 1]
WORDS = scipy.sparse.random_array((300, 3000), density=0.03, rng=0, dtype=np.float32, format="csr")


def rate_of(x, most=1e-3):
    return Sizes.of(as_input("x", x, x.shape[1], "float32", 1)).learning_rate(most)


@contextlib.contextmanager
def no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", SaeFastWarning)
        yield


class TestLearningRate:
    def test_it_knows_what_samples_have_in_common(self):
        assert rate_of(PLAIN) == 1e-3
        mean, variance = (
            getattr(WIDE.astype(np.float64), name)(axis=0) for name in ("mean", "var")
        )
        moved = 1 + (mean**2 / np.sqrt(mean**2 + variance)).sum()
        spread = np.sqrt(2 * variance.mean())
        assert rate_of(WIDE) == pytest.approx(0.13 * spread / moved, rel=1e-6)
        assert rate_of(WIDE) < 1e-4
        assert rate_of(WIDE - 0.5, 3e-3) > 1e-3  # in common there is nothing but chance

    def test_biases_move_too(self):
        assert rate_of(PLAIN * np.float32(1e-6)) < 1e-6
        assert rate_of(PLAIN * np.float32(100)) == 1e-3

    def test_nothing_to_know(self):
        assert rate_of(np.zeros((5, 3), np.float32)) == 1e-3
        assert rate_of(np.ones((5, 3), np.float32)) == 1e-3

    def test_it_is_what_trainings_take(self):
        given, left_open = (Autoencoder(3000, 5, n_threads=1) for _ in range(2))
        given.fit(WIDE, steps=5, learning_rate=rate_of(WIDE))
        left_open.fit(WIDE, steps=5)
        assert_identical(given.parameters, left_open.parameters)

    @pytest.mark.parametrize("x", [WIDE, WORDS], ids=["genes", "words"])
    def test_units_stay_alive(self, x):
        fixed = Autoencoder(3000, 30, n_threads=1)
        fixed.fit(x, steps=100, learning_rate=3e-2, eval_every=0)
        ae = Autoencoder(3000, 30, n_threads=1)
        ae.fit(x, steps=100, eval_every=0)
        assert ae.count_dead_units(x) <= 3
        assert fixed.count_dead_units(x) >= 15


class TestStart:
    """With init="data", the default, the first training starts from what it sees."""

    def test_each_unit_is_on_for_half_of_the_samples(self):
        x = WIDE[:, :50] + np.float32(3)
        ae = Autoencoder(50, 40, n_threads=1)
        drawn = ae.parameters
        ae.fit(x, steps=1, learning_rate=1e-9)
        assert abs((ae.encode(x) > 0).mean() - 0.5) < 0.05
        np.testing.assert_allclose(ae.parameters["b_dec"], x.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(ae.parameters["W_enc"], drawn["W_enc"], atol=1e-6)
        net = StackedAutoencoder([50, 40, 30, 20], 2, n_threads=1)
        net.finetune(x, np.arange(120) % 2, steps=1, learning_rate=1e-9)
        assert max(net.count_dead_units(x)) == 0
        assert abs((net.encode(x) > 0).mean() - 0.5) < 0.1

    def test_only_weights_that_were_drawn(self):
        kinds = [Autoencoder(20, 4, init=init, n_threads=1) for init in ("data", "he", "normal")]
        kinds[0].parameters = {"b_dec": np.zeros(20)}  # now they are somebody's
        for ae in kinds:
            ae.fit(PLAIN, steps=1, learning_rate=1e-9)
            assert np.abs(ae.parameters["b_enc"]).max() < 1e-8
        first = kinds[1].parameters
        kinds[1].fit(PLAIN, steps=1, learning_rate=1e-9)
        np.testing.assert_allclose(kinds[1].parameters["b_enc"], first["b_enc"], atol=1e-8)

    def test_a_pretrained_layer_stays(self):
        net = StackedAutoencoder([20, 8, 4], 2, n_threads=1)
        net.pretrain(PLAIN, steps=10)
        before = net.parameters["b1"]
        net.finetune(PLAIN, np.arange(200) % 2, steps=1, learning_rate=1e-9)
        np.testing.assert_allclose(net.parameters["b1"], before, atol=1e-7)

    @pytest.mark.parametrize("way", ["file", "pickle", "copy"])
    @pytest.mark.parametrize("model", [Autoencoder(20, 8), StackedAutoencoder([20, 8], 2)])
    def test_it_travels(self, way, model, tmp_path):
        again = {
            "file": lambda: sae_fast.load(model.save(tmp_path / "model")),
            "pickle": lambda: pickle.loads(pickle.dumps(model)),
            "copy": lambda: copy.deepcopy(model),
        }[way]()
        train = {
            "Autoencoder": lambda one: one.fit(PLAIN, steps=5),
            "StackedAutoencoder": lambda one: one.pretrain(PLAIN, steps=5),
        }[type(model).__name__]
        fresh = copy.deepcopy(again)
        for one in (again, fresh):
            train(one)
        plain = (
            Autoencoder(20, 8) if isinstance(model, Autoencoder) else StackedAutoencoder([20, 8], 2)
        )
        train(plain)
        for one in (again, fresh):
            assert_identical(one.parameters, plain.parameters)

    def test_a_refused_training_has_not_started(self):
        class Refuse(sae_fast.callbacks.Callback):
            def on_start(self, training):
                raise DataError("no")

        for model, name in ((Autoencoder(20, 8), "fit"), (StackedAutoencoder([20, 8]), "pretrain")):
            before = model.parameters
            with pytest.raises(DataError, match="no"):
                getattr(model, name)(PLAIN, callbacks=[Refuse()])
            assert_identical(model.parameters, before)
            getattr(model, name)(PLAIN, steps=1, learning_rate=1e-9)
            assert np.abs(list(model.parameters.values())[1]).max() > 0.01


class TestDeadUnits:
    def test_a_warning_says_so(self):
        ae = Autoencoder(3000, 30, n_threads=1)
        with pytest.warns(DeadUnitWarning, match=r"autoencoder 1 .* has left \d+ of 30 units at"):
            ae.fit(WIDE, steps=50, learning_rate=3e-2, eval_every=0)
        net = StackedAutoencoder([20, 6, 5], 2, n_threads=1)
        net.parameters = {"b2": np.full(5, -100.0)}
        y = np.arange(200) % 2
        with pytest.warns(DeadUnitWarning, match=".* 5 of 5 units in hidden layer 2"):
            net.finetune(PLAIN, y, steps=5)

    def test_and_nothing_where_they_live(self):
        with no_warning():
            net = StackedAutoencoder([20, 16, 12], 2, n_threads=1)
            net.pretrain(PLAIN, steps=50)
            net.finetune(PLAIN, np.arange(200) % 2, steps=50)
            net.predict(PLAIN)

    def test_some_rows_are_not_all(self):
        """Rows that are looked at first are zero; the others are not."""
        x = np.zeros((1024, 4), np.float32)
        x[1::2] = 1
        ae = Autoencoder(4, 3, n_threads=1)
        ae.parameters = {"W_enc": np.ones((4, 3)), "b_enc": np.full(3, -0.5)}
        with no_warning():
            ae.fit(x, steps=1, batch_size=10, learning_rate=1e-6)

    def test_an_experiment_says_it_in_its_report(self):
        with no_warning():
            sae_fast.run_experiment(
                dataset=sae_fast.datasets.load_strokes(300, 50),
                hidden=[5, 2, 1],
                pretrain_steps=20,
                finetune_steps=20,
                quiet=True,
                threads=1,
            )


class TestScales:
    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (PLAIN * np.float32(1e-6), "values around [56]e-07"),
            (PLAIN + np.float32(300), r"column \d+ with values around 30[01] ± 0.[23]"),
            (np.hstack([PLAIN, 2e4 + 3e3 * PLAIN[:, :1]]), r"column 20 with .* 2.1\de\+04 ± [89]"),
        ],
    )
    def test_a_warning_names_the_column(self, x, message):
        ae = Autoencoder(x.shape[1], 4, n_threads=1)
        with pytest.warns(ScaleWarning, match=f"x: expected values around 1, got {message}"):
            ae.fit(x, steps=2)

    def test_usual_ones_are_let_alone(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error", ScaleWarning)
            for x in (PLAIN, WIDE, WORDS, PLAIN * np.float32(16), PLAIN - np.float32(5)):
                Autoencoder(x.shape[1], 4, n_threads=1).fit(x, steps=1)

    def test_divergence_names_the_column(self):
        x = np.hstack([PLAIN, 1.7e9 + 3e7 * PLAIN[:, :1]])
        with pytest.raises(DivergenceError, match=r"x has column 20 with .* 1.7\de\+09 .*: scale"):
            Autoencoder(21, 4, init="he", n_threads=1).fit(x, steps=300, learning_rate=1)
        with pytest.raises(DivergenceError, match="a smaller learning_rate may help"):
            Autoencoder(20, 4, n_threads=1).fit(PLAIN, steps=300, learning_rate=1e30)


class TestUntrained:
    def test_it_says_so_once(self):
        ae, net = Autoencoder(20, 3), StackedAutoencoder([20, 3], 2)
        for call in (ae.encode, net.predict):
            with pytest.warns(UntrainedWarning, match="has not been trained"):
                call(PLAIN)
            with no_warning():
                call(PLAIN)

    def test_what_has_weights_of_its_own_does_not(self, tmp_path):
        trained = Autoencoder(20, 3)
        trained.fit(PLAIN, steps=1)
        assigned = Autoencoder(20, 3)
        assigned.parameters = trained.parameters
        loaded = sae_fast.load(trained.save(tmp_path / "ae"))
        net = StackedAutoencoder([20, 3], 2)
        net.pretrain(PLAIN, steps=1)
        with no_warning():
            for model in (trained, assigned, loaded, net):
                model.encode(PLAIN)
                model.reconstruct(PLAIN)
        with pytest.warns(UntrainedWarning):  # its softmax layer has not been
            net.predict(PLAIN)


class TestCurves:
    def test_means_stand_beside_sums(self):
        ae = Autoencoder(20, 3, n_threads=1)
        history = ae.fit(PLAIN, steps=50, eval_every=25)
        assert history.mean_loss == [loss / 200 for loss in history.loss]
        assert history.mean_loss[-1] == pytest.approx(20 * ae.reconstruction_error(PLAIN), 1e-5)

    def test_an_eval_set_of_an_autoencoder(self):
        ae = Autoencoder(20, 3, weight_decay=0.1, n_threads=1)
        history = ae.fit(PLAIN[:150], steps=50, eval_every=25, eval_set=PLAIN[150:])
        assert history.mean_loss[-1] == pytest.approx(20 * ae.reconstruction_error(PLAIN[150:]))
        net = StackedAutoencoder([20, 8, 3], n_threads=1)
        _, second = net.pretrain(PLAIN[:150], steps=20, eval_set=PLAIN[150:])
        codes = StackedAutoencoder([20, 8], n_threads=1)
        codes.parameters = {name: net.parameters[name] for name in ("W1", "b1")}
        error = net.autoencoders[1].reconstruction_error(codes.encode(PLAIN[150:]))
        assert second.mean_loss[-1] == pytest.approx(8 * error)
        with pytest.raises(DataError, match="eval_set: expected 20 features"):
            ae.fit(PLAIN, steps=5, eval_set=PLAIN[:, :5])

    def test_only_the_eval_set_is_uint8(self):
        pixels = (PLAIN * 255).astype(np.uint8)
        history = Autoencoder(20, 3).fit(PLAIN, steps=5, eval_set=pixels, scale=1 / 255)
        assert len(history.loss) == 1
