# SPDX-License-Identifier: BSD-3-Clause
"""Runs that are broken off and taken up again end with the bits of a run without a break."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from data_helpers import write_set
from helpers import (
    TIME_LIMIT,
    assert_identical,
    draw_x,
    draw_y,
    ignore_fork_warning,
    needs_fork,
)
from sae_fast import (
    Autoencoder,
    CheckpointError,
    DataError,
    DivergenceError,
    ModelFileError,
    RunCheckpoint,
    StackedAutoencoder,
    _core,
    load,
    run_experiment,
    run_reconstruction,
)
from sae_fast.base.arrays_file import read_arrays, write_arrays
from sae_fast.base.files import write_file
from sae_fast.callbacks import Callback, EarlyStopping
from sae_fast.cli import main
from sae_fast.datasets import load_strokes
from sae_fast.training import checkpoint, loop
from sae_fast.training.checkpoint import NAME, PREVIOUS, _digest

pytestmark = pytest.mark.usefixtures("no_pictures")

SETTINGS = {
    "hidden": [12, 6],
    "arms": ["pretrained", "normal"],
    "pretrain_steps": 30,
    "finetune_steps": 50,
    "batch_size": 50,
    "eval_every": 20,
    "quiet": True,
}


@pytest.fixture(scope="module")
def data():
    return load_strokes(n_train=300, n_test=100)


@pytest.fixture(scope="module")
def expected(data):
    return run_experiment(dataset=data, **SETTINGS)


class BrokenOffError(BaseException):
    """What ends a run in a test."""


@pytest.fixture
def break_off(monkeypatch):
    """Give a function that lets a run end as if killed once it has written so many files."""

    def after(n_files):
        written = []

        def counting(path, data, **options):
            if len(written) >= n_files:
                raise BrokenOffError  # nothing is written any more
            write_file(path, data, **options)
            written.append(1)
            if len(written) == n_files:
                raise BrokenOffError

        monkeypatch.setattr(checkpoint, "write_file", counting)

    return after


def assert_same_results(result, expected):
    for arm, model in expected.models.items():
        assert_identical(result.models[arm].parameters, model.parameters)
    for layer, wanted in zip(result.pretraining, expected.pretraining, strict=True):
        for name in ("steps", "loss", "dead_units"):
            assert getattr(layer, name) == getattr(wanted, name)
    for arm, wanted in expected.arms.items():
        for name in ("steps", "test_loss", "test_accuracy"):
            assert getattr(result.arms[arm], name) == getattr(wanted, name)
    for name, codes in expected.codes.items():
        np.testing.assert_array_equal(result.codes[name], codes)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("every", [1, 7, 20, 50])
def test_a_run_broken_off_again_and_again(data, expected, tmp_path, break_off, every, threads):
    options = {**SETTINGS, "output": tmp_path, "checkpoint_every": every, "threads": threads}
    n_breaks = 0
    for n_files in (1, 3, 2, 5, 1, 4, 6, 2, 9, 1, 1, 1):
        break_off(n_files)
        try:
            result = run_experiment(dataset=data, **options, resume=n_breaks > 0)
            break
        except BrokenOffError:
            n_breaks += 1
    else:
        break_off(10**6)
        result = run_experiment(dataset=data, **options, resume=True)
    assert n_breaks >= 2
    assert_same_results(result, expected)


def test_a_checkpoint_is_no_model(data, tmp_path):
    run_experiment(dataset=data, **SETTINGS, output=tmp_path, checkpoint_every=50)
    with pytest.raises(ModelFileError, match=r"got the checkpoint of a run.*model-\*.safetensors"):
        load(tmp_path / NAME)
    load(tmp_path / "model-normal.safetensors")


def test_checkpoints_change_nothing(data, expected, tmp_path):
    result = run_experiment(dataset=data, **SETTINGS, output=tmp_path, checkpoint_every=9)
    assert_same_results(result, expected)
    assert {NAME, PREVIOUS} <= {path.name for path in tmp_path.iterdir()}
    again = run_experiment(dataset=data, **SETTINGS, output=tmp_path, resume=True)
    assert_same_results(again, expected)


def test_one_autoencoder(data, tmp_path, break_off):
    options = {"dataset": data, "units": 9, "steps": 40, "eval_every": 15, "quiet": True}
    whole = run_reconstruction(**options)
    options |= {"output": tmp_path, "checkpoint_every": 10}
    break_off(2)
    with pytest.raises(BrokenOffError):
        run_reconstruction(**options)
    break_off(100)
    result = run_reconstruction(**options, resume=True)
    model = "autoencoder"
    assert_identical(result.models[model].parameters, whole.models[model].parameters)
    assert result.pretraining[0].loss == whole.pretraining[0].loss


class TestInPython:
    """A program of several trainings, with callbacks that have a memory of their own."""

    X = draw_x(200, 12, zeros=0.5)
    Y = draw_y(200, 3)

    def program(self, *callbacks, x=X, y=Y, learning_rate=1e-2, seed=0):
        """Return the model, and all that its trainings found."""
        net = StackedAutoencoder([12, 6, 4], 3, seed=seed, init="he")
        options = {"batch_size": 20, "learning_rate": learning_rate, "callbacks": [*callbacks]}
        stopping = EarlyStopping(patience=2, min_delta=1.0)
        found = net.pretrain(x, steps=40, eval_every=15, **options)
        options["callbacks"].append(stopping)
        for continued in (False, True):  # two trainings with the same title
            found.append(
                net.finetune(
                    x,
                    y,
                    steps=400,
                    eval_every=10,
                    eval_set=(x[:50], y[:50]),
                    sample_weight=np.linspace(0.5, 1, len(x)),
                    continued=continued,
                    **options,
                )
            )
        return net, found, stopping.best_step

    @pytest.mark.parametrize("every", [1, 7, 100])
    def test_broken_off_again_and_again(self, tmp_path, break_off, every):
        whole, found, best_step = self.program()
        assert found[-2].steps[-1] < 400, "early stopping has to be among what is resumed"
        n_breaks = 0
        for n_files in (1, 3, 2, 5, 1, 4, 16, 2, 19, 1, 1, 1):
            break_off(n_files)
            with contextlib.suppress(BrokenOffError):
                self.program(RunCheckpoint(tmp_path, every))
                break
            n_breaks += 1
        assert n_breaks >= 2
        break_off(10**6)
        for _ in range(2):  # the second time there is nothing left to do
            net, again, again_best_step = self.program(RunCheckpoint(tmp_path, every))
            assert_identical(net.parameters, whole.parameters)
            for autoencoder, wanted in zip(net.autoencoders, whole.autoencoders, strict=True):
                assert_identical(autoencoder.parameters, wanted.parameters)
            for history, wanted in zip(again, found, strict=True):
                assert (history.steps, history.loss) == (wanted.steps, wanted.loss)
                assert history.accuracy == wanted.accuracy
            assert again_best_step == best_step

    def test_any_layout_is_the_same_data(self, tmp_path):
        whole, *_ = self.program(RunCheckpoint(tmp_path, 50))
        again, *_ = self.program(RunCheckpoint(tmp_path, 50), x=np.asfortranarray(self.X))
        assert_identical(again.parameters, whole.parameters)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"learning_rate": 0.02}, r"learning_rate 0\.02 where it has 0\.01"),
            ({"seed": 1}, "seed 1 where it has 0; other parameters"),
            ({"x": X[::-1]}, "autoencoder 1 .*got other x$"),
            ({"y": Y[::-1]}, "fine-tuning as .*got other y"),
        ],
    )
    def test_another_program(self, tmp_path, change, message):
        self.program(RunCheckpoint(tmp_path, 50))
        with pytest.raises(CheckpointError, match=message):
            self.program(RunCheckpoint(tmp_path, 50), **change)
        self.program(RunCheckpoint(tmp_path, 50, resume=False), **change)

    def test_what_a_user_says_it_is(self, tmp_path):
        self.program(RunCheckpoint(tmp_path, 50, run={"version": [1, 2]}))
        RunCheckpoint(tmp_path, run={"version": (1, 2)})
        with pytest.raises(CheckpointError, match=r"got version \[1, 3\] where it has \[1, 2\]"):
            RunCheckpoint(tmp_path, run={"version": [1, 3]})

    @pytest.mark.parametrize("title", ["a\nb", 'a", 2', ""])
    def test_titles(self, tmp_path, title):
        def run():
            net = StackedAutoencoder([12, 6], 3, init="he")
            own = [RunCheckpoint(tmp_path, 10)]
            for name in (title, title, f"{title}, 2"):
                net.finetune(self.X, self.Y, steps=20, batch_size=20, title=name, callbacks=own)
            return net.parameters

        first = run()
        assert_identical(run(), first)

    def test_an_evaluation_that_not_all_have_seen(self, tmp_path):
        def run(*callbacks):
            ae = Autoencoder(12, 5)
            checkpoint = RunCheckpoint(tmp_path, 1000)
            options = {"steps": 100, "batch_size": 20, "eval_every": 10}
            return ae, ae.fit(self.X, callbacks=[*callbacks, checkpoint], **options)

        def interrupt(training):
            if training.step == 50:
                raise KeyboardInterrupt

        def stop(training):
            if training.step == 50:
                training.stop()

        with pytest.raises(KeyboardInterrupt):
            run(interrupt, stop)
        _, history = run(stop)
        assert history.steps == [10, 20, 30, 40, 50]

    def test_what_is_not_finite_is_not_kept(self, tmp_path):
        """Before an evaluation sees it, or after an interrupt that comes before that."""

        def diverge(*callbacks, rate=1e25, **options):
            ae = Autoencoder(12, 5)
            own = [*callbacks, RunCheckpoint(tmp_path, 10)]
            options = {"steps": 300, "batch_size": 20, "eval_every": 300, **options}
            ae.fit(self.X, learning_rate=rate, callbacks=own, **options)

        with pytest.raises(DivergenceError) as caught:
            diverge()
        assert caught.value.step == 10
        kept = RunCheckpoint(tmp_path)._arrays
        assert all(np.isfinite(array).all() for own in kept.values() for array in own.values())

    def test_what_callbacks_keep_has_to_fit_into_a_file(self, tmp_path):
        class Noting(Callback):
            def __init__(self, value):
                self.value = value

            def on_start(self, training):
                training.state[self] = {"value": self.value}

        def fit(value, **options):
            ae = Autoencoder(12, 5)
            own = [Noting(value), RunCheckpoint(tmp_path, 10, resume=False)]
            return ae.fit(self.X, steps=20, batch_size=20, callbacks=own)

        for value in (np.float32(1.5), 3, True, None, "text", {"a": [1.0, 2.0]}):
            fit(value)
        with pytest.raises(DataError, match="what Noting 1 keeps, got list as 'value'"):
            fit([])
        for value in ({"a": ["text"]}, {"a": [object()]}, {"a": [1j]}, {"a": np.longdouble(1)}):
            with pytest.raises(DataError, match=r"got dtype .* as 'value', 'a'"):
                fit(value)
        with pytest.raises(DataError, match=r"got dtype .* as 'value', 1"):
            fit({1: [1.0]})

    @pytest.mark.parametrize(
        "array",
        [
            np.arange(12.0).reshape(3, 4).T,
            np.arange(12.0)[::-1],
            np.arange(12.0)[::2],
            np.arange(12, dtype=">i4"),
            np.float32(3),
            np.zeros((0, 3)),
        ],
    )
    def test_arrays_of_callbacks_in_any_layout(self, tmp_path, array):
        class Noting(Callback):
            def on_start(self, training):
                seen.append(training.state.setdefault(self, {"mean": {"a": array}}))

            def on_stop(self, training):
                seen.append(training.state[self])

        def fit():
            ae = Autoencoder(12, 5)
            own = [Noting(), RunCheckpoint(tmp_path, 10)]
            ae.fit(self.X, steps=20, batch_size=20, callbacks=own)

        seen = []
        fit()
        fit()
        back = seen[-1]["mean"]["a"]
        assert seen[-1] is not seen[0]
        assert back.dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(back, array)

    @pytest.mark.parametrize("step", [20, 60, 120, 200])
    @pytest.mark.parametrize("by", ["another callback", "the native call"])
    def test_a_callback_that_acts_on_steps_of_its_own(self, tmp_path, monkeypatch, step, by):
        """It did not see the step that was interrupted."""

        class Shrink(Callback):
            every = 20

            def on_step(self, training):
                model = training.model
                model.parameters = {name: 0.9 * a for name, a in model.parameters.items()}

        class Interrupt(Callback):
            every = 20

            def on_step(self, training):
                if training.step == step:
                    raise KeyboardInterrupt

        def fit(*callbacks):
            ae = Autoencoder(12, 5)
            own = [*callbacks, Shrink(), RunCheckpoint(folder, 50)]
            ae.fit(self.X, steps=200, batch_size=20, callbacks=own)
            return ae.parameters

        folder = tmp_path / "whole"
        whole = fit()
        folder = tmp_path / "broken"
        trainer = loop.new_trainer

        def interrupted(*arguments, **options):
            at = {20: 1, 60: 4, 120: 7, 200: 12}[step]  # native calls end at 20, 40, 50, 60 ...
            return Interrupted(trainer(*arguments, **options), at)

        interruptions = [Interrupt()]
        with monkeypatch.context() as patch:
            if by == "the native call":
                interruptions.clear()
                patch.setattr(loop, "new_trainer", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fit(*interruptions)
        assert_identical(fit(), whole)

    @pytest.mark.parametrize("at", range(1, 14))
    @pytest.mark.parametrize("moment", ["on_step", "on_evaluation"])
    @pytest.mark.parametrize("place", range(4))
    def test_every_interrupt_leaves_a_checkpoint(self, tmp_path, at, moment, place):
        """Wherever among the callbacks it comes, and whatever they keep or do."""

        class Shrink(Callback):
            every = 25

            def on_step(self, training):
                model = training.model
                model.parameters = {name: 0.9 * a for name, a in model.parameters.items()}

        class Means(Callback):
            def on_start(self, training):
                training.state.setdefault(self, {"means": {"a": np.zeros(3)}})

            def on_evaluation(self, training):
                training.state[self]["means"]["a"] += training.history.loss[-1]

            def on_stop(self, training):
                self.found = training.state[self]["means"]["a"]

        class Interrupt(Callback):
            every = 10
            left = at

            def interrupt(self, _):
                self.left -= 1
                if not self.left:
                    raise KeyboardInterrupt

        setattr(Interrupt, moment, Interrupt.interrupt)

        def fit(folder, *interruptions):
            means, stopping = Means(), EarlyStopping(patience=100)
            others = [Shrink(), means, stopping]
            others[place:place] = interruptions
            ae = Autoencoder(12, 5)
            options = {"steps": 110, "batch_size": 20, "eval_every": 20, "learning_rate": 0.01}
            history = ae.fit(self.X, callbacks=[*others, RunCheckpoint(folder, 1000)], **options)
            return ae.parameters, history, means.found, stopping.best_step

        whole = fit(tmp_path / "whole")
        with contextlib.suppress(KeyboardInterrupt):
            fit(tmp_path / "broken", Interrupt())
        kept = RunCheckpoint(tmp_path / "broken")._trainings
        found = fit(tmp_path / "broken")
        assert_identical(found[0], whole[0])
        assert (found[1].steps, found[1].loss) == (whole[1].steps, whole[1].loss)
        np.testing.assert_array_equal(found[2], whole[2])
        assert found[3] == whole[3]
        steps = (
            [10 * n for n in range(1, 12)] if moment == "on_step" else [*range(20, 101, 20), 110]
        )
        has_shrunk = (
            moment == "on_step" and place > 0 and steps[at - 1 : at] in ([50], [100], [110])
        )
        if at <= len(steps) and not has_shrunk:
            assert [one["step"] for one in kept.values()] == [steps[at - 1]]

    def test_a_start_refused_after_a_checkpoint_was_taken_up_changes_nothing(self, tmp_path):
        class Refusing(Callback):
            def on_start(self, training):
                raise DataError("no")

        x = np.random.default_rng(0).random((60, 8))
        options = {"steps": 20, "batch_size": 10}
        Autoencoder(8, 3).fit(x, callbacks=[RunCheckpoint(tmp_path, 10)], **options)
        model = Autoencoder(8, 3)
        before = model.parameters
        with pytest.raises(DataError, match=r"^no$"):
            model.fit(x, callbacks=[RunCheckpoint(tmp_path, 10), Refusing()], **options)
        assert_identical(model.parameters, before)
        assert model._state is None

    def test_numbers_of_numpy(self, tmp_path):
        for rate in (np.float32(1e-3), np.array(1e-3)):
            ae = Autoencoder(12, 5)
            own = [RunCheckpoint(tmp_path / str(type(rate)), 10)]
            ae.fit(self.X, steps=20, batch_size=20, learning_rate=rate, callbacks=own)

    def test_it_stays_in_its_process(self, tmp_path):
        with pytest.raises(TypeError, match=r"^callbacks: expected .* got a RunCheckpoint of"):
            pickle.dumps(RunCheckpoint(tmp_path))

    def test_leftovers_of_a_killed_process(self, tmp_path):
        leftover = tmp_path / f".{NAME}.1.2.tmp"
        leftover.touch()
        RunCheckpoint(tmp_path)
        assert not leftover.exists()

    def test_copies_are_the_same_object(self, tmp_path):
        kept = RunCheckpoint(tmp_path)
        assert copy.deepcopy([kept])[0] is kept

    def test_a_folder_that_cannot_be(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(CheckpointError, match=r"expected to write .*file"):
            self.program(RunCheckpoint(tmp_path / "file"))

    @pytest.mark.parametrize("run", [3, {"a": np.int64(1)}, {"a": float("nan")}, {"a": object()}])
    def test_what_is_no_json(self, tmp_path, run):
        with pytest.raises(DataError, match=r"^run: expected a mapping of JSON's types"):
            RunCheckpoint(tmp_path, run=run)

    def test_arguments(self, tmp_path):
        with pytest.raises(DataError, match="every: expected an integer"):
            RunCheckpoint(tmp_path, -1)
        with pytest.raises(DataError, match="folder: expected"):
            RunCheckpoint(3)


class Interrupted:
    """The core's trainer, with a Ctrl-C that comes as the native call number `at` returns."""

    def __init__(self, trainer, at):
        self.trainer, self.at = trainer, at

    def __getattr__(self, name):
        return getattr(self.trainer, name)

    def run(self, *arguments, **options):
        done = self.trainer.run(*arguments, **options)
        self.at -= 1
        if not self.at:
            raise KeyboardInterrupt
        return done


