# SPDX-License-Identifier: BSD-3-Clause
"""ONNX files: onnxruntime computes from them what the model computes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import sae_fast
from helpers import assert_identical, draw_x, draw_y
from sae_fast import Autoencoder, DataError, StackedAutoencoder
from sae_fast.core.activations import ACTIVATIONS
from sae_fast.exchange import onnx as exchange

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

N_FEATURES = 100
X, Y = draw_x(1000, N_FEATURES, zeros=0.6), draw_y(1000, 5)
X8 = (X * 255).astype(np.uint8)


def trained(kind, dtype="float32"):
    if kind == "autoencoder":
        ae = Autoencoder(N_FEATURES, 12, dtype=dtype)
        ae.fit(X8, steps=100, batch_size=50, learning_rate=0.01, scale=1 / 255)
        return ae
    net = StackedAutoencoder([N_FEATURES, 40, 12], 5, init="he", dtype=dtype)
    net.pretrain(X, steps=100, batch_size=50, learning_rate=0.01)
    net.finetune(X, Y, steps=100, batch_size=50, learning_rate=0.01)
    return net


#: Each part with what its output is called, and what computes the same here.
PARTS = {
    ("autoencoder", "encoder"): ("code", "encode"),
    ("autoencoder", "reconstruction"): ("reconstruction", "reconstruct"),
    ("stack", "encoder"): ("code", "encode"),
    ("stack", "reconstruction"): ("reconstruction", "reconstruct"),
    ("stack", "classifier"): ("probabilities", "predict_proba"),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "part"), PARTS)
def test_onnxruntime_computes_the_same(kind, part, dtype, tmp_path):
    model = trained(kind, dtype)
    path = model.export_onnx(tmp_path / "model.onnx", part=part)
    assert path == tmp_path / "model.onnx"
    session = onnxruntime.InferenceSession(path)
    name, method = PARTS[kind, part]
    (source,), (target,) = session.get_inputs(), session.get_outputs()
    number = {"float32": "tensor(float)", "float64": "tensor(double)"}[dtype]
    width = len(getattr(model, method)(X[:1])[0])
    assert (source.name, source.type, source.shape) == ("x", number, ["n_samples", N_FEATURES])
    assert (target.name, target.type, target.shape) == (name, number, ["n_samples", width])
    for n_samples in (1, 7, 100, 1000):
        x = X[:n_samples].astype(dtype)
        (found,) = session.run(None, {"x": x})
        expected = getattr(model, method)(x)
        assert expected.std() > 0.01  # something that could differ
        assert found.dtype == dtype
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < {"float32": 1e-5, "float64": 1e-12}[dtype]


@pytest.mark.parametrize("output", ACTIVATIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation, output, tmp_path):
    ae = Autoencoder(N_FEATURES, 5, activation=activation, output=output)
    session = onnxruntime.InferenceSession(ae.export_onnx(tmp_path / "ae.onnx"))
    (found,) = session.run(None, {"x": X})
    assert np.abs(found - ae.reconstruct(X)).max() < 1e-5


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_in_float64(activation, tmp_path):
    """To the last digits, of sums near zero and far from it."""
    ae = Autoencoder(1, 1, activation=activation, output=activation, dtype="float64")
    one, zero = np.ones((1, 1)), np.zeros(1)
    ae.parameters = {"W_enc": one, "b_enc": zero, "W_dec": one, "b_dec": zero}
    z = np.concatenate([10.0 ** np.arange(-12, 3.1, 0.5), [20.0, 36.5, 37.5, 700.0, 800.0, 1e6]])
    x = np.concatenate([-z, [0.0], z])[:, None]
    for part, method in (("encoder", ae.encode), ("reconstruction", ae.reconstruct)):
        session = onnxruntime.InferenceSession(ae.export_onnx(tmp_path / "ae.onnx", part))
        (found,) = session.run(None, {"x": x})
        assert found.dtype == np.float64
        limit = 0 if activation in exchange._WRITTEN_OUT else 1e-16  # its own sigmoid's
        np.testing.assert_allclose(found, method(x), rtol=1e-14, atol=limit)


def test_an_activation_for_each_layer(tmp_path):
    functions = {"activation": ["sigmoid", "elu", "linear"], "output": ["sigmoid", "selu", "elu"]}
    net = StackedAutoencoder([N_FEATURES, 9, 7, 5], 3, **functions)
    net.pretrain(X, steps=20, batch_size=50)
    for part, method in (("classifier", "predict_proba"), ("reconstruction", "reconstruct")):
        session = onnxruntime.InferenceSession(net.export_onnx(tmp_path / "net.onnx", part))
        (found,) = session.run(None, {"x": X})
        assert np.abs(found - getattr(net, method)(X)).max() < 1e-5


def test_the_whole_is_the_default(tmp_path):
    graphs = {
        "classifier": trained("stack"),
        "reconstruction": trained("autoencoder"),
    }
    classless = StackedAutoencoder([N_FEATURES, 5])
    classless.pretrain(X, steps=2)
    for model, part in [(model, part) for part, model in graphs.items()] + [
        (classless, "reconstruction")
    ]:
        default = model.export_onnx(tmp_path / "default.onnx").read_bytes()
        assert default == model.export_onnx(tmp_path / "named.onnx", part=part).read_bytes()


def test_the_file_describes_itself(tmp_path):
    net = StackedAutoencoder([4, 3], 2)
    net.scale, net.classes = 1 / 255, ["nö", "yes"]
    session = onnxruntime.InferenceSession(net.export_onnx(tmp_path / "net.onnx"))
    meta = session.get_modelmeta()
    assert meta.producer_name == "sae_fast"
    assert meta.graph_name == "classifier"
    found = meta.custom_metadata_map
    assert found["version"] == sae_fast.__version__
    assert found["part"] == "classifier"
    assert json.loads(found["scale"]) == net.scale
    assert json.loads(found["classes"]) == net.classes
    session = onnxruntime.InferenceSession(Autoencoder(4, 3).export_onnx(tmp_path / "ae.onnx"))
    assert session.get_modelmeta().custom_metadata_map.keys() == {"version", "part"}


def test_uint8_by_its_scale(tmp_path):
    """What a service does that has the file alone."""
    ae = trained("autoencoder")
    session = onnxruntime.InferenceSession(ae.export_onnx(tmp_path / "ae.onnx"))
    scale = json.loads(session.get_modelmeta().custom_metadata_map["scale"])
    (found,) = session.run(None, {"x": X8 * np.float32(scale)})
    assert np.abs(found - ae.reconstruct(X8)).max() < 1e-5


def test_the_graph_holds_the_parameters(tmp_path):
    net = trained("stack", "float64")
    graph = onnx.load(net.export_onnx(tmp_path / "net.onnx")).graph
    found = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    assert_identical(found, net.parameters)


class TestFiles:
    def test_an_older_file_is_replaced(self, tmp_path):
        path = tmp_path / "model.onnx"
        path.write_bytes(b"something else")
        trained("stack").export_onnx(str(path))
        onnx.checker.check_model(path)
        assert list(tmp_path.iterdir()) == [path]

    def test_the_older_file_stays(self, tmp_path, monkeypatch):
        path = Autoencoder(4, 3).export_onnx(tmp_path / "model.onnx")
        before = path.read_bytes()

        def fail(self, *_):
            raise OSError(28, "No space left")

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="No space left"):
            Autoencoder(4, 2).export_onnx(path)
        assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
        assert path.read_bytes() == before

    def test_no_such_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            Autoencoder(4, 3).export_onnx(tmp_path / "nowhere" / "model.onnx")

    def test_no_path(self):
        with pytest.raises(DataError, match="path: expected a path, got 5"):
            Autoencoder(4, 3).export_onnx(5)

    def test_a_file_that_is_open(self, tmp_path):
        model = trained("stack")
        expected = model.export_onnx(tmp_path / "model.onnx").read_bytes()
        memory = io.BytesIO()
        assert model.export_onnx(memory) is memory
        assert memory.getvalue() == expected
        with (tmp_path / "open.onnx").open("wb") as file:
            assert model.export_onnx(file, "classifier") is file
        assert (tmp_path / "open.onnx").read_bytes() == expected
        with pytest.raises(DataError, match="path: expected a file opened in binary mode"):
            model.export_onnx(io.StringIO())

    def test_too_large(self, tmp_path, monkeypatch):
        ae = Autoencoder(20, 10)
        n_bytes = 4 * (20 * 10 + 10)
        monkeypatch.setattr(exchange, "_MOST_BYTES", n_bytes)
        ae.export_onnx(tmp_path / "encoder.onnx", "encoder")
        monkeypatch.setattr(exchange, "_MOST_BYTES", n_bytes - 1)
        with pytest.raises(DataError, match=r"part: expected at most .* GB in 'encoder'"):
            ae.export_onnx(tmp_path / "refused.onnx", "encoder")
        assert [path.name for path in tmp_path.iterdir()] == ["encoder.onnx"]
