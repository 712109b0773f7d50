# SPDX-License-Identifier: BSD-3-Clause
"""The scikit-learn estimators: scikit-learn's own checks, and what users do with estimators."""

from __future__ import annotations

import io
import pickle
import warnings

import numpy as np
import pytest
import sae_fast
from helpers import assert_identical, output_of

sklearn = pytest.importorskip("sklearn")

import joblib  # noqa: E402
import pandas as pd  # noqa: E402
import scipy.sparse  # noqa: E402
from sae_fast import DataError, ScaleWarning, StackedAutoencoder, UnlabelledWarning  # noqa: E402
from sae_fast.corruptions import Masking  # noqa: E402
from sae_fast.models.standard import Standard  # noqa: E402
from sae_fast.optimizers import SGD  # noqa: E402
from sae_fast.schedules import Cosine, Step  # noqa: E402
from sae_fast.sklearn import (  # noqa: E402
    DeepEmbeddedClustering,
    StackedAutoencoderClassifier,
    StackedAutoencoderOutlierDetector,
    StackedAutoencoderRegressor,
    StackedAutoencoderTransformer,
)
from sae_fast.training.corruptions import CORRUPTIONS  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.metrics import balanced_accuracy_score  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MinMaxScaler, StandardScaler  # noqa: E402
from sklearn.utils.class_weight import compute_sample_weight  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

RATES = {"pretrain_learning_rate": 1e-3, "learning_rate": 1e-3}
PLAIN = {"standardize": False, "weight_decay": 0.0, **RATES}  # what the classes do by default
SHORT = {"pretrain_steps": 50, "steps": 100, "random_state": 0, **PLAIN}

UNLABELLED = "it names the classes of a binary problem -1 and 1, and -1 marks rows without a label"
WEIGHTS = (
    "a minibatch holds as many rows whatever their weights, so that a weight of 2 gives other "
    "minibatches than a repeated row; the losses agree (test_continued.py)"
)


def expected_failures(estimator):
    names = {
        "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
        "check_sample_weight_equivalence_on_sparse_data": WEIGHTS,
    }
    if isinstance(estimator, StackedAutoencoderClassifier):
        names["check_classifiers_classes"] = UNLABELLED
    return names


@parametrize_with_checks(
    [
        StackedAutoencoderTransformer(),
        StackedAutoencoderTransformer(units=(8, 4), steps=(30, 20), dtype="float64"),
        StackedAutoencoderClassifier(),
        StackedAutoencoderClassifier(early_stopping=True, validation_fraction=0.2),
        DeepEmbeddedClustering(3, units=(8, 4), steps=50),
        DeepEmbeddedClustering(3, units=8, steps=50, tune_steps=10, dtype="float64"),
        StackedAutoencoderOutlierDetector(),
        StackedAutoencoderOutlierDetector((8, 4), steps=(30, 20), dtype="float64"),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return x / 16, y


def test_it_learns(digits):
    x, x_test, y, y_test = train_test_split(*digits, random_state=0)
    classifier = StackedAutoencoderClassifier(random_state=0).fit(x, y)
    assert classifier.score(x_test, y_test) > 0.95
    transformer = StackedAutoencoderTransformer(units=(64, 32), random_state=0).fit(x)
    codes = transformer.transform(x_test)
    assert codes.shape == (len(x_test), 32)
    back = transformer.inverse_transform(codes)
    error = transformer.score_samples(x_test)
    np.testing.assert_allclose(error, ((x_test - back) ** 2).mean(axis=1), rtol=1e-4)
    assert error.mean() < 0.25 * x_test.var(axis=0).mean()


def test_it_is_the_network_of_the_library(digits):
    x, y = digits
    classifier = StackedAutoencoderClassifier(units=(20, 10), **SHORT).fit(x, y)
    net = StackedAutoencoder([64, 20, 10], 10, seed=0)
    net.pretrain(x, steps=50)
    net.finetune(x, y, steps=100, loss="cross_entropy")
    assert_identical(classifier.network_.parameters, net.parameters)
    np.testing.assert_array_equal(classifier.predict(x), net.predict(x))


class TestParameters:
    def test_steps_left_open(self, digits):
        x, y = digits
        y = np.where(np.arange(len(y)) < 1600, y, -1)
        classifier = StackedAutoencoderClassifier().fit(x, y)
        (pretraining,) = classifier.histories_
        assert pretraining.steps == [18, 36, 54, 72]  # 4 passes over 1797 rows
        assert classifier.history_.steps == [*range(16, 321, 16)]  # 20 passes over 1600
        seen = []
        StackedAutoencoderClassifier(early_stopping=True, callbacks=[seen.append]).fit(x, y)
        assert seen[-1].n_steps == 1500
        assert seen[-1].history.steps[:2] == [15, 30]  # a pass over 0.9 * 1600 rows
        many = np.tile(x, (5, 1)), np.tile(y, 5)
        StackedAutoencoderClassifier(early_stopping=True, callbacks=[seen.append]).fit(*many)
        assert seen[-1].n_steps == 7200  # 100 * 0.9 * 8000 / 100
        transformer = StackedAutoencoderTransformer().fit(x)
        assert transformer.histories_[0].steps == [*range(50, 1001, 50)]  # 20 times at most

    def test_one_per_layer(self, digits):
        x, y = digits
        classifier = StackedAutoencoderClassifier(
            units=[20, 10],
            pretrain_steps=[3, 7],
            pretrain_learning_rate=[1e-3, 1e-4],
            steps=5,
            random_state=0,
        ).fit(x, y)
        assert [history.steps for history in classifier.histories_] == [[3], [7]]
        assert classifier.network_.sizes == (64, 20, 10)

    def test_epochs(self, digits):
        """As many whole batches as hold each row that often, of which there are 1797 here."""
        x, y = digits
        how = {"batch_size": 500, "random_state": 0}
        net = StackedAutoencoderClassifier(
            [8, 4], pretrain_epochs=[1, 2], epochs=5, early_stopping=True, patience=99, **how
        ).fit(x, y)
        assert [history.steps[-1] for history in net.histories_] == [4, 8]
        assert net.history_.steps[-1] == 17  # of 1617 rows
        assert not StackedAutoencoderClassifier(4, pretrain_epochs=0, epochs=1).fit(x, y).histories_
        tuned = StackedAutoencoderTransformer(4, epochs=2, tune_epochs=3, **how).fit(x)
        assert [*tuned.histories_[0].steps[-1:], tuned.history_.steps[-1]] == [8, 11]

    def test_scalars(self, digits):
        transformer = StackedAutoencoderTransformer(units=7, steps=4).fit(digits[0])
        assert transformer.network_.sizes == (64, 7)

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"units": 0}, r"units\[0\]: expected an integer of at least 1, got 0"),
            ({"units": "ab"}, r"units\[0\]: expected an integer, got 'ab'"),
            ({"pretrain_steps": -1}, "pretrain_steps: expected an integer of at least 0, got -1"),
            ({"pretrain_steps": (1, 2, 3)}, "pretrain_steps: expected one value, or one for each"),
            ({"pretrain_epochs": 2}, "pretrain_epochs: expected None beside pretrain_steps, got 2"),
            ({"epochs": 2}, "epochs: expected None beside steps, got 2"),
            ({"steps": None, "epochs": 0}, "epochs: expected an integer of at least 1, got 0"),
            ({"pretrain_learning_rate": 0}, "pretrain_learning_rate: expected a positive number"),
            (
                {"learning_rate": "x"},
                "learning_rate: expected a number, an object of",
            ),
            ({"steps": 0}, "steps: expected an integer of at least 1, got 0"),
            ({"batch_size": 0}, "batch_size: expected an integer of at least 1, got 0"),
            ({"weight_decay": -1}, "weight_decay: expected a number of at least 0, got -1"),
            ({"loss": "mse"}, "loss: expected one of article, cross_entropy, got 'mse'"),
            ({"init": "x"}, "init: expected one of normal, he"),
            ({"standardize": "no"}, "standardize: expected True or False, got 'no'"),
            ({"unlabelled": "no"}, "unlabelled: expected an integer, got 'no'"),
            ({"dtype": "int8"}, "dtype: expected one of float32, float64, got 'int8'"),
            ({"early_stopping": True, "patience": 0}, "patience: expected an integer of at least"),
            ({"early_stopping": True, "validation_fraction": 0}, "validation_fraction: expected"),
            ({"validation_fraction": 1.5}, "validation_fraction: expected less than 1, got 1.5"),
            (
                {"early_stopping": True, "validation_fraction": 1e-3},
                "validation_fraction: exp.*1797",
            ),
            (
                {"early_stopping": True, "eval_every": 0},
                "eval_every: expected an integer of at lea",
            ),
            ({"dropout": 1}, "dropout: expected less than 1, got 1"),
            ({"dropout": (0.1, 0.2)}, "dropout: expected one value, or one for each of 1 layers"),
            ({"scale": 1 / 16}, "X: expected uint8 with scale=0.0625, got float64"),
            ({"random_state": -1}, "random_state: expected an integer of at least 0, got -1"),
        ],
    )
    def test_wrong_ones(self, digits, parameters, message):
        classifier = StackedAutoencoderClassifier(**SHORT).fit(*digits)
        before = classifier.predict_proba(digits[0])
        classifier.set_params(**parameters)
        with pytest.raises(DataError, match=message):
            classifier.fit(digits[0], -digits[1] - 5)
        if parameters.keys() <= {"pretrain_steps", "learning_rate", "loss", "units", "batch_size"}:
            np.testing.assert_array_equal(classifier.predict_proba(digits[0]), before)
            assert classifier.classes_[-1] == 9

    def test_processes_that_share_a_training_draw_one_seed(self, digits, monkeypatch):
        class First:
            def of_first(self, number):
                return 5

        monkeypatch.setattr("sae_fast.sklearn.estimator.current", First)
        how = {**SHORT, "steps": 1, "pretrain_steps": 1}
        for state, seed in ((None, 5), (np.random.RandomState(0), 5), (0, 0)):
            classifier = StackedAutoencoderClassifier(**{**how, "random_state": state})
            assert classifier.fit(*digits).network_.seed == seed

    def test_random_state(self, digits):
        x, y = digits
        fits = [
            StackedAutoencoderClassifier(**{**SHORT, "random_state": state}).fit(x, y).network_
            for state in (3, np.random.RandomState(3), np.random.RandomState(3), None)
        ]
        assert_identical(fits[1].parameters, fits[2].parameters)
        assert fits[0].seed == 3
        assert len({net.seed for net in fits}) == 3


