# SPDX-License-Identifier: BSD-3-Clause
"""What runs may choose by name: each does what the models do with it, also when broken off."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_identical
from sae_fast import (
    Autoencoder,
    CheckpointError,
    DataError,
    StackedAutoencoder,
    TuningResult,
    activations,
    callbacks,
    run_experiment,
    run_reconstruction,
)
from sae_fast.base.files import write_file
from sae_fast.datasets import load_strokes
from sae_fast.experiment.settings import ReconstructSettings, RunSettings, options
from sae_fast.training import checkpoint
from sae_fast.training.corruptions import CORRUPTIONS
from sae_fast.training.objective import LOSSES
from sae_fast.training.optimizers import RULES

pytestmark = pytest.mark.usefixtures("no_pictures")

HIDDEN, SEED = [12, 6], 3
TRAINED = {"batch_size": 50, "eval_every": 20}
SIGMOID = {"activation": "sigmoid", "decoder": "sigmoid"}
NOISES = {name: kind() for name, kind in CORRUPTIONS.items()}
NOISES["masking:0.4"] = CORRUPTIONS["masking"](0.4)
#: At least one for each option and for each of its names.
CHOICES = [
    *({"activation": name} for name in activations.NAMES if name != "relu"),
    SIGMOID,
    {"activation": ("sigmoid", "linear"), "decoder": "sigmoid", "tune_steps": 30},  # linear code
    *({"loss": loss} for loss in ("huber", "absolute_error")),
    *({"loss": loss, **SIGMOID} for loss in ("binary_cross_entropy", "poisson")),
    *({"corruption": name} for name in NOISES),
    *({"optimizer": rule} for rule in RULES if rule != "adam"),
    {"learning_rate": "auto"},
    {"tune_steps": 30},
    {"tune_steps": 30, "corruption": "masking:0.4", "loss": "binary_cross_entropy", **SIGMOID},
]
OF_ONE = [chosen for chosen in CHOICES if "tune_steps" not in chosen]
CHOICES += [{"pretrain_steps": (0, 60)}, {"pretrain_steps": (60, 0)}]


@pytest.fixture(scope="module")
def data():
    return load_strokes(n_train=300, n_test=100)


def named(chosen):
    return ",".join(f"{name}={value}" for name, value in chosen.items())


def by_hand(chosen):
    """Give the arguments of a model, of every training, and of those that restore samples."""
    model = {
        "activation": chosen.get("activation", "relu"),
        "output": chosen.get("decoder", "linear"),
        "init": "normal",
        "seed": SEED,
        "n_threads": 1,
    }
    optimizer = chosen.get("optimizer", "adam")
    rate = chosen.get("learning_rate", "auto" if optimizer == "sgd" else 1e-3)
    trained = {
        **TRAINED, "optimizer": optimizer, "learning_rate": None if rate == "auto" else rate,
    }  # fmt: skip
    restored = {
        "loss": chosen.get("loss", "squared_error"),
        "corruption": NOISES.get(chosen.get("corruption")),
    }
    return model, trained, {**trained, **restored}


def experiment(data, chosen, **more):
    settings = {"hidden": HIDDEN, "pretrain_steps": 30, "finetune_steps": 50, "seed": SEED}
    return run_experiment(dataset=data, quiet=True, **{**settings, **TRAINED, **chosen, **more})


def reconstruction(data, chosen, **more):
    settings = {"units": 9, "steps": 40, "weight_decay": 0.2, "seed": SEED}
    return run_reconstruction(dataset=data, quiet=True, **settings, **TRAINED, **chosen, **more)


def test_every_choice_is_tried():
    found = {(name, value) for chosen in CHOICES for name, value in chosen.items()}
    assert any(isinstance(value, tuple) for name, value in found if name == "activation")
    values = {
        "activation": activations.NAMES,
        "loss": [name for name, loss in LOSSES.items() if "softmax" not in loss.outputs],
        "optimizer": RULES,
    }
    for name, names in values.items():
        assert {(name, value) for value in names} - found == {(name, getattr(RunSettings, name))}
    noises = {value.partition(":")[0] for name, value in found if name == "corruption"}
    assert noises == {*CORRUPTIONS}
    grouped = {one.name for one in options(RunSettings) if one.metadata["group"] == "autoencoder"}
    assert grouped <= {name for name, _ in found}


@pytest.mark.parametrize("chosen", CHOICES, ids=named)
def test_a_run_is_what_the_models_do(chosen, data):
    result = experiment(data, chosen)
    model, trained, restored = by_hand(chosen)
    x, x_test, scale = data.x_train, data.x_test, data.scale
    nets = {arm: StackedAutoencoder([784, *HIDDEN], 10, **model) for arm in result.arms}
    pretrained = nets["pretrained"]
    steps = chosen.get("pretrain_steps", 30)
    histories = pretrained.pretrain(x, steps=steps, scale=scale, **restored)
    assert [layer.loss for layer in result.pretraining] == [h.loss for h in histories]
    if steps := chosen.get("tune_steps"):
        h = pretrained.finetune_autoencoder(x, steps=steps, **restored)
        dead_units = pretrained.count_dead_units(x)
        assert result.tuning == TuningResult(h.steps, h.loss, dead_units, result.tuning.seconds)
    else:
        assert result.tuning is None
    for arm, net in nets.items():
        eval_set = x_test, data.y_test
        net.finetune(x, data.y_train, steps=50, scale=scale, eval_set=eval_set, **trained)
        assert_identical(result.models[arm].parameters, net.parameters)
    for one, other in zip(
        result.models["pretrained"].autoencoders, pretrained.autoencoders, strict=True
    ):
        assert_identical(one.parameters, other.parameters)


@pytest.mark.parametrize("chosen", OF_ONE, ids=named)
def test_a_reconstruction_is_what_the_model_does(chosen, data):
    result = reconstruction(data, chosen)
    model, _, restored = by_hand(chosen)
    ae = Autoencoder(784, 9, weight_decay=0.2, **model)
    history = ae.fit(data.x_train, steps=40, scale=data.scale, **restored)
    assert result.pretraining[0].loss == history.loss
    assert_identical(result.models["autoencoder"].parameters, ae.parameters)


class Noted(callbacks.Callback):
    """Notes which layers it is told the end of."""

    def __init__(self):
        self.layers = []

    def on_layer_end(self, training):
        self.layers.append(training.layer)


def test_layers_of_0_steps_are_those_of_the_arm_normal(data):
    begun = StackedAutoencoder([784, *HIDDEN], 10, init="normal", seed=SEED).parameters
    for steps, kept in [((0, 5), "W1"), ((5, 0), "W2")]:
        net = StackedAutoencoder([784, *HIDDEN], 10, init="normal", seed=SEED)
        noted = Noted()
        histories = net.pretrain(data.x_train, steps=steps, scale=data.scale, callbacks=[noted])
        assert [h.steps for h in histories] == [[n][:n] for n in steps]
        assert noted.layers == [2 if kept == "W1" else 1]
        changed = {name for name in begun if not np.array_equal(net.parameters[name], begun[name])}
        assert {"W1", "W2"} & changed == {"W1", "W2"} - {kept}
    none = experiment(data, {"pretrain_steps": (0, 0)})
    assert none.config["pretrain_steps"] == 0
    pretrained, normal = none.models.values()
    assert_identical(pretrained.parameters, normal.parameters)
    curves = [(arm.test_loss, arm.test_accuracy, arm.dead_units) for arm in none.arms.values()]
    assert curves[0] == curves[1]


class BrokenOffError(BaseException):
    """What ends a run in a test."""


def go_on(run, folder, monkeypatch):
    """Let a run end, as if killed, with each second file that it writes, until it has ended."""
    written = []

    def breaking(path, data, **options):
        write_file(path, data, **options)
        written.append(path)
        if len(written) % 2 == 0:
            raise BrokenOffError

    monkeypatch.setattr(checkpoint, "write_file", breaking)
    n_breaks, result = 0, None
    while result is None:
        try:
            result = run(output=folder, checkpoint_every=10, resume=n_breaks > 0)
        except BrokenOffError:
            n_breaks += 1
    return n_breaks, result


@pytest.mark.parametrize("chosen", CHOICES, ids=named)
def test_a_run_goes_on(chosen, data, tmp_path, monkeypatch):
    expected = experiment(data, chosen)
    n_breaks, result = go_on(
        lambda **more: experiment(data, chosen, arms=["pretrained"], threads=1, **more),
        tmp_path,
        monkeypatch,
    )
    assert n_breaks >= 5
    [model], wanted = result.models.values(), expected.models["pretrained"]
    assert_identical(model.parameters, wanted.parameters)
    for one, other in zip(model.autoencoders, wanted.autoencoders, strict=True):
        assert_identical(one.parameters, other.parameters)
    assert [la.loss for la in result.pretraining] == [la.loss for la in expected.pretraining]
    assert bool(result.tuning) == bool(expected.tuning) == ("tune_steps" in chosen)
    if result.tuning:
        for name in ("steps", "loss", "dead_units"):
            assert getattr(result.tuning, name) == getattr(expected.tuning, name)
    for (name, images, mse), row in zip(
        result.reconstructions.rows, expected.reconstructions.rows, strict=True
    ):
        assert (name, mse) == (row[0], row[2])
        np.testing.assert_array_equal(images, row[1])
    again = run_experiment(dataset=data, output=tmp_path, resume=True, quiet=True)
    assert again.config == {**result.config, "threads": again.config["threads"]}
    other = {name: getattr(RunSettings, name) for name in chosen} | {"learning_rate": 0.01}
    with pytest.raises(CheckpointError, match=rf"\b{next(iter(chosen))} .* where it has "):
        experiment(data, other, arms=["pretrained"], output=tmp_path, resume=True)


@pytest.mark.parametrize("chosen", OF_ONE, ids=named)
def test_a_reconstruction_goes_on(chosen, data, tmp_path, monkeypatch):
    expected = reconstruction(data, chosen)
    n_breaks, result = go_on(
        lambda **more: reconstruction(data, chosen, **more), tmp_path, monkeypatch
    )
    assert n_breaks >= 2
    for name, model in expected.models.items():
        assert_identical(result.models[name].parameters, model.parameters)


TUNED = {"tune_steps": 150, "hidden": [20, 8], "pretrain_steps": 100, "finetune_steps": 5}


@pytest.fixture(scope="module")
def tuned(data):
    settings = {**TUNED, "learning_rate": 0.005, "quiet": True}
    return run_experiment(dataset=data, **settings, **TRAINED)


class TestTuning:
    """What it did is shown beside what was there before."""

    def test_reconstructions(self, tuned, data):
        rows = {name: (images, mse) for name, images, mse in tuned.reconstructions.rows}
        assert list(rows) == [
            "first autoencoder (20 units)",
            "PCA (20 components)",
            "whole stack (8 units)",
            "PCA (8 components)",
            "tuned stack (8 units)",
        ]
        images, mse = rows["tuned stack (8 units)"]
        assert mse < 0.95 * rows["whole stack (8 units)"][1]
        net = tuned.models["pretrained"]
        np.testing.assert_array_equal(images, net.reconstruct(data.x_train[:10]))
        untuned = StackedAutoencoder([784, 20, 8], 10, init="normal")
        rate = {"learning_rate": 0.005, **TRAINED}
        untuned.pretrain(data.x_train, steps=100, scale=data.scale, **rate)
        images, mse = rows["whole stack (8 units)"]
        np.testing.assert_array_equal(images, untuned.reconstruct(data.x_train[:10]))
        assert mse == untuned.reconstruction_error(data.x_train)

    def test_codes(self, tuned, data):
        assert list(tuned.codes) == [
            "pretrained",
            "pretrained, then tuned",
            "pretrained, then tuned, then fine-tuned",
        ]
        first, second, third = tuned.codes.values()
        assert np.abs(first - second).max() > 0.1
        np.testing.assert_array_equal(third, tuned.models["pretrained"].encode(data.x_test))

    def test_numbers(self, tuned):
        tuning = tuned.tuning
        assert tuning.steps == [20, 40, 60, 80, 100, 120, 140, 150]
        assert tuning.loss[-1] < tuning.loss[0]
        document = tuned.to_dict()
        assert document["tuning"] == vars(tuning)
        assert document["config"]["tune_steps"] == 150
        text = tuned.summary()
        assert max(map(len, text.splitlines())) <= 80
        assert "  784 → 8 → 784  " in text
        assert repr(tuning).startswith("<TuningResult: loss ")

    def test_stages(self, data, capfd):
        run_experiment(dataset=data, **TUNED, **TRAINED)
        lines = capfd.readouterr().err.splitlines()
        assert lines[2].startswith("3 of 6, tuning (784 → 8 → 784): 100%, loss ")
        assert lines[5].startswith("6 of 6, results: 100%")

    def test_none_without_pretraining(self, data):
        """All that is asked in vain is named at once."""
        given = {"tune_steps": 5, "corruption": "swap", "loss": "huber"}
        message = (
            "tune_steps, corruption, loss: expected 0, 'none', 'squared_error' without the arm "
            "pretrained, got 5, 'swap:0.15', 'huber'"
        )
        with pytest.raises(DataError, match=f"^{message}$"):
            run_experiment(dataset=data, arms="he", quiet=True, **given)
        result = run_experiment(
            dataset=data, arms="he", quiet=True, **{**TUNED, "tune_steps": 0}, **TRAINED
        )
        assert result.tuning is None
        assert "tuning" not in result.to_dict()


class TestFitting:
    """What does not fit is refused before anything runs, with what does."""

    @pytest.mark.parametrize("loss", ["binary_cross_entropy", "poisson"])
    def test_a_loss_and_a_decoder(self, loss):
        with pytest.raises(
            DataError,
            match=rf"^loss: expected one that fits decoder linear, got '{loss}'; what fits "
            r"together: decoder linear, loss squared_error, huber, absolute_error; or decoder "
            r"sigmoid, loss squared_error, binary_cross_entropy, huber, absolute_error, poisson$",
        ):
            ReconstructSettings(loss=loss)
        for kind in (RunSettings, ReconstructSettings):
            assert kind(loss=loss, **SIGMOID).loss == loss

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"loss": "poisson"}, "loss: expected .* decoder linear and activation relu, got '"),
            ({"decoder": "sigmoid"}, "decoder: expected .* loss squared_error and activation relu"),
            (
                {"decoder": "sigmoid", "hidden": [9, 5, 2], "activation": ["tanh"] * 2 + ["relu"]},
                "decoder: expected .* and activation tanh,tanh,relu, got 'sigmoid'",
            ),
        ],
    )
    def test_all_that_fits_together_is_said_at_once(self, given, message):
        fits = (
            "; what fits together: decoder linear, any activation below the last layer, loss "
            "squared_error, huber, absolute_error; or decoder sigmoid, activation sigmoid below "
            "the last layer, loss squared_error, binary_cross_entropy, huber"
        )
        with pytest.raises(DataError, match=f"^{message}.*{fits}"):
            RunSettings(**given)

    def test_an_activation_for_each_layer(self):
        code = ["sigmoid", "sigmoid", "linear"]
        settings = RunSettings(hidden=[9, 5, 2], activation=code, decoder="sigmoid")
        assert settings.config()["activation"] == code
        assert RunSettings(hidden=[9, 5], activation=["tanh"] * 2).activation == "tanh"
        assert ReconstructSettings(activation=["tanh"]) == ReconstructSettings(activation="tanh")
        with pytest.raises(DataError, match=r"^activation: expected one value, or one for each of"):
            RunSettings(hidden=[9, 5], activation=code)
        with pytest.raises(DataError, match=r"^activation: .* got 'rleu'; did you mean 'relu'"):
            RunSettings(activation=["relu", "rleu"])

    @pytest.mark.parametrize("given", [0, -1.0, "fast", "Auto", np.ones(2), [0.1], float("inf")])
    def test_rates_that_are_none(self, given):
        with pytest.raises(DataError, match=r"^learning_rate: expected .*, got "):
            RunSettings(learning_rate=given)

    def test_the_last_codes_are_restored_by_no_decoder_above(self):
        assert RunSettings(decoder="sigmoid", hidden=[5]).activation == "relu"
        assert ReconstructSettings(decoder="sigmoid").activation == "relu"

    def test_what_a_rate_is_by_default(self):
        assert RunSettings().learning_rate == 0.001
        assert RunSettings(optimizer="rmsprop").learning_rate == 0.001
        assert RunSettings(optimizer="sgd").learning_rate == "auto"
        assert RunSettings(optimizer="sgd", learning_rate=1e-5).learning_rate == 1e-5

    @pytest.mark.parametrize(
        ("given", "taken"),
        [
            (None, "none"),
            ("none", "none"),
            ("masking", "masking:0.25"),
            ("masking:.250", "masking:0.25"),
            *((f"{name}:5e-1", f"{name}:0.5") for name in CORRUPTIONS),
        ],
    )
    def test_a_noise_has_one_spelling(self, given, taken):
        """So that a run resumes whatever it was called."""
        assert RunSettings(corruption=given).corruption == taken
        assert RunSettings(corruption=taken).corruption == taken

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("mask", r"one of none, masking.*, got 'mask'; did you mean 'masking'\?"),
            ("none:0.1", "one of none, masking.*, got 'none:0.1'"),
            ("masking:", "a number after masking:, got ''"),
            ("masking:much", "a number after masking:, got 'much'"),
            ("masking:1", "masking:VALUE to fit, got share: expected less than 1, got 1.0"),
            *(
                (f"{name}:{value}", rf"{name}:VALUE to fit, got .*: expected .*, got {value}")
                for name in CORRUPTIONS
                for value in ("-1.0", "nan", "inf")
            ),
            (NOISES["masking"], "one of none, masking.*, got Masking"),
            (0.25, "one of none, masking.*, got 0.25"),
            (np.zeros(2), "one of none, masking.*, got array"),
        ],
    )
    def test_noises_that_are_none(self, given, message):
        with pytest.raises(DataError, match=rf"^corruption: expected {message}"):
            RunSettings(corruption=given)
