# SPDX-License-Identifier: BSD-3-Clause
"""Hashes of what trainings give: `tests/data/golden.json` holds them for each instruction set.

`python tests/golden.py` writes anew those that this processor can run; do that only with a change
that is meant to change bits, and say so in CHANGELOG.md. Wide layers are left out where they go
through the BLAS, whose kernels are chosen by processor: in float64, and in `baseline`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
from helpers import TIME_LIMIT
from sae_fast import Autoencoder, StackedAutoencoder, _core, activations, run_experiment
from sae_fast.datasets import load_strokes
from sae_fast.models.autoencoder import INITS
from sae_fast.penalties import L1, CodeL1, Contractive, KLSparsity, MaxNorm
from sae_fast.schedules import Step
from sae_fast.training.corruptions import CORRUPTIONS
from sae_fast.training.objective import LOSSES, SOFTMAX
from sae_fast.training.optimizers import RULES
from sae_fast.training.penalties import PENALTIES

FILE = Path(__file__).parent / "data" / "golden.json"

#: Settings that are not the default; the other rules are as they are by default.
SETTINGS = {"adamw": {"weight_decay": 0.5}, "sgd": {"momentum": 0.9, "nesterov": True}}

#: A penalty of each kind. The first five are tried together too.
EACH_PENALTY = {
    one.name: one
    for one in (L1(0.01), MaxNorm(1.2), CodeL1(0.02), KLSparsity(0.1, 0.2), Contractive(0.05))
}


def machine() -> str:
    """Name the kind of processor; its instruction sets give bits of their own."""
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())


def mixed(*shape: int) -> np.ndarray:
    """Give numbers from 0 to 1 without any order, the same in every release of NumPy."""
    counts = np.arange(1, math.prod(shape) + 1, dtype=np.uint64)
    return (counts * np.uint64(2654435761) % np.uint64(1 << 32) / 2.0**32).reshape(shape)


def hashes() -> dict[str, str]:
    """Return a hash for each training, in this process's instruction set."""
    found = {}
    for dtype in ("float32", "float64"):
        for layout, zeros in (("sparse", 0.8), ("dense", 0.0)):
            digest = hashlib.sha256()
            x = np.maximum(mixed(300, 61) - zeros, 0)
            y = (20 * x[:, :5].sum(axis=1)).astype(np.int64) % 10
            batches = (mixed(50, 20) * len(x)).astype(np.int64)
            net = StackedAutoencoder([61, 33, 7], 10, dtype=dtype)
            for model in (net, *net.autoencoders):
                model.parameters = {
                    name: (mixed(*value.shape) - 0.5) / 3
                    for name, value in model.parameters.items()
                }
            net.pretrain(x, batches=batches, eval_every=10, weight_decay=0.01)
            history = net.finetune(
                x, y, batches=batches, eval_every=10, eval_set=(x, y), loss="cross_entropy"
            )
            for value in (*net.parameters.values(), net.predict_proba(x), net.encode(x)):
                digest.update(np.ascontiguousarray(value).tobytes())
            digest.update(repr((history.loss, history.accuracy)).encode())
            found[f"{dtype}, {layout}"] = digest.hexdigest()
        rate = Step(1e-3, every=9, factor=0.5, warmup=4)
        how = {"learning_rate": rate, "sample_weight": mixed(len(x))}
        trainings: dict[str, tuple[dict, dict]] = {
            name: ({}, {"optimizer": rule(**SETTINGS.get(name, {})), **how})
            for name, rule in RULES.items()
        }
        trainings |= {
            name: ({"activation": name, "output": name}, {}) for name in activations.NAMES
        }
        trainings |= {
            f"{loss}, {output}": ({"output": output}, {"loss": loss})
            for loss, row in LOSSES.items()
            for output in ("sigmoid", "softplus")
            if output in row.outputs
        }
        for name, added in {
            "penalties": list(EACH_PENALTY.values())[:5],
            **{f"{name} penalty": [EACH_PENALTY[name]] for name in PENALTIES},
        }.items():
            trainings[name] = {"activation": "sigmoid"}, {"penalties": added, **how}
        for k in (4, 20):  # the decoder reads non-zeros, or all
            trainings[f"top_k, {k}"] = {"activation": activations.TopK(k)}, {}
        trainings["tied"] = {"tied": True}, {}
        for name, (functions, how) in trainings.items():
            ae = Autoencoder(61, 33, dtype=dtype, **functions)
            ae.parameters = {
                key: (mixed(*value.shape) - 0.5) / 3
                for key, value in ae.parameters.items()
                if not (ae.tied and key == "W_dec")
            }
            history = ae.fit(x, batches=batches, eval_every=10, **how)
            digest = hashlib.sha256(repr(history.loss).encode())
            for value in ae.parameters.values():
                digest.update(np.ascontiguousarray(value).tobytes())
            found[f"{dtype}, {name}"] = digest.hexdigest()
        found[f"{dtype}, noise"] = noisy_hash(dtype)
        for init in INITS:
            found[f"{dtype}, {init} init"] = drawn_hash(dtype, init)
        for loss, row in LOSSES.items():
            if SOFTMAX in row.outputs:  # they part where a label has hardly any probability
                found[f"{dtype}, {loss}"] = drawn_hash(dtype, loss=loss, learning_rate=3.0)
        for head, how in HEADS.items():
            found[f"{dtype}, {head} head"] = stack_hash(dtype, head, **how)
    if _core.build_config()["isa"] != "baseline":
        found["float32, wide"] = wide_hash()
    found["run"] = run_hash()
    return found


