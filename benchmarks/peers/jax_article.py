# SPDX-License-Identifier: BSD-3-Clause
"""The article's experiment B as a good JAX user would write it: the fastest peer we know of.

`jit` around `lax.scan`, one call per stretch of steps between two evaluations, everything in
float32 and resident on the device, parameters donated, every function compiled before the clock
starts. As its best user would, it encodes the training set once when a layer is frozen (the
article encodes each batch again at every step), and reads results back only at the end of a phase.
The arms run one after the other, or with ``--side-by-side`` each in a thread of its own.
The clock runs from arrays in memory to finished arms, as ``seconds`` in `sae-fast`'s result.json.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

HIDDEN = [100, 50, 25, 12, 5, 5]
N_CLASSES = 10
BATCH = 100
EVAL_EVERY = 100
LEARNING_RATE, BETA1, BETA2, EPSILON = 0.001, 0.9, 0.999, 1e-8


# Data


def read_idx(path: Path) -> np.ndarray:
    """Array in an IDX file of bytes, plain or gzipped (`path` without .gz)."""
    packed = path.with_name(path.name + ".gz")
    raw = path.read_bytes() if path.exists() else gzip.decompress(packed.read_bytes())
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def load_mnist(data_dir: Path) -> tuple[np.ndarray, ...]:
    """x_train (55000, 784), t_train (55000, 10), x_test (10000, 784), t_test (10000, 10)."""

    def read(part: str) -> tuple[np.ndarray, np.ndarray]:
        images = read_idx(data_dir / f"{part}-images-idx3-ubyte")
        labels = read_idx(data_dir / f"{part}-labels-idx1-ubyte")
        x = images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
        return x, np.eye(N_CLASSES, dtype=np.float32)[labels]

    x, t = read("train")
    return x[5000:], t[5000:], *read("t10k")


def draw_batches(rng: np.random.Generator, n: int, n_steps: int) -> np.ndarray:
    """Lay shuffled epochs end to end; indices (n_steps // EVAL_EVERY, EVAL_EVERY, BATCH)."""
    n_epochs = -(-n_steps * BATCH // n)
    order = np.concatenate([rng.permutation(n) for _ in range(n_epochs)])
    return order[: n_steps * BATCH].astype(np.int32).reshape(-1, EVAL_EVERY, BATCH)


def draw_layer(rng: np.random.Generator, n_in: int, n_out: int):
    w = np.float32(0.01) * rng.standard_normal((n_in, n_out), np.float32)
    return w, np.zeros(n_out, np.float32)


def draw_autoencoder(rng: np.random.Generator, n_in: int, n_hidden: int):
    return draw_layer(rng, n_in, n_hidden), draw_layer(rng, n_hidden, n_in)


def draw_network(rng: np.random.Generator, sizes: list[int]):
    """Hidden layers, and the top layer with its N(0, 1) biases."""
    w, _ = draw_layer(rng, sizes[-1], N_CLASSES)
    top = w, rng.standard_normal(N_CLASSES, np.float32)
    return [draw_layer(rng, *pair) for pair in itertools.pairwise(sizes)], top


# Model


def dense(layer, x):
    w, b = layer
    return x @ w + b


def encode(layer, x):
    return jax.nn.relu(dense(layer, x))


def reconstruction_loss(layers, x):
    encoder, decoder = layers
    return jnp.sum((x - dense(decoder, encode(encoder, x))) ** 2)


def logits(layers, x):
    for layer in layers[:-1]:
        x = encode(layer, x)
    return dense(layers[-1], x)


def article_loss(layers, x, t):
    p = jax.nn.softmax(logits(layers, x))
    return -jnp.sum(t * jnp.log(jnp.clip(p, 1e-10, 1.0)))


def adam(state, gradients):
    """One step of Adam in TensorFlow 1's form; state is (parameters, m, v, t)."""
    parameters, m, v, t = state
    t = t + 1
    rate = LEARNING_RATE * jnp.sqrt(1 - BETA2**t) / (1 - BETA1**t)
    m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, gradients)
    v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, gradients)
    parameters = jax.tree.map(
        lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), parameters, m, v
    )
    return parameters, m, v, t


