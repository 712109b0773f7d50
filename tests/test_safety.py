# SPDX-License-Identifier: BSD-3-Clause
"""What native code relies on stays as it was checked, whoever writes to it and whenever.

Arrays that a callback or a thread changes during a training, attributes that are assigned, models
that are saved while another thread trains them, and systems that make no more threads. Much of it
ended the process once: `.ci/sanitizers` runs this file with every change.
"""

from __future__ import annotations

import copy
import os
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import numpy as np
import pytest
import sae_fast
from helpers import (
    TIME_LIMIT,
    Watch,
    assert_identical,
    call_in_fork,
    core,
    core_input,
    core_trainer,
    draw_batches,
    draw_x,
    draw_y,
    ignore_fork_warning,
    needs_fork,
    output_of,
    peak_memory,
)
from sae_fast import Autoencoder, DataError, DivergenceError, StackedAutoencoder, _core
from sae_fast.callbacks import Callback
from sae_fast.training import loop as training
from scipy import sparse

N, N_FEATURES, N_CLASSES = 60, 12, 3
X, Y = draw_x(N, N_FEATURES, zeros=0.7), draw_y(N, N_CLASSES)
OUTSIDE = 2**45  # far from everything, whatever it is multiplied by


def finetuned(x, y, weight, batches, eval_set, callbacks=()):
    """Give the parameters and figures of a training with every array that one takes."""
    net = StackedAutoencoder([N_FEATURES, 5], N_CLASSES, init="he", n_threads=1)
    options = {"sample_weight": weight, "batches": batches, "eval_set": eval_set}
    history = net.finetune(x, y, eval_every=2, callbacks=list(callbacks), **options)
    return {**net.parameters, "loss": history.loss, "accuracy": history.accuracy}


def arguments(matrix=sparse.csr_matrix):
    """Give arrays of their own, of the types that need no conversion."""
    return {
        "x": matrix(X),
        "y": Y.copy(),
        "weight": np.ones(N, np.float32),
        "batches": draw_batches(8, 10, N),
        "eval_set": (matrix(X), Y.copy()),
    }


def fill(array, value):
    """Write to an array, also where its owner has forbidden it."""
    array.flags.writeable = True
    array[:] = value


