# SPDX-License-Identifier: BSD-3-Clause
"""Every script in examples/ runs, and prints what it should.

Not in processes of their own: what they import takes longer than what they do.
"""

from __future__ import annotations

import ast
import contextlib
import http.client
import importlib.util
import re
import runpy
import sys
from pathlib import Path
from threading import Thread

import pytest
import sae_fast

FOLDER = Path(__file__).resolve().parents[1] / "examples"
SCRIPTS = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.py"))

#: The model of docs/coming-from.md, 64-32-16-10: the same in every library.
SAME_MODEL = (
    r"parameters: 2778\n"
    r"codes: \(450, 16\)\n"
    r"probabilities: \(450, 10\)\n"
    r"accuracy: 0\.9\d+\n"
)
#: What each prints, as a regular expression for all of it.
OUTPUT = {
    "classify_digits.py": (
        r"best units: \(.*\)\n"
        r"stopped after \d+ of at most 2000 steps\n"
        r"test accuracy: 0\.9\d+\n"
        r"(\[?\[[ \d]+\]\]?\s*){10}"
    ),
    "compress_images.py": (
        r"784 numbers become 30\n"
        r"784-30: mean squared error 0\.0[0-4]\d+ a pixel\n"
        r"784-200-30: mean squared error 0\.0[0-4]\d+ a pixel\n"
        r"see reconstructions\.png\n"
    ),
    "deep_autoencoder.py": (
        r"784-80-40-30-10, pretrained: squared error \d+\.\d\d a test image, .*\n"
        r"784-80-40-30-10, from nothing: squared error \d+\.\d\d a test image, .*\n"
        r"PCA, 10 components: squared error \d+\.\d\d a test image\n"
    ),
    "stacked_denoising.py": (
        r"784-60-60-60, pretrained: test error \d+\.\d\d %, \d+ s of pretraining, \d+ s of .*\n"
        r"784-60-60-60, from nothing: test error \d+\.\d\d %, 0 s of pretraining, \d+ s of .*\n"
    ),
    "cluster_digits.py": (
        r"k-means of the pixels: 0\.[78]\d+\n"
        r"k-means of the codes: 0\.[78]\d+\n"
        r"deep embedded clustering: 0\.[78]\d+ after \d+ renewals, new rows 0\.[789]\d+\n"
    ),
    "detect_anomalies.py": (
        r"normal: 3, anomalies: all other digits\n"
        r"alarms for 9\d% of 404 anomalies and \d+% of 46 normal rows\n"
        r"a 3 with one pixel changed is odd at pixel 30\n"
        r"one digit is normal: ROC-AUC 0\.99\d on average, 0\.9\d+ at worst\n"
        r"one digit is anomalous: ROC-AUC 0\.8\d+ on average, 0\.[67]\d+ at worst\n"
    ),
    "few_labels.py": (
        r"\(32, 16, 8\): accuracy 0\.[67]\d+ with all rows, 0\.[56]\d+ with the labelled alone\n"
        r"\(200,\): accuracy 0\.[78]\d+ with all rows, 0\.[78]\d+ with the labelled alone\n"
    ),
    "serve.py": (
        r"40 requests from 8 threads, 400 rows\n"
        r"the same classes as without the service: True\n"
        r"a wrong request: 400 \{'error': 'x: .*784.*'\}\n"
    ),
    "tune_scikit_learn.py": (
        r"9 candidates, 3 epochs\n"
        r"3 candidates, 9 epochs\n"
        r"1 candidates, 27 epochs\n"
        r"best: \{.*'net__epochs': 27\}\n"
        r"test accuracy: 0\.9\d+\n"
    ),
    "tune_optuna.py": (
        r"[89] trials, \d of them cut short\n"
        r"best loss: 0\.[012]\d+ with \{'units': .*\}\n"
        r"test accuracy: 0\.9\d+\n"
    ),
    "export_onnx.py": (
        r"net\.onnx: \d+ bytes\nlargest difference of a probability: .*\nbelow 1e-5: True\n"
    ),
    "export_torch.py": (
        r"accuracy in PyTorch: (0\.[89]\d+)\naccuracy of the same weights here: \1\n"
    ),
    "coming_from/sae_fast_model.py": SAME_MODEL,
    "coming_from/scikit_learn_model.py": SAME_MODEL,
    "coming_from/pytorch_model.py": SAME_MODEL,
    "coming_from/keras_model.py": SAME_MODEL,
}


def imported_packages(script):
    """Packages that a script imports, without their submodules."""
    for node in ast.walk(ast.parse((FOLDER / script).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def test_each_has_its_output_here():
    assert sorted(OUTPUT) == SCRIPTS


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # scikit-learn's, of so many passes
@pytest.mark.parametrize("script", SCRIPTS)
def test_script(script, tmp_path, monkeypatch, capsys):
    for package in set(imported_packages(script)) | ({"onnx"} if "onnx" in script else set()):
        if package not in sys.stdlib_module_names:
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script])
    runpy.run_path(str(FOLDER / script), run_name="__main__")
    printed = capsys.readouterr().out
    assert re.fullmatch(OUTPUT[script], printed), printed


@contextlib.contextmanager
def service(path):
    """The service of serve.py with a model of three features, ready to be asked."""
    spec = importlib.util.spec_from_file_location("serve", FOLDER / "serve.py")
    serve = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(serve)
    sae_fast.StackedAutoencoder([3, 2], n_classes=2).save(path)
    with serve.Service(("127.0.0.1", 0), path) as server:
        thread = Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/predict", b"[[1, 2, 3], [4, 5, 6]]", 200, r"^\[[01], [01]\]$"),
        ("/predict", b"[[1, 2]]", 400, "expected 3 features"),
        ("/predict", b"[[1, 2, 3], [4, 5]]", 400, "error"),
        ("/predict", b"[[1, 2, NaN]]", 400, "finite"),
        ("/predict", b'[["a", "b", "c"]]', 400, "error"),
        ("/predict", b"{}", 400, "error"),
        ("/predict", b"nothing", 400, "error"),
        ("/predict", b"[" * 100_000, 400, "error"),
        ("/predict", b"", 413, "bytes"),
        ("/", b"[[1, 2, 3]]", 404, "/predict"),
    ],
)
def test_answers_of_the_service(path, body, status, words, tmp_path):
    with service(tmp_path / "net.safetensors") as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        connection.request("POST", path, body)
        response = connection.getresponse()
        assert response.status == status
        assert re.search(words, response.read().decode())
        connection.close()
