# SPDX-License-Identifier: BSD-3-Clause
"""What every system's program shares: the task's data, its random draws and its clock.

Nothing of a framework is here, only NumPy and the standard library, so that each system can live in
an environment of its own. All peers start from the same parameters and see the same batches; ours
draws its own, as its user gets them.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import gzip
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

# The article

HIDDEN = (100, 50, 25, 12, 5, 5)
N_FEATURES, N_CLASSES = 784, 10
SIZES = (N_FEATURES, *HIDDEN, N_CLASSES)
ARMS = ("pretrained", "normal")
BATCH = 100
EVAL_EVERY = 100
STDDEV = 0.01
LEARNING_RATE, BETA1, BETA2, EPSILON = 0.001, 0.9, 0.999, 1e-8
SMALLEST_P = 1e-10
MNIST_DENSITY = 0.19  # share of non-zeros

Layer = tuple[np.ndarray, np.ndarray]  # w (n_in, n_out), b (n_out,)


@dataclasses.dataclass(frozen=True)
class Mnist:
    """The article's split: the first 5,000 training images are left out."""

    x: np.ndarray  # (55000, 784) float32 in [0, 1]
    y: np.ndarray  # (55000,) int32
    x_test: np.ndarray  # (10000, 784)
    y_test: np.ndarray  # (10000,)

    @classmethod
    def read(cls, folder: Path) -> Mnist:
        """Read the four IDX files in `folder`, plain or gzipped."""

        def split(part: str, skip: int) -> tuple[np.ndarray, np.ndarray]:
            images = read_idx(folder / f"{part}-images-idx3-ubyte")[skip:]
            labels = read_idx(folder / f"{part}-labels-idx1-ubyte")[skip:]
            pixels = images.reshape(len(images), -1)
            x = np.multiply(pixels, np.float32(1 / 255), dtype=np.float32)
            return x, labels.astype(np.int32)

        return cls(*split("train", 5000), *split("t10k", 0))


def read_idx(path: Path) -> np.ndarray:
    """Array in an IDX file of bytes, plain or gzipped (`path` without .gz)."""
    packed = path.with_name(path.name + ".gz")
    raw = path.read_bytes() if path.exists() else gzip.decompress(packed.read_bytes())
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


# Random draws