@pytest.mark.parametrize("at", [1, 2, 3, 5, 8])
def test_steps_of_a_native_call_that_was_interrupted_count(tmp_path, monkeypatch, at):
    x = draw_x(200, 12, zeros=0.5)

    def fit(**options):
        ae = Autoencoder(12, 5)
        return ae, lambda: ae.fit(x, steps=60, batch_size=20, eval_every=7, **options)

    whole, run = fit()
    expected = run()
    build = loop.new_trainer
    with monkeypatch.context() as patch:
        patch.setattr(loop, "new_trainer", lambda *a, **k: Interrupted(build(*a, **k), at))
        broken, run = fit(callbacks=[RunCheckpoint(tmp_path, 1000)])
        with pytest.raises(KeyboardInterrupt):
            run()
    assert broken._state.steps_done == min(7 * at, 60)
    again, run = fit(callbacks=[RunCheckpoint(tmp_path, 1000)])
    history = run()
    assert (history.steps, history.loss) == (expected.steps, expected.loss)
    assert_identical(again.parameters, whole.parameters)


def signed(checkpoint: dict, arrays: dict) -> bytes:
    """A file as `_write` would write it."""
    text = json.dumps(checkpoint)
    header = {"checkpoint": text, "sha256": _digest(text, arrays)}
    return write_arrays(json.dumps(header), arrays)


