# SPDX-License-Identifier: BSD-3-Clause
"""Defaults that train: rates and starts that keep units alive, and warnings where they cannot."""

from __future__ import annotations

import contextlib
import copy
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
import reference as ref
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
    activations,
)
from sae_fast.core.inputs import as_input, sample_blocks
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


class TestSizes:
    @pytest.mark.parametrize("shape", [(40, 12), (3000, 3), (700, 3000), (5, 300_000)])
    def test_blocks_are_no_matter(self, shape):
        """To the bit, as all trainings start from what is found here."""
        x = as_input("x", RNG.normal(3, 1, shape), shape[1], "float32", 1)
        n = min(shape[0], 512, 2**24 // shape[1])
        rows = np.concatenate([x.rows(i, i + 1) for i in np.arange(n) * shape[0] // n])
        np.testing.assert_array_equal(np.concatenate(list(sample_blocks(x))), rows)
        found, rows = Sizes.of(x), rows.astype(np.float64)
        np.testing.assert_array_equal(found.mean, rows.mean(axis=0))
        np.testing.assert_array_equal(found.spread, rows.std(axis=0))
        assert found.size == pytest.approx(np.sqrt((rows**2).mean()), rel=1e-12)

    def test_wide_rows_take_little_memory(self):
        words = scipy.sparse.random_array((500, 35_000), density=0.003, rng=0, format="csr")
        x = as_input("x", words, 35_000, "float32", 1)
        tracemalloc.start()
        try:
            found = Sizes.of(x)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 10e6
        values = words[np.arange(479) * 500 // 479]
        assert found.size == pytest.approx(np.sqrt((values.data**2).mean()), rel=1e-5)


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

    @pytest.mark.parametrize("activation", activations.NAMES)
    def test_pre_activations_are_centred(self, activation):
        x = WIDE[:, :50] + np.float32(3)
        net = StackedAutoencoder([50, 40, 30], activation=activation, n_threads=1)
        net.pretrain(x, steps=1, learning_rate=1e-9)
        read = x
        for layer in (1, 2):
            w, b = net.parameters[f"W{layer}"], net.parameters[f"b{layer}"]
            z = (read @ w + b).astype(np.float64)
            assert np.abs(z.mean(axis=0)).max() < 1e-4
            read = ref.ACTIVATIONS[activation][0](z).astype(np.float32)

    def test_a_sigmoid_output_starts_from_the_mean(self):
        ae = Autoencoder(50, 40, output="sigmoid", n_threads=1)
        x = WIDE[:, :50].copy()
        x[:, 3], x[:, 4] = 0, 1
        ae.fit(x, steps=1, learning_rate=1e-9)
        bias = ae.parameters["b_dec"].astype(np.float64)
        np.testing.assert_allclose(ref.sigmoid(bias), x.mean(axis=0), atol=2e-3)

    @pytest.mark.parametrize("activation", activations.NAMES)
    @pytest.mark.parametrize("init", ["normal", "he", "glorot", "lecun", "data"])
    def test_the_spread_of_weights(self, init, activation):
        n_in, n_out = 400, 100
        variances = {
            "normal": 1e-4,
            "he": 2 / n_in,
            "glorot": 2 / (n_in + n_out),
            "lecun": 1 / n_in,
        }
        fits = {"selu": "lecun", "sigmoid": "glorot", "tanh": "glorot"}.get(activation, "he")
        stddev = np.sqrt(variances[fits if init == "data" else init])
        options = {"init": init, "activation": activation, "dtype": "float64"}
        ae = Autoencoder(n_in, n_out, **options)
        net = StackedAutoencoder([n_in, n_out, n_in], 3, **options)
        for w in (ae.parameters["W_enc"], net.parameters["W1"]):
            assert w.std() == pytest.approx(stddev, rel=0.02)
        assert_identical({"w": ae.parameters["W_enc"]}, {"w": net.parameters["W1"]})
        for w in (ae.parameters["W_dec"], net.parameters["W3"]):
            assert w.std() == pytest.approx(0.01, rel=0.1)

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
        with pytest.warns(DeadUnitWarning, match=r"autoencoder 1 .* has left \d+ of 30 units dead"):
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

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    @pytest.mark.parametrize("activation", activations.NAMES)
    def test_what_has_no_derivative_is_dead(self, activation, dtype):
        """Of units far below, around and far above zero on all samples."""
        ae = Autoencoder(20, 3, activation=activation, dtype=dtype, n_threads=1)
        ae.parameters = {"W_enc": np.eye(20)[:, :3], "b_enc": np.array([-50.0, 0, 50])}
        slope = ref.ACTIVATIONS[activation][1](PLAIN[:, :3] + ae.parameters["b_enc"])
        dead = (slope < np.finfo(dtype).eps).all(axis=0)
        assert ae.count_dead_units(PLAIN) == dead.sum()
        kinds = {"linear": 0, "leaky_relu": 0, "sigmoid": 2, "tanh": 2}
        assert dead.sum() == kinds.get(activation, 1)

    @pytest.mark.parametrize("activation", activations.NAMES)
    def test_an_ordinary_training_does_not_warn(self, activation):
        with no_warning():
            net = StackedAutoencoder([20, 16, 12], 2, activation=activation, n_threads=1)
            net.pretrain(PLAIN, steps=50)
            net.finetune(PLAIN, np.arange(200) % 2, steps=50)

    def test_a_warning_of_saturated_units(self):
        ae = Autoencoder(20, 4, activation="sigmoid", n_threads=1)
        ae.parameters = {"b_enc": np.array([-60.0, 60, 0, 0])}
        with pytest.warns(DeadUnitWarning, match="2 of 4 units dead: the same on every sample"):
            ae.fit(PLAIN, steps=5)

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
            (np.hstack([PLAIN, 1e6 * (PLAIN[:, :1] - 0.5)]), r"column 20 with .* ± 3e\+05"),
            (np.hstack([PLAIN, 2e4 + 3e3 * PLAIN[:, :1]]), r"column 20 with .* 2.1\de\+04 ± [89]"),
        ],
    )
    def test_a_warning_names_the_column(self, x, message):
        ae = Autoencoder(x.shape[1], 4, n_threads=1)
        with pytest.warns(ScaleWarning, match=f"x: expected values around 1, got {message}"):
            ae.fit(x, steps=2)

    @pytest.mark.parametrize("init", ["he", "normal"])
    def test_so_does_a_start_that_is_fixed(self, init):
        ae = Autoencoder(20, 4, init=init, n_threads=1)
        with pytest.warns(ScaleWarning, match="got values around [56]e-07"):
            ae.fit(PLAIN * np.float32(1e-6), steps=2)
        with pytest.warns(ScaleWarning, match=r"got column \d+ with values around 30[01] ± 0.[23]"):
            Autoencoder(20, 4).fit(PLAIN + 300, batches=np.arange(20).reshape(2, 10))

    def test_usual_ones_are_let_alone(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error", ScaleWarning)
            for x in (PLAIN, WIDE, WORDS, PLAIN * np.float32(16), PLAIN - np.float32(5)):
                Autoencoder(x.shape[1], 4, n_threads=1).fit(x, steps=1)

    @pytest.mark.parametrize("layer", [1, 3])  # of a stack or not, samples are what it reads
    def test_divergence_names_the_column(self, layer):
        x = np.hstack([PLAIN, 1.7e9 + 3e7 * PLAIN[:, :1]])
        ae = Autoencoder(21, 4, init="he", n_threads=1, layer=layer)
        with pytest.raises(DivergenceError, match=r"x has column 20 with .* 1.7\de\+09 .*: scale"):
            ae.fit(x, steps=300, learning_rate=1)
        with pytest.raises(DivergenceError, match="a smaller learning_rate may help"):
            Autoencoder(20, 4, n_threads=1).fit(PLAIN, steps=300, learning_rate=1e30)


FAR = {  # samples, and what a float32 leaves of them
    "tiny": (PLAIN.astype(np.float64) * 1e-6, 1e-6),
    "huge": (PLAIN * np.float32(1e6), 1e-6),
    "as pixels": (PLAIN * np.float32(255), 1e-6),
    "as pixels, integers": (np.rint(PLAIN * 255).astype(np.int64), 1e-6),
    "far": (PLAIN + np.float32(300), 1e-4),
    "far below": (PLAIN.astype(np.float64) - 5000, 1e-3),
    "constants": (np.hstack([PLAIN, np.full((200, 15), 1000.0)]), 1e-4),
    "tiny, sparse": (WORDS * np.float32(1e-6), 1e-6),
}


def variance(x):
    x = x.toarray() if scipy.sparse.issparse(x) else x
    return x.var(axis=0, dtype=np.float64).sum()


class TestUnits:
    """Samples that are all tiny, huge or far from zero are trained in units of their own."""

    @pytest.fixture(params=FAR)
    def far(self, request):
        return FAR[request.param]

    def test_they_train_like_others(self, far):
        x, _ = far
        ae = Autoencoder(x.shape[1], 10, n_threads=1)
        with no_warning():
            history = ae.fit(x, steps=1000, eval_every=500)
        assert ae.count_dead_units(x) == 0
        left = ae.reconstruction_error(x) * x.shape[1]
        assert history.mean_loss[-1] == pytest.approx(left, rel=1e-5)
        assert ae.score_samples(x).mean() * x.shape[1] == pytest.approx(left, rel=1e-5)
        assert ae.feature_errors(x).mean() * x.shape[1] == pytest.approx(left, rel=1e-5)
        assert left < (0.95 if "sparse" in str(type(x)) else 0.6) * variance(x)

    def test_a_stack_learns_classes(self):
        y = (PLAIN[:, :10].sum(axis=1) > 5).astype(int)
        for x in (PLAIN * np.float32(1e-6), PLAIN + np.float32(300)):
            for steps in (300, None):
                net = StackedAutoencoder([20, 30], 2, n_threads=1)
                with no_warning():
                    if steps:
                        net.pretrain(x, steps=steps)
                    net.finetune(x, y, steps=400)
                assert net.evaluate(x, y)[1] > 0.9

    def test_parameters_read_samples_as_they_are(self, far):
        x, close = far
        net = StackedAutoencoder([x.shape[1], 10], 2, n_threads=1)
        net.pretrain(x, steps=30)
        p, q = net.parameters, net.autoencoders[0].parameters
        dense = (x.toarray() if scipy.sparse.issparse(x) else x).astype(np.float64)
        codes = np.maximum(dense @ p["W1"].astype(np.float64) + p["b1"], 0)
        np.testing.assert_allclose(net.encode(x), codes, atol=close * codes.max())
        assert_identical({"W1": q["W_enc"], "b1": q["b_enc"]}, {n: p[n] for n in ("W1", "b1")})
        back = codes @ q["W_dec"].astype(np.float64) + q["b_dec"]
        spread = np.abs(back - back.mean(axis=0)).max()
        np.testing.assert_allclose(net.reconstruct(x), back, atol=10 * close * spread)

    @pytest.mark.parametrize("way", ["file", "pickle"])
    def test_models_travel(self, far, way, tmp_path):
        x, _ = far
        net = StackedAutoencoder([x.shape[1], 6], 2, n_threads=1)
        net.pretrain(x, steps=20)
        net.finetune(x, np.arange(x.shape[0]) % 2, steps=20)
        again = (
            pickle.loads(pickle.dumps(net))
            if way == "pickle"
            else sae_fast.load(net.save(tmp_path / "net"))
        )
        for call in ("encode", "predict_proba", "reconstruct", "score_samples"):
            np.testing.assert_array_equal(getattr(again, call)(x), getattr(net, call)(x))
        net.pretrain(x, steps=3), again.pretrain(x, steps=3)
        assert_identical(net.parameters, again.parameters)

    def test_what_leaves_reads_samples_as_they_are(self, tmp_path):
        onnxruntime = pytest.importorskip("onnxruntime")
        x = PLAIN + np.float32(300)
        ae = Autoencoder(20, 6, n_threads=1)
        ae.fit(x, steps=100)
        session = onnxruntime.InferenceSession(ae.export_onnx(tmp_path / "ae.onnx"))
        (back,) = session.run(["reconstruction"], {"x": x})
        np.testing.assert_allclose(back, ae.reconstruct(x), atol=2e-3)

    def test_assigned_parameters_are_what_counts(self):
        x = PLAIN + np.float32(300)
        net = StackedAutoencoder([20, 6], 2, n_threads=1)
        net.pretrain(x, steps=100)
        codes, back = net.encode(x), net.reconstruct(x)
        before = net.parameters
        net.parameters = {"b2": np.ones(2)}
        assert_identical(net.parameters, {**before, "b2": np.ones(2, np.float32)})
        np.testing.assert_allclose(net.encode(x), codes, atol=1e-4 * codes.max())
        np.testing.assert_array_equal(net.reconstruct(x), back)  # by autoencoders, which stay
        net.parameters = before
        assert_identical(net.parameters, before)
        net.pretrain(x, steps=1, learning_rate=1e-9)  # with weights that are somebody's
        np.testing.assert_allclose(net.parameters["W1"], before["W1"], atol=1e-6)

    def test_a_refused_training_has_not_started(self):
        class Refuse(sae_fast.callbacks.Callback):
            def on_start(self, training):
                raise DataError("no")

        x = PLAIN + np.float32(300)
        for model, name in ((Autoencoder(20, 8), "fit"), (StackedAutoencoder([20, 8]), "pretrain")):
            before = model.parameters
            with pytest.raises(DataError, match="no"):
                getattr(model, name)(x, callbacks=[Refuse()])
            assert_identical(model.parameters, before)
            assert not model._units
            getattr(model, name)(x, steps=1)
            assert model._units

    def test_penalties_are_of_weights_that_read_samples_as_they_are(self):
        x = PLAIN * np.float32(1e-6)
        for options in ({"weight_decay": 0.1}, {"penalties": [sae_fast.penalties.MaxNorm(0.5)]}):
            ae = Autoencoder(20, 6, n_threads=1)
            with pytest.warns(ScaleWarning):
                ae.fit(x, steps=50, **options)
            assert not ae._units
        assert np.linalg.norm(ae.parameters["W_enc"], axis=0).max() <= 0.5 + 1e-6
        ae = Autoencoder(20, 6, n_threads=1)
        ae.fit(x, steps=5)
        before = ae.parameters
        with pytest.raises(DataError, match="penalties: expected none for a model that measures"):
            ae.fit(x, steps=5, penalties=[sae_fast.penalties.L1(0.1)])
        assert_identical(ae.parameters, before)

    def test_what_leaves_with_fewer_digits_says_so(self):
        ae = Autoencoder(20, 6, n_threads=1)
        ae.fit(PLAIN + np.float32(1e4), steps=5)
        with pytest.warns(ScaleWarning, match="too far for float32"):
            pytest.importorskip("torch") and ae.to_torch()

    def test_they_stay(self):
        """Later trainings, on other samples too, and continued ones measure in the same units."""
        x = PLAIN + np.float32(300)
        whole, parts = Autoencoder(20, 6, n_threads=1), Autoencoder(20, 6, n_threads=1)
        whole.fit(x, steps=40, learning_rate=1e-3)
        parts.fit(x, steps=15, learning_rate=1e-3)
        parts.fit(x, steps=25, learning_rate=1e-3, continued=True)
        assert_identical(whole.parameters, parts.parameters)
        units = parts._units
        parts.fit(PLAIN, steps=1)
        assert parts._units == units

    def test_best_weights_come_back(self):
        x = PLAIN + np.float32(300)
        stop = sae_fast.callbacks.EarlyStopping(patience=2)
        ae = Autoencoder(20, 6, n_threads=1)
        history = ae.fit(x, steps=400, eval_every=5, learning_rate=0.3, callbacks=[stop])
        error = min(history.mean_loss) / 20
        assert ae.reconstruction_error(x) == pytest.approx(error, rel=1e-6)

    def test_a_sparse_matrix_is_read_in_them(self):
        x = PLAIN + np.float32(300)
        ae = Autoencoder(20, 6, n_threads=1)
        ae.fit(x, steps=10)
        np.testing.assert_array_equal(ae.encode(scipy.sparse.csc_matrix(x)), ae.encode(x))

    def test_bytes_with_a_scale(self):
        pixels = (PLAIN * 255).astype(np.uint8)
        ae = Autoencoder(20, 6, n_threads=1)
        with no_warning():
            ae.fit(pixels, steps=300, scale=1e-9)
        assert ae._units.unit < 1e-6
        x = pixels * 1e-9
        np.testing.assert_allclose(ae.reconstruct(pixels), ae.reconstruct(x), rtol=1e-3)
        assert ae.reconstruction_error(pixels) < 0.9 * x.var(axis=0).mean()

    def test_an_estimator_that_does_not_standardize(self):
        from sae_fast.sklearn import StackedAutoencoderClassifier

        y = (PLAIN[:, :10].sum(axis=1) > 5).astype(int)
        for pretrain_steps in (0, 200):
            classifier = StackedAutoencoderClassifier(
                standardize=False, pretrain_steps=pretrain_steps, weight_decay=0, random_state=0
            ).fit(PLAIN + np.float32(300), y)
            assert classifier.score(PLAIN + np.float32(300), y) > 0.9
            np.testing.assert_allclose(
                classifier.network_.predict_proba(PLAIN + np.float32(300)),
                classifier.predict_proba(PLAIN + np.float32(300)),
                atol=1e-3,
            )

    @pytest.mark.parametrize(
        "units", [[0, 0], [0, -1], ["a", 1], [0, float("inf")], [1, 2, 3], [[0.0] * 19, 1]]
    )
    def test_a_file_with_nonsense_is_refused(self, units, tmp_path):
        from sae_fast.exchange import model_file

        x = PLAIN + np.float32(300)
        ae = Autoencoder(20, 6, n_threads=1)
        ae.fit(x, steps=1)
        described = ae._describe()
        assert set(described["units"]) == {""}
        ae._describe = lambda: {**described, "units": {"": units}}
        data = model_file.to_bytes(ae)
        if units == [[0.0] * 19, 1]:
            with pytest.raises(sae_fast.ModelFileError, match="zeros of 19 features"):
                model_file.from_bytes(data, "it")
        with pytest.raises(sae_fast.ModelFileError):
            model_file.from_bytes(data, "it")


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
