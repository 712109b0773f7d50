# SPDX-License-Identifier: BSD-3-Clause
"""What atheris runs: `python -m reliability.fuzz_targets TARGET FOLDER [OPTION OF LIBFUZZER ...]`.

Each target lets nothing out but documented errors. That of the arguments takes its bytes for what a
callback writes, during a training, to the arrays that the training was given. The others give them
to a loader of files. The first byte says how the rest becomes a file: as it is; signed again, since
hardly any mutation fits a checksum; or put together from a text and numbers, so that mutations find
JSON rather than JSON in JSON. The folder gets seeds, from the real writers, and a dictionary.
"""

from __future__ import annotations

import contextlib
import gzip
import inspect
import io
import itertools
import json
import re
import resource
import struct
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import atheris
import numpy as np
from sae_fast import (
    Autoencoder,
    CheckpointError,
    DataError,
    DivergenceError,
    ModelFileError,
    SaeFastWarning,
    StackedAutoencoder,
)
from sae_fast.activations import TopK
from sae_fast.base import arrays_file, threads
from sae_fast.base import checks as validation
from sae_fast.base.arrays_file import read_arrays
from sae_fast.base.streams import SampleOrder
from sae_fast.callbacks import Callback, EarlyStopping, Training
from sae_fast.core.activations import ACTIVATIONS
from sae_fast.core.networks import new_state
from sae_fast.corruptions import Masking, Swap
from sae_fast.datasets import dataset, idx
from sae_fast.datasets.dataset import dataset_from_pixels
from sae_fast.datasets.idx import fit_splits, parse_idx
from sae_fast.exchange import model_file
from sae_fast.exchange.model_file import _checksum, from_bytes, to_bytes
from sae_fast.models import autoencoder, headed, learner, model, parameters, stacked
from sae_fast.optimizers import SGD, AdamW
from sae_fast.penalties import L1, CodeL1, Contractive, KLSparsity, MaxNorm
from sae_fast.schedules import Cosine, Exponential, Step
from sae_fast.training import checkpoint, loop, objective, request
from sae_fast.training import schedule as lengths
from sae_fast.training.checkpoint import (
    NAME,
    RunCheckpoint,
    _DamagedError,
    _digest,
    read_checkpoint,
)
from sae_fast.training.corruptions import CORRUPTIONS
from sae_fast.training.objective import LOSSES, Objective, Samples
from sae_fast.training.optimizers import RULES, Adam, Optimizer
from sae_fast.training.rates import Constant
from sae_fast.training.schedule import Schedule
from safetensors.numpy import save
from scipy import sparse

INSTRUMENTED = (
    *(arrays_file, autoencoder, checkpoint, headed, learner, model, model_file, parameters),
    *(stacked, validation, dataset, idx, loop, objective, request, lengths),
)

#: Bytes of address space that a process may take beyond what it has when it starts; inputs are
#: smaller than 4 KiB, and what the fuzzer keeps of them is small too.
SPARE_BYTES = 512 << 20

AS_IT_IS, SIGNED, BUILT = range(3)


# IDX


def try_idx(data: bytes) -> None:
    """Read one file, one packed anew, or a whole set of four."""
    way, data = data[:1], data[1:]
    try:
        if way == bytes([BUILT]):
            dataset_from_pixels("set", *fit_splits(list(read_set(data)), FILES), "uint8")
            return
        packed = way == bytes([SIGNED])
        array = read_idx(gzip.compress(data, 1) if packed else data)
        if not packed and data[:2] != b"\x1f\x8b" and array.nbytes > len(data):
            raise AssertionError(f"{array.nbytes} bytes out of {len(data)}")
    except DataError:
        pass


FILES = [Path(name) for name in ("images", "labels", "test images", "test labels")]


def read_idx(data: bytes) -> Any:
    """Read one file."""
    return parse_idx(io.BufferedReader(io.BytesIO(data)), "path")


def read_set(data: bytes) -> Iterator[Any]:
    """Read four files behind one another, each behind its length."""
    for _ in FILES:
        (length,) = struct.unpack("<H", data[:2].ljust(2, b"\0"))
        yield read_idx(data[2 : 2 + length])
        data = data[2 + length :]