def test_a_reader_leaves_what_another_process_is_writing(tmp_path):
    being_written = tmp_path / f".{NAME}.1.1.tmp"
    being_written.touch()
    RunCheckpoint(tmp_path, every=0)
    assert being_written.exists()
    RunCheckpoint(tmp_path)
    assert not being_written.exists()


@needs_fork
@ignore_fork_warning
def test_a_child_forked_while_a_thread_writes(tmp_path, monkeypatch):
    """That thread is not in the child, to end its writing."""
    common = RunCheckpoint(tmp_path)
    x = draw_x(40, 5, zeros=0.5)

    def train(n_hidden):
        return Autoencoder(5, n_hidden).fit(x, steps=20, batch_size=10, callbacks=[common])

    def fork_and_write(path, data, **options):
        monkeypatch.setattr(checkpoint, "write_file", write_file)
        child = os.fork()
        if not child:
            signal.alarm(TIME_LIMIT)  # ends what waits for ever
            try:
                train(2)
            finally:
                os._exit(len(list(tmp_path.iterdir())) != 1)
        statuses.append(os.waitpid(child, 0)[1])
        write_file(path, data, **options)

    statuses = []
    monkeypatch.setattr(checkpoint, "write_file", fork_and_write)
    train(3)
    assert statuses == [0]


