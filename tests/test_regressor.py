# SPDX-License-Identifier: BSD-3-Clause
"""The scikit-learn regressor: its own targets, scikit-learn's checks, what users do with it."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from helpers import assert_identical

pytest.importorskip("sklearn")

import scipy.sparse
from sae_fast import DataError, ScaleWarning, StackedAutoencoder
from sae_fast.sklearn import StackedAutoencoderRegressor
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_linnerud, make_friedman1
from sklearn.linear_model import PoissonRegressor, Ridge
from sklearn.metrics import d2_tweedie_score
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

SHORT = {
    "units": (8, 6),
    "pretrain_steps": 20,
    "steps": 60,
    "pretrain_learning_rate": 1e-3,
    "learning_rate": 3e-3,
    "random_state": 0,
}
WEIGHTS = "a minibatch holds as many rows whatever their weights (test_sklearn.py)"
BELOW = "check_regressor_multioutput"
LOSSES = ("squared_error", "huber", "absolute_error", "poisson")


@parametrize_with_checks(
    [
        StackedAutoencoderRegressor(),
        StackedAutoencoderRegressor((8, 4), loss="huber", early_stopping=True, dtype="float64"),
        StackedAutoencoderRegressor(loss="poisson"),
    ],
    expected_failed_checks=lambda estimator: {
        "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
        "check_sample_weight_equivalence_on_sparse_data": WEIGHTS,
        **({BELOW: "its targets are below 0"} if estimator.loss == "poisson" else {}),
    },
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def friedman():
    """Five of ten features count, and not in lines."""
    x, y = make_friedman1(600, noise=0.5, random_state=0)
    return train_test_split(x, y, random_state=0)


@pytest.fixture(scope="module")
def two(friedman):
    """Two targets of other sizes, far from zero."""
    x, x_test, y, y_test = friedman
    return (
        x,
        x_test,
        *(np.stack([1e6 + 100 * own, -3e-4 * own**2], axis=1) for own in (y, y_test)),
    )


class TestLearning:
    def test_more_than_lines(self, friedman):
        x, x_test, y, y_test = friedman
        ours = StackedAutoencoderRegressor(random_state=0, steps=2000).fit(x, y)
        assert ours.score(x_test, y_test) > Ridge().fit(x, y).score(x_test, y_test) + 0.05

    def test_diabetes(self):
        """About what Ridge reaches, in R²: docs/estimators.md."""
        x, y = load_diabetes(return_X_y=True)
        assert cross_val_score(StackedAutoencoderRegressor(random_state=0), x, y).mean() > 0.42

    @pytest.mark.parametrize("loss", LOSSES[:3])
    def test_targets_of_any_size(self, two, loss):
        x, x_test, y, y_test = two
        ours = StackedAutoencoderRegressor(random_state=0, loss=loss).fit(x, y)
        assert ours.score(x_test, y_test) > 0.7

    def test_outliers(self, friedman):
        """Losses that grow on a line mind them less."""
        x, x_test, y, y_test = friedman
        wrong = y.copy()
        wrong[::10] *= 20
        scores = {
            loss: StackedAutoencoderRegressor(random_state=0, loss=loss, steps=1500)
            .fit(x, wrong)
            .score(x_test, y_test)
            for loss in LOSSES[:3]
        }
        assert scores["absolute_error"] > 0.5
        assert scores["huber"] > scores["squared_error"] + 0.1

    @pytest.mark.parametrize("mean", [0.5, 30, 3000])
    def test_counts(self, mean):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(2000, 6))
        rate = mean * np.exp(0.4 * x[:, 0] - 0.5 * x[:, 1] * x[:, 2])
        y = rng.poisson(rate)
        ours = StackedAutoencoderRegressor(loss="poisson", random_state=0).fit(x[:1500], y[:1500])
        theirs = PoissonRegressor(alpha=1e-3).fit(x[:1500], y[:1500])
        predicted = ours.predict(x[1500:])
        assert (predicted > 0).all()
        assert ours.target_unit_ == pytest.approx(y[:1500].mean())
        assert d2_tweedie_score(y[1500:], predicted, power=1) > d2_tweedie_score(
            y[1500:], theirs.predict(x[1500:]), power=1
        ) + 0.02  # fmt: skip

    def test_early_stopping(self, friedman):
        x, _, y, _ = friedman
        ours = StackedAutoencoderRegressor(
            random_state=0, steps=10**6, learning_rate=0.01, early_stopping=True, patience=3
        ).fit(x, y)
        assert ours.history_.steps[-1] < 10**5
        _, aside = train_test_split(np.arange(len(y)), test_size=0.1, random_state=0)
        error = ((ours.predict(x[aside]) - y[aside]) ** 2).mean() / y.var()
        assert error == pytest.approx(min(ours.loss_curve_), rel=0.01)


class TestTargets:
    def test_shapes(self):
        x, y = load_linnerud(return_X_y=True)
        for target, shape in ((y, (20, 3)), (y[:, :1], (20, 1)), (y[:, 0], (20,))):
            ours = StackedAutoencoderRegressor(**SHORT).fit(x, target)
            predicted = ours.predict(x)
            assert predicted.shape == shape
            assert predicted.dtype == np.float64
            assert ours.network_.n_targets == np.prod(shape[1:])
            assert isinstance(ours.score(x, target), float)
        sparse = clone(ours).fit(x, scipy.sparse.csr_array(y))
        np.testing.assert_array_equal(sparse.predict(x), clone(ours).fit(x, y).predict(x))

    def test_it_is_the_network_of_the_library(self, friedman):
        x, _, y, _ = friedman
        for loss in LOSSES:
            ours = StackedAutoencoderRegressor(**SHORT, loss=loss, standardize=False).fit(x, y)
            head = "softplus" if loss == "poisson" else "linear"
            net = StackedAutoencoder([10, 8, 6], n_targets=1, head=head, seed=0)
            net.pretrain(x, steps=20, learning_rate=1e-3, weight_decay=1)
            net.finetune(x, y, steps=60, learning_rate=3e-3, weight_decay=1, loss=loss)
            assert_identical(ours.network_.parameters, net.parameters)
            np.testing.assert_array_equal(ours.predict(x), net.predict(x)[:, 0])

    def test_standardized_ones_are_those_of_a_scaler(self, friedman):
        x, _, y, _ = friedman
        zero, unit = y.mean(), y.std()
        ours = StackedAutoencoderRegressor(**SHORT, dtype="float64").fit(x, y)
        theirs = StackedAutoencoderRegressor(**SHORT, dtype="float64", standardize=False)
        theirs.fit((x - x.mean(axis=0)) / x.std(axis=0), (y - zero) / unit)
        back = theirs.predict((x - x.mean(axis=0)) / x.std(axis=0)) * unit + zero
        np.testing.assert_allclose(ours.predict(x), back, rtol=1e-6)
        assert ours.target_unit_ == pytest.approx(unit)

    @pytest.mark.parametrize("loss", LOSSES[:3])
    def test_the_network_takes_and_gives_what_the_estimator_does(self, two, loss):
        x, _, y, _ = two
        ours = StackedAutoencoderRegressor(**SHORT, dtype="float64", loss=loss).fit(x, y)
        np.testing.assert_allclose(ours.network_.predict(x), ours.predict(x), rtol=1e-9)

    def test_the_network_of_counts(self, friedman):
        x, _, y, _ = friedman
        ours = StackedAutoencoderRegressor(**SHORT, dtype="float64", loss="poisson")
        ours.fit(x, np.stack([y * 100, y], axis=1).clip(0))
        given = ours.network_.predict(x) * ours.target_unit_
        np.testing.assert_allclose(given, ours.predict(x), rtol=1e-9)

    def test_far_from_zero(self, friedman):
        """In float32, which cannot hold these targets."""
        x, x_test, y, y_test = friedman
        ours = StackedAutoencoderRegressor(random_state=0).fit(x, y + 1e9)
        assert ours.score(x_test, y_test + 1e9) > 0.7
        with pytest.warns(ScaleWarning, match="target 0 lies .* too far for float32"):
            ours.network_  # noqa: B018

    def test_constant_ones(self, friedman):
        x, _, y, _ = friedman
        for loss, value in (("squared_error", 7.0), ("poisson", 7.0), ("poisson", 0.0)):
            ours = StackedAutoencoderRegressor(random_state=0, loss=loss)
            predicted = ours.fit(x, np.full(len(y), value)).predict(x)
            assert predicted.mean() == pytest.approx(value, abs=0.1)
            assert loss == "poisson" or (predicted == value).all()

    @pytest.mark.parametrize(
        ("options", "y", "message"),
        [
            ({"loss": "poisson"}, [-1.0], "y: expected values of at least 0 .*, got -1"),
            ({"loss": "poison"}, [1.0], "loss: expected one of .*did you mean 'poisson'"),
            ({"loss": "cross_entropy"}, [1.0], "loss: expected one of squared_error, huber"),
            ({}, [1e200], "y: expected values whose squares are finite, got more in column 0"),
            ({}, [np.nan], "NaN"),
            ({}, ["7"], "y: expected numbers, got dtype <U1"),
            ({"dropout": 1}, [1.0], "dropout: expected less than 1, got 1"),
            ({"weight_decay": -1}, [1.0], "weight_decay: expected a number of at least 0"),
            ({"validation_fraction": 2}, [1.0], "validation_fraction: expected less than 1"),
        ],
    )
    def test_wrong_ones(self, friedman, options, y, message):
        x = friedman[0]
        ours = StackedAutoencoderRegressor(**SHORT).fit(x, x[:, 0])
        before = vars(ours).copy()
        ours.set_params(**options)
        with pytest.raises(ValueError, match=message):
            ours.fit(x, y * len(x))
        assert vars(ours) == {**before, **options}


class TestWeights:
    def test_rows_of_weight_0_are_left_out(self, two):
        x, _, y, _ = two
        weight = (np.arange(len(y)) % 3 > 0).astype(float)
        weighted = StackedAutoencoderRegressor(**SHORT).fit(x, y, sample_weight=weight)
        without = StackedAutoencoderRegressor(**SHORT).fit(x[weight > 0], y[weight > 0])
        assert_identical(weighted.network_.parameters, without.network_.parameters)

    def test_heavy_rows_win(self):
        x = np.random.default_rng(0).normal(size=(400, 4))
        y = np.where(np.arange(400) % 2, 1.0, -1.0)  # nothing to tell them by
        ours = StackedAutoencoderRegressor(random_state=0)
        ours.fit(x, y, sample_weight=np.where(y > 0, 9, 1))
        assert ours.predict(x).mean() == pytest.approx(0.8, abs=0.1)


class TestPartialFit:
    def test_it_learns(self, two):
        x, x_test, y, y_test = two
        ours = StackedAutoencoderRegressor(random_state=0)
        for _ in range(60):
            for rows in np.array_split(np.arange(len(y)), 2):
                ours.partial_fit(x[rows], y[rows])
        assert ours.score(x_test, y_test) > 0.7
        assert ours.histories_ == []

    def test_a_pickle_goes_on_as_if_it_were_none(self, two):
        x, x_test, y, _ = two
        ours = StackedAutoencoderRegressor(random_state=0).partial_fit(x, y)
        copy = pickle.loads(pickle.dumps(ours))
        for each in (ours, copy):
            each.partial_fit(x, y)
        np.testing.assert_array_equal(ours.predict(x_test), copy.predict(x_test))

    def test_a_target_that_varies_later(self, friedman):
        x, x_test, y, y_test = friedman
        ours = StackedAutoencoderRegressor(random_state=0)
        ours.partial_fit(x[:50], np.full(50, 14.0))
        for _ in range(200):
            ours.partial_fit(x, y)
        assert ours.score(x_test, y_test) > 0.7

    def test_other_shapes(self, two):
        x, _, y, _ = two
        ours = StackedAutoencoderRegressor(random_state=0).partial_fit(x, y)
        with pytest.raises(DataError, match=r"y: expected shape .*2.* as before, got \(450,\)"):
            ours.partial_fit(x, y[:, 0])


class TestOnnx:
    runtime = staticmethod(lambda path: pytest.importorskip("onnxruntime").InferenceSession(path))

    def test_export(self, two):
        pytest.importorskip("onnx")
        x, _, y, _ = two
        ours = StackedAutoencoderRegressor(**SHORT, dtype="float64").fit(x, y)
        memory = ours.export_onnx(io.BytesIO())
        (predicted,) = self.runtime(memory.getvalue()).run(None, {"x": x})
        np.testing.assert_allclose(predicted, ours.predict(x), rtol=1e-9)

    def test_a_pipeline(self, two):
        skl2onnx = pytest.importorskip("skl2onnx")
        x, _, y, _ = two
        x = x.astype(np.float32)
        for target in (y[:, 0] - 1e6, y - [1e6, 0]):
            model = make_pipeline(StandardScaler(), StackedAutoencoderRegressor(**SHORT))
            model.fit(x, target)
            file = skl2onnx.to_onnx(model, x[:1])
            (predicted,) = self.runtime(file.SerializeToString()).run(None, {"X": x})
            expected = model.predict(x).reshape(len(x), -1)
            np.testing.assert_allclose(predicted, expected, rtol=1e-3, atol=1e-4)

    def test_counts(self, friedman):
        skl2onnx = pytest.importorskip("skl2onnx")
        x, _, y, _ = friedman
        ours = StackedAutoencoderRegressor(**SHORT, loss="poisson").fit(x, y)
        x = x.astype(np.float32)
        whole = ours.export_onnx(io.BytesIO()).getvalue(), "x"
        converted = skl2onnx.to_onnx(ours, x[:1]).SerializeToString(), "X"
        for file, name in (whole, converted):
            (given,) = self.runtime(file).run(None, {name: x})
            np.testing.assert_allclose(given[:, 0], ours.predict(x), rtol=1e-4)
        network = ours.network_.export_onnx(io.BytesIO()).getvalue()
        (given,) = self.runtime(network).run(None, {"x": x})
        np.testing.assert_allclose(given[:, 0] * ours.target_unit_, ours.predict(x), rtol=1e-4)


def test_sparse_rows_and_pixels(friedman):
    x, _, y, _ = friedman
    pixels = (255 * x).astype(np.uint8)
    scaled = StackedAutoencoderRegressor(**SHORT, scale=1 / 255).fit(pixels, y)
    plain = StackedAutoencoderRegressor(**SHORT).fit(pixels / 255, y)
    assert np.corrcoef(scaled.predict(pixels), plain.predict(pixels / 255))[0, 1] > 0.9
    few = scipy.sparse.csr_array(np.where(x < 0.5, 0, x))
    sparse = StackedAutoencoderRegressor(**SHORT, standardize=False).fit(few, y)
    dense = StackedAutoencoderRegressor(**SHORT, standardize=False).fit(few.toarray(), y)
    np.testing.assert_allclose(sparse.predict(few), dense.predict(few.toarray()), rtol=1e-3)
