# SPDX-License-Identifier: BSD-3-Clause
"""Training in pieces, weighted samples, settings per layer, and what is scored per sample."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse
from helpers import assert_identical, core_input, core_optimizer
from sae_fast import Autoencoder, DataError, StackedAutoencoder, _core, activations, load
from sae_fast.base.streams import Purpose, SampleOrder
from sae_fast.optimizers import SGD, Adam
from sae_fast.training.optimizers import Rule

SIZES = [12, 8, 4]


@pytest.fixture(params=["dense", "sparse"])
def data(request):
    rng = np.random.default_rng(0)
    x = rng.random((70, 12))
    if request.param == "sparse":
        x *= rng.random(x.shape) < 0.2
    return x, rng.integers(0, 3, 70)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_trainings_are_one(data, dtype):
    x, y = data
    autoencoders = [Autoencoder(12, 4, dtype=dtype) for _ in range(2)]
    nets = [StackedAutoencoder(SIZES, 3, dtype=dtype) for _ in range(2)]
    pieces = (((40, False),), ((13, False), (7, True), (20, True)))
    for ae, net, calls in zip(autoencoders, nets, pieces, strict=True):
        for steps, continued in calls:
            # an epoch is no whole number of batches
            options = {"steps": steps, "continued": continued, "batch_size": 20}
            ae.fit(x, **options)
            net.finetune(x, y, **options)
    assert_identical(autoencoders[0].parameters, autoencoders[1].parameters)
    assert_identical(nets[0].parameters, nets[1].parameters)


def test_without_continued_moments_are_fresh(data):
    x, _ = data
    parameters = []
    for continued in (False, True):
        ae = Autoencoder(12, 4)
        ae.fit(x, steps=10, batch_size=20)
        ae.fit(x, steps=10, batch_size=20, continued=continued)
        parameters.append(ae.parameters["W_enc"])
    assert not np.array_equal(*parameters)
    first = Autoencoder(12, 4)
    first.fit(x, steps=10, batch_size=20, continued=True)  # nothing to go on with
    second = Autoencoder(12, 4)
    second.fit(x, steps=10, batch_size=20)
    assert_identical(first.parameters, second.parameters)


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("sizes", [(20, 10, 35), (35, 70, 1)])
def test_other_batch_sizes_go_on_in_the_same_shuffle(data, sizes, pickled):
    """No sample is left out or visited twice between one training and the next."""
    x, _ = data
    whole, visited = SampleOrder(70, 0, Purpose.PRETRAIN_ORDER, 1).batches(0, 500, 1), 0
    ae, replayed = (Autoencoder(12, 4, init="he") for _ in range(2))
    for continued, size in enumerate(sizes):
        options = {"continued": continued > 0, "learning_rate": 1e-3}
        ae.fit(x, steps=3, batch_size=size, **options)
        batches = whole[visited : visited + 3 * size].reshape(3, size)
        replayed.fit(x, batches=batches, **options)
        visited += 3 * size
        assert_identical(ae.parameters, replayed.parameters)
        ae = pickle.loads(pickle.dumps(ae)) if pickled else ae


def test_trainings_that_take_turns_keep_their_states(data):
    """Each goes on with its own moments, from where the other has left the layers."""
    x, y = data
    options = {"steps": 10, "batch_size": 20}
    net, alone = StackedAutoencoder([12, 8], 3), Autoencoder(12, 8)
    net.pretrain(x, **options)
    alone.fit(x, **options)
    net.finetune(x, y, steps=5)
    assert not np.array_equal(net.parameters["W1"], alone.parameters["W_enc"])
    alone.parameters = {"W_enc": net.parameters["W1"], "b_enc": net.parameters["b1"]}
    net.pretrain(x, continued=True, **options)
    alone.fit(x, continued=True, **options)
    assert_identical(net.autoencoders[0].parameters, alone.parameters)
    tuned = net.finetune_autoencoder(
        x, continued=True, **options
    )  # its first: nothing to go on with
    assert tuned.steps == [10]
    assert net._unrolled._state.steps_done == 10
    assert net._state.steps_done == 5


def test_a_model_from_a_file_has_no_state_to_go_on_from(data, tmp_path):
    """A fresh one has neither, and has lost nothing; a pickle keeps it."""
    x, _ = data
    net = StackedAutoencoder(SIZES)
    net.pretrain(x, steps=2, batch_size=20)
    loaded = load(net.save(tmp_path / "net"))
    with pytest.warns(UserWarning, match="continued: expected a model that has the state"):
        loaded.pretrain(x, steps=2, batch_size=20, continued=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded.pretrain(x, steps=2, batch_size=20, continued=True)
        for model in (StackedAutoencoder(SIZES), net, pickle.loads(pickle.dumps(net))):
            model.pretrain(x, steps=2, batch_size=20, continued=True)
        pickle.loads(pickle.dumps(StackedAutoencoder(SIZES))).pretrain(
            x, steps=2, batch_size=20, continued=True
        )


def test_state_of_another_network():
    networks = [_core.Network_float32([n, 3], [_core.Activation.linear]) for n in (5, 500)]
    optimizer = core_optimizer()
    with pytest.raises(ValueError, match="state of another network or optimizer"):
        _core.Trainer_float32(
            networks[0],
            optimizer,
            _core.OptimizerState_float32(networks[1], optimizer),
            core_input(np.ones((4, 5), np.float32), "float32", "dense"),
            np.zeros(4, np.int64),
            None,
            corruption=None,
            dropout=(),
            loss=_core.Loss.cross_entropy,
            weight_decay=0.0,
            batch_size=2,
        )


class TestSampleWeight:
    def train(self, data, **options):
        x, y = data
        net = StackedAutoencoder(SIZES, 3, init="he", dtype="float64")
        net.finetune(x, y, steps=30, loss="cross_entropy", **options)
        return net.parameters

    def test_ones_change_nothing(self, data):
        options = {"batch_size": 20}
        weighted = self.train(data, sample_weight=np.ones(70), **options)
        assert_identical(weighted, self.train(data, **options))

    def test_an_integer_weight_is_a_repetition(self, data):
        """A batch with a sample of weight 3 is one in which it comes three times."""
        weight = np.arange(70) % 4
        batches = np.tile(np.arange(70), (30, 1))
        repeated = np.tile(np.repeat(np.arange(70), weight), (30, 1))
        weighted = self.train(data, sample_weight=weight, batches=batches)
        expected = self.train(data, batches=repeated)
        for name, value in expected.items():
            np.testing.assert_allclose(weighted[name], value, rtol=1e-9, atol=1e-11)

    @pytest.mark.parametrize(
        ("weight", "message"),
        [
            (np.ones(69), r"sample_weight: expected shape \(70,\), got \(69,\)"),
            (np.ones((70, 1)), r"sample_weight: expected shape \(70,\), got \(70, 1\)"),
            (["a"] * 70, "sample_weight: expected numbers, got dtype <U1"),
            (-np.arange(70.0), "at least 0, got -1.0 at position 1"),
            (np.full(70, np.nan), "at least 0, got nan at position 0"),
            (np.zeros(70), "sample_weight: expected some weight above zero, got none"),
        ],
    )
    def test_wrong_weights(self, data, weight, message):
        with pytest.raises(DataError, match=message):
            self.train(data, sample_weight=weight)


class TestPerLayer:
    def test_steps_and_rates(self, data):
        x, _ = data
        net = StackedAutoencoder(SIZES)
        histories = net.pretrain(x, steps=[3, 5], learning_rate=(0.01, 0.002), batch_size=20)
        assert [history.steps for history in histories] == [[3], [5]]
        ae = Autoencoder(12, 8)
        ae.fit(x, steps=3, learning_rate=0.01, batch_size=20)
        assert_identical(ae.parameters, net.autoencoders[0].parameters)

    @pytest.mark.parametrize("name", ["steps", "learning_rate"])
    def test_wrong_number(self, data, name):
        with pytest.raises(DataError, match=f"{name}: expected one value, or one for each of 2"):
            StackedAutoencoder(SIZES).pretrain(data[0], **{name: [1, 2, 3]})

    def test_the_layer_of_a_wrong_rate_is_named(self, data):
        with pytest.raises(DataError, match=r"^learning_rate\[1\]: expected a positive number"):
            StackedAutoencoder(SIZES).pretrain(data[0], learning_rate=[0.1, -1])

    def test_shares_of_decoders_belong_to_an_unrolled_stack(self, data):
        with pytest.raises(DataError, match=r"of 3 hidden layers, 1 of decoders .* got 2$"):
            StackedAutoencoder(SIZES).finetune_autoencoder(data[0], dropout=[0.1, 0.2])

    def test_weight_decay(self, data):
        x, _ = data
        net = StackedAutoencoder(SIZES)
        net.pretrain(x, steps=5, weight_decay=0.5, batch_size=20)
        ae = Autoencoder(12, 8, weight_decay=0.5)
        ae.fit(x, steps=5, batch_size=20)
        assert_identical(ae.parameters, net.autoencoders[0].parameters)
        assert [autoencoder.weight_decay for autoencoder in net.autoencoders] == [0.5, 0.5]


class TestOptimizer:
    def train(self, data, **options):
        ae = Autoencoder(12, 4)
        ae.fit(data[0], steps=10, batch_size=20, **options)
        return ae.parameters

    @pytest.mark.parametrize("form", ["tf1", "torch"])
    def test_a_name_or_a_record(self, data, form):
        expected = self.train(data, adam=form)
        assert_identical(self.train(data, optimizer="adam", adam=form), expected)
        assert_identical(self.train(data, optimizer=Adam(form)), expected)

    @pytest.mark.parametrize("optimizer", ["sgd", SGD(0.9), Adam(), Adam("torch", beta1=0.5)])
    def test_a_form_beside_another_optimizer(self, data, optimizer):
        with pytest.raises(DataError, match=r"^adam: expected none beside optimizer=.*'torch'"):
            self.train(data, optimizer=optimizer, adam="torch")

    @pytest.mark.parametrize("value", [Rule(), Rule])
    def test_the_base_of_all_is_none(self, data, value):
        with pytest.raises(DataError, match=r"^optimizer: expected one of adam, "):
            self.train(data, optimizer=value)

    def test_its_settings_count(self, data):
        default = self.train(data)["W_enc"]
        for settings in ({"beta1": 0.5}, {"beta2": 0.9}, {"epsilon": 0.1}):
            found = self.train(data, optimizer=Adam(**settings))["W_enc"]
            assert not np.array_equal(found, default)

    @pytest.mark.parametrize("value", ["SGD", "Adam", "", None, 3, Adam])
    def test_unknown(self, data, value):
        with pytest.raises(DataError, match=r"optimizer: expected one of adam.*, or .*, got "):
            self.train(data, optimizer=value)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"form": "x"}, "form: expected one of tf1, torch, got 'x'"),
            ({"beta1": 1}, "beta1: expected less than 1, got 1"),
            ({"beta2": -0.1}, "beta2: expected a number of at least 0, got -0.1"),
            ({"epsilon": 0}, "epsilon: expected a positive number, got 0"),
        ],
    )
    def test_settings_out_of_range(self, settings, message):
        with pytest.raises(DataError, match=message):
            Adam(**settings)

    def test_what_callbacks_see(self, data):
        seen = []
        self.train(data, optimizer=Adam(beta1=0.5), callbacks=[lambda t: seen.append(t.settings)])
        assert seen[0] == {
            "loss": "squared_error",
            "weight_decay": 0.0,
            "optimizer": {
                "name": "adam", "form": "tf1", "beta1": 0.5, "beta2": 0.999, "epsilon": 1e-8
            },
            "learning_rate": 1e-3,
            "corruption": None,
            "dropout": [],
            "penalties": [],
            "batch_size": 20,
            "eval_every": 100,
        }  # fmt: skip


class TestActivation:
    @pytest.mark.parametrize("value", ["ReLU", "", None, 3])
    def test_unknown(self, value):
        known = ", ".join(activations.NAMES)
        for name, build in (
            ("activation", lambda **o: Autoencoder(4, 3, **o)),
            ("output", lambda **o: Autoencoder(4, 3, **o)),
            ("activation", lambda **o: StackedAutoencoder([4, 3], **o)),
            ("output", lambda **o: StackedAutoencoder([4, 3], **o)),
            ("activation", lambda activation: StackedAutoencoder([4, 3], activation=[activation])),
            ("output", lambda output: StackedAutoencoder([4, 3, 2], output=("relu", output))),
        ):
            more = r", or sae_fast\.activations\.TopK\(k\)" if name == "activation" else ""
            with pytest.raises(DataError, match=f"^{name}: expected one of {known}{more}, got "):
                build(**{name: value})

    @pytest.mark.parametrize("name", ["activation", "output"])
    def test_one_for_each_layer(self, name):
        for value in (["relu"], ["relu"] * 3, []):
            with pytest.raises(
                DataError, match=f"{name}: expected one value, or one for each of 2"
            ):
                StackedAutoencoder([4, 3, 2], **{name: value})
        net = StackedAutoencoder([4, 3, 2], 2, **{name: ["relu", "selu"]})
        assert getattr(net, name) == ("relu", "selu")
        assert [getattr(ae, name) for ae in net.autoencoders] == ["relu", "selu"]
        assert getattr(StackedAutoencoder([4, 3, 2], **{name: "selu"}), name) == "selu"
        with pytest.raises(AttributeError, match=f"{name}: read-only"):
            setattr(net, name, "relu")

    def test_it_is_what_is_computed(self, data):
        """As the formula says; and a pretraining has it in each layer."""
        x, y = data
        net = StackedAutoencoder(SIZES, 3, init="he", activation="linear", dtype="float64")
        p = net.parameters
        codes = (x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]
        np.testing.assert_allclose(net.encode(x), codes, rtol=1e-12)
        net.pretrain(x, steps=5, batch_size=20)
        net.finetune(x, y, steps=5, batch_size=20)
        assert (net.encode(x) < 0).any()
        ae = net.autoencoders[0]
        assert (ae.activation, ae.output) == ("linear", "linear")
        ae = Autoencoder(12, 4, output="relu")
        assert (ae.reconstruct(x) >= 0).all()
        ae.fit(x, steps=5, batch_size=20)

    def test_a_deep_autoencoder_with_a_linear_code(self, data):
        x, _ = data
        names = ["sigmoid", "sigmoid", "linear"]
        net = StackedAutoencoder([12, 9, 6, 3], activation=names, output="sigmoid")
        first, second, code = net.pretrain(x, steps=200, batch_size=20, learning_rate=0.01)
        for history in (first, second, code):
            assert history.loss[-1] < history.loss[0]
        assert (net.encode(x) < 0).any()
        back = net.reconstruct(x)
        assert back.min() > 0
        assert back.max() < 1
        assert "sigmoid and linear" in repr(net)
        assert [row.split()[4] for row in net.summary().split("\n")[4:7]] == names


class TestWithoutClasses:
    def test_an_encoder_alone(self, data):
        x, _ = data
        net, full = StackedAutoencoder(SIZES), StackedAutoencoder(SIZES, 3)
        for each in (net, full):
            each.pretrain(x, steps=5, batch_size=20)
        assert list(net.parameters) == ["W1", "b1", "W2", "b2"]
        np.testing.assert_array_equal(net.encode(x), full.encode(x))
        np.testing.assert_array_equal(net.reconstruct(x), full.reconstruct(x))
        assert net.count_dead_units(x) == full.count_dead_units(x)

    @pytest.mark.parametrize("call", ["predict", "predict_proba", "evaluate", "finetune"])
    def test_nothing_with_classes(self, data, call):
        x, y = data
        arguments = (x, y) if call in ("evaluate", "finetune") else (x,)
        with pytest.raises(DataError, match="n_classes: expected a network with classes"):
            getattr(StackedAutoencoder(SIZES), call)(*arguments)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scores_are_errors_of_the_reconstruction(data, dtype):
    x, _ = data
    net = StackedAutoencoder(SIZES, dtype=dtype)
    net.pretrain(x, steps=5, batch_size=20)
    for model in (net, net.autoencoders[0]):
        scores = model.score_samples(x)
        assert scores.dtype == np.float64
        expected = ((x - model.reconstruct(x)) ** 2).mean(axis=1)
        np.testing.assert_allclose(scores, expected, rtol=1e-5)
        np.testing.assert_allclose(scores.mean(), model.reconstruction_error(x), rtol=1e-6)
        errors = model.feature_errors(x)
        assert errors.dtype == np.float64
        np.testing.assert_allclose(errors, (x - model.reconstruct(x)) ** 2, rtol=1e-4, atol=1e-9)
        np.testing.assert_allclose(errors.mean(axis=1), scores, rtol=1e-5)
    np.testing.assert_array_equal(net.decode(net.encode(x)), net.reconstruct(x))


def test_blocks_of_feature_errors_do_not_show(data, monkeypatch):
    x, _ = data
    ae = Autoencoder(12, 5)
    ae.fit(x, steps=20, batch_size=20)
    whole = ae.feature_errors(x)
    monkeypatch.setattr("sae_fast.core.networks._BLOCK", 12 * 7)
    np.testing.assert_array_equal(ae.feature_errors(x), whole)
    np.testing.assert_allclose(ae.feature_errors(scipy.sparse.csr_array(x)), whole, rtol=1e-4)


@pytest.mark.parametrize("call", ["decode", "score_samples", "reconstruct", "feature_errors"])
def test_before_pretraining(call):
    with pytest.raises(DataError, match=f"{call}: expected a pretrained network"):
        getattr(StackedAutoencoder(SIZES), call)(np.zeros((2, 4 if call == "decode" else 12)))


def test_a_copy_goes_on_where_it_was(data):
    x, y = data
    net = StackedAutoencoder(SIZES, 3)
    net.pretrain(x, steps=7, batch_size=20)
    net.finetune(x, y, steps=7, batch_size=20)
    copy = pickle.loads(pickle.dumps(net))
    for each in (net, copy):
        each.finetune(x, y, steps=5, batch_size=20, continued=True)
        each.pretrain(x, steps=5, batch_size=20, continued=True)
    assert_identical(net.parameters, copy.parameters)


def test_pretraining_that_fails_leaves_no_old_decoders(data):
    x, _ = data
    net = StackedAutoencoder(SIZES)
    net.pretrain(x, steps=5, batch_size=20)
    with pytest.raises(ZeroDivisionError):
        net.pretrain(x, steps=5, batch_size=20, callbacks=[lambda _: 1 / 0])
    with pytest.raises(DataError, match="expected a pretrained network"):
        net.reconstruct(x)