@pytest.mark.parametrize(
    ("labels", "names"),
    [([3, 7], [3, 7]), (["b", "a"], ["a", "b"]), ([1.0, 2.0], ["1.0", "2.0"])],
)
def test_the_network_knows_the_names(digits, labels, names, tmp_path):
    x, y = digits
    classifier = StackedAutoencoderClassifier(**SHORT).fit(x, np.array(labels)[y % 2])
    path = classifier.network_.save(tmp_path / "net")
    assert sae_fast.load(path).classes == names


def test_masked_values_are_refused(digits):
    """Which scikit-learn would take for data."""
    x, y = digits
    masked = np.ma.masked_equal(x[:50], x.max())
    for kind in (
        StackedAutoencoderTransformer,
        StackedAutoencoderOutlierDetector,
        StackedAutoencoderClassifier,
        StackedAutoencoderRegressor,
    ):
        with pytest.raises(DataError, match="X: expected an array without masked values"):
            kind(4).fit(masked, y[:50])
    for kind in (StackedAutoencoderClassifier, StackedAutoencoderRegressor):
        with pytest.raises(DataError, match="y: expected an array without masked values"):
            kind(4).fit(x[:50], np.ma.masked_equal(y[:50], 3))


class TestUnlabelled:
    def test_they_take_part_in_pretraining_alone(self, digits):
        x, y = digits
        y = np.where(np.arange(len(y)) < 300, y, -1)
        classifier = StackedAutoencoderClassifier(**SHORT).fit(x, y)
        np.testing.assert_array_equal(classifier.classes_, range(10))
        net = StackedAutoencoder([64, 100], 10, seed=0)
        net.pretrain(x, steps=50)
        net.finetune(x[:300], y[:300], steps=100, loss="cross_entropy")
        assert_identical(classifier.network_.parameters, net.parameters)

    def test_beside_words(self, digits):
        x, y = digits
        words = np.array(["even", "odd"])[y % 2].astype(object)
        words[::3] = -1
        classifier = StackedAutoencoderClassifier(random_state=0).fit(x, words)
        assert classifier.classes_.tolist() == ["even", "odd"]
        assert (classifier.predict(x)[1::3] == words[1::3]).mean() > 0.95

    def test_among_strings(self, digits):
        x, y = digits
        words = np.array(["even", "odd", -1])[y % 3]  # which makes a string of -1
        with pytest.raises(DataError, match="y: expected rows without a label as the number -1"):
            StackedAutoencoderClassifier().fit(x, words)
        with pytest.raises(DataError, match="y: expected labels of one type, got int, str"):
            StackedAutoencoderClassifier().fit(x, np.array(["even", 3], object)[y % 2])

    def test_one_class_is_too_few(self, digits):
        x, y = digits
        y = np.where(y == 3, 1, -1)
        with pytest.raises(DataError, match=r"at least two classes beside -1.*got 1 class: \[1\]"):
            StackedAutoencoderClassifier().fit(x, y)

    @pytest.mark.parametrize(("unlabelled", "n_classes"), [(None, 3), (7, 3), (-1, 2)])
    def test_minus_one_may_be_a_class(self, digits, unlabelled, n_classes):
        x, y = digits
        signs = y % 3 - 1
        classifier = StackedAutoencoderClassifier(**SHORT, unlabelled=unlabelled).fit(x, signs)
        assert classifier.classes_.tolist() == [-1, 0, 1][-n_classes:]

    def test_it_says_how_many(self, digits):
        x, y = digits
        y = np.where(np.arange(len(y)) < 300, y, -1)
        told = StackedAutoencoderClassifier(**SHORT, unlabelled=-1)
        for untold in (
            StackedAutoencoderClassifier(**SHORT),
            clone(StackedAutoencoderClassifier(**SHORT)),
        ):
            with pytest.warns(UnlabelledWarning, match=r"1497 of 1797 rows are -1 .*unlabelled=-1"):
                untold.fit(x, y)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UnlabelledWarning)
            for silent in (told, clone(told)):
                silent.fit(x, y)
                assert_identical(silent.network_.parameters, untold.network_.parameters)
                assert silent.score(x, y) == untold.score(x, y)
            StackedAutoencoderClassifier(**SHORT).fit(x[:300], y[:300])  # all of them have one

    def test_they_do_not_count_in_a_score(self, digits):
        x, y = digits
        classifier = StackedAutoencoderClassifier(**SHORT).fit(x, y)
        labelled = np.arange(len(y)) % 2 == 0
        expected = (classifier.predict(x) == y)[labelled].mean()
        assert classifier.score(x, np.where(labelled, y, -1)) == pytest.approx(expected)
        weight = np.where(labelled, 2.0, 100.0)
        assert classifier.score(x, np.where(labelled, y, -1), weight) == pytest.approx(expected)
        with pytest.raises(DataError, match="y: expected some labelled rows, got none"):
            classifier.score(x, np.full(len(y), -1))
        words = np.array(list("abcdefghij"))[y]
        classifier.fit(x, words)
        expected = (classifier.predict(x) == words)[labelled].mean()
        mixed = np.where(labelled, words.astype(object), -1)
        for marked in (mixed, mixed.astype(str)):
            assert classifier.score(x, marked) == pytest.approx(expected)