def draw_batches(rng: np.random.Generator, n_samples: int, n_steps: int, size: int) -> np.ndarray:
    """Lay shuffled epochs end to end; sample numbers (n_steps, size), int32."""
    n_epochs = -(-n_steps * size // n_samples)
    order = np.concatenate([rng.permutation(n_samples) for _ in range(n_epochs)])
    return order[: n_steps * size].astype(np.int32).reshape(n_steps, size)


def stretches(batches: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the batches between two evaluations, (EVAL_EVERY, size)."""
    return iter(batches.reshape(-1, EVAL_EVERY, batches.shape[1]))


def draw_layer(
    rng: np.random.Generator, n_in: int, n_out: int, stddev: float | None = None
) -> Layer:
    """Draw weights of `stddev` (He's by default), biases 0."""
    scale = np.float32(np.sqrt(2 / n_in) if stddev is None else stddev)
    return scale * rng.standard_normal((n_in, n_out), np.float32), np.zeros(n_out, np.float32)


def draw_autoencoder(rng: np.random.Generator, n_in: int, n_hidden: int) -> list[Layer]:
    return [draw_layer(rng, n_in, n_hidden, STDDEV), draw_layer(rng, n_hidden, n_in, STDDEV)]


def draw_article(rng: np.random.Generator) -> list[Layer]:
    """Draw the article's network; the top layer's biases are N(0, 1)."""
    layers = [draw_layer(rng, *pair, STDDEV) for pair in itertools.pairwise(SIZES)]
    layers[-1] = layers[-1][0], rng.standard_normal(N_CLASSES, np.float32)
    return layers


def draw_network(sizes: Sequence[int], seed: int) -> list[Layer]:
    """Draw a network for timing: He's weights everywhere."""
    rng = np.random.default_rng(seed)
    return [draw_layer(rng, *pair) for pair in itertools.pairwise(sizes)]


# Points: networks whose step or prediction is timed


@dataclasses.dataclass(frozen=True)
class Point:
    """A network and a batch; written ``784-100-10,batch=100,density=0.2,data=random``."""

    sizes: tuple[int, ...]
    batch: int = BATCH
    density: float = 1.0  # share of non-zeros of random data
    data: str = "random"  # or "mnist"

    @classmethod
    def parse(cls, text: str) -> Point:
        sizes, *settings = text.split(",")
        types = {"batch": int, "density": float, "data": str}
        try:
            pairs = [setting.split("=", 1) for setting in settings]
            given = {key: types[key](value) for key, value in pairs}
            point = cls(tuple(int(size) for size in sizes.split("-")), **given)
        except (KeyError, ValueError):
            point = None
        if point is None or point.data not in ("random", "mnist"):
            raise SystemExit(f"a point looks like {cls((784, 100, 10), 50, 0.2)}, not {text!r}")
        return point

    def __str__(self) -> str:
        sizes = "-".join(map(str, self.sizes))
        given = [
            f"{field.name}={getattr(self, field.name)}"
            for field in dataclasses.fields(self)[1:]
            if getattr(self, field.name) != field.default
        ]
        return ",".join([sizes, *given])

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Shapes of the weights."""
        return list(itertools.pairwise(self.sizes))

    @property
    def n_weights(self) -> int:
        return sum(n_in * n_out for n_in, n_out in self.shapes)

    @property
    def share_of_nonzeros(self) -> float:
        return MNIST_DENSITY if self.data == "mnist" else self.density

    def flops(self, density: float = 1.0) -> float:
        """Operations of a step: forward, backward, gradients; `density`: share of the input read.

        The first layer hands no gradient down.
        """
        n_in, n_out = self.shapes[0]
        first = 4 * self.batch * n_in * n_out * density
        return first + 6 * self.batch * (self.n_weights - n_in * n_out)

    @property
    def steps(self) -> int:
        """Steps of a stretch, the same for all systems: about 0.2 s on two fast cores."""
        seconds = self.flops() / 1e11 + 32 * self.n_weights / 2e10 + 1e-4
        return max(2, min(500, round(0.2 / seconds)))


def point_data(point: Point, data_dir: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return samples and labels to train on at `point`; without MNIST random ones, as dense."""
    if point.data == "mnist" and data_dir:
        mnist = _read_once(data_dir)
        return mnist.x, mnist.y
    rng = np.random.default_rng(0)
    n_samples = max(2 * point.batch, 8192)
    x = rng.random((n_samples, point.sizes[0]), np.float32)
    if point.share_of_nonzeros < 1:
        x *= rng.random(x.shape, np.float32) < point.share_of_nonzeros
    return x, rng.integers(0, point.sizes[-1], n_samples, np.int32)


@functools.cache
def _read_once(data_dir: Path) -> Mnist:
    return Mnist.read(data_dir)


# What a system has to offer


class Peer:
    """One way to use one system: its own steps behind the tasks that all share.

    A peer overrides what it can do; its module lists its ways in ``VARIANTS``, the first by
    default. What it keeps data, layers and codes in is its own affair.
    """

    version = ""
    arms_at_once = 1

    def __init__(self, threads: int) -> None:
        self.threads = threads

    # the experiment

    def compile(self, data: Mnist) -> None:
        """Compile or trace what the two trainings below will use; not counted."""

    def load(self, data: Mnist) -> Any:
        """Take the arrays over; return what the first autoencoder is trained on."""
        raise NotImplementedError

    def train_autoencoder(
        self, codes: Any, autoencoder: list[Layer], batches: np.ndarray
    ) -> tuple[Any, list[float], Any]:
        """Train one autoencoder; its encoder, its losses over the whole set, the next codes."""
        raise NotImplementedError

    def train_classifier(self, layers: list[Any], batches: np.ndarray) -> list[tuple[float, float]]:
        """Train the network; loss and accuracy on the test set after each stretch."""
        raise NotImplementedError

    def experiment(self, options: argparse.Namespace) -> dict[str, Any]:
        """Run the article's experiment B, both arms."""
        data = Mnist.read(options.data_dir)
        started = time.perf_counter()
        self.compile(data)
        compile_seconds = time.perf_counter() - started

        started = time.perf_counter()
        codes = self.load(data)
        *hidden, top = draw_article(np.random.default_rng([options.seed, 2]))

        def run_arm(arm: str) -> tuple[list[dict], dict]:
            start, records = hidden, []
            if arm == "pretrained":
                start, records = self._pretrain_all(codes, len(data.x), options)
            return records, self._finetune_arm([*start, top], len(data.x), options)

        if self.arms_at_once == 1:  # in the main thread, as a user would
            outcomes = list(map(run_arm, ARMS))
        else:
            with ThreadPoolExecutor(self.arms_at_once) as pool:
                outcomes = list(pool.map(run_arm, ARMS))
        seconds = time.perf_counter() - started
        return {
            "pretraining": [record for records, _ in outcomes for record in records],
            "arms": {arm: curve for arm, (_, curve) in zip(ARMS, outcomes, strict=True)},
            "seconds": seconds,
            "compile_seconds": compile_seconds,
        }

    def _pretrain_all(
        self, codes: Any, n_samples: int, options: argparse.Namespace
    ) -> tuple[list[Any], list[dict]]:
        rng = np.random.default_rng([options.seed, 1])
        encoders, records = [], []
        for number, (n_in, n_hidden) in enumerate(itertools.pairwise(SIZES[:-1]), start=1):
            started = time.perf_counter()
            autoencoder = draw_autoencoder(rng, n_in, n_hidden)
            batches = draw_batches(rng, n_samples, options.pretrain_steps, BATCH)
            encoder, losses, codes = self.train_autoencoder(codes, autoencoder, batches)
            encoders.append(encoder)
            seconds = time.perf_counter() - started
            records.append({"layer": number, "loss": losses, "seconds": seconds})
        return encoders, records

    def _finetune_arm(
        self, layers: list[Any], n_samples: int, options: argparse.Namespace
    ) -> dict[str, Any]:
        started = time.perf_counter()
        rng = np.random.default_rng([options.seed, 3])
        batches = draw_batches(rng, n_samples, options.finetune_steps, BATCH)
        loss, accuracy = map(list, zip(*self.train_classifier(layers, batches), strict=True))
        seconds = time.perf_counter() - started
        return arm_record(loss, accuracy, seconds)

    # tasks that only some have

    def finetune(self, options: argparse.Namespace) -> dict[str, Any]:
        """Train one network of the article's sizes; loss and accuracy after each stretch."""
        raise NotImplementedError

    def pair(self, options: argparse.Namespace) -> dict[str, Any]:
        """Train two networks at once, on a thread each, and one alone, in turn."""
        raise NotImplementedError

    # one step

    def stepper(
        self, point: Point, x: np.ndarray, y: np.ndarray, batches: np.ndarray
    ) -> Callable[[], None]:
        """Return a function that trains one stretch of `batches` to its end."""
        raise NotImplementedError

    def time_stretches(
        self, point: Point, x: np.ndarray, y: np.ndarray, batches: np.ndarray, n: int
    ) -> list[float]:
        """Seconds of each of `n` stretches of `batches`, after one that is not counted."""
        run = self.stepper(point, x, y, batches)
        run()
        return [seconds_of(run) for _ in range(n)]

    def step(self, options: argparse.Namespace) -> dict[str, Any]:
        """Time training steps at some points."""
        results = []
        for point in map(Point.parse, options.point):
            x, y = point_data(point, options.data_dir)
            n_steps = options.steps or point.steps
            batches = draw_batches(np.random.default_rng(1), len(x), n_steps, point.batch)
            seconds = self.time_stretches(point, x, y, batches, options.stretches)
            results.append(timing(point, [1e6 * s / n_steps for s in seconds]))
        return {"points": results}

    # prediction

    def predictor(self, layers: list[Layer]) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from NumPy rows to their NumPy classes."""
        raise NotImplementedError

    def predict(self, options: argparse.Namespace) -> dict[str, Any]:
        """Time the prediction of a few rows, ``batch`` of the point, at some points."""
        results = []
        for point in map(Point.parse, options.point):
            x, _ = point_data(point, options.data_dir)
            n_calls = 200
            rows = [x[i] for i in np.resize(np.arange(len(x)), (n_calls, point.batch))]
            predict = self.predictor(draw_network(point.sizes, options.seed))

            def run(predict=predict, rows=rows) -> None:
                for row in rows:
                    predict(row)

            run()
            times = [1e6 * seconds_of(run) / n_calls for _ in range(options.stretches)]
            results.append(timing(point, times) | {"classes": predict(rows[0]).tolist()})
        return {"points": results}

    # the machine

    def multiplier(self, a: np.ndarray, b: np.ndarray) -> Callable[[], Any]:
        """Return a function that computes the matrix product a b to its end; by default NumPy's."""
        return lambda: a @ b

    def sgemm(self, options: argparse.Namespace) -> dict[str, Any]:
        """Measure the rate of a big product: the best of several."""
        n = 2048
        rng = np.random.default_rng(0)
        multiply = self.multiplier(*(rng.random((n, n), np.float32) for _ in range(2)))
        multiply()
        seconds = [seconds_of(multiply) for _ in range(3 * options.stretches)]
        return {"gflops": 2e-9 * n**3 / min(seconds)}


def arm_record(loss: list[float], accuracy: list[float], seconds: float) -> dict[str, Any]:
    """One arm's entry in the result."""
    return {
        "test_loss": loss,
        "test_accuracy": accuracy,
        "final_accuracy": accuracy[-1],
        "seconds": seconds,
    }


def timing(point: Point, microseconds: list[float]) -> dict[str, Any]:
    """One point's entry in the result."""
    return {
        "point": str(point),
        "us": statistics.median(microseconds),
        "stretches_us": microseconds,
    }


def seconds_of(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started
