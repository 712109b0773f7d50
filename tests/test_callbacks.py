# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks: when each is called, what it may do, and what happens when it fails."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import sae_fast
import tqdm
from helpers import assert_identical, call_in_fork, ignore_fork_warning, needs_fork
from sae_fast import Autoencoder, DataError, StackedAutoencoder
from sae_fast.base import progress
from sae_fast.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    JsonLinesLog,
    ProgressBar,
    TensorBoard,
)
from sae_fast.training import loop as training

SIZES = [12, 8, 4]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 200)
    return (rng.random((200, 12)) + 3 * np.eye(3, 12)[y]).astype(np.float32), y


class Recorder(Callback):
    """Writes down what it is called with."""

    def __init__(self, every=None):
        self.every = every
        self.calls = []

    def on_start(self, training):
        self.calls.append(("start", training.layer, training.step))

    def on_step(self, training):
        self.calls.append(("step", training.layer, training.step))

    def on_evaluation(self, training):
        assert training.history.steps[-1] == training.step
        self.calls.append(("evaluation", training.layer, training.step))

    def on_layer_end(self, training):
        self.calls.append(("layer end", training.layer, training.step))

    def on_stop(self, training):
        self.calls.append(("stop", training.layer, training.step, type(training.error)))


class Fails(Callback):
    """Raises at one moment of one layer."""

    def __init__(self, moment, layer):
        self.moment, self.layer = moment, layer

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda training: self.meet(name, training)
        return super().__getattribute__(name)

    def meet(self, name, training):
        if name == self.moment and training.layer == self.layer:
            raise LookupError("a user's mistake")


def test_the_order_of_calls(data):
    x, y = data
    recorder = Recorder(every=3)
    net = StackedAutoencoder(SIZES, 3)
    net.pretrain(x, steps=5, eval_every=4, callbacks=[recorder])
    expected = [
        ("start", 0),
        ("step", 3),
        ("evaluation", 4),
        ("step", 5),
        ("evaluation", 5),
        ("stop", 5, type(None)),
        ("layer end", 5),
    ]
    assert recorder.calls == [(kind, n, *rest) for n in (1, 2) for kind, *rest in expected]
    recorder.calls.clear()
    net.finetune(x, y, steps=3, eval_set=(x, y), callbacks=[recorder])
    assert recorder.calls == [
        ("start", None, 0),
        ("step", None, 3),
        ("evaluation", None, 3),
        ("stop", None, 3, type(None)),
    ]


def test_without_every_steps_come_when_native_code_returns(data, monkeypatch):
    monkeypatch.setattr(training, "_RESPONSE_SECONDS", 0.0)
    recorder = Recorder()
    Autoencoder(12, 5).fit(data[0], steps=4, callbacks=[recorder])
    assert [call[2] for call in recorder.calls if call[0] == "step"] == [1, 2, 3, 4]


@pytest.mark.parametrize("every", [1, 7, 100, 1000])
def test_looking_on_changes_nothing(data, every):
    x, y = data
    parameters = []
    for callbacks in ([], [Recorder(every), Recorder()]):
        net = StackedAutoencoder(SIZES, 3)
        net.pretrain(x, steps=30, callbacks=callbacks)
        net.finetune(x, y, steps=30, eval_every=20, eval_set=(x, y), callbacks=callbacks)
        parameters.append(net.parameters)
    for name, value in parameters[0].items():
        np.testing.assert_array_equal(value, parameters[1][name])


def test_commits_come_when_all_have_been_called(data):
    """With what they keep as it is then, and no later."""
    seen = []

    class Counts(Callback):
        every = 3

        def on_start(self, training):
            training.state[self] = {"calls": 0, "sums": {"a": np.zeros(2)}}

        def on_step(self, training):
            training.state[self]["calls"] += 1
            training.state[self]["sums"]["a"] += training.step

    class Sees(Callback):
        def on_commit(self, training):
            seen.append(training.committed)

    counts = Counts()
    Autoencoder(12, 5).fit(data[0], steps=7, eval_every=4, callbacks=[Sees(), counts])
    assert [snapshot.step for snapshot in seen] == [0, 3, 4, 6, 7, 7]
    assert [snapshot.history.steps for snapshot in seen] == [[]] * 2 + [[4]] * 3 + [[4, 7]]
    assert [snapshot.states[counts]["calls"] for snapshot in seen] == [0, 1, 1, 2, 3, 3]
    sums = [snapshot.states[counts]["sums"]["a"][0] for snapshot in seen]
    assert sums == [0, 3, 3, 9, 16, 16]