class TestStandardize:
    KINDS = {  # noqa: RUF012
        "tiny": lambda x: x * 1e-6,
        "far": lambda x: x + 300,
        "constants": lambda x: np.hstack([x, np.full((len(x), 9), 1e6), np.zeros((len(x), 9))]),
        "timestamps": lambda x: np.hstack([x, 1.7e9 + 3e7 * np.sin(np.arange(len(x)))[:, None]]),
        "sizes": lambda x: x * 10.0 ** (np.arange(x.shape[1]) % 9 - 4),
        "sparse": lambda x: scipy.sparse.csr_array(x * 1e-6),
    }

    @pytest.mark.parametrize("fitted", [np.asarray, scipy.sparse.csr_array])
    def test_sparse_rows_mean_what_dense_ones_do(self, digits, fitted):
        x, y = digits[0] + 3, digits[1]  # which are centred where they are dense
        classifier = StackedAutoencoderClassifier(random_state=0).fit(fitted(x), y)
        transformer = StackedAutoencoderTransformer(random_state=0).fit(fitted(x))
        for compute in (classifier.predict_proba, transformer.score_samples):
            np.testing.assert_allclose(compute(scipy.sparse.csr_array(x)), compute(x), rtol=1e-4)

    def test_errors_of_columns_far_from_zero(self):
        """In float32, which cannot hold these columns as they are."""
        x = 1.7e9 + np.random.default_rng(0).normal(0, 10, (300, 2))
        transformer = StackedAutoencoderTransformer(units=(4,), random_state=0).fit(x)
        back = transformer._standard.apply(x, "float64")
        back = transformer._network.reconstruct(back) * transformer._standard.unit
        expected = ((x - transformer._standard.zero - back) ** 2).mean(axis=1)
        np.testing.assert_allclose(transformer.score_samples(x), expected, rtol=0.01, atol=0.01)
        with pytest.warns(ScaleWarning, match="too far for float32"):
            transformer.network_  # noqa: B018

    def test_columns_that_vary_later(self):
        """A stream whose first rows have some categories alone."""
        value = np.random.default_rng(0).integers(0, 20, 3000)
        x, y = np.eye(20)[value], value >= 10
        few = np.flatnonzero(np.isin(value, [0, 1, 2, 12, 13, 14]))[:100]
        for kind in (np.asarray, scipy.sparse.csr_array):
            classifier = StackedAutoencoderClassifier(random_state=0)
            classifier.partial_fit(kind(x[few]), y[few], classes=[False, True])
            for rows in np.array_split(np.arange(3000), 30):
                classifier.partial_fit(kind(x[rows]), y[rows])
            assert classifier.score(kind(x), y) == 1

    @pytest.mark.parametrize("kind", KINDS)
    def test_it_learns_whatever_the_size(self, digits, kind):
        x, y = self.KINDS[kind](digits[0]), digits[1]
        classifier = StackedAutoencoderClassifier(random_state=0).fit(x[:1300], y[:1300])
        assert classifier.score(x[1300:], y[1300:]) > 0.9
        assert classifier.network_.count_dead_units(x)[0] < 10

    @pytest.mark.parametrize("kind", ["far", "constants", "sizes", "sparse"])
    def test_the_network_reads_rows_as_they_are(self, digits, kind):
        x = self.KINDS[kind](digits[0])
        encoder = StackedAutoencoderTransformer((20, 8), steps=100, dtype="float64").fit(x)
        net = encoder.network_
        codes = encoder.transform(x)
        np.testing.assert_allclose(net.encode(x), codes, rtol=1e-6, atol=1e-6)
        back = encoder.inverse_transform(codes)
        np.testing.assert_allclose(net.reconstruct(x), back, rtol=1e-6, atol=1e-6 * abs(back).max())
        if kind == "constants":
            np.testing.assert_array_equal(back[:, 64:], x[:, 64:])

    def test_what_is_done_to_columns(self):
        rng = np.random.default_rng(0)
        x = np.stack(
            [
                rng.normal(50, 4, 1000),  # centred
                np.where(rng.random(1000) < 0.01, 7, 0),  # rare: its values become 1
                np.full(1000, 3),  # constant: left out
            ],
            axis=1,
        )
        standard = Standard.of(x)
        np.testing.assert_allclose(standard.zero, [x[:, 0].mean(), 0, 3])
        np.testing.assert_allclose(standard.unit, [x[:, 0].std(), 7, 0])
        out = standard.apply(x, "float64")
        np.testing.assert_allclose(out.std(axis=0), [1, x[:, 1].std() / 7, 0])
        np.testing.assert_allclose(standard.undo(out), x)
        sparse = Standard.of(scipy.sparse.csr_array(x))
        assert sparse.zero.tolist() == [0, 0, 3]
        np.testing.assert_allclose(sparse.unit[1:], [7, 0])
        found = sparse.apply(scipy.sparse.csr_array(x), "float64").toarray()
        np.testing.assert_allclose(found[:, 1:], out[:, 1:])
        with pytest.raises(DataError, match="X: expected values whose squares are finite"):
            Standard.of(np.array([[1.0, 1e200], [0, 0]]))

    def test_blocks_of_rows_do_not_show(self, digits, monkeypatch):
        whole = Standard.of(digits[0])
        monkeypatch.setattr("sae_fast.models.standard._BLOCK", 640)
        parts = Standard.of(digits[0])
        np.testing.assert_allclose(parts.unit, whole.unit, rtol=1e-12)
        out = parts.apply(digits[0], "float32")
        np.testing.assert_allclose(out, whole.apply(digits[0], "float32"), rtol=1e-6, atol=1e-6)


