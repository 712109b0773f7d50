# SPDX-License-Identifier: BSD-3-Clause
"""Writes the model files of a release, and what they compute, for the releases after it to load.

Run once for each release, before it: `python tests/make_models.py` makes a folder of its version
in `tests/data/models`, with the package that is installed. What is there is never written again:
kinds of models that have come since are added to it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import sae_fast
from sae_fast import Autoencoder, StackedAutoencoder
from sae_fast.activations import TopK

FOLDER = Path(__file__).parent / "data" / "models"
N_FEATURES = 6
TRAINING = {"steps": 300, "batch_size": 8, "learning_rate": 0.01}


def draw() -> tuple[np.ndarray, np.ndarray]:
    """Uint8 samples of three kinds, and their kinds."""
    rng = np.random.default_rng(0)
    y = np.arange(24) % 3
    x = rng.integers(0, 60, (24, N_FEATURES)) + 150 * (np.arange(N_FEATURES) % 3 == y[:, None])
    return x.astype(np.uint8), y


def shake(model: Autoencoder | StackedAutoencoder) -> None:
    """Start from larger weights than N(0, 0.01²), from which networks as small as these die."""
    rng = np.random.default_rng(7)
    model.parameters = {
        name: value + rng.uniform(-0.4, 0.8, value.shape)
        for name, value in model.parameters.items()
    }


def models() -> dict[str, tuple[Autoencoder | StackedAutoencoder, np.ndarray]]:
    """Every kind of model by its file name, and samples for it."""
    x8, y = draw()
    x = (x8 / 255).astype(np.float32)
    found: dict[str, tuple[Autoencoder | StackedAutoencoder, np.ndarray]] = {}
    for dtype in ("float32", "float64"):
        ae = Autoencoder(N_FEATURES, 3, weight_decay=0.01, seed=1, dtype=dtype, layer=2)
        shake(ae)
        ae.fit(x, **TRAINING)
        found[f"autoencoder-{dtype}"] = ae, x

    pretrained = StackedAutoencoder([N_FEATURES, 4, 3], 3, seed=2, init="he")
    pretrained.pretrain(x, **TRAINING)
    found["stack-pretrained"] = pretrained, x

    finetuned = StackedAutoencoder([N_FEATURES, 4, 3], 3, seed=3, init="he", dtype="float64")
    finetuned.finetune(x, y, **TRAINING)
    found["stack-finetuned"] = finetuned, x

    classless = StackedAutoencoder([N_FEATURES, 4, 3], seed=2**70)
    shake(classless)
    classless.pretrain(x, **TRAINING)
    found["stack-without-classes"] = classless, x

    whole = StackedAutoencoder([N_FEATURES, 4, 3], 3, seed=4, init="he")
    whole.pretrain(x8, scale=1 / 255, **TRAINING)
    whole.finetune(x8, y, scale=1 / 255, **TRAINING)
    whole.classes = ["Äpfel", "pears", ""]
    found["stack-scale-classes"] = whole, x8

    sparse = Autoencoder(N_FEATURES, 4, seed=5, activation=TopK(2), output="sigmoid")
    sparse.fit(x, loss="binary_cross_entropy", **TRAINING)
    found["autoencoder-top-k"] = sparse, x

    tied = Autoencoder(N_FEATURES, 3, seed=6, activation="elu", tied=True, dtype="float64")
    tied.fit(x, **TRAINING)
    found["autoencoder-tied"] = tied, x

    functions = {"activation": ["tanh", TopK(2)], "output": ["softplus", "selu"]}
    regression = StackedAutoencoder([N_FEATURES, 4, 3], n_targets=2, seed=7, **functions)
    regression.pretrain(x, **TRAINING)
    regression.finetune(x, x[:, :2] + x[:, 2:4], **TRAINING)
    found["stack-targets-each-activation"] = regression, x

    labels = StackedAutoencoder([N_FEATURES, 4, 3], n_targets=3, head="sigmoid", seed=8, tied=True)
    labels.pretrain(x, **TRAINING)
    labels.finetune(x, y[:, None] == np.arange(3), **TRAINING)
    found["stack-labels-tied"] = labels, x
    return found


def describe(model: Autoencoder | StackedAutoencoder) -> dict[str, object]:
    """Settings of a model, as JSON types."""
    names = ["n_features", "n_hidden", "seed", "dtype", "scale", "activation", "output", "tied"]
    if isinstance(model, StackedAutoencoder):
        names += ["sizes", "n_classes", "init", "pretrained", "classes", "n_targets", "head"]
    else:
        names += ["weight_decay", "layer"]
    return json.loads(json.dumps({name: getattr(model, name) for name in names}, default=vars))


def compute(model: Autoencoder | StackedAutoencoder, x: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of a model for `x`, by the method that computes them."""
    methods = ["encode"]
    if getattr(model, "pretrained", True):
        methods += ["reconstruct", "score_samples"]
    if getattr(model, "head", None) in ("softmax", "sigmoid"):
        methods += ["predict_proba"]
    if getattr(model, "head", None) is not None:
        methods += ["predict"]
    return {method: getattr(model, method)(x) for method in methods}


def main() -> None:
    """Write the files."""
    folder = FOLDER / sae_fast.__version__
    folder.mkdir(parents=True, exist_ok=True)
    for name, (model, x) in models().items():
        path = folder / f"{name}.safetensors"
        if path.exists():
            continue
        model.save(path)
        shown = x[:4]
        expected = {
            "class": type(model).__name__,
            "settings": describe(model),
            "x": {"dtype": shown.dtype.name, "values": shown.tolist()},
            "outputs": {key: value.tolist() for key, value in compute(model, shown).items()},
        }
        text = json.dumps(expected, indent=1, ensure_ascii=False) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