def idx_seeds() -> Iterator[bytes]:
    """Yield files of every type, plain and packed, and sets of them."""

    def file(code: int, *shape: int, item: bytes = b"\1") -> bytes:
        n_items = int(np.prod(shape))
        return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + item * n_items

    for code, size in {8: 1, 9: 1, 0x0B: 2, 0x0C: 4, 0x0D: 4, 0x0E: 8}.items():
        for shape in ((3,), (2, 3), (2, 2, 3), (0, 5), (1,) * 32):
            data = file(code, *shape, item=bytes(range(size)))
            yield bytes([AS_IT_IS]) + data
            yield bytes([AS_IT_IS]) + gzip.compress(data)
            yield bytes([SIGNED]) + data
    yield bytes([AS_IT_IS]) + gzip.compress(file(8, 2, 2)[:5]) + gzip.compress(file(8, 2, 2)[5:])
    yield bytes([AS_IT_IS]) + gzip.compress(file(8, 1 << 20))[:3000]  # a promise
    for side in (1, 2):
        files = [file(8, 3, side, 2), file(8, 3), file(8, 2, side, 2), file(8, 2)]
        yield bytes([BUILT]) + b"".join(struct.pack("<H", len(part)) + part for part in files)


# Model files


def small_models() -> list[Any]:
    """Return each kind of model, in less than a kilobyte or two."""
    net = StackedAutoencoder([3, 2], 2, seed=2**70)
    net.pretrain(np.eye(3, dtype=np.float32), steps=2, batch_size=2)
    net.scale, net.classes = 1 / 255, ["ä", 'b"']
    return [
        Autoencoder(2, 1, weight_decay=1e-5),
        Autoencoder(2, 2, activation=TopK(1), tied=True),
        net,
        StackedAutoencoder([2, 1, 1], 2, dtype="float64", init="he"),
        StackedAutoencoder([2, 1]),
    ]


def try_model_file(data: bytes) -> None:
    """Load a model, and compute with it."""
    way, data = data[:1], data[1:]
    if way >= bytes([BUILT]):
        data = build_file(MODEL_ARRAYS[way[0] % len(MODEL_ARRAYS)], data)
    if way >= bytes([SIGNED]):
        data = sign_model(data)
    try:
        loaded = from_bytes(data, "input")
    except ModelFileError:
        return
    if not loaded._network.finite():
        raise AssertionError("a parameter that is not finite")
    loaded.encode(np.ones((1, loaded.n_features), np.float32))


MODEL_ARRAYS: list[dict[str, Any]] = []


def build_file(arrays: dict[str, Any], data: bytes) -> bytes:
    """Return a file with a text as its entry, and arrays of which the first numbers are given."""
    text, _, numbers = data.partition(b"\0")
    filled = {}
    for name, array in arrays.items():
        own = numbers[: array.nbytes]
        numbers = numbers[array.nbytes :]
        flat = own + array.tobytes()[len(own) :]
        filled[name] = np.frombuffer(flat, array.dtype).reshape(array.shape)
    return save(filled, metadata={"sae_fast": text.decode("utf-8", "replace")})


def sign_model(data: bytes) -> bytes:
    """Give a file the checksum that fits it, if it has a place for one."""
    try:
        at, digest = _checksum(data)
    except DataError:
        return data
    return data[:at] + digest + data[at + len(digest) :]


def model_seeds() -> Iterator[bytes]:
    """Yield every kind of model in all three ways."""
    for i, data in enumerate(map(to_bytes, small_models())):
        yield bytes([AS_IT_IS]) + data
        yield bytes([SIGNED]) + data
        text, arrays = read_arrays(data)
        numbers = b"".join(array.tobytes() for array in arrays.values())
        MODEL_ARRAYS.append(arrays)
        yield bytes([BUILT + (i - BUILT) % 4]) + text.encode() + b"\0" + numbers


# Checkpoints


SMALL = Autoencoder(2, 1)
START = SMALL.parameters
READ = SMALL._input("x", np.zeros((2, 2), np.float32), 2)


def small_training(title: str = "a") -> Training:
    """Return a training that a checkpoint can be of, always of the same model."""
    SMALL.parameters = START
    stopping, optimizer = EarlyStopping(), Optimizer(Adam(), Constant(1e-3))
    SMALL._state = new_state(SMALL._network, optimizer.in_core())
    order = SampleOrder(2, SMALL.seed, *SMALL._stream)
    schedule = Schedule(9, 1, 1, order, samples_before=0, steps_before=0, given=None)
    training = Training(
        *(SMALL, title, 1, Objective("squared_error"), optimizer, schedule, Samples(READ)),
        callbacks=[stopping],
    )
    training.state[stopping] = {"waited": 0}
    return training