class TestOptions:
    """What the models are asked for, by the same names."""

    OPTIONS = {  # noqa: RUF012
        "activation": "tanh",
        "optimizer": SGD(0.9),
        "corruption": Masking(0.3),
        "weight_decay": 0.1,
        "batch_size": 50,
    }

    RATES = [1e-3, Step(2e-3, every=10)]  # noqa: RUF012

    def by_hand(self, x, loss):
        """Return a network that the library itself has pretrained, and how."""
        how = {**self.OPTIONS, "steps": 30}
        net = StackedAutoencoder([64, 20, 10], 10, seed=0, activation=how.pop("activation"))
        net.pretrain(x, learning_rate=self.RATES, loss=loss, **how)
        return net, how

    def test_unsupervised(self, digits):
        x, _ = digits
        net, how = self.by_hand(x, "huber")
        tuned = pickle.loads(pickle.dumps(net))
        tuned.finetune_autoencoder(x, learning_rate=5e-4, loss="huber", **{**how, "steps": 40})
        options = {"steps": 30, "standardize": False, "random_state": 0, "loss": "huber"}
        options |= {**self.OPTIONS, "learning_rate": self.RATES}
        for kind in (StackedAutoencoderTransformer, StackedAutoencoderOutlierDetector):
            found = kind((20, 10), **options).fit(x).network_
            np.testing.assert_array_equal(found.reconstruct(x), net.reconstruct(x))
            found = kind((20, 10), **options, tune_steps=40, tune_learning_rate=5e-4).fit(x)
            np.testing.assert_array_equal(found.network_.reconstruct(x), tuned.reconstruct(x))
            assert found.history_.steps[-1] == 40

    def test_supervised(self, digits):
        x, y = digits
        net, how = self.by_hand(x, "squared_error")
        del how["corruption"]
        how |= {"learning_rate": Step(3e-4, every=9), "dropout": [0.2, 0.1]}
        net.finetune(x, y, loss="cross_entropy", **how)
        classifier = StackedAutoencoderClassifier(
            (20, 10),
            **self.OPTIONS,
            pretrain_steps=30,
            steps=30,
            pretrain_learning_rate=self.RATES,
            learning_rate=Step(3e-4, every=9),
            dropout=[0.2, 0.1],
            standardize=False,
            random_state=0,
        ).fit(x, y)
        assert_identical(classifier.network_.parameters, net.parameters)

    @pytest.mark.parametrize("name", CORRUPTIONS)
    def test_noise_by_name(self, digits, name):
        x, y = digits
        for kind, more in (
            (StackedAutoencoderTransformer, {"steps": 9, "tune_steps": 9}),
            (StackedAutoencoderClassifier, SHORT),
        ):
            how = {**more, "random_state": 0}
            named = kind(corruption=name, **how).fit(x, y)
            asked = kind(corruption=CORRUPTIONS[name](), **how).fit(x, y)
            assert_identical(named.network_.parameters, asked.network_.parameters)
            plain = kind(**how).fit(x, y)
            assert (plain.network_.parameters["W1"] != named.network_.parameters["W1"]).any()

    def test_tuning_alone(self, digits):
        x, _ = digits
        whole = StackedAutoencoderTransformer((30, 8), steps=0, tune_steps=600, random_state=0)
        error = whole.fit(x).score_samples(x).mean()
        assert whole.histories_ == []
        assert whole.history_.steps[-1] == 600
        layers = StackedAutoencoderTransformer((30, 8), steps=300, random_state=0).fit(x)
        assert error < layers.score_samples(x).mean()
        errors = []
        for _ in range(3):
            whole.partial_fit(x)
            assert whole.history_.steps == [18]
            errors.append(whole.score_samples(x).mean())
        assert error > errors[0] > errors[2]

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"activation": "rely"}, "activation: expected one of .*did you mean 'relu'"),
            ({"optimizer": "adm"}, "optimizer: expected one of .*did you mean 'adam'"),
            ({"corruption": 0.3}, "corruption: expected None, a name or"),
            ({"corruption": "mask"}, "corruption: expected one of .*did you mean 'masking'"),
            ({"loss": "poisson"}, "loss: expected one of .* with output 'linear', got 'poisson'"),
            ({"tune_steps": -1}, "tune_steps: expected an integer of at least 0"),
            ({"tune_steps": 9, "tune_epochs": 1}, "tune_epochs: expected None beside tune_steps"),
            ({"epochs": (1, 2)}, "epochs: expected one value, or one for each of 1 layers"),
            ({"tune_learning_rate": 0}, "tune_learning_rate: expected a positive number"),
            ({"steps": 0}, "steps: expected an integer of at least 1"),
        ],
    )
    def test_wrong_ones(self, digits, parameters, message):
        for kind in (StackedAutoencoderTransformer, StackedAutoencoderOutlierDetector):
            with pytest.raises(DataError, match=message):
                kind(**parameters).fit(digits[0])


class TestCurves:
    def test_they_are_there_by_default(self, digits):
        x, y = digits
        classifier = StackedAutoencoderClassifier(random_state=0).fit(x, y)
        curve = classifier.loss_curve_
        assert len(curve) == 20
        assert curve[-1] < 0.2 * curve[0]
        assert classifier.history_.accuracy[-1] > 0.95
        assert len(classifier.histories_[0].loss) == 4
        transformer = StackedAutoencoderTransformer((20, 10), random_state=0).fit(x)
        assert [len(curve) for curve in transformer.loss_curve_] == [20, 20]


@pytest.mark.parametrize("kind", [StackedAutoencoderTransformer, StackedAutoencoderOutlierDetector])
class TestWhatIsRestored:
    """By `output`, `dropout` and `sample_weight`, as the model does it by itself."""

    def test_rows_from_0_to_1_by_a_sigmoid(self, digits, kind):
        x = digits[0] / 16
        weight = np.arange(len(x)) % 3.0
        losses, outputs = ["binary_cross_entropy", "squared_error"], ["sigmoid", "linear"]
        shared = {"steps": 30, "batch_size": 50, "eval_every": 0}
        net = StackedAutoencoder([64, 20, 10], output=outputs, seed=3)
        rows = {"sample_weight": weight[weight > 0], "learning_rate": 1e-3, **shared}
        net.pretrain(x[weight > 0], loss=losses, dropout=[0.2, 0.1], **rows)
        net.finetune_autoencoder(x[weight > 0], loss=losses[0], dropout=[0.2, 0.1, 0.2], **rows)
        how = {"learning_rate": 1e-3, "tune_learning_rate": 1e-3, "tune_steps": 30, **shared}
        how |= {"loss": losses, "output": outputs, "dropout": [0.2, 0.1], "random_state": 3}
        found = kind((20, 10), standardize=False, **how).fit(x, sample_weight=weight)
        assert_identical(found.network_.parameters, net.parameters)
        back = found.network_.reconstruct(x)
        np.testing.assert_array_equal(back, net.reconstruct(x))
        assert 0 < back.min() < back.max() < 1
        if kind is StackedAutoencoderOutlierDetector:  # of the rows that count
            outliers = found.predict(x[weight > 0]) == -1
            assert outliers.sum() == round(0.1 * len(outliers))
        with pytest.raises(DataError, match=r"output: expected .*'sigmoid', 'linear'.* as before"):
            found.set_params(output="sigmoid").partial_fit(x)

    def test_standardized_columns_are_not_restored_by_it(self, digits, kind):
        with pytest.raises(DataError, match="standardize: expected False with output 'sigmoid'"):
            kind(output="sigmoid").fit(digits[0])

    def test_a_pickle_of_a_version_without_them(self, digits, kind):
        estimator = kind(20, steps=9).fit(digits[0])
        state = dict(vars(estimator))
        for name in ("output", "dropout"):
            del state[name]
        older = kind.__new__(kind)
        older.__setstate__(state)
        assert older.get_params() == estimator.get_params()
        older.partial_fit(digits[0])