def test_a_stack_has_what_its_layer_has_come_to(data, tmp_path):
    """Its parameters, what it computes and what it saves are those of the moment."""
    x, net = data[0], StackedAutoencoder(SIZES, 3, init="he")
    seen = []

    def look(training):
        ours, layer = net.parameters, training.layer
        theirs = training.model.parameters
        np.testing.assert_array_equal(ours[f"W{layer}"], theirs["W_enc"])
        np.testing.assert_array_equal(ours[f"b{layer}"], theirs["b_enc"])
        assert_identical(sae_fast.load(net.save(tmp_path / "net")).parameters, ours)
        codes = net.autoencoders[0].encode(x)
        if layer == 2:
            np.testing.assert_array_equal(net.encode(x), training.model.encode(codes))
        seen.append(ours[f"W{layer}"])
        net.parameters = {f"W{layer}": 2 * ours[f"W{layer}"]}
        np.testing.assert_array_equal(training.model.parameters["W_enc"], 2 * seen[-1])

    net.pretrain(x, steps=10, eval_every=5, callbacks=[look])
    assert len(seen) == 4
    for layer in (1, 2):
        np.testing.assert_array_equal(net.parameters[f"W{layer}"], 2 * seen[2 * layer - 1])


class TestRefusedByACallback:
    """Before the first step, as by a wrong argument."""

    def assert_unchanged(self, model, train):
        before = copy.deepcopy(model)
        with pytest.raises(LookupError):
            train(callbacks=[Recorder(), Fails("on_start", getattr(model, "layer", None) or 1)])
        assert before.__getstate__()["model"] == model.__getstate__()["model"]
        for one, other in zip(before._trained(), model._trained(), strict=True):
            assert_identical(one.parameters, other.parameters)
            assert one.scale == other.scale
            assert getattr(one, "weight_decay", 0) == getattr(other, "weight_decay", 0)
            if one._state is None:
                assert other._state is None
                continue
            (ours, steps), (theirs, theirs_steps) = (net._state.get_state() for net in (one, other))
            assert steps == theirs_steps
            assert_identical(dict(enumerate(ours)), dict(enumerate(theirs)))

    @pytest.fixture
    def net(self, data):
        x, y = data
        net = StackedAutoencoder(SIZES, 3, init="he")
        x8 = (x * 50).astype(np.uint8)
        net.pretrain(x8, steps=5, scale=0.02, weight_decay=0.1)
        net.finetune(x8, y, steps=5, scale=0.02)  # moves the encoders away
        return net

    def test_pretraining(self, data, net):
        self.assert_unchanged(net, lambda **o: net.pretrain(data[0], steps=5, **o))

    def test_fit(self, data, net):
        ae = net.autoencoders[0]
        self.assert_unchanged(ae, lambda **o: ae.fit(data[0], steps=5, **o))

    def test_finetuning(self, data, net):
        with pytest.raises(LookupError):
            net.finetune(*data, steps=5, callbacks=[Fails("on_start", None)])
        assert net.scale == 0.02
        net.finetune(*data, steps=5, continued=True)
        assert net._state.steps_done == 10


def test_a_function_is_called_after_each_evaluation(data):
    seen = []
    Autoencoder(12, 5).fit(
        data[0], steps=5, eval_every=2, callbacks=[lambda training: seen.append(training.step)]
    )
    assert seen == [2, 4, 5]


def test_stop_ends_a_layer_after_an_evaluation(data):
    class StopAt(Callback):
        every = 1

        def on_step(self, training):
            if training.step == 7:
                training.stop()

    histories = StackedAutoencoder(SIZES, 3).pretrain(data[0], steps=50, callbacks=[StopAt()])
    assert [history.steps for history in histories] == [[7], [7]]


