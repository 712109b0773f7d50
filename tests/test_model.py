# SPDX-License-Identifier: BSD-3-Clause
"""What models have in common: a remembered scale, class names, pickles, and the names of parts."""

from __future__ import annotations

import concurrent.futures
import copy
import multiprocessing
import pickle
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_identical, draw_x, draw_y
from sae_fast import Autoencoder, DataError, ModelFileError, StackedAutoencoder, load
from sae_fast.base import threads
from sae_fast.models import parameters

N_FEATURES, SCALE = 14, 1 / 255
X, Y = draw_x(70, N_FEATURES, zeros=0.6), draw_y(70, 3)
X8 = (X * 255).astype(np.uint8)
SHORT = {"steps": 4, "batch_size": 20}


def trained(kind, dtype="float32"):
    """Train a model of this kind on uint8 samples."""
    if kind == "autoencoder":
        ae = Autoencoder(N_FEATURES, 5, seed=3, dtype=dtype)
        ae.fit(X8, scale=SCALE, **SHORT)
        return ae
    net = StackedAutoencoder([N_FEATURES, 6, 4], 3, seed=3, dtype=dtype)
    net.pretrain(X8, scale=SCALE, **SHORT)
    if kind == "stack":
        net.finetune(X8, Y, scale=SCALE, **SHORT)
    return net


KINDS = ["autoencoder", "pretrained stack", "stack"]


def outputs(model, x, **scale):
    """Everything that a model computes from samples."""
    values = {
        "codes": model.encode(x, **scale),
        "reconstruction": model.reconstruct(x, **scale),
        "error": model.reconstruction_error(x, **scale),
        "errors": model.score_samples(x, **scale),
        "feature errors": model.feature_errors(x, **scale),
        "dead": model.count_dead_units(x, **scale),
    }
    if isinstance(model, StackedAutoencoder):
        values["proba"] = model.predict_proba(x, **scale)
        values["classes"] = model.predict(x, **scale)
        values["evaluation"] = model.evaluate(x, Y, **scale)
    return values


# The scale


@pytest.mark.parametrize("kind", KINDS)
class TestScale:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_uint8_without_scale(self, kind, dtype):
        model = trained(kind, dtype)
        assert model.scale == SCALE
        assert_identical(outputs(model, X8), outputs(model, X8, scale=SCALE))

    def test_an_explicit_one_wins(self, kind):
        model, other = trained(kind), trained(kind)
        other.scale = 0.02
        assert_identical(outputs(model, X8, scale=0.02), outputs(other, X8))
        assert (model.encode(X8, scale=0.02) != model.encode(X8)).any()
        assert model.scale == SCALE

    def test_floats_are_as_they_are(self, kind):
        model, other = trained(kind), trained(kind)
        other.scale = None
        assert_identical(outputs(model, X), outputs(other, X))
        with pytest.raises(DataError, match="scale: expected None with x of dtype float32"):
            model.encode(X, scale=SCALE)

    def test_a_training_on_floats_forgets_it(self, kind):
        model = trained(kind)
        if kind == "autoencoder":
            model.fit(X, **SHORT)
        elif kind == "stack":
            model.finetune(X, Y, **SHORT)
        else:
            model.pretrain(X, **SHORT)
        assert model.scale is None
        with pytest.raises(DataError, match="x: uint8 needs scale="):
            model.encode(X8)

    def test_a_training_that_is_refused_changes_nothing(self, kind):
        model = trained(kind)
        train = model.fit if kind == "autoencoder" else model.pretrain
        for change in ({"steps": -1}, {"scale": -1}, {"batch_size": 71}):
            with pytest.raises(DataError):
                train(X8, **{**SHORT, "scale": 0.5, **change})
        if kind != "autoencoder":
            with pytest.raises(DataError):
                model.finetune(X8, Y[1:], scale=0.5, **SHORT)
        assert model.scale == SCALE

    def test_training_says_its_scale_anew(self, kind):
        model = trained(kind)
        train = model.fit if kind == "autoencoder" else model.pretrain
        with pytest.raises(DataError, match="x: uint8 needs scale="):
            train(X8, **SHORT)

    @pytest.mark.parametrize("scale", [0, -1, np.nan, np.inf, 1e-60, 1e38, "1/255", [1]])
    def test_what_is_none(self, kind, scale):
        model = trained(kind)
        with pytest.raises(DataError, match=r"^scale: "):
            model.scale = scale
        assert model.scale == SCALE

    def test_it_travels(self, kind, tmp_path):
        model = trained(kind)
        for other in (
            load(model.save(tmp_path / "model")),
            pickle.loads(pickle.dumps(model)),
            copy.deepcopy(model),
        ):
            assert other.scale == SCALE
            assert_identical(outputs(other, X8), outputs(model, X8))