class TestSigned:
    """What is in a file that fits its checksum is looked at before it is taken up."""

    @pytest.fixture
    def file(self, tmp_path):
        """The parts of a checkpoint of one training."""
        checkpoint = RunCheckpoint(tmp_path, 2, run={"seed": 1})
        Autoencoder(4, 2).fit(np.eye(4), steps=4, batch_size=2, callbacks=[checkpoint])
        text, arrays = read_arrays((tmp_path / NAME).read_bytes())
        return json.loads(json.loads(text)["checkpoint"]), arrays

    def resume(self, folder, checkpoint, arrays, steps=4):
        for name in (NAME, PREVIOUS):
            (folder / name).write_bytes(signed(checkpoint, arrays))
        kept = RunCheckpoint(folder, 0, run={"seed": 1})
        model = Autoencoder(4, 2)
        model.fit(np.eye(4), steps=steps, batch_size=2, callbacks=[kept])
        return model

    def test_what_is_right_is_taken_up(self, file, tmp_path):
        checkpoint, arrays = file
        model = self.resume(tmp_path, checkpoint, arrays)
        own = {json.loads(name)[-1]: array for name, array in arrays.items()}
        assert_identical(model.parameters, {name: own[name] for name in model.parameters})

    @pytest.mark.parametrize(
        "change",
        [
            {"step": -1}, {"step": "4"}, {"step": 4.0}, {"step": None}, {"step": True},
            {"stopped": 0}, {"stopped": None}, {"identity": []}, {"callbacks": []},
            {"callbacks": {"EarlyStopping 1": 3}},
            {"history": {}, "step": []}, {"history": 5}, {"history": {"colour": 1}},
            {"history": {"steps": "12"}}, {"history": {"loss": [None]}}, {"history": {"loss": {}}},
            {"history": {"steps": [-1]}}, {"history": {"seconds": "now"}},
        ],
        ids=str,
    )  # fmt: skip
    def test_numbers(self, file, tmp_path, change):
        checkpoint, arrays = file
        for kept in checkpoint["trainings"].values():
            kept.update(change)
        with pytest.raises(CheckpointError, match="is damaged"):
            self.resume(tmp_path, checkpoint, arrays)

    @pytest.mark.parametrize("name", ["run", "trainings", "format"])
    @pytest.mark.parametrize("value", [None, 5, [], "text", {"a": []}], ids=str)
    def test_structure(self, file, tmp_path, name, value):
        checkpoint, arrays = file
        with pytest.raises(CheckpointError):
            self.resume(tmp_path, {**checkpoint, name: value}, arrays)

    def test_more_steps_than_there_are(self, file, tmp_path):
        with pytest.raises(CheckpointError, match=r"at least the 4 steps .* got 3"):
            self.resume(tmp_path, *file, steps=3)

    @pytest.mark.parametrize("key", ["m", "v", "W_enc", "b_dec"])
    def test_arrays(self, file, tmp_path, key):
        checkpoint, arrays = file
        name = next(name for name in arrays if json.loads(name)[-1] == key)
        others = {other: array for other, array in arrays.items() if other != name}
        for wrong in ({}, {name: arrays[name].ravel()[:-1]}):
            with pytest.raises(CheckpointError, match="got one that does not fit"):
                self.resume(tmp_path, checkpoint, {**others, **wrong})


