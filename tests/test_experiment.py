# SPDX-License-Identifier: BSD-3-Clause
"""The article's experiments on a small data set: what they do, measure and hand back."""

from __future__ import annotations

import dataclasses
import gc
import inspect
import json
import multiprocessing
import pickle
import re
import subprocess
import sys
import time
import weakref
from concurrent.futures import CancelledError, ProcessPoolExecutor

import numpy as np
import pytest
import reference as ref
import sae_fast
from helpers import TIME_LIMIT, assert_identical, draw_x, draw_y
from sae_fast import (
    Autoencoder,
    DataError,
    DivergenceError,
    StackedAutoencoder,
    run_experiment,
    run_reconstruction,
    run_study,
)
from sae_fast.base.pca import PCA
from sae_fast.datasets import Dataset, load_strokes
from sae_fast.experiment import run as experiment
from sae_fast.experiment.arms import Share, train_arm, train_side_by_side
from sae_fast.experiment.settings import (
    ReconstructSettings,
    RunSettings,
    StudySettings,
    options,
)

N_TRAIN, N_TEST, N_FEATURES = 300, 80, 30
HIDDEN = [16, 8, 5]
ARMS = ["pretrained", "normal", "he"]
SETTINGS = {
    "hidden": HIDDEN,
    "arms": ARMS,
    "pretrain_steps": 60,
    "finetune_steps": 300,
    "batch_size": 20,
    "learning_rate": 0.005,
    "eval_every": 1,
    "seed": 4,
    "threads": 1,  # small evaluations on a busy machine: threads would wait for each other
    "quiet": True,
}


@pytest.fixture(scope="module")
def data() -> Dataset:
    x, y = draw_x(N_TRAIN + N_TEST, N_FEATURES, zeros=0.6), draw_y(N_TRAIN + N_TEST, 5)
    return Dataset(x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:], y[N_TRAIN:], "small", image_shape=(5, 6))


@pytest.fixture(scope="module")
def result(data):
    return run_experiment(dataset=data, **SETTINGS)