def run_hash() -> str:
    """Return a hash of the article's recipe with all that it draws, in both of its arms."""
    how = {"pretrain_steps": 20, "finetune_steps": 40, "eval_every": 10, "seed": 3}
    strokes = load_strokes(300, 50, dtype="uint8")
    columns = slice(None, None, 4)  # of pixels; a run's PCA takes long on all
    data = dataclasses.replace(
        strokes,
        x_train=strokes.x_train[:, columns],
        x_test=strokes.x_test[:, columns],
        image_shape=(28, 7),
    )
    run = run_experiment(dataset=data, hidden=[33, 7], quiet=True, threads=1, **how)
    assert run.config["arms"] == ["pretrained", "normal"]
    digest = hashlib.sha256(repr([layer.loss for layer in run.pretraining]).encode())
    for name, arm in run.arms.items():
        digest.update(repr((arm.test_loss, arm.test_accuracy)).encode())
        for value in run.models[name].parameters.values():
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def drawn_hash(dtype: str, init: str = "normal", **tuning: object) -> str:
    """Return a hash of a classifier's training from weights and by a shuffle that it draws."""
    x = np.maximum(mixed(300, 61) - 0.8, 0)
    y = (20 * x[:, :5].sum(axis=1)).astype(np.int64) % 10
    net = StackedAutoencoder([61, 33, 7], 10, seed=3, init=init, dtype=dtype)
    how = {"steps": 10, "batch_size": 40, "eval_every": 5, "adam": "torch"}
    losses = [history.loss for history in net.pretrain(x, **how)]
    history = net.finetune(x, y, **how, **tuning)
    digest = hashlib.sha256(repr((losses, history.loss)).encode())
    for value in net.parameters.values():
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


HEADS = {
    "linear": {"loss": "huber"},
    "softplus": {"loss": "poisson"},
    "sigmoid": {"dropout": [0, 0.3]},
}


def stack_hash(dtype: str, head: str, **how: object) -> str:
    """Return a hash of a stack that is tuned whole, and then fine-tuned for targets."""
    x, y = np.maximum(mixed(300, 61) - 0.8, 0), np.round(mixed(300, 3))
    batches = (mixed(30, 20) * len(x)).astype(np.int64)
    net = StackedAutoencoder([61, 33, 7], n_targets=3, head=head, output="sigmoid", dtype=dtype)
    for model in (net, *net.autoencoders):
        model.parameters = {
            name: (mixed(*value.shape) - 0.5) / 3 for name, value in model.parameters.items()
        }
    tuned = net.finetune_autoencoder(x, batches=batches, loss="binary_cross_entropy", dropout=0.1)
    history = net.finetune(x, y, batches=batches, eval_set=(x, y), **how)
    digest = hashlib.sha256(repr((tuned.loss, history.loss, history.accuracy)).encode())
    for value in (*net.parameters.values(), net.predict(x), net.reconstruct(x)):
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def wide_hash() -> str:
    """Return a hash of a stack of wide layers, pretrained and fine-tuned."""
    x = np.maximum(mixed(200, 300) - 0.5, 0)
    y = (x[:, :5].sum(axis=1) * 20).astype(np.int64) % 10
    batches = (mixed(12, 50) * len(x)).astype(np.int64)
    net = StackedAutoencoder([300, 270, 261], 10, activation="sigmoid")
    for model in (net, *net.autoencoders):
        model.parameters = {
            name: (mixed(*value.shape) - 0.5) / 9 for name, value in model.parameters.items()
        }
    histories = net.pretrain(x, batches=batches)
    histories += [net.finetune(x, y, batches=batches, eval_set=(x, y))]
    digest = hashlib.sha256(repr([one.loss for one in histories]).encode())
    for value in (*net.parameters.values(), net.predict_proba(x), net.encode(x)):
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def noisy_hash(dtype: str) -> str:
    """Return a hash of trainings with each corruption, and dropout."""
    digest = hashlib.sha256()
    x = np.maximum(mixed(300, 161) - 0.7, 0)
    batches = (mixed(20, 20) * len(x)).astype(np.int64)
    for kind in CORRUPTIONS.values():
        net = StackedAutoencoder([161, 33, 7], dtype=dtype)
        for model in (net, *net.autoencoders):
            model.parameters = {
                name: (mixed(*value.shape) - 0.5) / 3 for name, value in model.parameters.items()
            }
        net.pretrain(x, batches=batches, corruption=kind(emphasis=(1, 0.5)), dropout=[0.2, 0])
        for value in net.parameters.values():
            digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def hashes_of(isa: str) -> dict[str, str]:
    """Return the hashes of an instruction set, from a process of its own."""
    environment = {**os.environ, "SAE_FAST_ISA": isa}
    command = [sys.executable, __file__, "--print"]
    out = subprocess.run(
        command, env=environment, check=True, timeout=TIME_LIMIT, capture_output=True, text=True
    ).stdout
    return json.loads(out)


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        print(json.dumps(hashes()))
    else:
        golden = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
        for isa in _core.build_config()["available_isas"]:
            golden[f"{machine()}, {isa}"] = hashes_of(isa)
        FILE.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n", "utf-8")