class TestRefused:
    @pytest.mark.parametrize("rate", [lambda step: None, Cosine(0.1, warmup=9)])
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            (StackedAutoencoderClassifier, {"pretrain_steps": 5}),
            (StackedAutoencoderRegressor, {"pretrain_steps": 5, "early_stopping": True}),
            (StackedAutoencoderTransformer, {"tune_steps": 5}),
            (StackedAutoencoderOutlierDetector, {"tune_steps": 5}),
        ],
    )
    def test_a_second_rate_that_cannot_begin(self, digits, kind, options, rate):
        """Before the first training: whatever it would have been for has not been done."""
        name = "tune_learning_rate" if "tune_steps" in options else "learning_rate"
        seen, options = [], {**options, name: rate}
        estimator = kind((6, 4), steps=5, eval_every=1, callbacks=[seen.append], **options)
        with pytest.raises(DataError, match=rf"^({name}\(0\)|warmup): expected"):
            estimator.fit(*digits)
        assert seen == []

    """A fit that is refused, or fails, leaves the estimator as it was."""

    @pytest.mark.parametrize("wrong", [["Rome", "Oslo"], pd.to_datetime(["2020-01-01"] * 2)])
    def test_a_column_that_holds_no_numbers(self, wrong):
        x = pd.DataFrame({"age": [1.0, 2.0], "where": wrong})
        with pytest.raises(DataError, match="in column 'where'"):
            StackedAutoencoderTransformer().fit(x)

    @pytest.mark.parametrize("method", ["fit", "partial_fit"])
    def test_a_fitted_one_stays_fitted(self, digits, method):
        x, y = digits
        for estimator in (
            StackedAutoencoderClassifier(**SHORT).fit(x, y),
            StackedAutoencoderTransformer(steps=20).fit(x),
            StackedAutoencoderOutlierDetector(steps=20).fit(x),
            StackedAutoencoderRegressor(**SHORT).fit(x, y),
        ):
            before = vars(estimator).copy()
            bad = [(x[:, :5] * np.nan, y)]
            if hasattr(estimator, "score"):
                bad.append((x, np.where(y == 0, np.nan, y)))
            for bad_x, bad_y in bad:
                with pytest.raises(ValueError, match=r"NaN|features"):
                    getattr(estimator, method)(bad_x, bad_y)
                assert vars(estimator).keys() == before.keys()
                assert all(vars(estimator)[name] is before[name] for name in before)

    def test_a_new_one_stays_new(self, digits):
        classifier = StackedAutoencoderClassifier(steps=0)
        with pytest.raises(DataError, match="steps"):
            classifier.fit(*digits)
        assert not [name for name in vars(classifier) if name.endswith("_")]
        with pytest.raises(NotFittedError):
            classifier.predict(digits[0])

    def test_an_error_on_the_way(self, digits):
        x, y = digits
        classifier = StackedAutoencoderClassifier(**SHORT).fit(x, y)
        before = classifier.predict_proba(x)

        def fail(training):
            if training.title == "fine-tuning":
                raise RuntimeError("on the way")

        classifier.set_params(callbacks=[fail], units=7)
        with pytest.raises(RuntimeError, match="on the way"):
            classifier.fit(x[:, :9], y % 2)
        assert classifier.n_features_in_ == 64
        np.testing.assert_array_equal(classifier.predict_proba(x), before)


class TestSampleWeight:
    def test_rows_of_weight_0_are_left_out(self, digits):
        x, y = digits
        weight = (np.arange(len(y)) % 3 > 0).astype(float)
        weighted = StackedAutoencoderClassifier(**SHORT).fit(x, y, sample_weight=weight)
        without = StackedAutoencoderClassifier(**SHORT).fit(x[weight > 0], y[weight > 0])
        assert_identical(weighted.network_.parameters, without.network_.parameters)

    def test_a_heavy_class_wins(self, digits):
        x, y = digits
        rng = np.random.default_rng(0)
        noise = rng.random(x.shape)  # nothing to tell classes by
        counts = []
        for weight in (1, 20):
            classifier = StackedAutoencoderClassifier(**SHORT)
            classifier.fit(noise, y, sample_weight=np.where(y == 4, weight, 1))
            counts.append((classifier.predict(noise) == 4).mean())
        assert counts[1] > 0.9 > 0.7 > counts[0]

    def test_nothing_left(self, digits):
        x, y = digits
        with pytest.raises(DataError, match="expected some weight above zero, got none"):
            StackedAutoencoderClassifier().fit(x, y, sample_weight=np.zeros(len(y)))


@pytest.fixture(scope="module")
def rare(digits):
    """Half of the digits, but four of each from 5 up alone, and the other half."""
    x, x_test, y, y_test = train_test_split(
        *digits, test_size=0.5, stratify=digits[1], random_state=0
    )
    nth = np.array([(y[:at] == label).sum() for at, label in enumerate(y)])
    kept = (y < 5) | (nth < 4)
    return x[kept], y[kept], x_test, y_test