def test_the_scale_of_an_eval_set_alone():
    """Floats to train on and uint8 to measure on: the scale is that of the uint8 samples."""
    net = StackedAutoencoder([N_FEATURES, 6], 3)
    net.finetune(X, Y, eval_set=(X8, Y), scale=SCALE, **SHORT)
    assert net.scale == SCALE


def test_the_first_autoencoder_reads_the_same_samples():
    net = trained("stack")
    first, second = net.autoencoders
    assert_identical({"codes": first.encode(X8)}, {"codes": first.encode(X8, scale=SCALE)})
    assert second.scale is None
    assert load_of_bytes(net).autoencoders[0].scale == SCALE


def load_of_bytes(model):
    return pickle.loads(pickle.dumps(model))


def test_codes_have_no_scale():
    ae = trained("autoencoder")
    with pytest.raises(DataError, match="code: uint8 needs scale="):
        ae.decode(np.zeros((2, 5), np.uint8))


def test_callbacks_can_use_it():
    seen = []
    ae = Autoencoder(N_FEATURES, 5)
    ae.fit(X8, scale=SCALE, callbacks=[lambda t: seen.append(t.model.encode(X8).shape)], **SHORT)
    assert seen == [(70, 5)]


# Class names


class TestClasses:
    @pytest.mark.parametrize(
        ("classes", "expected"),
        [
            (["a", "b", "c"], ["a", "b", "c"]),
            (("ä", "", "c" * 1000), ["ä", "", "c" * 1000]),
            ([3, -7, 10**30], [3, -7, 10**30]),
            (range(3), [0, 1, 2]),
            (np.array([5, 6, 7], np.uint8), [5, 6, 7]),
            (np.array(["x", "y", "z"]), ["x", "y", "z"]),
            ([np.int64(5), 6, np.int8(7)], [5, 6, 7]),
            (None, None),
        ],
    )
    def test_assigned(self, classes, expected, tmp_path):
        net = StackedAutoencoder([4, 3], 3)
        assert net.classes is None
        net.classes = classes
        for other in (net, load(net.save(tmp_path / "net")), copy.deepcopy(net)):
            assert other.classes == expected
            assert {type(label) for label in other.classes or ()} <= {int, str}

    @pytest.mark.parametrize(
        "classes",
        [
            "abc", b"abc", 3, {"a", "b", "c"}, ["a", "b"], ["a", "b", "b"], ["a", "b", 3],
            [0.0, 1.0, 2.0], [True, False, 2], [None] * 3, np.zeros((3, 2), int), [[1], [2], [3]],
        ],
        ids=lambda classes: type(classes).__name__,
    )  # fmt: skip
    def test_refused(self, classes):
        net = StackedAutoencoder([4, 3], 3)
        net.classes = ["a", "b", "c"]
        with pytest.raises(DataError, match=r"^classes: expected"):
            net.classes = classes
        assert net.classes == ["a", "b", "c"]

    def test_without_a_softmax_layer(self):
        net = StackedAutoencoder([4, 3])
        with pytest.raises(DataError, match="expected a network with classes"):
            net.classes = ["a", "b"]

    def test_a_copy(self):
        net = StackedAutoencoder([4, 3], 2)
        net.classes = ["a", "b"]
        net.classes.append("c")
        assert net.classes == ["a", "b"]


# Pickles


def codes_in_this_process(model):
    return model.encode(X8), model.n_threads


