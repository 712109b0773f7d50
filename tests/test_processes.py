# SPDX-License-Identifier: BSD-3-Clause
"""Processes and threads around a model: children of every kind, two trainings, other libraries."""

from __future__ import annotations

import contextlib
import copy
import itertools
import linecache
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
import sae_fast
from helpers import (
    TIME_LIMIT,
    assert_identical,
    draw_x,
    draw_y,
    ignore_fork_warning,
    needs_fork,
)
from sae_fast import Autoencoder, DataError, StackedAutoencoder
from sae_fast.callbacks import Callback
from sae_fast.models.claims import Claim
from sae_fast.training import loop as training

X, Y = draw_x(300, 60, zeros=0.6), draw_y(300, 4)
WIDE = draw_x(60, 300, zeros=0.0)


def train(n_threads=2):
    """Give the parameters of two short trainings, one of them through BLAS."""
    net = StackedAutoencoder([60, 40, 9], 4, init="he", n_threads=n_threads)
    net.pretrain(X, steps=10, batch_size=50)
    net.finetune(X, Y, steps=10, batch_size=50)
    wide = Autoencoder(300, 280, dtype="float64", n_threads=n_threads)
    wide.fit(WIDE, steps=3, batch_size=30)
    return {**net.parameters, **wide.parameters}


def go_on(model):
    """Continue a training in another process, and give the model back."""
    model.finetune(X, Y, steps=10, batch_size=50, continued=True)
    return model


# Processes


@ignore_fork_warning
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_executor(method):
    expected = train()
    net = StackedAutoencoder([60, 9], 4, init="he")
    net.finetune(X, Y, steps=10, batch_size=50)
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        trained = [pool.submit(train, n_threads) for n_threads in (1, 2)]
        continued = pool.submit(go_on, net)
        for future in trained:
            assert_identical(future.result(TIME_LIMIT), expected)
        found = continued.result(TIME_LIMIT).parameters
    assert_identical(found, go_on(net).parameters)


def test_loky():
    joblib = pytest.importorskip("joblib")
    expected = train()
    found = joblib.Parallel(2, backend="loky", timeout=TIME_LIMIT)(
        joblib.delayed(train)(n_threads) for n_threads in (1, 2)
    )
    for parameters in found:
        assert_identical(parameters, expected)


# Threads


def test_other_threads_run_while_one_trains(monkeypatch):
    """A thread that counts comes to run during the native call, not between calls alone."""
    monkeypatch.setattr(training, "_RESPONSE_SECONDS", 0.3)
    count, stop = 0, threading.Event()

    def keep_counting():
        nonlocal count
        while not stop.is_set():
            count += 1

    counts = []
    thread = threading.Thread(target=keep_counting)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that little is counted while the other has work in Python
    try:
        thread.start()
        Autoencoder(60, 40, n_threads=1).fit(
            X,
            steps=1_000_000,
            eval_every=0,
            callbacks=[
                Watch(lambda seen: counts.append(count) or (len(counts) > 2 and seen.stop()))
            ],
        )
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        thread.join()
    assert np.diff(counts).min() > 20_000


class Watch(Callback):
    """Calls a function whenever native code returns."""

    def __init__(self, f):
        self.on_step = f


def fit(model, **options):
    return model.fit(X, steps=30, eval_every=10, batch_size=50, **options)


def test_predictions_while_the_model_trains():
    """They see weights between steps, and neither wait nor disturb."""
    alone, model = Autoencoder(60, 40, n_threads=2), Autoencoder(60, 40, n_threads=2)
    alone.fit(X, steps=1000, batch_size=50)
    started, ended = threading.Event(), threading.Event()

    def predict(_):
        n = 0
        started.wait(TIME_LIMIT)
        while not ended.is_set():
            assert np.isfinite(model.reconstruct(X)).all()
            n += 1
        return n

    with ThreadPoolExecutor(3) as pool:
        counts = pool.map(predict, range(3))
        try:
            model.fit(X, steps=1000, batch_size=50, callbacks=[lambda _: started.set()])
        finally:
            started.set()
            ended.set()
        assert sum(counts) > 0
    assert_identical(model.parameters, alone.parameters)


def interrupted_at(line, *codes):
    """Give a trace function that raises a Ctrl-C at the line so many of these pieces of code.

    Not at the first of the `finally`: Python looks for signals as the call before it returns, which
    is within the `try`.
    """
    count = itertools.count(1)

    def trace(frame, event, _):
        if frame.f_code not in codes:
            return None
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == "line" and text != "mine.over = True" and next(count) == line:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    return trace