class TestRunExperiment:
    def test_fields(self, result, data):
        assert result.command == "run"
        assert result.dataset == {
            "name": "small", "n_train": N_TRAIN, "n_test": N_TEST, "sha256": data.sha256,
        }  # fmt: skip
        assert {name: result.config[name] for name in SETTINGS if name != "quiet"} == {
            name: value for name, value in SETTINGS.items() if name != "quiet"
        }
        assert list(result.arms) == list(result.models) == list(result.first_weights) == ARMS
        assert {**result.environment, "executable": sys.executable} == sae_fast.info()
        assert "executable" not in result.environment
        assert result.hidden == HIDDEN
        phases = [*result.pretraining, *result.arms.values()]
        assert 0 < sum(phase.seconds for phase in phases) < result.seconds

    def test_a_point_per_evaluation(self, result):
        """As many as the article's 300 for 30,000 steps and an evaluation every 100."""
        for arm in result.arms.values():
            assert arm.steps == list(range(1, 301))
            assert len(arm.test_loss) == len(arm.test_accuracy) == 300
        for layer in result.pretraining:
            assert layer.steps == list(range(1, 61))
            assert len(layer.loss) == 60

    def test_layers(self, result):
        shapes = [(la.layer, la.n_in, la.n_hidden) for la in result.pretraining]
        assert shapes == [(1, 30, 16), (2, 16, 8), (3, 8, 5)]

    def test_arms_are_trained_as_they_say(self, result, data):
        """By hand, with the classes: the same bits."""
        options = {"batch_size": 20, "eval_every": 1, "learning_rate": 0.005}
        for arm in ARMS:
            init = "he" if arm == "he" else "normal"
            net = StackedAutoencoder([N_FEATURES, *HIDDEN], 5, seed=4, init=init, n_threads=1)
            if arm == "pretrained":
                histories = net.pretrain(data.x_train, steps=60, **options)
                assert [la.loss for la in result.pretraining] == [h.loss for h in histories]
            history = net.finetune(
                data.x_train,
                data.y_train,
                steps=300,
                eval_set=(data.x_test, data.y_test),
                **options,
            )
            assert_identical(result.models[arm].parameters, net.parameters)
            assert result.arms[arm].test_accuracy == history.accuracy
            assert result.arms[arm].test_loss == history.loss
            np.testing.assert_array_equal(result.first_weights[arm], net.parameters["W1"])

    def test_measures_against_the_oracle(self, result, data):
        for arm in ARMS:
            loss, accuracy = ref.evaluate_network(
                result.models[arm].parameters, data.x_test, data.y_test
            )
            assert result.arms[arm].test_loss[-1] == pytest.approx(loss, rel=1e-6)
            assert result.arms[arm].final_accuracy == accuracy

    def test_something_is_learned(self, result):
        assert result.arms["he"].final_accuracy > 0.9
        assert result.arms["he"].test_loss[-1] < result.arms["he"].test_loss[0] / 2

    def test_first_step_at_90(self, result):
        for arm in result.arms.values():
            reached = [s for s, a in zip(arm.steps, arm.test_accuracy, strict=True) if a >= 0.9]
            assert arm.first_step_at_90 == (reached[0] if reached else None)
        assert result.arms["he"].first_step_at_90 > 1

    def test_dead_units(self, result, data):
        for arm in ARMS:
            codes, _ = ref.forward(result.models[arm].parameters, data.x_test)
            dead = [int(np.sum(~a.any(axis=0))) for a in codes[1:]]
            assert result.arms[arm].dead_units == dead
        codes = data.x_train
        for layer, ae in zip(result.pretraining, result.models["pretrained"].autoencoders,
                             strict=True):  # fmt: skip
            codes = ref.encode(ae.parameters, codes)
            assert layer.dead_units == np.sum(~codes.any(axis=0))

    def test_reconstructions(self, result, data):
        shown = result.reconstructions
        np.testing.assert_array_equal(shown.originals, data.x_train[:10])
        assert shown.image_shape == (5, 6)
        net = result.models["pretrained"]
        labels = [label for label, _, _ in shown.rows]
        assert labels == [
            "first autoencoder (16 units)",
            "PCA (16 components)",
            "whole stack (5 units)",
            "PCA (5 components)",
        ]
        for (_, images, mse), model in zip(
            shown.rows[::2], (net.autoencoders[0], net), strict=True
        ):
            np.testing.assert_array_equal(images, model.reconstruct(data.x_train[:10]))
            difference = model.reconstruct(data.x_train).astype(np.float64) - data.x_train
            assert mse == pytest.approx(np.mean(difference**2), rel=1e-6)
        for (_, images, mse), n in zip(shown.rows[1::2], (16, 5), strict=True):
            expected, expected_mse = pca_by_svd(data.x_train, n)
            np.testing.assert_allclose(images, expected[:10], atol=1e-4)
            assert mse == pytest.approx(expected_mse, rel=1e-5)

    def test_predictions(self, result, data):
        np.testing.assert_array_equal(result.y_test, data.y_test)
        assert list(result.predictions) == ARMS
        for arm, y_pred in result.predictions.items():
            assert np.mean(y_pred == data.y_test) == result.arms[arm].final_accuracy

    def test_summary(self, result):
        text = result.summary()
        for word in ("small", "300 training samples", "80 test samples", "Pretraining", *ARMS):
            assert word in text
        assert max(map(len, text.splitlines())) <= 100
        for name, arm in result.arms.items():
            [line] = [line for line in text.splitlines() if line.startswith(f"  {name} ")]
            assert f"{100 * arm.final_accuracy:.2f} %" in line
            assert f"{arm.dead_units[-1]} of 5" in line

    def test_accuracy_can_be_plotted(self, result):
        lines = result.plot_accuracy().get_lines()
        curves = [line.get_ydata() for line in lines if len(line.get_ydata()) == 300]
        for arm in result.arms.values():
            assert any(np.allclose(y, 100 * np.array(arm.test_accuracy)) for y in curves)

    def test_again(self, result, data):
        again = run_experiment(dataset=data, **SETTINGS)
        for arm in ARMS:
            assert_identical(again.models[arm].parameters, result.models[arm].parameters)

    def test_pixels_are_the_same_as_their_values(self, data):
        pixels = {
            split: (getattr(data, split) * 255).astype(np.uint8) for split in ("x_train", "x_test")
        }
        values = {split: x * np.float32(1 / 255) for split, x in pixels.items()}
        labels = data.y_train, data.y_test
        as_pixels, as_values = (
            run_experiment(
                dataset=Dataset(
                    x["x_train"], labels[0], x["x_test"], labels[1], "small", scale, (5, 6)
                ),
                **SETTINGS,
            )
            for x, scale in ((pixels, 1 / 255), (values, None))
        )
        assert as_pixels.arms.keys() == as_values.arms.keys()
        assert {net.scale for net in as_pixels.models.values()} == {1 / 255}
        assert {net.scale for net in as_values.models.values()} == {None}
        for arm in ARMS:
            assert_identical(as_pixels.models[arm].parameters, as_values.models[arm].parameters)
            assert as_pixels.arms[arm].test_loss == as_values.arms[arm].test_loss
        for (_, a, mse), (_, b, expected) in zip(
            as_pixels.reconstructions.rows, as_values.reconstructions.rows, strict=True
        ):
            np.testing.assert_allclose(a, b, atol=1e-5)
            assert mse == pytest.approx(expected, rel=1e-6)
        np.testing.assert_allclose(
            as_pixels.reconstructions.originals, as_values.reconstructions.originals, rtol=1e-6
        )

    def test_arms_are_taken_once_each_in_their_order(self, data):
        short = {**SETTINGS, "arms": ["he", "pretrained", "he"], "pretrain_steps": 2}
        result = run_experiment(dataset=data, **{**short, "finetune_steps": 2})
        assert list(result.arms) == ["he", "pretrained"]
        assert result.config["arms"] == ["he", "pretrained"]

    def test_codes_before_and_after_fine_tuning(self, data, monkeypatch):
        monkeypatch.setattr(experiment, "N_CODES", 50)
        settings = {**SETTINGS, "hidden": [20, 12], "arms": ["he", "pretrained"]}
        result = run_experiment(dataset=data, **settings)
        before, after = result.codes.values()
        net = result.models["pretrained"]
        np.testing.assert_array_equal(after, net.encode(data.x_test)[:50])
        codes = data.x_test[:50]
        for ae in net.autoencoders:
            codes = ref.encode(ae.parameters, codes)
        np.testing.assert_allclose(before, codes, rtol=1e-4, atol=1e-5)
        assert np.abs(after - before).max() > 1

    def test_no_codes_without_pretraining(self, data):
        short = {**SETTINGS, "arms": ["he"], "finetune_steps": 2}
        assert run_experiment(dataset=data, **short).codes == {}

    def test_nothing_is_written_without_output(self, data, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        run_experiment(dataset=data, **{**SETTINGS, "pretrain_steps": 2, "finetune_steps": 2})
        assert list(tmp_path.iterdir()) == []

    def test_output(self, data, tmp_path, capfd):
        settings = {**SETTINGS, "pretrain_steps": 2, "finetune_steps": 2, "arms": ["he"]}
        result = run_experiment(dataset=data, output=tmp_path / "out", **settings)
        assert (tmp_path / "out" / "result.json").exists()
        net = sae_fast.load(tmp_path / "out" / "model.safetensors")
        assert_identical(net.parameters, result.models["he"].parameters)
        assert capfd.readouterr() == ("", "")

    def test_features_that_are_no_image(self, data, tmp_path):
        flat = Dataset(data.x_train, data.y_train, data.x_test, data.y_test, "flat")
        settings = {**SETTINGS, "pretrain_steps": 2, "finetune_steps": 2}
        result = run_experiment(dataset=flat, output=tmp_path, **settings)
        assert result.reconstructions.image_shape is None
        assert (tmp_path / "reconstructions.png").exists()

    def test_fewer_samples_than_are_shown(self, data):
        few = Dataset(data.x_train[:7], data.y_train[:7], data.x_test[:7], data.y_test[:7], "few")
        settings = {**SETTINGS, "batch_size": 3, "pretrain_steps": 2, "finetune_steps": 2}
        result = run_experiment(dataset=few, **settings)
        assert result.reconstructions.originals.shape == (7, N_FEATURES)

    def test_progress(self, data, capfd):
        settings = {**SETTINGS, "pretrain_steps": 2, "finetune_steps": 2, "quiet": False}
        run_experiment(dataset=data, **settings)
        out, err = capfd.readouterr()
        assert out == ""
        lines = err.splitlines()
        assert lines[0].startswith("1 of 7, autoencoder 1 (30 → 16): 100%, loss ")
        assert lines[2].startswith("3 of 7, autoencoder 3 (8 → 5): 100%, loss ")
        begun = {line.partition(":")[0] for line in lines[3:6]}  # side by side
        assert {title.partition(", ")[2] for title in begun} == {
            f"fine-tuning, {arm}" for arm in ARMS
        }
        assert lines[6].startswith("7 of 7, results: 100%")
        assert lines[7].startswith("whole run: 100%")

    def test_pictures_have_the_memory_of_the_data(self, tmp_path, monkeypatch):
        """And there are none of a whole set in a result."""
        loaded = []

        def load(*arguments, **options):
            data = load_strokes(n_train=300, n_test=60)
            loaded.append(weakref.ref(data.x_train))
            return data

        def look(*_, **__):
            gc.collect()
            assert loaded[0]() is None
            return {}

        monkeypatch.setattr("sae_fast.datasets.load", load)
        monkeypatch.setattr("sae_fast.experiment.save.save_pictures", look)
        settings = {"pretrain_steps": 3, "finetune_steps": 3, "hidden": [6, 4], "quiet": True}
        result = run_experiment(dataset="strokes", output=tmp_path, **settings)
        assert all(codes.base is None for codes in result.codes.values())
        assert len(loaded) == 1

    def test_progress_of_a_run_that_is_resumed(self, data, capfd, tmp_path, monkeypatch):
        """What was done is done: no phase begins at nothing again."""
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # pictures take time
        settings = {**SETTINGS, "output": tmp_path, "checkpoint_every": 1000}
        run_experiment(dataset=data, **settings)
        run_experiment(dataset=data, output=tmp_path, resume=True, quiet=False)
        err = capfd.readouterr().err
        assert len(re.findall(": 100%, (?:loss|accuracy) ", err)) == 6
        assert "whole run: 100%" in err


class TestArmsSideBySide:
    """However many threads there are, arms share them and results do not change."""

    @pytest.mark.parametrize("threads", [2, 3, 7])
    def test_results(self, result, data, threads):
        shared = run_experiment(dataset=data, **{**SETTINGS, "threads": threads})
        assert list(shared.arms) == ARMS
        for arm in ARMS:
            assert_identical(shared.models[arm].parameters, result.models[arm].parameters)
            assert shared.arms[arm].test_loss == result.arms[arm].test_loss

    def test_who_remains_gets_the_threads(self):
        def train(arm, share):
            first = share.threads
            if arm == "pretrained":
                wait_until(lambda: share.threads == 3)
            return arm.upper(), first, share.threads

        done = train_side_by_side(train, ("pretrained", "normal"), 3)
        assert list(done) == ["pretrained", "normal"]
        assert done["pretrained"] == ("PRETRAINED", 1, 3)
        assert done["normal"][:2] == ("NORMAL", 1)

    @pytest.mark.parametrize("phase", ["pretrain", "finetune"])
    def test_a_training_takes_its_share(self, data, phase):
        net = StackedAutoencoder([N_FEATURES, *HIDDEN], 5, n_threads=1)
        share = Share(3)
        seen = []

        def look(training):
            seen.append(training.model.n_threads)
            share.threads = 2

        how = {"steps": 4, "batch_size": 20, "eval_every": 1, "callbacks": [share, look]}
        if phase == "pretrain":
            net.pretrain(data.x_train, **how)
        else:
            test = data.x_test, data.y_test
            net.finetune(data.x_train, data.y_train, eval_set=test, **how)
        assert seen[0] == 3
        assert set(seen[1:]) == {2}

    @pytest.mark.parametrize("threads", [1, 2, 5])
    def test_an_error_ends_the_others(self, threads):
        def train(arm, share):
            if arm == "pretrained":
                raise DivergenceError("too fast")
            wait_until(lambda: share.cancelled)
            raise CancelledError

        with pytest.raises(DivergenceError, match="too fast"):
            train_side_by_side(train, ARMS, threads)

    def test_an_arm_that_diverges_ends_the_run(self, data):
        settings = {**SETTINGS, "threads": 3, "finetune_steps": 10**8, "learning_rate": 1e30}
        with pytest.raises(DivergenceError):
            run_experiment(dataset=data, **settings)

    @pytest.mark.parametrize("phase", ["pretrain", "finetune"])
    def test_a_cancelled_training_stops(self, data, phase):
        share = Share(1)
        share.cancelled = True
        net = StackedAutoencoder([N_FEATURES, *HIDDEN], 5)
        labels = () if phase == "pretrain" else (data.y_train,)
        with pytest.raises(CancelledError):
            getattr(net, phase)(data.x_train, *labels, steps=10**9, callbacks=[share])
        assert all(np.isfinite(value).all() for value in net.parameters.values())


def test_arms_in_other_processes(result, data):
    """From settings and data alone, each beside another: the same bits."""
    settings = RunSettings(**SETTINGS)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        jobs = {arm: pool.submit(train_arm, arm, settings, data, threads=1) for arm in ARMS}
        outcomes = {arm: job.result(TIME_LIMIT) for arm, job in jobs.items()}
    for arm, outcome in outcomes.items():
        assert_identical(outcome.model.parameters, result.models[arm].parameters)
        expected = dataclasses.replace(result.arms[arm], seconds=outcome.arm.seconds)
        assert outcome.arm == expected
        assert outcome.model.pretrained == (arm == "pretrained")
        assert bool(outcome.pretraining) == (arm == "pretrained")
    for got, layer in zip(outcomes["pretrained"].pretraining, result.pretraining, strict=True):
        assert got == dataclasses.replace(layer, seconds=got.seconds)
    net, expected = outcomes["pretrained"].model, result.models["pretrained"]
    np.testing.assert_array_equal(net.reconstruct(data.x_train), expected.reconstruct(data.x_train))


def wait_until(condition):
    deadline = time.monotonic() + TIME_LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


#: A value of each setting that no run can be made with.
BAD = {
    "dataset": "cifar", "data_dir": 3, "offline": "yes", "batch_size": 0, "learning_rate": "fast",
    "eval_every": -1, "seed": 0.5, "threads": 0, "output": 3, "checkpoint_every": -1,
    "distributed": "yes", "distributed_timeout": 0,
    "resume": None, "quiet": 2, "hidden": 0.5, "arms": 5, "pretrain_steps": "many",
    "finetune_steps": 0, "units": 2**25, "steps": True, "weight_decay": -0.1, "tune_steps": None,
    "activation": "Relu", "decoder": None, "loss": "article", "corruption": 0.1, "optimizer": 1,
    "seeds": 0, "grid": {"seed": [1]}, "executor": "thread", "scheduler": 8786, "shard": "3/2",
}  # fmt: skip


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        (run_experiment, RunSettings),
        (run_reconstruction, ReconstructSettings),
        (run_study, StudySettings),
    ],
)
class TestSettings:
    def test_defaults_of_the_signature(self, run, kind):
        parameters = inspect.signature(run).parameters
        assert set(parameters) == {option.name for option in options(kind)}
        for option in options(kind):
            assert parameters[option.name].default is option.default, option.name
            assert parameters[option.name].kind is inspect.Parameter.KEYWORD_ONLY
            assert parameters[option.name].annotation is not inspect.Parameter.empty

    def test_every_setting_is_named_by_its_error(self, run, kind, data):
        for option in options(kind):
            settings = {"dataset": data, "quiet": True, option.name: BAD[option.name]}
            with pytest.raises(DataError, match=rf"^{option.name}: expected .*, got "):
                run(**settings)

    def test_a_time_to_wait_for_others_without_others(self, run, kind):
        if "distributed" in {option.name for option in options(kind)}:
            with pytest.raises(DataError, match=r"^distributed_timeout: expected 600 without dist"):
                run(dataset="strokes", distributed_timeout=5.0)

    def test_a_record_is_frozen_and_travels(self, run, kind):
        settings = kind(threads=2)
        with pytest.raises(dataclasses.FrozenInstanceError):
            settings.seed = 1
        assert pickle.loads(pickle.dumps(settings)) == settings
        assert dataclasses.replace(settings) == settings  # checking again changes nothing

    def test_config(self, run, kind):
        config = kind(threads=2).config()
        about = {option.name: option.metadata["group"] for option in options(kind)}
        kept = {name for name, group in about.items() if group not in ("output", "execution")}
        assert {"output", "resume", "quiet"}.isdisjoint(kept)
        assert config.keys() == kept | {"dtype"}
        assert json.loads(json.dumps(config)) == config
        assert config["dtype"] == "float32"


