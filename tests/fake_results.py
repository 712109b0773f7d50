# SPDX-License-Identifier: BSD-3-Clause
"""Results that look like real ones, made without training: what results, pictures and report show.

The curves rise as the article's do; `normal` collapses, its top layer dead.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sae_fast.experiment.results import ArmResult, LayerResult, Reconstructions, TuningResult
from sae_fast.experiment.save import ExperimentResult

HIDDEN = [100, 50, 25, 12, 5, 5]
#: Final accuracy and the step at which the curve crosses 90 %, per arm that learns.
LEARNING = {"pretrained": (0.9642, 2400), "normal": (0.946, 14_600), "he": (0.9721, 800)}
DEAD_UNITS = {
    "pretrained": [15, 9, 4, 2, 1, 2],
    "normal": [12, 3, 1, 4, 2, 5],
    "he": [3, 2, 1, 0, 0, 0],
}


class FakeModel:
    """Stands in for a network: saving it writes a few bytes."""

    def __init__(self, content: bytes = b"weights") -> None:
        self.content = content

    def save(self, path: Path) -> Path:
        Path(path).write_bytes(self.content)
        return path


def fake_arm(name: str, n_points: int = 300, collapsed: bool = False) -> ArmResult:
    """Give an arm evaluated every 100 steps, 30,000 steps if `n_points` is 300."""
    rng = np.random.default_rng(len(name))
    steps = np.arange(1, n_points + 1) * 100
    if collapsed:
        accuracy = np.full(n_points, 0.1135)
        loss = np.full(n_points, 23_010.0)
    else:
        final, at_90 = LEARNING[name]
        at_start = 1 - 0.1135
        rate = np.log(at_start - (1 - final)) - np.log(final - 0.9)
        error = (1 - final) + (at_start - (1 - final)) * np.exp(-rate * steps / at_90)
        accuracy = 1 - error + rng.normal(0, 0.0015, n_points) * (error < 0.3)
        accuracy[-1] = final
        loss = 35_000 * error
    return ArmResult(
        steps=steps.tolist(),
        test_loss=loss.tolist(),
        test_accuracy=np.round(accuracy, 4).tolist(),
        dead_units=DEAD_UNITS[name],
        seconds=12.5,
    )


def fake_layers(hidden: list[int] = HIDDEN, n_in: int = 784) -> list[LayerResult]:
    """Give a stack of pretrained layers, each evaluated every 100 of 3,000 steps."""
    steps = np.arange(1, 31) * 100
    widths = [n_in, *hidden]
    return [
        LayerResult(
            layer=layer,
            n_in=widths[layer - 1],
            n_hidden=units,
            steps=steps.tolist(),
            loss=(2e6 / layer * (0.2 + np.exp(-steps / 500))).tolist(),
            dead_units=DEAD_UNITS["pretrained"][layer - 1],
            seconds=3.0 / layer,
        )
        for layer, units in enumerate(hidden, 1)
    ]


def fake_reconstructions(image_shape: tuple[int, int] | None = (28, 28)) -> Reconstructions:
    """Give ten smooth blobs, one per place, and two blurred versions of them."""
    height, width = image_shape or (1, 60)
    x = np.linspace(0, 1, width)[None, :]
    y = np.linspace(0, 1, height)[:, None] if image_shape else None

    def blobs(size: float) -> np.ndarray:
        distances = [
            (x - at) ** 2 + (0 if y is None else (y - (1 - at)) ** 2)
            for at in np.linspace(0.2, 0.8, 10)
        ]
        images = [np.exp(-distance / size) for distance in distances]
        return np.asarray(images, np.float32).reshape(10, -1)

    return Reconstructions(
        originals=blobs(0.02),
        rows=[("autoencoder", blobs(0.03), 0.00912), ("PCA", blobs(0.025), 0.00431)],
        image_shape=image_shape,
    )


def fake_codes(n_hidden: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Give codes (500, n_hidden) that lie around one place per class, and the ten classes."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 10, 500)
    codes = rng.uniform(0, 9, (10, n_hidden))[y] + rng.normal(size=(500, n_hidden))
    return codes.clip(min=0).astype(np.float32), y


def fake_run(
    arms: tuple[str, ...] = ("pretrained", "normal", "he"),
    collapsed: tuple[str, ...] = ("normal",),
    n_points: int = 300,
) -> ExperimentResult:
    """Give the result of ``sae-fast run``."""
    rng = np.random.default_rng(0)
    config = {
        "dataset": "auto",
        "data_dir": None,
        "hidden": HIDDEN,
        "arms": list(arms),
        "pretrain_steps": 3000,
        "finetune_steps": 30_000,
        "batch_size": 100,
        "learning_rate": 0.001,
        "eval_every": 100,
        "seed": 0,
        "threads": None,
    }
    weights = {arm: rng.normal(0, 0.05, (784, 100)).astype(np.float32) for arm in arms}
    for w in weights.values():
        w[:, :12] = 0  # dead from the start
    codes, y_test = fake_codes()
    return ExperimentResult(
        command="run",
        dataset={"name": "mnist", "n_train": 55_000, "n_test": 10_000, "sha256": "9f1c" * 16},
        config=config,
        pretraining=fake_layers() if "pretrained" in arms else [],
        arms={arm: fake_arm(arm, n_points, arm in collapsed) for arm in arms},
        seconds=45.2,
        environment={
            "version": "0.1.0",
            "isa": "avx512",
            "threads": 2,
            "blas": {"name": "OpenBLAS"},
        },
        reconstructions=fake_reconstructions(),
        first_weights=weights,
        models={arm: FakeModel(arm.encode()) for arm in arms},
        y_test=y_test,
        predictions={
            arm: np.full(500, 1)
            if arm in collapsed
            else np.where(rng.random(500) < 0.96, y_test, rng.integers(0, 10, 500))
            for arm in arms
        },
        codes={"pretrained": codes} if "pretrained" in arms else {},
    )


def fake_tuned() -> ExperimentResult:
    """Give the result of ``sae-fast run --tune-steps 3000``."""
    result = fake_run()
    result.config["tune_steps"] = 3000
    [first, *_] = result.pretraining
    dead_units = DEAD_UNITS["pretrained"]
    result.tuning = TuningResult(first.steps, [loss / 2 for loss in first.loss], dead_units, 4.5)
    return result


def fake_reconstruct() -> ExperimentResult:
    """Give the result of ``sae-fast reconstruct``."""
    rng = np.random.default_rng(0)
    codes, y_test = fake_codes(100)
    return ExperimentResult(
        command="reconstruct",
        dataset={"name": "mnist", "n_train": 55_000, "n_test": 10_000, "sha256": "9f1c" * 16},
        config={"dataset": "mnist", "units": 100, "steps": 3000, "weight_decay": 0.1, "seed": 0},
        pretraining=fake_layers([100]),
        arms={},
        seconds=3.4,
        environment={"version": "0.1.0"},
        reconstructions=fake_reconstructions(),
        first_weights={"autoencoder": rng.normal(0, 0.05, (784, 100)).astype(np.float32)},
        models={"autoencoder": FakeModel()},
        y_test=y_test,
        codes={"autoencoder (100 units)": codes},
    )