@pytest.mark.parametrize("kind", KINDS)
class TestPickle:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_the_same_model(self, kind, protocol):
        model = trained(kind)
        other = pickle.loads(pickle.dumps(model, protocol))
        assert type(other) is type(model)
        assert_identical(other.parameters, model.parameters)
        assert_identical(outputs(other, X8), outputs(model, X8))

    def test_a_copy_of_its_own(self, kind):
        model = trained(kind)
        before = model.parameters
        other = copy.deepcopy(model)
        if kind == "autoencoder":
            other.fit(X, **SHORT)
        else:
            other.pretrain(X, **SHORT)
        assert_identical(model.parameters, before)
        assert any((other.parameters[name] != before[name]).any() for name in before)

    def test_training_goes_on_the_same(self, kind):
        model = trained(kind)
        other = copy.deepcopy(model)
        for either in (model, other):
            if kind == "autoencoder":
                either.fit(X, **SHORT)
            else:
                either.finetune(X, Y, **SHORT)
        assert_identical(other.parameters, model.parameters)

    def test_no_state_without_its_parameters(self, kind):
        """Decoders of a pretraining that was broken off are in no file: they start anew."""
        if kind == "autoencoder":
            pytest.skip("it is all there")
        net = trained(kind)

        def fail(training):
            if training.layer == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            net.pretrain(X8, scale=SCALE, callbacks=[fail], **SHORT)
        other = pickle.loads(pickle.dumps(net))
        assert [autoencoder._state for autoencoder in other.autoencoders] == [None, None]

    def test_threads(self, kind, monkeypatch):
        """A number stays what it is; None is what the new process may use."""
        model = trained(kind)
        model.n_threads = 3
        three = pickle.dumps(model)
        model.n_threads = None
        as_many_as_there_are = pickle.dumps(model)
        monkeypatch.setattr(threads, "available_threads", lambda: 7)
        monkeypatch.setattr(parameters, "openmp_threads", lambda: 99)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        assert pickle.loads(three).n_threads == 3
        assert pickle.loads(as_many_as_there_are).n_threads == 7
        if kind != "autoencoder":
            inner = pickle.loads(as_many_as_there_are).autoencoders[0]
            assert inner.n_threads == 7

    def test_in_another_process(self, kind):
        model = trained(kind)
        model.n_threads = 2
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
            codes, n_threads = pool.submit(codes_in_this_process, model).result()
        assert_identical({"codes": codes}, {"codes": model.encode(X8)})
        assert n_threads == 2

    def test_damaged(self, kind):
        model = trained(kind)
        data, held = bytearray(pickle.dumps(model)), model.__getstate__()["model"]
        data[data.index(held) + len(held) // 2] ^= 1
        with pytest.raises(ModelFileError, match=r"^pickle: expected a model of sae_fast"):
            pickle.loads(bytes(data))

    def test_joblib(self, kind, tmp_path):
        joblib = pytest.importorskip("joblib")
        model = trained(kind)
        joblib.dump(model, tmp_path / "model.joblib", compress=3)
        other = joblib.load(tmp_path / "model.joblib")
        assert_identical(outputs(other, X8), outputs(model, X8))


class Tagged(Autoencoder):
    """A user's own class."""


def test_a_subclass_stays_one():
    model = Tagged(4, 2)
    other = copy.deepcopy(model)
    assert type(other) is Tagged
    assert_identical(other.parameters, model.parameters)


# Parts, and packages that are not there


WAYS = {
    "ONNX": lambda model, path, **part: model.export_onnx(path / "model.onnx", **part),
    "PyTorch": lambda model, path, **part: model.to_torch(**part),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
class TestParts:
    @pytest.mark.parametrize("part", ["decoder", "", "Encoder", 1, ["encoder"]])
    def test_no_such_part(self, way, part, tmp_path):
        net = StackedAutoencoder([4, 3], 2)
        names = "encoder, reconstruction, classifier"
        with pytest.raises(DataError, match=f"^part: expected one of {names}, got"):
            way(net, tmp_path, part=part)
        with pytest.raises(DataError, match=r"^part: expected one of encoder, reconstruction, got"):
            way(Autoencoder(4, 3), tmp_path, part=part)
        assert list(tmp_path.iterdir()) == []

    def test_a_classifier_of_an_autoencoder(self, way, tmp_path):
        with pytest.raises(DataError, match=r"^part: .* got 'classifier'"):
            way(Autoencoder(4, 3), tmp_path, part="classifier")

    def test_no_decoders_yet(self, way, tmp_path):
        for net, part in (
            (StackedAutoencoder([4, 3], 2), {"part": "reconstruction"}),
            (StackedAutoencoder([4, 3]), {}),
        ):
            with pytest.raises(DataError, match=r"^part 'reconstruction': .* call pretrain\(\)"):
                way(net, tmp_path, **part)

    def test_no_classes(self, way, tmp_path):
        with pytest.raises(DataError, match="n_classes: expected a network with classes"):
            way(StackedAutoencoder([4, 3]), tmp_path, part="classifier")


def test_without_onnx(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'sae-fast[onnx]'")):
        Autoencoder(4, 3).export_onnx(tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model_class", [Autoencoder, StackedAutoencoder])
def test_without_torch(model_class, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"from_torch: .*\(pip install torch\)"):
        model_class.from_torch(None)
    with pytest.raises(ImportError, match=r"to_torch: .*\(pip install torch\)"):
        Autoencoder(4, 3).to_torch()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_scale_keeps_every_pixel_finite(dtype):
    """The largest number over 255, times 255, is infinite in float64."""
    largest = float(np.finfo(dtype).max) / 255
    pixels = np.full((1, 2), 255, np.uint8)
    model = Autoencoder(2, 1, dtype=dtype)
    model.parameters = {"W_enc": np.array([[0.5], [0.25]])}
    assert np.isfinite(model.encode(pixels, scale=np.nextafter(largest, 0))).all()
    with pytest.raises(DataError, match=f"scale: expected a factor that {dtype} can hold"):
        model.encode(pixels, scale=np.nextafter(largest, np.inf))
    if dtype == "float64":
        with pytest.raises(DataError, match="scale: expected a factor that float64 can hold"):
            model.encode(pixels, scale=largest)


# What it says of itself


class TestSaysWhatItIs:
    @pytest.mark.parametrize(
        ("kind", "line"),
        [
            ("autoencoder", "Autoencoder 14-5-14, relu and linear, float32, trained for 4 steps"),
            (
                "pretrained stack",
                "StackedAutoencoder 14-6-4-3, relu and softmax, float32, pretrained",
            ),
            (
                "stack",
                "StackedAutoencoder 14-6-4-3, relu and softmax, float32, pretrained, trained for 4 "
                "steps",
            ),
        ],
    )
    def test_in_a_line(self, kind, line):
        model = trained(kind)
        assert repr(model) == f"<{line}>"
        restored = repr(pickle.loads(pickle.dumps(model)))
        assert restored == f"<{line}>"
        assert line.startswith(repr(load_again(model))[1:-1])  # a file keeps no count of steps

    def test_before_training(self):
        net = StackedAutoencoder([14, 6], activation="tanh", dtype="float64")
        assert repr(net) == "<StackedAutoencoder 14-6, tanh, float64>"

    @pytest.mark.parametrize("kind", KINDS)
    def test_summary_counts_parameters_and_dead_units(self, kind):
        model = trained(kind)
        head, title, columns, *rows, total = model.summary(X8).replace("\n\n", "\n").split("\n")
        assert (f"<{head}>", title) == (repr(model), "Layers")
        assert columns.split()[-2:] == ["dead", "units"]
        assert total == f"{sum(w.size for w in model.parameters.values())} parameters"
        dead = np.atleast_1d(model.count_dead_units(X8)).tolist()
        assert [row.split()[-1] for row in rows] == [*map(str, dead), "-"]
        assert "dead" not in model.summary()
        with pytest.raises(DataError, match="x: expected"):
            model.summary(X[:, 1:])

    def test_in_a_notebook(self):
        page = trained("stack")._repr_html_()
        assert page.count("<tr>") == 1 + 3
        assert "<p>StackedAutoencoder 14-6-4-3, " in page


def load_again(model):
    with tempfile.TemporaryDirectory() as folder:
        return load(model.save(Path(folder) / "model.safetensors"))