class TestRunReconstruction:
    def test_everything(self, data):
        result = run_reconstruction(
            dataset=data,
            units=7,
            steps=90,
            weight_decay=0.2,
            batch_size=20,
            eval_every=40,
            seed=4,
            threads=1,
            quiet=True,
        )
        ae = Autoencoder(N_FEATURES, 7, init="normal", weight_decay=0.2, seed=4)
        history = ae.fit(data.x_train, steps=90, batch_size=20, eval_every=40, learning_rate=1e-3)
        assert result.command == "reconstruct"
        assert result.arms == {}
        [layer] = result.pretraining
        assert (layer.layer, layer.n_in, layer.n_hidden) == (1, N_FEATURES, 7)
        assert (layer.steps, layer.loss) == ([40, 80, 90], history.loss)
        expected = ref.autoencoder_loss(ae.parameters, data.x_train, 0.2)
        assert layer.loss[-1] == pytest.approx(expected, rel=1e-6)
        [model] = result.models.values()
        assert_identical(model.parameters, ae.parameters)
        (label, images, mse), (pca_label, _, pca_mse) = result.reconstructions.rows
        assert (label, pca_label) == ("autoencoder (7 units)", "PCA (7 components)")
        np.testing.assert_array_equal(images, ae.reconstruct(data.x_train[:10]))
        # the mean squared error carries no weight decay
        difference = ref.reconstruct(ae.parameters, data.x_train) - data.x_train
        assert mse == pytest.approx(np.mean(difference**2), rel=1e-6)
        assert pca_mse < mse
        [(name, codes)] = result.codes.items()
        assert name == "autoencoder (7 units)"
        np.testing.assert_array_equal(codes, ae.encode(data.x_test))
        np.testing.assert_array_equal(result.y_test, data.y_test)
        assert result.predictions == {}
        assert result.summary()

    def test_more_units_than_features(self, data):
        result = run_reconstruction(
            dataset=data, units=N_FEATURES + 9, steps=2, batch_size=20, quiet=True
        )
        (label, _, _), (_, pca_images, pca_mse) = result.reconstructions.rows
        assert label == "autoencoder (39 units)"
        np.testing.assert_allclose(pca_images, data.x_train[:10], atol=1e-5)
        assert pca_mse == pytest.approx(0, abs=1e-12)