class TestClassWeight:
    def test_rare_classes_are_found(self, rare):
        """Balanced accuracy rises by 0.08 on average over five splits, at least by 0.07."""
        x, y, x_test, y_test = rare
        scores = [
            balanced_accuracy_score(
                y_test,
                StackedAutoencoderClassifier(random_state=0, class_weight=weight)
                .fit(x, y)
                .predict(x_test),
            )
            for weight in (None, "balanced")
        ]
        assert scores[1] > scores[0] + 0.05

    @pytest.mark.parametrize("labels", [range(10), list("abcdefghij"), np.arange(10) * 2.0])
    def test_what_it_stands_for(self, rare, labels):
        """Sample weights, as scikit-learn computes them; unlabelled rows have none."""
        x, y = rare[0], np.array(labels)[rare[1]]
        some = np.arange(len(y)) % 5 > 0
        asked = np.where(some, y.astype(object), -1)
        if isinstance(labels, range):
            asked = asked.astype(int)
        given = {y[0]: 3.0, y[-1]: 0.5}
        for weight in ("balanced", given):
            expected = np.ones(len(y))
            expected[some] = compute_sample_weight(
                {**dict.fromkeys(labels, 1.0), **weight} if weight is given else weight, y[some]
            )
            ours = StackedAutoencoderClassifier(**SHORT, unlabelled=-1, class_weight=weight)
            theirs = StackedAutoencoderClassifier(**SHORT, unlabelled=-1)
            ours.fit(x, asked)
            theirs.fit(x, asked, sample_weight=expected)
            assert_identical(ours.network_.parameters, theirs.network_.parameters)

    def test_beside_sample_weights(self, rare):
        """Classes count alike by the weights of their rows, and a class may weigh nothing."""
        x, y = rare[:2]
        own = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
        total = np.bincount(y, own)
        for weight, each in (
            ("balanced", total.sum() / (10 * total)),
            ({4: 0}, np.arange(10) != 4),
        ):
            ours = StackedAutoencoderClassifier(**SHORT, class_weight=weight)
            theirs = StackedAutoencoderClassifier(**SHORT)
            ours.fit(x, y, sample_weight=own)
            theirs.fit(x, y, sample_weight=own * each[y])
            if weight == "balanced":
                assert_identical(ours.network_.parameters, theirs.network_.parameters)
            else:
                assert ours.classes_.tolist() == [*range(10)]
                assert not (ours.predict(x) == 4).any()

    def test_partial_fit(self, rare):
        x, y = rare[:2]
        heavy = StackedAutoencoderClassifier(random_state=0, class_weight={7: 30.0})
        plain = StackedAutoencoderClassifier(random_state=0)
        for classifier in (heavy, plain):
            for _ in range(10):
                classifier.partial_fit(x, y, classes=range(10))
        assert (heavy.predict(x) == 7).sum() > (plain.predict(x) == 7).sum()
        with pytest.raises(DataError, match="class_weight: expected None or a dict for partial_"):
            StackedAutoencoderClassifier(class_weight="balanced").partial_fit(x, y, range(10))

    @pytest.mark.parametrize(
        ("weight", "message"),
        [
            ("even", "class_weight: expected None, 'balanced' or a dict of weights, got 'even'"),
            ([1, 2], r"class_weight: expected None, 'balanced' or a dict of weights, got \[1, 2\]"),
            ({11: 1}, r"class_weight: expected labels of \[0, .*, 9\], got \[11\]"),
            ({3: -1}, "class_weight: expected a number of at least 0, got -1"),
            ({3: "x"}, "class_weight: expected a number, got 'x'"),
            (dict.fromkeys(range(10), 0), "expected some weight above zero, got none"),
        ],
    )
    def test_wrong_ones(self, digits, weight, message):
        with pytest.raises(DataError, match=message):
            StackedAutoencoderClassifier(class_weight=weight).fit(*digits)


