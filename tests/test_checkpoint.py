# SPDX-License-Identifier: BSD-3-Clause
"""Runs that are broken off and taken up again end with the bits of a run without a break."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import TIME_LIMIT, assert_identical
from sae_fast import Autoencoder, CheckpointError, DataError, run_experiment, run_reconstruction
from sae_fast.arrays_file import read_arrays
from sae_fast.checkpoint import NAME, PREVIOUS, RunCheckpoint, _digest
from sae_fast.datasets import load_strokes
from safetensors.numpy import save

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
    replace = RunCheckpoint._replace

    def after(n_files):
        written = []

        def counting(self, data):
            if len(written) >= n_files:
                raise BrokenOffError  # nothing is written any more
            replace(self, data)
            written.append(1)
            if len(written) == n_files:
                raise BrokenOffError

        monkeypatch.setattr(RunCheckpoint, "_replace", counting)

    yield after
    monkeypatch.setattr(RunCheckpoint, "_replace", replace)


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
    assert n_breaks > 2
    assert_same_results(result, expected)


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
            ({"finetune_steps": 60}, "got finetune_steps 60 where it has 50"),
        ],
    )
    def test_other_settings(self, data, folder, settings, message):
        with pytest.raises(CheckpointError, match=message):
            self.resume(data, folder, **settings)

    def test_other_data(self, folder):
        other = load_strokes(n_train=300, n_test=100, seed=1)
        with pytest.raises(CheckpointError, match=r"got data '[0-9a-f]{64}' where it has"):
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
                RunCheckpoint(folder, run, 0).load()
        previous.write_bytes(whole)  # the latest is damaged still
        assert_same_results(self.resume(data, folder), expected)

    def test_without_a_folder(self, data):
        with pytest.raises(DataError, match="checkpoint_every: expected output, the folder of"):
            run_experiment(dataset=data, **SETTINGS, checkpoint_every=5)
        with pytest.raises(DataError, match="resume: expected output, the folder of checkpoints"):
            run_experiment(dataset=data, **SETTINGS, resume=True)

    def test_a_folder_that_cannot_be_written(self, data, tmp_path, monkeypatch):
        def full(descriptor):
            raise OSError(28, "No space left on device")

        run_experiment(dataset=data, **SETTINGS, output=tmp_path, checkpoint_every=25)
        before = (tmp_path / NAME).read_bytes()
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(CheckpointError, match=r"expected to write .*No space left on device"):
            run_experiment(dataset=data, **SETTINGS, output=tmp_path, checkpoint_every=5)
        assert (tmp_path / NAME).read_bytes() == before
        assert not list(tmp_path.glob("*.tmp"))


def signed(checkpoint: dict, arrays: dict) -> bytes:
    """A file as `_write` would write it."""
    text = json.dumps(checkpoint)
    header = {"checkpoint": text, "sha256": _digest(text, arrays)}
    return save(arrays, metadata={"sae_fast": json.dumps(header)})


class TestSigned:
    """What is in a file that fits its checksum is looked at before it is taken up."""

    @pytest.fixture
    def file(self, tmp_path):
        """The parts of a checkpoint of one training."""
        checkpoint = RunCheckpoint(tmp_path, {"seed": 1}, 2)
        Autoencoder(4, 2).fit(np.eye(4), steps=4, batch_size=2, callbacks=[checkpoint])
        text, arrays = read_arrays((tmp_path / NAME).read_bytes())
        return json.loads(json.loads(text)["checkpoint"]), arrays

    def resume(self, folder, checkpoint, arrays, steps=4):
        for name in (NAME, PREVIOUS):
            (folder / name).write_bytes(signed(checkpoint, arrays))
        kept = RunCheckpoint(folder, {"seed": 1}, 0)
        kept.load()
        model = Autoencoder(4, 2)
        model.fit(np.eye(4), steps=steps, batch_size=2, callbacks=[kept])
        return model

    def test_what_is_right_is_taken_up(self, file, tmp_path):
        checkpoint, arrays = file
        title = next(iter(checkpoint["trainings"]))
        model = self.resume(tmp_path, checkpoint, arrays)
        own = {name.rpartition("/")[2]: a for name, a in arrays.items() if name.startswith(title)}
        assert_identical(model.parameters, {name: own[name] for name in model.parameters})

    @pytest.mark.parametrize(
        "change",
        [
            {"step": -1}, {"step": "4"}, {"step": 4.0}, {"step": None}, {"step": True},
            {"steps_done": -1}, {"steps_done": 2**63}, {"steps_done": [4]},
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
        with pytest.raises(CheckpointError, match=r"expected at most 3 steps of '.*', got 4"):
            self.resume(tmp_path, *file, steps=3)

    @pytest.mark.parametrize("key", ["m", "v", "W_enc", "b_dec"])
    def test_arrays(self, file, tmp_path, key):
        checkpoint, arrays = file
        name = next(name for name in arrays if name.endswith(f"/{key}"))
        others = {other: array for other, array in arrays.items() if other != name}
        for wrong in ({}, {name: arrays[name].ravel()[:-1]}):
            if key in ("m", "v") or wrong:
                with pytest.raises(CheckpointError, match="expected the arrays of 'autoencoder 1"):
                    self.resume(tmp_path, checkpoint, {**others, **wrong})


def test_a_link_under_the_temporary_name_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / NAME).with_suffix(".tmp").symlink_to(victim)
    checkpoint = RunCheckpoint(tmp_path, {}, 2)
    Autoencoder(4, 2).fit(np.eye(4), steps=2, batch_size=2, callbacks=[checkpoint])
    assert victim.read_text() == "precious"
    assert (tmp_path / NAME).is_file()
    assert not (tmp_path / NAME).is_symlink()


def test_kill_and_resume_on_the_command_line(tmp_path):
    arguments = ["--dataset=strokes", "--offline", "--hidden=9", "--pretrain-steps=300", "--quiet"]
    arguments += ["--finetune-steps=3000", "--eval-every=500", "--checkpoint-every=100"]

    def command(folder, *more):
        return [
            *(sys.executable, "-m", "sae_fast", "run", *arguments),
            *("--output", str(tmp_path / folder), *more),
        ]

    subprocess.run(command("whole"), check=True, timeout=TIME_LIMIT)
    process = subprocess.Popen(command("broken"))
    deadline = time.monotonic() + TIME_LIMIT
    while not (tmp_path / "broken" / PREVIOUS).exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command("broken", "--resume"), check=True, timeout=TIME_LIMIT)
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