class TestOneTrainingAtATime:
    @pytest.mark.parametrize("before", [0, 1, 3])
    def test_an_interrupt_leaves_no_claim_behind(self, before):
        """At whatever line of making, taking and releasing it, also after others have ended."""
        codes = (Autoencoder.fit.__code__, Claim.take.__code__)
        for line in itertools.count(1):
            model = Autoencoder(60, 40)
            for _ in range(before):
                fit(model)
            sys.settrace(interrupted_at(line, *codes))
            try:
                fit(model)
                break
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(None)
            fit(model)
        assert line > 10

    def test_of_many_threads_one_trains(self):
        """However many come at once, and whatever others have left behind."""
        model, at_work, most = Autoencoder(60, 40, n_threads=1), [], []

        class Count(Callback):
            def on_start(self, training):
                at_work.append(training)
                most.append(len(at_work))

            def on_stop(self, training):
                at_work.remove(training)

        def train(_):
            with contextlib.suppress(DataError):
                fit(model, callbacks=[Count()])

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(train, range(200)))
        finally:
            sys.setswitchinterval(interval)
        assert set(most) == {1}
        fit(model)

    def refused(self, name, where, call):
        with pytest.raises(DataError, match=rf"^{name}: .* that is being trained {where}$"):
            call()

    def test_in_a_callback_of_its_own(self):
        alone, model = Autoencoder(60, 40), Autoencoder(60, 40)
        fit(alone)
        calls = []

        def train_again(_):
            calls.append(1)
            self.refused("fit", "already, by what called this", lambda: fit(model))

        fit(model, callbacks=[train_again])
        assert len(calls) == 3
        assert_identical(model.parameters, alone.parameters)

    def test_on_two_threads(self):
        alone, model = Autoencoder(60, 40), Autoencoder(60, 40)
        fit(alone)
        with ThreadPoolExecutor(1) as pool:

            def train_again(_):
                pool.submit(
                    self.refused, "fit", "on another thread", lambda: fit(model, continued=True)
                ).result()

            fit(model, callbacks=[train_again])
            assert_identical(model.parameters, alone.parameters)
            pool.submit(fit, model).result()  # afterwards any thread may

    def test_a_stack_and_its_autoencoders(self):
        net = StackedAutoencoder([60, 20, 9], 4)
        where = "already, by what called this"

        def train_again(_):
            self.refused("pretrain", where, lambda: net.pretrain(X, steps=1))
            self.refused("finetune", where, lambda: net.finetune(X, Y, steps=1))
            self.refused("fit", where, lambda: fit(net.autoencoders[0]))

        options = {"steps": 20, "eval_every": 10, "callbacks": [train_again]}
        net.pretrain(X, **options)
        net.finetune(X, Y, eval_set=(X, Y), **options)

        def train_the_stack(_):
            self.refused("finetune", where, lambda: net.finetune(X, Y, steps=1))

        codes = net.autoencoders[0].encode(X)
        net.autoencoders[1].fit(codes, steps=5, callbacks=[train_the_stack])

    @pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
    def test_what_ended_in_an_error_can_be_trained(self, error):
        model = Autoencoder(60, 40)

        def fail(_):
            raise error

        with pytest.raises(error):
            fit(model, callbacks=[fail])
        with pytest.raises(DataError):
            model.fit(X[:, 1:])
        fit(model)

    def test_copies_have_a_training_of_their_own(self):
        model, copies = Autoencoder(60, 40), []

        def copy_it(_):
            copies.extend([copy.deepcopy(model), pickle.loads(pickle.dumps(model))])

        fit(model, callbacks=[copy_it])
        for other in copies:
            fit(other)

    def test_other_models_train_in_a_callback(self):
        fit(Autoencoder(60, 40), callbacks=[lambda _: fit(Autoencoder(60, 40))])

    @needs_fork
    @ignore_fork_warning
    def test_a_child_forked_meanwhile_may_train_it(self):
        """The thread that trains it in the parent is not there to end."""
        model = Autoencoder(60, 40)

        def fork(_):
            def in_child():
                status = 1
                try:
                    fit(model)
                    status = 0
                finally:
                    os._exit(status)

            child = os.fork()
            if child == 0:
                in_child()
            assert os.waitpid(child, 0)[1] == 0

        with ThreadPoolExecutor(1) as pool:
            fit(model, callbacks=[lambda seen: pool.submit(fork, seen).result()])
        fit(model)


# The end of the process