#: What is overwritten of the arguments of a training.
WRITES = {
    "labels": lambda given: fill(given["y"], OUTSIDE),
    "negative labels": lambda given: fill(given["y"], -OUTSIDE),
    "evaluation labels": lambda given: fill(given["eval_set"][1], OUTSIDE),
    "batches": lambda given: fill(given["batches"], OUTSIDE),
    "weights": lambda given: fill(given["weight"], np.nan),
    "CSR columns": lambda given: fill(given["x"].indices, 2**31 - 1),
    "CSR ends": lambda given: fill(given["x"].indptr, 2**30),
    "CSR values": lambda given: fill(given["x"].data, np.nan),
    "CSR of the evaluation": lambda given: fill(given["eval_set"][0].indices, 2**31 - 1),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("who", ["callback", "thread"])
def test_an_array_that_changes_during_a_training(write, who):
    """It has no influence any more."""
    expected, given = finetuned(**arguments()), arguments()

    def change(seen):
        if seen.step != 1:
            return
        if who == "thread":
            thread = threading.Thread(target=write, args=(given,))
            thread.start()
            thread.join(TIME_LIMIT)
        else:
            write(given)

    assert_identical(finetuned(**given, callbacks=[Watch(change, every=1)]), expected)


def test_batches_of_pretraining_that_change():
    batches = draw_batches(6, 10, N)
    nets = [StackedAutoencoder([N_FEATURES, 5, 4], n_threads=1) for _ in range(2)]
    nets[0].pretrain(X, batches=batches)
    nets[1].pretrain(
        X, batches=batches, callbacks=[Watch(lambda _: fill(batches, OUTSIDE), every=1)]
    )
    assert_identical(nets[1].parameters, nets[0].parameters)


def test_what_callbacks_are_shown_of_them_is_read_only():
    seen = []
    finetuned(**arguments(), callbacks=[seen.append])
    shown = seen[0].samples.y, seen[0].samples.weight, seen[0].schedule.given, seen[0].eval_set.y
    for array in shown:
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0


@pytest.mark.parametrize(
    "array",
    [
        lambda seen: seen.samples.y,
        lambda seen: seen.samples.weight,
        lambda seen: seen.schedule.given,
        lambda seen: seen.eval_set.y,
    ],
    ids=["labels", "weights", "batches", "evaluation labels"],
)
def test_what_is_written_there_all_the_same(array):
    """Native code goes by copies, and checks what it copies: an error at most."""
    with suppress(ValueError, IndexError):
        finetuned(
            **arguments(), callbacks=[Watch(lambda seen: fill(array(seen), OUTSIDE), every=1)]
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_dense_samples_that_change_are_values_and_no_more(value):
    given = arguments(np.array)
    with suppress(DivergenceError):
        finetuned(**given, callbacks=[Watch(lambda _: fill(given["x"], value), every=1)])


# The core by itself


class TestCore:
    NETWORK = core("Network", "float32")(
        [N_FEATURES, 4, N_CLASSES], [_core.Activation.relu, _core.Activation.linear]
    )

    def trainer(self, y=Y, x=X, loss=_core.Loss.cross_entropy, **options):
        data = core_input(x, "float32", "dense")
        options = {"batch_size": 10, **options}
        return core_trainer(self.NETWORK, data, y, dtype="float32", loss=loss, **options)

    def run(self, trainer, batches):
        rates = np.full(len(batches), 1e-3)
        return trainer.run(batches, rates, max_seconds=9.0, n_threads=1)

    def test_labels_that_change(self):
        y = Y.copy()
        trainer = self.trainer(y)
        y[:] = OUTSIDE
        assert self.run(trainer, draw_batches(3, 10, N)) == 3

    @pytest.mark.parametrize("label", [N_CLASSES, -1, OUTSIDE])
    def test_labels_that_are_none(self, label):
        y = Y.copy()
        y[-1] = label
        for call in (
            lambda: self.trainer(y),
            lambda: self.trainer(None),
            lambda: self.evaluate(y),
            lambda: self.evaluate(None),
        ):
            with pytest.raises(ValueError, match="expected a label below 3 for each sample"):
                call()

    def evaluate(self, y, x=X, loss=_core.Loss.cross_entropy):
        data = core_input(x, "float32", "dense")
        _core.sample_losses(self.NETWORK, data, y, loss=loss, n_threads=1)
        return _core.evaluate(self.NETWORK, data, y, loss=loss, weight_decay=0.0, n_threads=1)

    def test_samples_of_another_width(self):
        for x in (X[:, 1:].copy(), np.ones((N, 2000), np.float32)):
            for call in (
                lambda x=x: self.trainer(x=x),
                lambda x=x: self.evaluate(Y, x),
                lambda x=x: self.NETWORK.classify(core_input(x, "float32"), n_threads=1),
            ):
                with pytest.raises(ValueError, match=f"expected 12 features, got {x.shape[1]}"):
                    call()

    def test_outputs_of_another_width_than_the_samples(self):
        loss = _core.Loss.squared_error
        for call in (self.trainer, self.evaluate):
            with pytest.raises(ValueError, match="expected 3 values, got 12"):
                call(None, loss=loss)

    @pytest.mark.parametrize("layers", [(-1, 2), (0, 3), (1, 1), (2, 1)])
    def test_layers_that_are_not_there(self, layers):
        first, last = layers
        options = {"first_layer": first, "last_layer": last, "n_threads": 1}
        with pytest.raises(IndexError):
            self.NETWORK.predict(core_input(X, "float32"), softmax=False, **options)
        with pytest.raises(IndexError):
            self.NETWORK.encode(core_input(X, "float32"), **options)

    @pytest.mark.parametrize("size", [0, -1])
    def test_batches_without_samples(self, size):
        with pytest.raises(ValueError, match="batch size of at least 1"):
            self.trainer(batch_size=size)

    @pytest.mark.parametrize("sizes", [[], [4], [4, 3, 2], [4, 0], [-4, 3], [2**40, 2**40]])
    def test_widths_that_are_none(self, sizes):
        with pytest.raises(ValueError, match="expected widths"):
            core("Network", "float32")(sizes, [_core.Activation.relu])

    def test_csr_values_that_are_not_contiguous(self):
        x = sparse.csr_matrix(X)
        with pytest.raises(ValueError, match="contiguous"):
            core("Input", "float32").from_csr(
                x.indptr, x.indices, x.data[::-1], N_FEATURES, scale=1.0, n_threads=1
            )

    def test_batches_that_a_thread_changes(self):
        """Between the check of a number and its use, again and again."""
        trainer, batches = self.trainer(), draw_batches(400, 10, N)
        good, ended = batches.copy(), threading.Event()

        def change():
            while not ended.is_set():
                batches[:] = OUTSIDE
                batches[:] = good

        thread = threading.Thread(target=change)
        thread.start()
        try:
            for _ in range(40):
                with suppress(IndexError):
                    self.run(trainer, batches)
        finally:
            ended.set()
            thread.join()


# Attributes

ASSIGNABLE = {"parameters", "n_threads", "scale", "classes"}
MODELS = {
    "autoencoder": lambda: Autoencoder(N_FEATURES, 5, weight_decay=0.1, n_threads=1),
    "stack": lambda: StackedAutoencoder([N_FEATURES, 5, 4], N_CLASSES, n_threads=1),
}


def attributes_of(model):
    """Names of what is public and no method."""
    return [name for name in dir(model) if name[0] != "_" and not callable(getattr(model, name))]


@pytest.mark.parametrize("kind", MODELS)
def test_attributes_are_read_only(kind):
    model = MODELS[kind]()
    before, bits = {name: getattr(model, name) for name in attributes_of(model)}, model._bytes()
    assert set(before) >= {"n_features", "n_hidden", "dtype", "seed", "activation"} | ASSIGNABLE - {
        "classes"
    }
    for name in set(before) - ASSIGNABLE:
        for value in (100_000, before[name]):
            with pytest.raises(AttributeError, match=rf"{name}.*(read-only|setter)|can't set"):
                setattr(model, name, value)
        with pytest.raises(AttributeError):
            delattr(model, name)
        assert getattr(model, name) is before[name] or getattr(model, name) == before[name]
    assert model._bytes() == bits
    model.encode(X)


@pytest.mark.parametrize("kind", MODELS)
def test_attributes_of_ones_own(kind):
    model = MODELS[kind]()
    model.note = "a user's"
    assert model.note == "a user's"


@pytest.mark.parametrize("kind", MODELS)
def test_what_gets_around_that(kind):
    """An error, no access to what is not there."""
    model = MODELS[kind]()
    vars(model)["n_features"] = 100_000
    with pytest.raises(ValueError, match="expected 12 features, got 100000"):
        model.encode(np.ones((3, 100_000), np.float32))


# Models that another thread trains


@contextmanager
def in_training(train):
    """Train on another thread, which has begun; it is waited for."""
    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(train, [Watch(lambda _: begun.set())])
        future.add_done_callback(lambda _: begun.set())
        try:
            assert begun.wait(TIME_LIMIT)
            yield future
        finally:
            future.result(TIME_LIMIT)


def test_snapshots_from_another_thread_are_of_one_step():
    """A copy that goes on from wherever it was taken ends with the same bits."""
    n_steps, copies = 4000, []
    model, alone = (Autoencoder(N_FEATURES, 40, dtype="float64", n_threads=1) for _ in range(2))
    options = {"batch_size": 20, "eval_every": 0}
    with in_training(lambda callbacks: model.fit(X, steps=n_steps, callbacks=callbacks, **options)):
        while len(copies) < 3:
            copies.append(pickle.loads(pickle.dumps(model)))
    alone.fit(X, steps=n_steps, **options)
    assert_identical(model.parameters, alone.parameters)
    for other in copies:
        left = n_steps - other._state.steps_done
        if left > 0:
            other.fit(X, steps=left, continued=True, **options)
        assert_identical(other.parameters, alone.parameters)


def test_files_written_meanwhile_can_be_read(tmp_path, monkeypatch):
    """At whatever moment of pretraining, in which what a file holds comes and goes."""
    net = StackedAutoencoder([N_FEATURES, 5, 4], N_CLASSES, n_threads=1)
    stored = StackedAutoencoder._stored

    def wait(model):
        found = stored(model)
        time.sleep(0.01)  # the training has time to get far
        return found

    monkeypatch.setattr(StackedAutoencoder, "_stored", wait)

    enough = threading.Event()

    def train(callbacks):
        while not enough.is_set():
            net.pretrain(X, steps=3, batch_size=10, callbacks=callbacks)

    with in_training(train):
        try:
            for _ in range(8):
                loaded = sae_fast.load(net.save(tmp_path / "net.safetensors"))
                assert loaded.encode(X).shape == (N, 4)
                copy.deepcopy(net)
        finally:
            enough.set()


@pytest.mark.parametrize("kind", MODELS)
def test_parameters_are_not_assigned_by_another_thread(kind):
    model = MODELS[kind]()
    name, value = next(iter(model.parameters.items()))
    done = threading.Event()

    def train(callbacks):
        def wait(_):
            model.parameters = {name: value}  # a callback may
            done.wait(TIME_LIMIT)

        fit = model.fit if kind == "autoencoder" else model.pretrain
        fit(X, steps=2, batch_size=10, callbacks=[*callbacks, wait])

    with in_training(train):
        try:
            for other in model._trained():
                with pytest.raises(DataError, match=r"^parameters: .*trained on another thread"):
                    other.parameters = {}
        finally:
            done.set()
    model.parameters = {name: value}


def test_readers_without_pause_let_the_training_go_on():
    model = Autoencoder(N_FEATURES, 5, n_threads=1)
    options = {"steps": 300, "batch_size": 20}
    with in_training(lambda callbacks: model.fit(X, callbacks=callbacks, **options)) as future:
        while not future.done():
            model.parameters  # noqa: B018
    assert model._state.steps_done == 300


def test_a_callback_saves_and_so_does_a_thread_it_waits_for(tmp_path):
    model = Autoencoder(N_FEATURES, 5, n_threads=1)
    with ThreadPoolExecutor(1) as pool:

        def save(_):
            ours = model.save(tmp_path / "ours").read_bytes()
            theirs = pool.submit(model.save, tmp_path / "theirs").result(TIME_LIMIT)
            assert theirs.read_bytes() == ours

        model.fit(X, steps=4, batch_size=10, eval_every=2, callbacks=[save])


@needs_fork
@ignore_fork_warning
def test_a_child_forked_during_a_training_can_use_the_model():
    """What held the model's locks is not there."""
    model = Autoencoder(N_FEATURES, 5, n_threads=1)
    model._turns.lock.acquire()  # as the native call on another thread does
    held, forked = threading.Event(), threading.Event()

    def hold():  # on a thread that is there still: one at its end may be within malloc
        with model._turns.queue:
            held.set()
            forked.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def use():
        model.fit(X, steps=2, batch_size=10)
        pickle.dumps(model)

    try:
        call_in_fork(lambda: ThreadPoolExecutor(1).submit(use).result(TIME_LIMIT))
    finally:
        forked.set()
        thread.join()


# What is refused changes nothing


class Refuses(Callback):
    def on_start(self, training):
        raise LookupError


@pytest.mark.parametrize("continued", [False, True])
def test_a_refusal_after_a_checkpoint_was_taken_up(continued, tmp_path):
    """Of a training that another callback has already put somewhere else."""
    options = {"steps": 6, "batch_size": 10, "eval_every": 3, "continued": continued}

    def model():
        ae = Autoencoder(N_FEATURES, 5, n_threads=1)
        ae.fit((X * 255).astype(np.uint8), steps=3, batch_size=10, scale=1 / 255)
        return ae

    model().fit(X, callbacks=[sae_fast.RunCheckpoint(tmp_path, every=3)], **options)
    ae = model()
    before = pickle.dumps(ae)
    with pytest.raises(LookupError):
        ae.fit(X, callbacks=[sae_fast.RunCheckpoint(tmp_path, every=3), Refuses()], **options)
    assert pickle.dumps(ae) == before


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("method", ["fit", "pretrain", "finetune"])
def test_an_error_before_the_first_step(method, error, monkeypatch):
    """As where there is no memory for the trainer."""
    model = MODELS["autoencoder" if method == "fit" else "stack"]()
    if method != "fit":
        model.pretrain((X * 255).astype(np.uint8), steps=3, batch_size=10, scale=1 / 255)
    y = () if method != "finetune" else (Y,)
    before = pickle.dumps(model)

    def fail(*_, **__):
        raise error

    for module, name in ((training, "new_trainer"), (sae_fast.models.learner, "new_state")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            with pytest.raises(error):
                getattr(model, method)(X, *y, steps=3, batch_size=10)
        assert pickle.dumps(model) == before


def test_an_optimizers_state_that_overflows(tmp_path):
    """Parameters stay finite, and would never move again."""
    model = Autoencoder(4, 3, init="normal", n_threads=1)
    x = np.full((20, 4), 3e18, np.float32)
    checkpoint = sae_fast.RunCheckpoint(tmp_path, every=1)
    with pytest.raises(DivergenceError, match="the optimizer's state is not finite"):
        model.fit(x, steps=5, batch_size=20, eval_every=1, callbacks=[checkpoint])
    assert model._state.finite()
    for path in tmp_path.iterdir():
        _, arrays = sae_fast.base.arrays_file.read_arrays(path.read_bytes())
        assert all(np.isfinite(array).all() for array in arrays.values())


# Room


def test_a_batch_of_all_samples_draws_few_at_once():
    x = np.ones((20_000, 2), np.float32)

    def train():
        Autoencoder(2, 1, n_threads=1).fit(
            x,
            steps=900,
            batch_size=len(x),
            eval_every=0,
            callbacks=[Watch(lambda seen: seen.stop())],
        )

    assert peak_memory(train) < 4e6  # of 144 MB for all steps


TRAINS = (
    "import numpy as np, sae_fast\n"
    "x = np.random.default_rng(0).random((400, 300), dtype=np.float32)\n"
    "def train(n_threads):\n"
    "    ae = sae_fast.Autoencoder(300, 90, n_threads=n_threads)\n"
    "    ae.fit(x, steps=20, batch_size=100, eval_every=5)\n"
    "    return ae.parameters['W_enc'].tobytes() + ae.encode(x).tobytes()\n"
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="as Linux limits threads")
class TestNoMoreThreads:
    """OpenMP's run-time ends the process where it cannot have a thread: it is not asked for one."""

    def test_stacks_larger_than_there_is_room_for(self):
        code = TRAINS + "print(train(8) == train(1))"
        assert output_of(code, OMP_STACKSIZE="100000G") == "True\n"

    def test_a_limit_on_processes(self):
        """Which the root user has not: nobody has, who may still read the files that are open."""
        code = (
            "import os, resource, sys\n"
            + TRAINS
            + "expected = train(1)\n"
            + "if os.getuid() == 0: os.setuid(65534)\n"
            + "resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))\n"
            + "print(train(8) == expected)"
        )
        assert output_of(code) == "True\n"

    def test_a_limit_that_goes(self):
        """Threads come back with the room for them."""
        code = (
            "import os, resource\n"
            + TRAINS
            + "def n_tasks(): return len(os.listdir('/proc/self/task'))\n"
            + "before = n_tasks()\n"
            + "hard = resource.getrlimit(resource.RLIMIT_AS)[1]\n"
            + "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
            + "resource.setrlimit(resource.RLIMIT_AS, (used + (60 << 20), hard))\n"
            + "few = train(4)\n"
            + "print(n_tasks() - before < 3)\n"
            + "resource.setrlimit(resource.RLIMIT_AS, (hard, hard))\n"
            + "print(few == train(4), n_tasks() - before)"
        )
        if os.environ.get("LD_PRELOAD"):
            pytest.skip("a sanitizer takes all addresses there are")
        has_openmp = sae_fast.info()["openmp"].startswith("OpenMP")
        kept = 3 if has_openmp else 0
        assert output_of(code, OMP_STACKSIZE="24M") == f"True\nTrue {kept}\n"