class TestRefused:
    @pytest.fixture
    def folder(self, data, tmp_path):
        run_experiment(dataset=data, **SETTINGS, output=tmp_path, checkpoint_every=25)
        return tmp_path

    def resume(self, data, folder, **settings):
        return run_experiment(dataset=data, **{**SETTINGS, **settings}, output=folder, resume=True)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"seed": 3}, "got seed 3 where it has 0"),
            ({"learning_rate": 0.01}, r"got learning_rate 0\.01 where it has 0\.001"),
            ({"hidden": [12, 7]}, r"got hidden \[12, 7\] where it has \[12, 6\]"),
            ({"pretrain_steps": 60}, "got pretrain_steps 60 where it has"),
            ({"finetune_steps": 20}, "expected at least the 50 steps that fine-tuning, .*, got 20"),
        ],
    )
    def test_other_settings(self, data, folder, settings, message):
        with pytest.raises(CheckpointError, match=message):
            self.resume(data, folder, **settings)

    def test_other_data(self, folder):
        other = load_strokes(n_train=300, n_test=100, seed=1)
        with pytest.raises(CheckpointError, match=r", got other data$"):
            self.resume(other, folder)

    def test_threads_may_differ(self, data, folder, expected):
        assert_same_results(self.resume(data, folder, threads=1), expected)

    def test_none(self, data, tmp_path):
        with pytest.raises(CheckpointError, match=rf"expected a checkpoint in .*, got no {NAME}"):
            self.resume(data, tmp_path)

    def test_damage(self, data, folder, expected):
        latest, previous = folder / NAME, folder / PREVIOUS
        whole = latest.read_bytes()
        rng = np.random.default_rng(0)
        run = {"a": 1}
        for _ in range(200):
            damaged = bytearray(whole)
            damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
            latest.write_bytes(damaged)
            (folder / PREVIOUS).write_bytes(whole[: rng.integers(len(whole))])
            with pytest.raises(CheckpointError, match=f"{NAME} is damaged.*{PREVIOUS} is damaged"):
                RunCheckpoint(folder, run=run)
        previous.write_bytes(whole)  # the latest is damaged still
        assert_same_results(self.resume(data, folder), expected)

    def test_without_a_folder(self, data):
        with pytest.raises(DataError, match="checkpoint_every: expected output, the folder of"):
            run_experiment(dataset=data, **SETTINGS, checkpoint_every=5)
        with pytest.raises(DataError, match="resume: expected output, the folder of checkpoints"):
            run_experiment(dataset=data, **SETTINGS, resume=True)

    def test_a_forgotten_resume(self, data, tmp_path, break_off):
        options = {**SETTINGS, "output": tmp_path, "checkpoint_every": 25}
        break_off(3)
        with pytest.raises(BrokenOffError):
            run_experiment(dataset=data, **options)
        break_off(10**6)
        before = (tmp_path / NAME).read_bytes()
        with pytest.raises(CheckpointError, match=rf"^output: expected .* got .*{NAME}; resume"):
            run_experiment(dataset=data, **options)
        assert (tmp_path / NAME).read_bytes() == before

    def test_a_run_that_has_ended_is_repeated(self, data, folder, expected):
        again = run_experiment(dataset=data, **SETTINGS, output=folder, checkpoint_every=25)
        assert_same_results(again, expected)

    def test_settings_that_are_not_given_are_those_of_the_checkpoint(
        self, data, tmp_path, break_off, expected
    ):
        """Also how often to write the next."""
        break_off(3)
        with pytest.raises(BrokenOffError):
            run_experiment(dataset=data, **SETTINGS, output=tmp_path, checkpoint_every=25)
        break_off(10**6)
        before = (tmp_path / NAME).read_bytes()
        result = run_experiment(dataset=data, output=tmp_path, resume=True, quiet=True)
        assert_same_results(result, expected)
        assert (tmp_path / NAME).read_bytes() != before

    @pytest.mark.parametrize("eval_every", [20, 0])
    def test_more_steps_extend_a_run(self, data, tmp_path, eval_every):
        """Whether it ended at an evaluation that a longer one has, or not."""
        settings = {**SETTINGS, "finetune_steps": 50, "eval_every": eval_every}
        run_experiment(dataset=data, **settings, output=tmp_path, checkpoint_every=25)
        longer = run_experiment(
            dataset=data, output=tmp_path, resume=True, finetune_steps=70, quiet=True
        )
        again = run_experiment(dataset=data, output=tmp_path, resume=True, quiet=True)
        settings["finetune_steps"] = 70
        expected = run_experiment(dataset=data, **settings)
        for result in (longer, again):
            assert result.config["finetune_steps"] == 70
            assert_same_results(result, expected)

    def test_another_instruction_set(self, data, folder, monkeypatch):
        config = {**_core.build_config(), "isa": "baseline"}
        fused = _core.build_config()["isa"] != "baseline"
        monkeypatch.setattr(checkpoint, "build_config", lambda: config)
        if not fused:
            config["isa"] = "avx2"
        with pytest.raises(CheckpointError, match=r"got arithmetic '.*' where it has"):
            self.resume(data, folder)

    def test_other_kernels_of_blas(self, tmp_path, monkeypatch):
        """They round in their own way, and only wide layers go through them."""

        def train(n_units):
            ae = Autoencoder(256, n_units, dtype="float64")
            options = {"steps": 2, "batch_size": 10}
            callbacks = [RunCheckpoint(tmp_path / str(n_units))]
            ae.fit(draw_x(20, 256, zeros=0.5), callbacks=callbacks, **options)

        train(255)
        train(256)
        config = {**_core.build_config(), "blas": "of another machine"}
        monkeypatch.setattr(checkpoint, "build_config", lambda: config)
        train(255)
        with pytest.raises(CheckpointError, match=r"got arithmetic .*, of another machine. where"):
            train(256)

    def test_another_early_stopping(self, tmp_path):
        def fit(*callbacks):
            ae = Autoencoder(12, 5)
            own = [*callbacks, RunCheckpoint(tmp_path, 10)]
            options = {"steps": 40, "batch_size": 20, "eval_every": 10}
            ae.fit(draw_x(40, 12, zeros=0.5), callbacks=own, **options)

        fit(EarlyStopping(patience=2))
        fit(EarlyStopping(patience=2))
        with pytest.raises(CheckpointError, match=r"got EarlyStopping 1 {.*'patience': 3"):
            fit(EarlyStopping(patience=3))
        with pytest.raises(CheckpointError, match=r"got EarlyStopping 1 None where it has {"):
            fit()

    def test_of_another_run_before_one_of_this(self, data, folder):
        """The latest is not passed over."""
        other = folder / "other"
        run_experiment(dataset=data, **{**SETTINGS, "seed": 1}, output=other, checkpoint_every=25)
        (other / NAME).replace(folder / NAME)
        with pytest.raises(CheckpointError, match=r"^resume: expected the settings and"):
            self.resume(data, folder, seed=0)

    @pytest.fixture
    def damaged(self, data, tmp_path, break_off):
        """Damage the latest checkpoint of a run; give the path and bytes of the one before."""
        break_off(3)
        with pytest.raises(BrokenOffError):
            run_experiment(dataset=data, **SETTINGS, output=tmp_path, checkpoint_every=5)
        latest, previous = tmp_path / NAME, tmp_path / PREVIOUS
        latest.write_bytes(latest.read_bytes()[:-1])
        return previous, previous.read_bytes()

    def test_a_damaged_latest_does_not_take_the_place_of_a_whole_one(
        self, data, tmp_path, break_off, expected, damaged
    ):
        previous, whole = damaged
        options = {**SETTINGS, "output": tmp_path, "checkpoint_every": 5}
        break_off(1)
        with pytest.raises(BrokenOffError):
            run_experiment(dataset=data, **options, resume=True)
        assert previous.read_bytes() == whole
        RunCheckpoint(
            tmp_path, run=json.loads(json.loads(read_arrays(whole)[0])["checkpoint"])["run"]
        )
        break_off(10**6)
        assert_same_results(run_experiment(dataset=data, **options, resume=True), expected)

    def test_a_damaged_latest_when_a_run_starts_anew(self, tmp_path, break_off, damaged):
        previous, whole = damaged
        break_off(1)
        with pytest.raises(BrokenOffError):
            Autoencoder(5, 3).fit(
                draw_x(40, 5, zeros=0.5),
                steps=10,
                batch_size=10,
                callbacks=[RunCheckpoint(tmp_path, 5, resume=False)],
            )
        assert previous.read_bytes() == whole

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
    def test_a_pipe(self, tmp_path):
        os.mkfifo(tmp_path / NAME)
        with pytest.raises(CheckpointError, match="cannot be read"):
            RunCheckpoint(tmp_path)

    def test_a_folder_with_too_long_a_name(self, tmp_path):
        with pytest.raises(CheckpointError, match="folder: expected one that can be read"):
            RunCheckpoint(tmp_path / ("n" * 300))

    def test_a_folder_that_cannot_be_written(self, data, tmp_path, monkeypatch, break_off):
        def full(descriptor):
            raise OSError(28, "No space left on device")

        options = {**SETTINGS, "output": tmp_path, "checkpoint_every": 5}
        break_off(3)
        with pytest.raises(BrokenOffError):
            run_experiment(dataset=data, **options)
        before = (tmp_path / NAME).read_bytes()
        break_off(10**6)
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(CheckpointError, match=r"expected to write .*No space left on device"):
            run_experiment(dataset=data, **options, resume=True)
        assert (tmp_path / NAME).read_bytes() == before
        assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    ("phase", "options"),
    [
        ("autoencoder 1", []),
        ("tuning (48", ["--tune-steps=2000", "--corruption=masking:0.4"]),
    ],
)
def test_kill_and_resume_on_the_command_line(phase, options, tmp_path):
    write_set(tmp_path / "data", n_train=320, n_test=100, side=(6, 8))

    def command(folder, *more):
        return [
            *("run", "--dataset=idx", f"--data-dir={tmp_path / 'data'}", "--hidden=9", "--quiet"),
            *("--pretrain-steps=300", "--finetune-steps=3000", "--eval-every=500"),
            *("--checkpoint-every=100", f"--output={tmp_path / folder}", *options, *more),
        ]

    assert main(command("whole")) == 0
    process = subprocess.Popen([sys.executable, "-m", "sae_fast", *command("broken")])
    deadline = time.monotonic() + TIME_LIMIT
    previous = tmp_path / "broken" / PREVIOUS
    while not previous.exists() or phase.encode() not in previous.read_bytes():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert main(command("broken", "--resume")) == 0
    results = [
        json.loads((tmp_path / name / "result.json").read_text("utf-8"))["arms"]
        for name in ("whole", "broken")
    ]
    for arms in results:
        for arm in arms.values():
            del arm["seconds"]
    assert results[0] == results[1]
    for name in ("model-pretrained.safetensors", "model-normal.safetensors"):
        assert len({(tmp_path / run / name).read_bytes() for run in ("whole", "broken")}) == 1