@pytest.mark.parametrize(
    "moment", ["on_start", "on_step", "on_evaluation", "on_stop", "on_layer_end"]
)
@pytest.mark.parametrize("layer", [1, 2, None])
def test_an_error_ends_training_and_leaves_a_consistent_model(data, moment, layer):
    if (moment, layer) == ("on_layer_end", None):
        pytest.skip("fine-tuning has no layers")
    x, y = data
    before, behind = Recorder(), Recorder()
    net = StackedAutoencoder(SIZES, 3)

    def train():
        callbacks = [before, Fails(moment, layer), behind]
        net.pretrain(x, steps=20, callbacks=callbacks)
        net.finetune(x, y, steps=20, eval_set=(x, y), callbacks=callbacks)

    with pytest.raises(LookupError, match="a user's mistake"):
        train()
    for recorder in (before, behind):
        kinds = [call[0] for call in recorder.calls]
        assert kinds.count("start") == kinds.count("stop")
    if moment in ("on_step", "on_evaluation"):
        assert before.calls[-1][-1] is LookupError
    for autoencoder in net.autoencoders[: 1 if layer == 1 else 2]:
        ours = net.parameters
        if layer is not None:
            np.testing.assert_array_equal(
                ours[f"W{autoencoder.layer}"], autoencoder.parameters["W_enc"]
            )
    assert net.predict(x).shape == (200,)
    net.pretrain(x, steps=5)  # and it can go on
    net.finetune(x, y, steps=5)


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ("abc", "callbacks: expected a list, got str"),
        ([3], r"callbacks\[0\]: expected a Callback or a function, got 3"),
        ([ProgressBar], r"callbacks\[0\]: expected a Callback or a function, got the class P"),
        ([Recorder(0)], r"callbacks\[0\].every: expected an integer of at least 1, got 0"),
    ],
)
def test_what_is_no_callback(data, callbacks, message):
    x, y = data
    net = StackedAutoencoder(SIZES, 3)
    for train in (
        lambda: Autoencoder(12, 5).fit(x, steps=1, callbacks=callbacks),
        lambda: net.pretrain(x, steps=1, callbacks=callbacks),
        lambda: net.finetune(x, y, steps=1, callbacks=callbacks),
    ):
        with pytest.raises(DataError, match=message):
            train()


class Terminal(io.StringIO):
    """What a terminal is to those who write to it."""

    def isatty(self):
        return True


def failing_streams():
    """Yield streams that cannot be written: closed, a pipe that nobody reads, full, none at all."""
    closed = io.StringIO()
    closed.close()
    yield closed
    reader, writer = os.pipe()
    os.close(reader)
    yield os.fdopen(writer, "w", buffering=1)
    full = Path("/dev/full")
    if full.exists():
        yield full.open("w", buffering=1)
    yield None