@pytest.fixture(scope="module")
def rows():
    """Rows in three dimensions of ten, of any size, and 20 that are not."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(620, 3)) @ rng.normal(size=(3, 10))
    x[:20] += 2 * rng.normal(size=(20, 10))
    return x * 10.0 ** (np.arange(10) % 5 - 2) + np.arange(10)


@pytest.fixture(scope="module")
def detector(rows):
    return StackedAutoencoderOutlierDetector(contamination=20 / 620, random_state=0).fit(rows)


class TestOutlierDetector:
    def test_it_finds_them(self, rows, detector):
        labels = detector.predict(rows)
        assert labels.dtype == int
        assert (labels == -1).sum() == 20
        assert (labels[:20] == -1).sum() >= 18
        np.testing.assert_array_equal(clone(detector).fit_predict(rows), labels)

    def test_a_class_held_out(self, digits):
        """Means over the ten classes, beside two of scikit-learn's: docs/estimators.md."""
        from sklearn.ensemble import IsolationForest
        from sklearn.metrics import roc_auc_score

        x, y = digits
        found = {}
        for name, detector in (
            ("ours", StackedAutoencoderOutlierDetector(8, random_state=0)),
            ("forest", IsolationForest(random_state=0)),
        ):
            areas = []
            for digit in (0, 4, 6, 8):
                normal = np.flatnonzero(y != digit)
                test = np.concatenate([normal[::4], np.flatnonzero(y == digit)])
                scores = clone(detector).fit(np.delete(x[normal], np.s_[::4], axis=0))
                areas.append(roc_auc_score(y[test] != digit, scores.score_samples(x[test])))
            found[name] = np.mean(areas)
        assert found["ours"] > max(0.88, found["forest"] + 0.1)

    def test_what_is_what(self, rows, detector):
        scores = detector.score_samples(rows)
        standard = detector._standard
        back = detector._network.reconstruct(standard.apply(rows, "float32"))
        errors = (standard.apply(rows, "float64") - back) ** 2
        np.testing.assert_allclose(detector.feature_errors(rows), errors, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(scores, -errors.mean(axis=1), rtol=1e-3)
        assert detector.offset_ == np.percentile(scores, 100 * 20 / 620)
        assert detector.threshold_ == -detector.offset_
        np.testing.assert_array_equal(detector.decision_function(rows), scores - detector.offset_)
        np.testing.assert_array_equal(
            detector.predict(rows) == -1, detector.decision_function(rows) < 0
        )
        own = detector.network_.feature_errors(rows)
        np.testing.assert_allclose(own, errors * standard.unit**2, rtol=0.01, atol=1e-3)

    @pytest.mark.parametrize("column", range(10))
    def test_where_a_row_is_unlike_the_others(self, rows, detector, column):
        odd = rows[20:21].copy()
        odd[0, column] += 8 * rows[:, column].std()
        assert detector.predict(odd) == -1
        assert detector.feature_errors(odd).argmax() == column

    def test_what_has_never_varied(self, rows):
        x = np.hstack([rows, np.full((620, 1), 7.0)])
        detector = StackedAutoencoderOutlierDetector(random_state=0).fit(x)
        odd = x[20:21].copy()
        assert detector.predict(odd) == 1
        odd[0, 10] = 20
        assert detector.predict(odd) == -1

    def test_the_width_of_the_code(self, rows):
        for n_features, units in ((10, 4), (4, 2), (1, 1)):
            detector = StackedAutoencoderOutlierDetector(steps=1).fit(rows[:, :n_features])
            assert detector.network_.sizes == (n_features, units)

    def test_sparse_rows_and_pixels(self, digits):
        x = digits[0]
        detector = StackedAutoencoderOutlierDetector(random_state=0)
        dense = clone(detector).fit(x)
        sparse = clone(dense).set_params(standardize=False).fit(scipy.sparse.csr_array(x))
        plain = clone(dense).set_params(standardize=False).fit(x)
        pixels = (16 * x).astype(np.uint8)
        scaled = clone(detector).set_params(scale=1 / 16).fit(pixels)
        for other, values in ((sparse, scipy.sparse.csr_array(x)), (scaled, pixels)):
            np.testing.assert_allclose(
                other.feature_errors(values), plain.feature_errors(x), rtol=1e-2, atol=1e-5
            )

    def test_a_stream(self, rows):
        detector = StackedAutoencoderOutlierDetector(random_state=0, contamination=0.05)
        for _ in range(60):
            detector.partial_fit(rows[20:])
        assert (detector.predict(rows[20:]) == -1).sum() == 30
        assert (detector.predict(rows[:20]) == -1).sum() >= 17

    @pytest.mark.parametrize("value", [0, 0.6, -0.1, "auto", None, np.nan])
    def test_contamination(self, rows, value):
        detector = StackedAutoencoderOutlierDetector(steps=1).fit(rows)
        before = vars(detector).copy()
        detector.set_params(contamination=value)
        for method in (detector.fit, detector.partial_fit):
            with pytest.raises(DataError, match="contamination: expected"):
                method(rows[:, :5])
        assert vars(detector) == {**before, "contamination": value}

    def test_onnx(self, rows, detector, tmp_path):
        runtime = pytest.importorskip("onnxruntime")
        session = runtime.InferenceSession(detector.export_onnx(tmp_path / "detector.onnx"))
        x = rows.astype(np.float32)
        (back,) = session.run(["reconstruction"], {"x": x})
        found = ((x - back) ** 2 / detector._standard.unit**2).mean(axis=1)
        np.testing.assert_allclose(-found, detector.score_samples(x), rtol=0.01, atol=1e-4)
        skl2onnx = pytest.importorskip("skl2onnx")
        with pytest.raises(DataError, match=r"expected a transformer.*got a detector"):
            skl2onnx.to_onnx(detector, x[:1])


class TestEarlyStopping:
    def test_it_stops_with_the_best_weights(self, digits):
        x, y = digits
        classifier = StackedAutoencoderClassifier(
            steps=10**6, early_stopping=True, patience=3, random_state=0, learning_rate=0.01
        ).fit(x, y)
        history = classifier.history_
        assert history.steps[-1] < 10**5
        assert len(history.loss) - 1 - int(np.argmin(history.loss)) == 3
        _, aside = train_test_split(np.arange(len(y)), test_size=0.1, stratify=y, random_state=0)
        loss, _ = classifier.network_.evaluate(x[aside], y[aside], loss="cross_entropy")
        assert loss == pytest.approx(min(history.loss), rel=1e-6)


class TestPartialFit:
    def test_classifier(self, digits):
        x, y = digits
        classifier = StackedAutoencoderClassifier(random_state=0)
        for _ in range(15):
            for part in np.array_split(np.arange(len(y)), 4):
                classifier.partial_fit(x[part], y[part], classes=range(10))
        assert classifier.score(x, y) > 0.95

    def test_one_pass_with_moments_kept(self, digits):
        x, y = digits
        classifier = StackedAutoencoderClassifier(random_state=0, batch_size=50, **PLAIN)
        classifier.partial_fit(x, y, classes=range(10)).partial_fit(x, y)
        net = StackedAutoencoder([64, 100], 10, seed=0)
        net.finetune(x, y, steps=72, batch_size=50, loss="cross_entropy")
        assert_identical(classifier.network_.parameters, net.parameters)

    def test_transformer(self, digits):
        x, _ = digits
        transformer = StackedAutoencoderTransformer(units=(32, 16), random_state=0)
        errors = []
        for _ in range(6):
            for part in np.array_split(x, 3):
                transformer.partial_fit(part)
            errors.append(transformer.score_samples(x).mean())
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 0.7 * errors[0]

    def test_classes(self, digits):
        x, y = digits
        with pytest.raises(DataError, match="classes: expected all labels there will be, got none"):
            StackedAutoencoderClassifier().partial_fit(x, y)
        classifier = StackedAutoencoderClassifier().partial_fit(x, y, classes=range(10))
        with pytest.raises(DataError, match=r"classes: expected \[0, .* as before, got \[0, 1\]"):
            classifier.partial_fit(x, y, classes=[0, 1])
        with pytest.raises(DataError, match=r"y: expected labels of .*, got \[11\]"):
            classifier.partial_fit(x, np.where(y == 9, 11, y))

    def test_what_is_refused_leaves_nothing(self, digits):
        x, y = digits
        classifier = StackedAutoencoderClassifier()
        with pytest.raises(DataError, match="y: expected labels of"):
            classifier.partial_fit(x, y, classes=[0, 1])
        assert not hasattr(classifier, "network_")
        classifier.partial_fit(x[:, :50], y, classes=range(10))
        transformer = StackedAutoencoderTransformer(batch_size=0)
        with pytest.raises(DataError, match="batch_size: expected an integer"):
            transformer.partial_fit(x)
        assert not hasattr(transformer, "network_")

    def test_another_network(self, digits):
        x, y = digits
        classifier = StackedAutoencoderClassifier(20).partial_fit(x, y, classes=range(10))
        with pytest.raises(DataError, match=r"units: expected \(20,\) as before, got \(30,\)"):
            classifier.set_params(units=30).partial_fit(x, y)
        transformer = StackedAutoencoderTransformer(20).partial_fit(x)
        with pytest.raises(DataError, match="dtype: expected float32 as before, got float64"):
            transformer.set_params(dtype="float64").partial_fit(x)
        transformer.set_params(dtype="float32", standardize=False)
        with pytest.raises(DataError, match="standardize: expected True as before, got False"):
            transformer.partial_fit(x)
        transformer.set_params(standardize=True, scale=0.1)
        with pytest.raises(DataError, match=r"scale: expected None as before, got 0\.1"):
            transformer.partial_fit(x.astype(np.uint8))

    @pytest.mark.parametrize(
        "estimator",
        [
            StackedAutoencoderClassifier(random_state=0),
            StackedAutoencoderTransformer((20, 10), random_state=0),
        ],
    )
    def test_a_pickle_goes_on_as_if_it_were_none(self, digits, estimator):
        x, y = digits
        options = {"classes": range(10)} if hasattr(estimator, "predict") else {}
        fitted = clone(estimator).partial_fit(x, y, **options)
        copy = pickle.loads(pickle.dumps(fitted))
        for each in (fitted, copy):
            each.partial_fit(x, y)
        assert_identical(fitted.network_.parameters, copy.network_.parameters)


class TestWithTheRestOfScikitLearn:
    def test_pipeline_and_cross_validation(self, digits):
        x, y = digits
        model = make_pipeline(MinMaxScaler(), StackedAutoencoderClassifier(random_state=0))
        assert cross_val_score(model, x, y, cv=3).min() > 0.85

    def test_features_for_another_classifier(self, digits):
        from sklearn.linear_model import LogisticRegression

        x, y = digits
        encoder = StackedAutoencoderTransformer(units=48, random_state=0)
        model = make_pipeline(encoder, LogisticRegression(max_iter=2000))
        assert cross_val_score(model, x, y, cv=3).min() > 0.8

    def test_grid_search_in_processes(self, digits):
        x, y = digits
        grid = {"units": [(20,), (50, 20)], "learning_rate": [1e-3, 1e-2]}
        search = GridSearchCV(
            StackedAutoencoderClassifier(**SHORT), grid, cv=2, n_jobs=2, error_score="raise"
        ).fit(x[:600], y[:600])
        alone = GridSearchCV(StackedAutoencoderClassifier(**SHORT), grid, cv=2)
        alone.fit(x[:600], y[:600])
        np.testing.assert_array_equal(
            search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
        )

    @pytest.mark.parametrize(
        "estimator",
        [
            StackedAutoencoderClassifier(**SHORT),
            StackedAutoencoderTransformer(units=(20, 10), steps=50, random_state=0),
            StackedAutoencoderTransformer((20, 10), steps=0, tune_steps=50, random_state=0),
            StackedAutoencoderOutlierDetector(steps=50, random_state=0),
            StackedAutoencoderRegressor(**SHORT),
        ],
    )
    @pytest.mark.parametrize("way", ["pickle", "joblib"])
    def test_pickle(self, digits, estimator, way):
        x, y = digits
        fitted = clone(estimator).fit(x, y)
        if way == "pickle":
            copy = pickle.loads(pickle.dumps(fitted))
        else:
            file = io.BytesIO()
            joblib.dump(fitted, file)
            copy = joblib.load(io.BytesIO(file.getvalue()))
        for method in ("predict_proba", "predict", "transform", "score_samples"):
            if hasattr(fitted, method):
                np.testing.assert_array_equal(getattr(copy, method)(x), getattr(fitted, method)(x))
        if hasattr(fitted, "inverse_transform"):
            codes = fitted.transform(x)
            np.testing.assert_array_equal(
                copy.inverse_transform(codes), fitted.inverse_transform(codes)
            )
        copy.partial_fit(x, y)  # and it can go on

    def test_frames(self, digits):
        x, y = digits
        frame = pd.DataFrame(x, columns=[f"pixel {i}" for i in range(64)])
        series = pd.Series(np.array(list("abcdefghij"))[y])
        classifier = StackedAutoencoderClassifier(**SHORT).fit(frame, series)
        assert classifier.feature_names_in_[0] == "pixel 0"
        assert set(classifier.predict(frame)) <= set("abcdefghij")
        with pytest.raises(ValueError, match="feature names"):
            classifier.predict(frame[frame.columns[::-1]])
        transformer = StackedAutoencoderTransformer(units=3, steps=10, random_state=0)
        codes = transformer.set_output(transform="pandas").fit_transform(frame)
        assert codes.columns.tolist() == [f"stackedautoencodertransformer{i}" for i in range(3)]
        assert codes.index.equals(frame.index)

    @pytest.mark.parametrize("container", [scipy.sparse.csr_matrix, scipy.sparse.csr_array])
    def test_sparse_matrices(self, digits, container):
        x, y = digits
        x = np.where(x < 0.5, 0, x).astype(np.float32)
        for estimator in (
            StackedAutoencoderClassifier(**SHORT),
            StackedAutoencoderTransformer(steps=50, random_state=0, standardize=False),
        ):
            dense = clone(estimator).fit(x, y)
            sparse = clone(estimator).fit(container(x), y)
            for method in ("predict_proba", "transform", "score_samples"):
                if hasattr(dense, method):
                    np.testing.assert_allclose(
                        getattr(sparse, method)(container(x)),
                        getattr(dense, method)(x),
                        rtol=1e-3,
                        atol=1e-5,
                    )

    def test_sparse_matrices_are_never_dense(self):
        """A matrix that would take 8 TB."""
        rows, columns = 10**6, 2**20
        rng = np.random.default_rng(0)
        x = scipy.sparse.csr_matrix(
            (
                np.ones(rows, np.float32),
                rng.integers(0, columns, rows).astype(np.int32),
                np.arange(rows + 1, dtype=np.int32),
            ),
            shape=(rows, columns),
        )
        y = np.arange(rows) % 2
        classifier = StackedAutoencoderClassifier(2, pretrain_steps=0, steps=3, random_state=0)
        assert classifier.fit(x, y).predict(x).shape == (rows,)

    def test_pixels(self, digits):
        x, y = digits
        pixels = (16 * x).astype(np.uint8)
        ours = StackedAutoencoderClassifier(**SHORT, scale=1 / 16).fit(pixels, y)
        floats = StackedAutoencoderClassifier(**SHORT).fit(x, y)
        np.testing.assert_allclose(
            ours.predict_proba(pixels), floats.predict_proba(x), rtol=1e-3, atol=1e-5
        )


def test_callbacks(digits):
    x, y = digits
    seen = []
    classifier = StackedAutoencoderClassifier(
        **SHORT, callbacks=[lambda training: seen.append(training.title)]
    )
    classifier.fit(x, y)
    assert seen == ["autoencoder 1 (64 → 100)"] * 3 + ["fine-tuning"] * 6


class TestOnnx:
    runtime = staticmethod(lambda path: pytest.importorskip("onnxruntime").InferenceSession(path))

    def test_export(self, digits, tmp_path):
        pytest.importorskip("onnx")
        x, y = digits
        x = (x / 1000).astype(np.float32)
        classifier = StackedAutoencoderClassifier(**{**SHORT, "standardize": True}).fit(x, y)
        session = self.runtime(classifier.export_onnx(tmp_path / "classifier.onnx"))
        (p,) = session.run(["probabilities"], {"x": x})
        np.testing.assert_allclose(p, classifier.predict_proba(x), atol=1e-5)
        encoder = StackedAutoencoderTransformer((20, 8), steps=50).fit(x)
        session = self.runtime(encoder.export_onnx(tmp_path / "encoder.onnx"))
        (codes,) = session.run(["code"], {"x": x})
        np.testing.assert_allclose(codes, encoder.transform(x), atol=1e-5)
        memory = io.BytesIO()
        assert encoder.export_onnx(memory) is memory
        assert memory.getvalue() == (tmp_path / "encoder.onnx").read_bytes()

    @pytest.mark.parametrize(
        "labels",
        [
            range(10),
            [f"digit {i}" for i in range(10)],
            np.arange(10) - 3.0,
            np.arange(10, dtype=np.uint8),
            np.arange(10) % 2 == 0,
        ],
        ids=["int", "str", "float", "uint8", "bool"],
    )
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_a_pipeline(self, digits, labels, dtype):
        skl2onnx = pytest.importorskip("skl2onnx")
        x, y = digits[0].astype(np.float32) * 16, np.array(labels)[digits[1]]
        classifier = StackedAutoencoderClassifier((30, 20), random_state=0, dtype=dtype)
        encoder = StackedAutoencoderTransformer(40, steps=100, random_state=0)
        for steps in ([classifier], [encoder, clone(classifier)]):
            model = make_pipeline(StandardScaler(), *steps).fit(x, y)
            file = skl2onnx.to_onnx(model, x[:1])
            label, p = self.runtime(file.SerializeToString()).run(None, {"X": x})
            np.testing.assert_array_equal(label, model.predict(x))
            np.testing.assert_allclose(p, model.predict_proba(x), atol=1e-5)
        model = make_pipeline(StandardScaler(), encoder).fit(x)
        file = skl2onnx.to_onnx(model, x[:1])
        (codes,) = self.runtime(file.SerializeToString()).run(None, {"X": x})
        np.testing.assert_allclose(codes, model.transform(x), rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize(
        "labels", [np.array(["2001", "2002"], "M8[D]"), np.array([0, 2**63], np.uint64)]
    )
    def test_labels_that_onnx_lacks(self, digits, labels):
        skl2onnx = pytest.importorskip("skl2onnx")
        x, y = digits
        classifier = StackedAutoencoderClassifier(**SHORT).fit(x, labels[y % 2])
        with pytest.raises(DataError, match="classes_: expected str or numbers that int64 holds"):
            skl2onnx.to_onnx(classifier, x[:1].astype(np.float32))


def test_without_scikit_learn():
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "try:\n    import sae_fast.sklearn\n"
        "except ImportError as error:\n    print(error)"
    )
    assert "pip install 'sae-fast[sklearn]'" in output_of(code)