ENDS = f"""
import os, signal, sys, threading, time
import numpy as np, sae_fast

signal.signal(signal.SIGINT, signal.default_int_handler)
x = np.random.default_rng(0).random((500, 300), dtype=np.float32)
at_work = threading.Event()

def train(width=60):
    ae = sae_fast.Autoencoder(width, 40, n_threads=2)
    ae.fit(x[:, :width], steps=10**9, callbacks=[Start()], eval_every=0)

class Start(sae_fast.callbacks.Callback):
    def on_step(self, _):
        at_work.set()

def predict():
    ae = sae_fast.Autoencoder(300, 280, n_threads=2)
    ae.fit(x, steps=1)
    while True:
        ae.reconstruct(x)
        at_work.set()

def at_once(*functions, daemon=True):
    threads = [threading.Thread(target=function, daemon=daemon) for function in functions]
    for thread in threads:
        thread.start()
    assert at_work.wait({TIME_LIMIT})
    return threads
"""


class TestTheEnd:
    """A process ends with its own status, whatever its threads are at."""

    def ends(self, code, status):
        done = subprocess.run(
            [sys.executable, "-c", ENDS + code], capture_output=True, text=True, timeout=TIME_LIMIT
        )
        assert done.returncode == status
        return done.stderr

    @pytest.mark.parametrize("threads", ["train", "predict, predict, lambda: train(300)"])
    def test_daemon_threads_at_work(self, threads):
        assert self.ends(f"at_once({threads})\nsys.exit(7)", 7) == ""

    @pytest.mark.skipif(os.name == "nt", reason="this system has no SIGINT to send")
    def test_interrupts_while_a_thread_is_waited_for(self):
        """The first ends the wait, the second Python's own at the end."""
        code = """
def interrupt():
    for _ in range(2):
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

[thread] = at_once(train, daemon=False)
threading.Thread(target=interrupt, daemon=True).start()
try:
    thread.join()
except KeyboardInterrupt:
    sys.exit(5)
"""
        assert "terminate" not in self.ends(code, 5)

    @needs_fork
    def test_a_child_of_threads_at_work_does_not_wait_for_them(self):
        code = """
at_once(predict, predict)
for _ in range(5):
    child = os.fork()
    if child == 0:
        sys.exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
sys.exit(7)
"""
        self.ends(code, 7)


# Other libraries in the process


def run_python(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIME_LIMIT
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.fixture
def vendored():
    if sae_fast.info()["blas"].startswith("system"):
        pytest.skip("this build has a system's BLAS")


def our_blas():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    return [
        found
        for found in threadpoolctl.threadpool_info()
        if "openblas_sae_fast" in found["filepath"]
    ]


@pytest.mark.usefixtures("vendored")
def test_threadpoolctl_sees_our_runtimes():
    """In a process without other libraries that have threads, NumPy's BLAS aside."""
    pytest.importorskip("threadpoolctl")
    code = (
        "import sae_fast, threadpoolctl\n"
        "for found in threadpoolctl.threadpool_info():\n"
        "    ours = 'openblas_sae_fast' in found['filepath']\n"
        "    if ours or found['user_api'] == 'openmp':\n"
        "        print(found['internal_api'], found['num_threads'] if ours else 'any')\n"
    )
    found = run_python(code)
    assert sorted(zip(found[::2], found[1::2], strict=True)) == [
        ("openblas", "1"),
        ("openmp", "any"),
    ]


@pytest.mark.usefixtures("vendored")
def test_threads_that_threadpoolctl_gives_to_our_blas_are_not_taken():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    expected = train()
    for n_threads in (1, 4):
        with threadpoolctl.threadpool_limits(n_threads):
            assert_identical(train(), expected)
            assert our_blas()[0]["num_threads"] == 1
    assert_identical(train(), expected)


@pytest.mark.usefixtures("vendored")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")
def test_blas_starts_no_threads_beside_openmps():
    """A training on three threads adds two to the process, whatever goes through BLAS."""
    code = (
        "import os, numpy as np, sae_fast\n"
        "x = np.random.default_rng(0).random((600, 600), dtype=np.float32)\n"
        "def count(): return len(os.listdir('/proc/self/task'))\n"
        "ae = sae_fast.Autoencoder(600, 600, n_threads=3)\n"
        "before = count()\n"
        "seen = []\n"
        "ae.fit(x, steps=4, eval_every=1, callbacks=[lambda _: seen.append(count())])\n"
        "print(*(n - before for n in seen))\n"
    )
    assert run_python(code) == ["2"] * 4