def test_dead_units_of_the_classes():
    """Some units are killed by hand; a unit alive on one sample of many is alive."""
    x = draw_x(1000, N_FEATURES, zeros=0.6)
    net = StackedAutoencoder([N_FEATURES, 8, 6], 3, init="he", seed=1)
    p = net.parameters
    p["b1"][[1, 4]] = -100
    w = np.zeros(N_FEATURES, np.float32)
    w[0] = 1
    x[:, 0] = 0
    x[777, 0] = 1  # one sample switches this unit on
    p["W1"][:, 5], p["b1"][5] = w, -0.5
    p["b2"][3] = -100
    net.parameters = p
    codes, _ = ref.forward(net.parameters, x)
    alive = [a.any(axis=0) for a in codes[1:]]
    assert net.count_dead_units(x) == [int(np.sum(~a)) for a in alive]
    assert not alive[0][[1, 4]].any()
    assert alive[0][5]
    assert not alive[1][3]
    ae = Autoencoder(N_FEATURES, 8)
    ae.parameters = {"W_enc": p["W1"], "b_enc": p["b1"]}
    assert ae.count_dead_units(x) == np.sum(~alive[0])
    assert ae.count_dead_units(x[:777]) == np.sum(~alive[0]) + 1


def test_reconstruction_error():
    x = draw_x(700, N_FEATURES, zeros=0.6)
    for zeros in (0.6, 0.0):
        x = draw_x(700, N_FEATURES, zeros=zeros)
        ae = Autoencoder(N_FEATURES, 8, weight_decay=0.5)
        ae.fit(x, steps=30)
        mse = np.mean((ref.reconstruct(ae.parameters, x) - x) ** 2)
        assert ae.reconstruction_error(x) == pytest.approx(mse, rel=1e-6)