def fresh_state(layers):
    layers = jax.tree.map(jnp.array, layers)
    zeros = jax.tree.map(jnp.zeros_like, layers)
    return layers, zeros, jax.tree.map(jnp.copy, zeros), jnp.float32(0)


def pretrain_steps(state, x, batches):
    """EVAL_EVERY steps of an autoencoder, then its loss over the whole set."""

    def step(state, batch):
        return adam(state, jax.grad(reconstruction_loss)(state[0], x[batch])), None

    state, _ = jax.lax.scan(step, state, batches)
    return state, reconstruction_loss(state[0], x)


def finetune_steps(state, x, t, batches, x_test, t_test):
    """EVAL_EVERY steps of the network, then loss and accuracy on the test set."""

    def step(state, batch):
        return adam(state, jax.grad(article_loss)(state[0], x[batch], t[batch])), None

    state, _ = jax.lax.scan(step, state, batches)
    z = logits(state[0], x_test)
    loss = -jnp.sum(t_test * jnp.log(jnp.clip(jax.nn.softmax(z), 1e-10, 1.0)))
    return state, (loss, jnp.mean(z.argmax(axis=1) == t_test.argmax(axis=1)))


def count_dead(codes):
    return jnp.sum(jnp.all(codes == 0, axis=0))


# Experiment


class Experiment:
    """All compiled functions, and the runs that use them."""

    def __init__(self, data: tuple[np.ndarray, ...], arms: list[str]) -> None:
        self.x, self.t, self.x_test, self.t_test = (jax.device_put(a) for a in data)
        self.n, n_features = self.x.shape
        self.sizes = [n_features, *HIDDEN]
        batches = jnp.zeros((EVAL_EVERY, BATCH), jnp.int32)

        def compiled(function, *arguments, donate=()):
            return jax.jit(function, donate_argnums=donate).lower(*arguments).compile()

        started = time.perf_counter()
        self.pretrain, self.encode, self.count_dead = [], [], []
        if "pretrained" in arms:
            for n_in, n_hidden in itertools.pairwise(self.sizes):
                x = jax.ShapeDtypeStruct((self.n, n_in), jnp.float32)
                state = fresh_state(draw_autoencoder(np.random.default_rng(0), n_in, n_hidden))
                codes = jax.ShapeDtypeStruct((self.n, n_hidden), jnp.float32)
                self.pretrain.append(compiled(pretrain_steps, state, x, batches, donate=(0,)))
                self.encode.append(compiled(encode, state[0][0], x))
                self.count_dead.append(compiled(count_dead, codes))
        hidden, top = draw_network(np.random.default_rng(0), self.sizes)
        state = fresh_state([*hidden, top])
        test = (self.x_test, self.t_test)
        self.finetune = compiled(finetune_steps, state, self.x, self.t, batches, *test, donate=(0,))
        self.compile_seconds = time.perf_counter() - started

    def run_pretraining(self, seed: int, n_steps: int):
        """Train all autoencoders: the encoders, and one record per layer."""
        rng = np.random.default_rng([seed, 1])
        x, encoders, records = self.x, [], []
        for k, n_hidden in enumerate(HIDDEN):
            started = time.perf_counter()
            state = fresh_state(draw_autoencoder(rng, x.shape[1], n_hidden))
            losses = []
            for batches in draw_batches(rng, self.n, n_steps):
                state, loss = self.pretrain[k](state, x, batches)
                losses.append(loss)
            encoders.append(state[0][0])
            n_in, x = x.shape[1], self.encode[k](encoders[-1], x)
            records.append(
                {
                    "layer": k + 1,
                    "n_in": n_in,
                    "n_hidden": n_hidden,
                    "steps": evaluated_steps(n_steps),
                    "loss": np.array(losses, np.float64).tolist(),
                    "dead_units": int(self.count_dead[k](x)),
                    "seconds": time.perf_counter() - started,
                }
            )
        return encoders, records

    def run_arm(self, hidden, top, seed: int, n_steps: int):
        """Fine-tune from the given layers; an arm's entry in ``result.json``."""
        started = time.perf_counter()
        state = fresh_state([*hidden, top])
        curve = []
        for batches in draw_batches(np.random.default_rng([seed, 3]), self.n, n_steps):
            state, point = self.finetune(state, self.x, self.t, batches, self.x_test, self.t_test)
            curve.append(point)
        jax.block_until_ready(state)
        loss, accuracy = np.array(curve, np.float64).T.tolist()
        reached = [s for s, a in zip(evaluated_steps(n_steps), accuracy, strict=True) if a >= 0.9]
        return {
            "steps": evaluated_steps(n_steps),
            "test_loss": loss,
            "test_accuracy": accuracy,
            "final_accuracy": accuracy[-1],
            "first_step_at_90": reached[0] if reached else None,
            "seconds": time.perf_counter() - started,
        }

    def run(self, arms: list[str], seed: int, n_pretrain: int, n_finetune: int, n_workers: int):
        """Run everything that is timed; ``result.json`` without its frame."""

        def run_one(arm: str):
            start, records = hidden, []
            if arm == "pretrained":
                start, records = self.run_pretraining(seed, n_pretrain)
            return records, self.run_arm(start, top, seed, n_finetune)

        started = time.perf_counter()
        hidden, top = draw_network(np.random.default_rng([seed, 2]), self.sizes)
        with ThreadPoolExecutor(n_workers) as pool:
            outcomes = list(pool.map(run_one, arms))
        seconds = time.perf_counter() - started
        return {
            "pretraining": [record for records, _ in outcomes for record in records],
            "arms": {arm: curve for arm, (_, curve) in zip(arms, outcomes, strict=True)},
            "seconds": seconds,
        }