def try_checkpoint(data: bytes) -> None:
    """Load a checkpoint, and put a training where it was taken."""
    way, data = data[:1], data[1:]
    if way >= bytes([BUILT]):
        data = build_checkpoint(data)
    if way >= bytes([SIGNED]):
        data = sign_checkpoint(data)
    try:
        _, trainings, arrays = read_checkpoint(data, "input")
        training = small_training()
        loaded = RunCheckpoint("nowhere", resume=False)
        loaded._trainings, loaded._arrays = trainings, arrays
        loaded.on_start(training)
    except (CheckpointError, _DamagedError):
        return
    if not (0 <= training.step <= training.n_steps and SMALL._network.finite()):
        raise AssertionError(f"a training at step {training.step}")


CHECKPOINT_ARRAYS: dict[str, Any] = {}


def build_checkpoint(data: bytes) -> bytes:
    """Return a file whose checkpoint is a text."""
    text, _, numbers = data.partition(b"\0")
    header = {"checkpoint": text.decode("utf-8", "replace"), "sha256": "0" * 64}
    return build_file(CHECKPOINT_ARRAYS, json.dumps(header).encode() + b"\0" + numbers)


def sign_checkpoint(data: bytes) -> bytes:
    """Give a file the checksum that fits it, if it has a place for one."""
    try:
        text, arrays = read_arrays(data)
        header = json.loads(text)
        before = header["sha256"].encode()
        after = _digest(header["checkpoint"], arrays).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return data
    return data.replace(before, after, 1) if len(before) == len(after) else data


def checkpoint_seeds() -> Iterator[bytes]:
    """Yield checkpoints of one training and of two in all three ways."""
    with tempfile.TemporaryDirectory() as folder:
        written = RunCheckpoint(folder, resume=False)
        for title, step in (("a", 4), ("fine-tuning", 9)):
            training = small_training(title)
            written.on_start(training)
            SMALL._state.set_state(SMALL._state.get_state()[0], step)
            training.history.steps.append(step)
            training.history.loss.append(0.5)
            training.history.accuracy.append(0.25)
            best = training.state[training.callbacks[0]]
            best.update(figure=0.5, step=step, parameters=SMALL.parameters)
            training.committed = training.snapshot(step)
            written._write(training)
            data = Path(folder, NAME).read_bytes()
            yield bytes([AS_IT_IS]) + data
            yield bytes([SIGNED]) + data
            text, arrays = read_arrays(data)
            CHECKPOINT_ARRAYS.update(arrays)
            kept = json.loads(text)["checkpoint"]
            yield bytes([BUILT]) + kept.encode()
            old = kept.replace('"format": 2', '"format": 1').replace(
                '"class"', '"adam": "tf1", "class"'
            )
            yield bytes([BUILT]) + old.encode()


# Arguments of a training

N_SAMPLES, N_FEATURES, N_CLASSES = 12, 5, 3
MATRICES: tuple[Callable[[Any], Any], ...] = (
    sparse.csr_matrix,
    lambda x: sparse.csr_array((x * 255).astype(np.uint8)),
    np.asfortranarray,
    lambda x: x.astype(np.float64),
    lambda x: (x * 255).astype(np.uint8),
)


class Writes(Callback):
    """Writes some bytes to the arrays of a training after each of its steps."""

    every = 1

    def __init__(self, arrays: list[Any], data: bytes) -> None:
        self.arrays, self.data = arrays, data

    def on_step(self, training: Training) -> None:
        """Write to what the training was given, or to what it shows, as the first byte says."""
        shown = [value for value in training.data.values() if isinstance(value, np.ndarray)]
        for _ in range(3):
            if len(self.data) < 3:
                return
            number, offset, length = self.data[0], self.data[1], self.data[2] % 9
            arrays = [*self.arrays, *(shown if number >= 128 else ())]
            array = arrays[number % len(arrays)]
            with contextlib.suppress(ValueError):  # a view, of what is read-only
                array.flags.writeable = True
                to = array.reshape(-1, order="A").view(np.uint8)
                some = to[offset % len(to) :][:length]
                some[:] = np.frombuffer(self.data[3 : 3 + len(some)].ljust(len(some)), np.uint8)
            self.data = self.data[3 + length :]


