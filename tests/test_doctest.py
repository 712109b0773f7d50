# SPDX-License-Identifier: BSD-3-Clause
"""The examples in the docstrings run and print what they say."""

from __future__ import annotations

import doctest
import importlib.util
import pkgutil

import pytest
import sae_fast
from helpers import assert_examples_run
from sae_fast import callbacks, datasets, optimizers, penalties, plot, schedules, sklearn

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(sae_fast.__path__, "sae_fast.")
    if importlib.util.find_spec(module.name).origin.endswith(".py")
    and not module.name.endswith("__main__")
)

#: Packages that examples may need and the package does not: without one, what names it is skipped.
OPTIONAL = {
    "torch": "torch",
    "export_onnx": "onnx",
    "onnxruntime": "onnxruntime",
    "TensorBoard": "tensorboard",
}


PUBLIC_CALLBACKS = [
    kind
    for name, kind in vars(callbacks).items()
    if isinstance(kind, type) and issubclass(kind, callbacks.Callback) and name[0] != "_"
]


def examples(name):
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(importlib.import_module(name)) if test.examples]


def test_there_are_modules_and_examples():
    assert len(MODULES) > 20
    assert sum(len(examples(name)) for name in MODULES) >= 10


@pytest.mark.parametrize(
    "test",
    [pytest.param(test, id=test.name) for name in MODULES for test in examples(name)],
)
def test_examples(test, tmp_path, monkeypatch):
    for word, package in OPTIONAL.items():
        if any(word in example.source for example in test.examples):
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)  # in case an example writes
    assert_examples_run(test)


@pytest.mark.parametrize(
    "name",
    [
        "Autoencoder",
        "StackedAutoencoder",
        "run_experiment",
        "run_reconstruction",
        "run_study",
        "StudyResult",
        "info",
        "load",
        "Autoencoder.from_torch",
        "StackedAutoencoder.export_onnx",
        "StackedAutoencoder.from_torch",
        "StackedAutoencoder.to_torch",
        "ArmResult",
        "callbacks.Training",
        *(f"callbacks.{kind.__name__}" for kind in PUBLIC_CALLBACKS),
        *(f"sklearn.{name}" for name in sklearn.__all__),
        *(f"datasets.{name}" for name in datasets.__all__ if name[0].islower()),
        *(f"optimizers.{name}" for name in optimizers.__all__),
        *(f"penalties.{name}" for name in penalties.__all__),
        *(f"schedules.{name}" for name in schedules.__all__),
        *(f"plot.{name}" for name in plot.__all__),
    ],
)
def test_public_names_have_examples(name):
    value = sae_fast
    for part in name.split("."):
        value = getattr(value, part)
    assert "Examples\n" in value.__doc__
