# SPDX-License-Identifier: BSD-3-Clause
"""Model files of every release so far load, and compute what they computed then.

`make_models.py` writes them for a release.
"""

from __future__ import annotations

import json

import make_models
import numpy as np
import pytest
import sae_fast
from helpers import assert_identical
from sae_fast import StackedAutoencoder

FILES = sorted(make_models.FOLDER.rglob("*.safetensors"))
IDS = [path.relative_to(make_models.FOLDER).with_suffix("").as_posix() for path in FILES]


def test_this_release_is_among_them():
    """Each kind of model, with every setting at more than one value."""
    here = make_models.FOLDER / sae_fast.__version__
    names = {path.stem for path in FILES if path.parent == here}
    assert names == {
        "autoencoder-float32",
        "autoencoder-float64",
        "stack-pretrained",
        "stack-finetuned",
        "stack-without-classes",
        "stack-scale-classes",
        "autoencoder-top-k",
        "autoencoder-tied",
        "stack-targets-each-activation",
        "stack-labels-tied",
    }


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_it_computes_what_it_did(path, tmp_path):
    expected = json.loads(path.with_suffix(".json").read_text("utf-8"))
    model = sae_fast.load(path)
    assert type(model).__name__ == expected["class"]
    settings = make_models.describe(model)
    assert {name: settings[name] for name in expected["settings"]} == expected["settings"]
    x = np.array(expected["x"]["values"], expected["x"]["dtype"])
    found = make_models.compute(model, x)
    assert found.keys() == expected["outputs"].keys()
    for name, values in expected["outputs"].items():
        assert found[name].shape == np.shape(values), name
        limit = 1e-6 * max(1, np.abs(values).max())
        assert np.abs(found[name] - values).max() <= limit, name
        assert np.ptp(values) > 0 or name == "predict", name

    again = sae_fast.load(model.save(tmp_path / "again"))
    assert_identical(again.parameters, model.parameters)
    assert make_models.describe(again) == settings


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_it_can_be_trained_on(path):
    expected = json.loads(path.with_suffix(".json").read_text("utf-8"))
    model = sae_fast.load(path)
    x = np.array(expected["x"]["values"], expected["x"]["dtype"])
    options = {"steps": 3, "batch_size": 2, "scale": model.scale}
    before = model.parameters
    if isinstance(model, StackedAutoencoder):
        model.pretrain(x, **options)
        if model.n_classes is not None:
            model.finetune(x, [0, 1, 2, 0], **options)
        if model.n_targets is not None:
            model.finetune(x, np.arange(4 * model.n_targets).reshape(4, -1) % 2, **options)
    else:
        model.fit(x, **options)
    assert any((value != before[name]).any() for name, value in model.parameters.items())