METHODS = ("finetune", "fit", "pretrain", "finetune_autoencoder", "targets")

#: What trainings and models may be asked for; a byte of an input chooses one of each.
CHOICES: dict[str, tuple[Any, ...]] = {
    "activation": (*ACTIVATIONS, TopK(2)),
    "output": ("linear", "sigmoid", "softplus"),
    "tied": (False, True),
    "loss": (None, *LOSSES),
    "optimizer": (*RULES, AdamW(0.1), SGD(0.9, nesterov=True)),
    "learning_rate": (
        *(1e-3, None, Cosine(0.01, warmup=2), Step(0.01, every=2), Exponential(0.01, every=3)),
        *(lambda step: 0.01 / (1 + step), lambda step: -1.0),
    ),
    "corruption": (
        *(None, *CORRUPTIONS, Masking(0.5, emphasis=(1, 0.5)), Swap(0.5, emphasis=(0.5, 1))),
    ),
    "dropout": (0.0, 0.5, [0.2, 0.4]),
    "penalties": (
        *((), [L1(0.1), MaxNorm(1.0)], [CodeL1(0.1)], [KLSparsity(0.1, 0.2)], [Contractive(0.1)]),
        [L1(0.1), L1(0.1)],
    ),
    "weight_decay": (0.0, 0.1),
    "length": (None, {"steps": 4, "batch_size": 5}, {"epochs": 1}, {"steps": 3, "epochs": 1}),
    "measured": (True, False),
    "continued": (False, True),
}


def chosen(data: bytes) -> dict[str, Any]:
    """Return what the bytes choose, the first of each where there are none."""
    numbers = itertools.chain(data, itertools.repeat(0))
    return {
        name: some[number % len(some)]
        for (name, some), number in zip(CHOICES.items(), numbers, strict=False)
    }


class Begins(Callback):
    """Knows whether a training has begun."""

    begun = False

    def on_start(self, training: Training) -> None:
        """Take note."""
        self.begun = True


def train_on_arguments(
    method: str, kind: int, choices: dict[str, Any], data: bytes
) -> dict[str, Any]:
    """Train by a method while a callback writes; return what comes of it."""
    rng = np.random.default_rng(0)
    x = MATRICES[kind](rng.integers(0, 2, (N_SAMPLES, N_FEATURES)).astype(np.float32))
    arrays = [x.data, x.indices, x.indptr] if sparse.issparse(x) else [x]
    options: dict[str, Any] = {"batches": rng.integers(0, N_SAMPLES, (4, 3)), "eval_every": 2}
    options["sample_weight"] = np.ones(N_SAMPLES, np.float32)
    arrays += [options["batches"], options["sample_weight"]]
    labels, x_test = [], x.copy()
    built: dict[str, Any] = {"n_classes": N_CLASSES, "init": "he"}
    options["eval_set"] = x_test
    if method in ("finetune", "targets"):
        labels = [rng.integers(0, N_CLASSES, N_SAMPLES)]
        if method == "targets":
            labels = [rng.random((N_SAMPLES, N_CLASSES), np.float32)]
            built = {"n_targets": N_CLASSES, "init": "he"}
        y_test = labels[0].copy()
        options["eval_set"] = x_test, y_test
        arrays += [*labels, y_test]
    if choices["length"]:
        options |= {"batches": None, **choices["length"]}
    if not choices["measured"]:
        del options["eval_set"]
    if x.dtype == np.uint8:
        options["scale"] = 1 / 255
    how = {name: choices[name] for name in ("activation", "output", "tied")}
    if method == "fit":
        model: Any = Autoencoder(N_FEATURES, 2, n_threads=1, **how)
    else:
        model = StackedAutoencoder([N_FEATURES, 3, 2], n_threads=1, **how, **built)
    train = model.finetune if method == "targets" else getattr(model, method)
    taken = inspect.signature(train).parameters
    given = {name: value for name, value in choices.items() if name in taken}
    if method == "fit" and isinstance(given["dropout"], list):
        given["dropout"] = given["dropout"][:1]
    if given["loss"] is None:
        del given["loss"]
    begins, before = Begins(), model.parameters
    given |= {**options, "callbacks": [begins]}
    histories = []
    try:
        if choices["continued"]:
            histories += np.ravel(train(x, *labels, **given | {"continued": False})).tolist()
        given["callbacks"] = [begins, Writes(arrays, data)]
        histories += np.ravel(train(x, *labels, **given)).tolist()
    except DataError:
        if not begins.begun and not same(model.parameters, before):
            raise AssertionError("a refused call has changed parameters") from None
        raise
    return {**model.parameters, "losses": [h.loss for h in histories]}