class TestProgressBar:
    def fit(self, data, steps=30):
        net = StackedAutoencoder(SIZES, 3)
        net.pretrain(data[0], steps=steps, eval_every=10, progress=True)
        net.finetune(*data, steps=steps, eval_every=10, eval_set=data, progress=True)

    def test_a_file_gets_few_lines(self, data, monkeypatch):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        self.fit(data, 300)
        lines = sys.stderr.getvalue().splitlines()
        assert [line.partition(":")[0] for line in lines] == [
            "autoencoder 1 (12 → 8)", "autoencoder 2 (8 → 4)", "fine-tuning",
        ]  # fmt: skip
        for line in lines:
            assert re.search(r": 100%, (loss [\d.]+ per sample|accuracy [\d.]+%), \d\d:\d\d$", line)

    def test_a_file_gets_a_line_now_and_then(self, data, monkeypatch):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        monkeypatch.setattr(progress, "_FILE_SECONDS", 0.0)
        Autoencoder(12, 5).fit(data[0], steps=30, eval_every=10, progress=True)
        shown = re.findall(r": +(\d+)%.*, \d\d:\d\d left\n", sys.stderr.getvalue())
        assert shown == ["33", "67"]

    def test_nothing_is_cut_off_at_80_columns(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setattr(progress, "_BAR_SECONDS", 0.0)
        monkeypatch.setenv("COLUMNS", "81")  # of which tqdm leaves one free
        monkeypatch.setenv("LINES", "25")
        x = np.random.default_rng(0).random((10_000, 784), np.float32)
        ae = Autoencoder(784, 100, layer=1)
        ae.fit(x, steps=20, eval_every=2, batch_size=2, progress=True)
        frames = sys.stderr.getvalue().split("\r")
        assert max(map(len, frames)) <= 81
        assert any(
            re.search(r" 50%, loss [\d.]+ per sample \|.+\| \d\d:\d\d left", frame)
            for frame in frames
        )

    def test_streams_that_cannot_be_written(self, data, monkeypatch):
        for stream in failing_streams():
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stderr", stream)
                self.fit(data)
                self.fit(data)
            with contextlib.suppress(OSError, AttributeError):  # as it says at its end
                stream.close()

    @needs_fork
    @ignore_fork_warning
    def test_a_child_waits_for_no_lock_of_its_parent(self, data, monkeypatch):
        """Neither for tqdm's, which is of both, nor for that of a thread that the child lacks."""
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        self.fit(data)
        held, done = threading.Event(), threading.Event()

        def hold():
            with progress._bar_class().get_lock():
                held.set()
                done.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        try:
            with tqdm.tqdm.get_lock():
                call_in_fork(lambda: self.fit(data))
        finally:
            done.set()
            thread.join()

    def test_an_interrupt_leaves_no_lock_behind(self, data, monkeypatch):
        class Interrupted(Terminal):
            came = False

            def write(self, text):
                if "33%" in text and not self.came:
                    self.came = True
                    raise KeyboardInterrupt
                return super().write(text)

        monkeypatch.setattr(sys, "stderr", Interrupted())
        monkeypatch.setattr(progress, "_BAR_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            self.fit(data)
        monkeypatch.setattr(sys, "stderr", Terminal())
        with ThreadPoolExecutor(1) as pool:
            pool.submit(self.fit, data).result()
        assert "100%" in sys.stderr.getvalue()


class TestEarlyStopping:
    def scripted(self, monkeypatch, losses):
        """Let an autoencoder's evaluations return these losses."""
        script = iter(losses)
        monkeypatch.setattr(
            training, "evaluate", lambda *_, **__: (float(next(script)), float("nan"))
        )

    @pytest.mark.parametrize(
        ("patience", "min_delta", "last", "best"),
        [(1, 0, 3, 2), (2, 0, 4, 2), (3, 0, 8, 5), (2, 1.5, 5, 3)],
    )
    def test_patience(self, data, monkeypatch, patience, min_delta, last, best):
        losses = [9, 7, 8, 7, 6, 6, 6, 6, 6, 6]
        if min_delta:
            losses = [9, 8, 7, 6.5, 6, 5.5, 5, 4, 3, 2]
        self.scripted(monkeypatch, losses)
        stopping = EarlyStopping(patience=patience, min_delta=min_delta)
        history = Autoencoder(12, 5).fit(data[0], steps=10, eval_every=1, callbacks=[stopping])
        assert history.steps[-1] == last
        assert stopping.best_step == best
        assert stopping.best == losses[best - 1]

    def test_a_flag_is_no_word(self):
        with pytest.raises(DataError, match="restore_best: expected True or False, got 'no'"):
            EarlyStopping(restore_best="no")

    @pytest.mark.parametrize("restore_best", [True, False])
    def test_the_best_parameters_come_back(self, data, monkeypatch, restore_best):
        self.scripted(monkeypatch, [5, 4, 6, 7, 8, 9])
        kept = []
        ae = Autoencoder(12, 5)
        ae.fit(
            data[0],
            steps=6,
            eval_every=1,
            callbacks=[
                EarlyStopping(patience=2, restore_best=restore_best),
                lambda training: kept.append(training.model.parameters),
            ],
        )
        for name, value in ae.parameters.items():
            np.testing.assert_array_equal(value, kept[1 if restore_best else 3][name])

    def test_also_after_an_error(self, data, monkeypatch):
        self.scripted(monkeypatch, [5, float("nan")])
        ae = Autoencoder(12, 5)
        with pytest.raises(sae_fast.DivergenceError):
            ae.fit(data[0], steps=2, eval_every=1, callbacks=[EarlyStopping()])
        expected = Autoencoder(12, 5)
        self.scripted(monkeypatch, [5])
        expected.fit(data[0], steps=1)
        for name, value in expected.parameters.items():
            np.testing.assert_array_equal(value, ae.parameters[name])

    def test_accuracy(self, data):
        x, y = data
        stopping = EarlyStopping("accuracy", patience=2)
        net = StackedAutoencoder(SIZES, 3, init="he")
        options = {"steps": 10**6, "eval_every": 50, "eval_set": (x, y)}
        history = net.finetune(x, y, callbacks=[stopping], **options)
        assert history.steps[-1] < 10**6
        assert stopping.best == max(history.accuracy)
        assert net.evaluate(x, y)[1] == stopping.best

    def test_needs_something_to_look_at(self, data):
        x, y = data
        net = StackedAutoencoder(SIZES, 3)
        with pytest.raises(DataError, match="expected an eval_set for fine-tuning, got none"):
            net.finetune(x, y, steps=1, callbacks=[EarlyStopping()])
        with pytest.raises(DataError, match="expected monitor='loss' for autoencoder 1"):
            net.pretrain(x, steps=1, callbacks=[EarlyStopping("accuracy")])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"monitor": "auc"}, "monitor: expected one of loss, accuracy, got 'auc'"),
            ({"patience": 0}, "patience: expected an integer of at least 1, got 0"),
            ({"min_delta": -1}, "min_delta: expected a number of at least 0, got -1"),
        ],
    )
    def test_arguments(self, options, message):
        with pytest.raises(DataError, match=message):
            EarlyStopping(**options)