# Principal components


def pca_by_svd(x, n_components):
    """Give the reconstruction of all of `x` (float64), and its mean squared error."""
    x = x.astype(np.float64)
    mean = x.mean(axis=0)
    _, _, components = np.linalg.svd(x - mean, full_matrices=False)
    components = components[:n_components]
    reconstruction = (x - mean) @ components.T @ components + mean
    return reconstruction, np.mean((x - reconstruction) ** 2)


@pytest.mark.parametrize("n_components", [1, 5, 29])
@pytest.mark.parametrize("scale", [None, 1 / 255])
def test_pca(n_components, scale):
    # more samples than are converted at once
    x = draw_x(9000, N_FEATURES, zeros=0.6)
    values, factor = x, 1.0
    if scale is not None:
        x, factor = (x * 255).astype(np.uint8), scale
        values = x * scale
    pca = PCA(x, factor)
    expected, mse = pca_by_svd(values, n_components)
    np.testing.assert_allclose(pca.reconstruct(x, n_components), expected, atol=1e-5)
    assert pca.mean_squared_error(n_components) == pytest.approx(mse, rel=1e-5)
    variance = values.astype(np.float64).var(axis=0).mean()
    share = sum(pca.variance_shares(n_components))
    assert share == pytest.approx(1 - mse / variance, rel=1e-5)
    points = pca.transform(x, n_components)
    spread = points.astype(np.float64).var(axis=0) / (variance * N_FEATURES)
    np.testing.assert_allclose(pca.variance_shares(n_components), spread, rtol=1e-4)
    centered = expected - values.mean(axis=0)
    np.testing.assert_allclose(
        np.linalg.norm(points, axis=1), np.linalg.norm(centered, axis=1), atol=1e-5
    )


def test_pca_of_samples_that_do_not_differ():
    pca = PCA(np.ones((5, 3)))
    assert pca.variance_shares(2) == [0, 0]
    np.testing.assert_array_equal(pca.transform(np.ones((5, 3)), 2), np.zeros((5, 2)))


def test_pca_of_a_few_samples():
    x = draw_x(4, N_FEATURES, zeros=0.6)
    pca = PCA(x)
    np.testing.assert_allclose(pca.reconstruct(x, 3), x, atol=1e-5)
    assert pca.mean_squared_error(3) == pytest.approx(0, abs=1e-9)


def test_import_is_light():
    heavy = ("matplotlib", "sklearn", "scipy", "pandas", "torch", "jax", "tensorflow")
    code = f"import sys, sae_fast; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIME_LIMIT
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