def same(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Say whether all arrays are the same, bit for bit."""
    return all(np.array_equal(found[name], value) for name, value in wanted.items())


def try_arguments(data: bytes) -> None:
    """Train while a callback writes to every array; what was copied must have had no influence."""
    n = 2 + len(CHOICES)
    if len(data) < n:
        return
    kind, choices = data[1] % len(MATRICES), chosen(data[2:n])
    asked = METHODS[data[0] % len(METHODS)], kind, choices
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaeFastWarning)
        try:
            found = train_on_arguments(*asked, data[n:])
        except (DataError, DivergenceError):
            return
        except (ValueError, IndexError):  # of the core, about what was forced open
            if max(data[n:]) < 128:
                raise
            return
        # sparse samples are copied, dense ones read where they are
        if kind < 2 and max(data[n:], default=0) < 128:
            alone = train_on_arguments(*asked, b"")
            if not same(found, alone):
                raise AssertionError("what was copied is another")


def argument_seeds() -> Iterator[bytes]:
    """Yield writes to each array, for each method and kind of samples, and every choice."""
    usual = bytes(len(CHOICES))
    for method, kind, number in itertools.product(
        range(len(METHODS)), range(len(MATRICES)), range(7)
    ):
        start = bytes([method, kind]) + usual
        yield start + bytes([number, 0, 8]) + b"\x7f" * 8
        yield start + bytes([number + 128, 8, 8]) + b"\xff" * 8
    for method, (at, some) in itertools.product(range(len(METHODS)), enumerate(CHOICES.values())):
        for number in range(1, len(some)):
            yield bytes([method, 0]) + usual[:at] + bytes([number]) + usual[at + 1 :]


def instrument(place: Any, module: str) -> None:
    """Let atheris see the branches of all functions of a module, or of a class in it.

    Its own import hook sees nothing of a package that is installed to be edited.
    """
    for value in list(vars(place).values()):
        for part in (value, *(getattr(value, name, None) for name in ("fget", "fset", "__func__"))):
            function = getattr(part, "__wrapped__", part)
            if inspect.isfunction(function) and function.__module__ == module:
                atheris.instrument_func(function)
        if inspect.isclass(value) and value.__module__ == module:
            instrument(value, module)


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], Iterator[bytes]]]] = {
    "idx": (try_idx, idx_seeds),
    "model_file": (try_model_file, model_seeds),
    "checkpoint": (try_checkpoint, checkpoint_seeds),
    "arguments": (try_arguments, argument_seeds),
}


def main() -> None:
    """Write seeds and a dictionary, and hand over to libFuzzer."""
    name, folder, *options = sys.argv[1:]
    target, seeds = TARGETS[name]
    corpus = Path(folder, "corpus")
    corpus.mkdir(parents=True, exist_ok=True)
    written = list(seeds())
    for i, data in enumerate(written):
        (corpus / f"seed-{i}").write_bytes(data)
    words = {word for data in written for word in re.findall(rb"[A-Za-z_0-9]{2,24}", data)}
    words |= {b"NaN", b"-Infinity", b"1e999", b"null", b"true", b"[[[[", b"{}", b"-1", b"\\\\ud800"}
    lines = [b'"%b"\n' % word for word in itertools.islice(sorted(words), 300)]
    Path(folder, "words").write_bytes(b"".join(lines))

    for module in INSTRUMENTED:
        instrument(module, module.__name__)
    threads.available_threads = lambda: 1  # reads files for each model, half of what that takes
    autoencoder.draw_weights = lambda *arguments: np.zeros(arguments[3:5])  # slow, and no input's
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    own = [f"-dict={folder}/words", f"-artifact_prefix={folder}/", "-max_len=4096"]
    atheris.Setup([sys.argv[0], str(corpus), *own, *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