def test_one_callback_in_trainings_side_by_side(data, tmp_path):
    stopping, log = EarlyStopping(patience=3), JsonLinesLog(tmp_path / "log")

    def train(n_hidden, callbacks):
        ae = Autoencoder(12, n_hidden, n_threads=1)
        ae.fit(data[0], steps=10**5, eval_every=20, learning_rate=0.01, callbacks=callbacks)
        return ae.parameters

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda n: train(n, [stopping, log]), range(3, 7)))
    for n_hidden, parameters in zip(range(3, 7), together, strict=True):
        assert_identical(parameters, train(n_hidden, [EarlyStopping(patience=3)]))


def test_what_others_hear_of_an_error(data, tmp_path):
    before, behind = Recorder(), Recorder()
    for moment in ("on_start", "on_stop"):
        with pytest.raises(LookupError):
            Autoencoder(12, 5).fit(data[0], steps=2, callbacks=[before, Fails(moment, 1), behind])
        assert before.calls[-1][0] == "stop"
        assert before.calls[-1][-1] is LookupError


class TestJsonLinesLog:
    def read(self, path):
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    def test_lines(self, data, tmp_path):
        x, y = data
        log = JsonLinesLog(tmp_path / "log.jsonl")
        net = StackedAutoencoder(SIZES, 3)
        histories = net.pretrain(x, steps=4, eval_every=2, callbacks=[log])
        histories.append(net.finetune(x, y, steps=2, eval_set=(x, y), callbacks=[log]))
        lines = self.read(log.path)
        events = ["start", "evaluation", "evaluation", "stop", "layer_end"]
        assert [line["event"] for line in lines] == 2 * events + ["start", "evaluation", "stop"]
        evaluations = [line for line in lines if line["event"] == "evaluation"]
        assert [line["loss"] for line in evaluations] == [
            loss for history in histories for loss in history.loss
        ]
        assert evaluations[-1]["accuracy"] == histories[-1].accuracy[0]
        assert [line["layer"] for line in evaluations] == [1, 1, 2, 2, None]
        stops = [line for line in lines if line["event"] == "stop"]
        assert all(line["error"] is None and line["stopped"] is False for line in stops)
        assert stops[0]["seconds"] == pytest.approx(histories[0].seconds, abs=1e-6)

    def test_the_error_is_in_it(self, data, tmp_path):
        log = JsonLinesLog(tmp_path / "log.jsonl")
        with pytest.raises(LookupError):
            Autoencoder(12, 5).fit(data[0], steps=2, callbacks=[log, Fails("on_evaluation", 1)])
        assert self.read(log.path)[-1]["error"] == 'LookupError("a user\'s mistake")'

    def test_a_path_that_cannot_be_written(self, data, tmp_path):
        with pytest.raises(OSError, match="no folder"):
            Autoencoder(12, 5).fit(
                data[0], steps=1, callbacks=[JsonLinesLog(tmp_path / "no folder" / "log")]
            )