def evaluated_steps(n_steps: int) -> list[int]:
    return list(range(EVAL_EVERY, n_steps + 1, EVAL_EVERY))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the IDX files")
    parser.add_argument("--pretrain-steps", type=int, default=3000)
    parser.add_argument("--finetune-steps", type=int, default=30000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arms", default="pretrained,normal")
    parser.add_argument("--side-by-side", action="store_true", help="run the arms at one time")
    parser.add_argument("--json", type=Path, help="where to write the result")
    args = parser.parse_args()
    arms = args.arms.split(",")
    if not set(arms) <= {"pretrained", "normal"}:
        parser.error(f"--arms takes pretrained and normal, not {args.arms}")
    if args.pretrain_steps % EVAL_EVERY or args.finetune_steps % EVAL_EVERY:
        parser.error(f"steps have to be multiples of {EVAL_EVERY}")

    n_workers = len(arms) if args.side_by_side else 1

    data = load_mnist(args.data_dir)
    experiment = Experiment(data, arms)
    result = {
        "schema": 1,
        "command": "run",
        "dataset": {"name": "mnist", "n_train": len(data[0]), "n_test": len(data[2])},
        "config": {
            "hidden": HIDDEN,
            "arms": arms,
            "pretrain_steps": args.pretrain_steps,
            "finetune_steps": args.finetune_steps,
            "batch_size": BATCH,
            "learning_rate": LEARNING_RATE,
            "eval_every": EVAL_EVERY,
            "seed": args.seed,
            "side_by_side": args.side_by_side,
        },
        **experiment.run(arms, args.seed, args.pretrain_steps, args.finetune_steps, n_workers),
        "compile_seconds": experiment.compile_seconds,
        "environment": {
            "system": f"JAX {jax.__version__}",
            "python": platform.python_version(),
            "cpus": len(os.sched_getaffinity(0)),
        },
    }
    for record in result["pretraining"]:
        print(f"layer {record['layer']}: loss {record['loss'][-1]:.0f}, {record['seconds']:.2f} s")
    for arm, curve in result["arms"].items():
        print(f"{arm}: accuracy {curve['final_accuracy']:.4f}, {curve['seconds']:.2f} s")
    print(f"compilation {result['compile_seconds']:.2f} s (not counted)")
    print(f"all {result['seconds']:.2f} s")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