class TestCheckpoint:
    def test_at_evaluations(self, data, tmp_path):
        path = tmp_path / "net.safetensors"
        x, y = data
        net = StackedAutoencoder(SIZES, 3)
        net.finetune(x, y, steps=9, eval_set=(x, y), callbacks=[Checkpoint(path)])
        saved = sae_fast.load(path)
        for name, value in net.parameters.items():
            np.testing.assert_array_equal(value, saved.parameters[name])

    def test_at_steps_of_each_layer(self, data, tmp_path):
        path = tmp_path / "{layer}-{step}.safetensors"
        net = StackedAutoencoder(SIZES, 3)
        net.pretrain(data[0], steps=5, callbacks=[Checkpoint(path, every=2)])
        names = sorted(file.name for file in tmp_path.iterdir())
        assert names == [f"{n}-{step}.safetensors" for n in (1, 2) for step in (2, 4, 5)]
        assert sae_fast.load(tmp_path / "2-5.safetensors").layer == 2

    @pytest.mark.parametrize("every", [None, 1])
    def test_a_folder_that_is_not_there(self, data, tmp_path, every):
        """Before the first step, not at the first file."""
        ae = Autoencoder(12, 5)
        before = ae.parameters
        checkpoint = Checkpoint(tmp_path / "none" / "{step}", every=every)
        with pytest.raises(FileNotFoundError, match="path: expected a file in a folder"):
            ae.fit(data[0], steps=2, callbacks=[checkpoint])
        assert_identical(ae.parameters, before)

    def test_arguments(self, tmp_path):
        with pytest.raises(DataError, match="every: expected an integer of at least 1, got 0"):
            Checkpoint(tmp_path / "a", every=0)
        for path in ("{epoch}", "{}", "{step.real}", "{layer[0]}", "{"):
            with pytest.raises(DataError, match=r"path: expected no fields but \{layer\} and"):
                Checkpoint(path)


class TestTensorBoard:
    def test_events(self, data, tmp_path):
        pytest.importorskip("tensorboard")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        x, y = data
        net = StackedAutoencoder(SIZES, 3)
        history = net.finetune(
            x,
            y,
            steps=4,
            eval_every=2,
            eval_set=(x, y),
            callbacks=[TensorBoard(tmp_path)],
        )
        events = EventAccumulator(str(tmp_path / "fine-tuning"))
        events.Reload()
        for name in ("loss", "accuracy"):
            found = [event.tensor_proto.float_val[0] for event in events.Tensors(name)]
            assert found == pytest.approx(getattr(history, name), rel=1e-6)
            assert [event.step for event in events.Tensors(name)] == [2, 4]

    def test_without_the_package(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorboard.summary", None)
        with pytest.raises(ImportError, match="pip install tensorboard"):
            TensorBoard(tmp_path)


def test_a_snapshot_keeps_what_the_history_was(data):
    """It is no copy of a history that grows: thousands of evaluations would take quadratic time."""
    snapshots = []
    history = Autoencoder(SIZES[0], 3).fit(
        data[0],
        steps=6,
        batch_size=10,
        eval_every=2,
        callbacks=[lambda training: snapshots.append(training.committed)],
    )
    assert [snapshot.history.steps for snapshot in snapshots] == [[], [2], [2, 4]]
    assert snapshots[2].history.loss == history.loss[:2]


def test_a_prediction_during_pretraining_writes_nothing(data):
    """It sees the layer as it was at the latest return of native code, and leaves all as it is."""
    net, seen = StackedAutoencoder(SIZES, 3), []

    def look(training):
        network = net._network.get_parameters(0)
        np.testing.assert_array_equal(network[0], training.model.parameters["W_enc"])
        training.model.parameters = {"b_enc": training.model.parameters["b_enc"] + 1}
        net.encode(data[0])
        np.testing.assert_array_equal(net._network.get_parameters(0)[1], network[1])
        seen.append(training.layer)
        training.stop()

    net.pretrain(data[0], steps=10, batch_size=10, eval_every=2, callbacks=[look_once(look)])
    assert seen == [1]


def look_once(look):
    """Give a function for evaluations of the first layer alone."""
    return lambda training: look(training) if training.layer == 1 and training.step == 2 else None


@pytest.mark.parametrize(
    ("callback", "call"),
    [
        (EarlyStopping(patience=3), "patience=3, min_delta=0.0, restore_best=True)"),
        (Checkpoint("a-{step}", every=5), "every=5)"),
        (ProgressBar(), "ProgressBar()"),
        (Recorder(3), "Recorder(every=3)"),
    ],
)
def test_what_a_table_of_a_search_shows(callback, call):
    """The call that makes it: estimators and pandas show it so."""
    assert repr(callback).startswith(type(callback).__name__ + "(")
    assert repr(callback).endswith(call)
