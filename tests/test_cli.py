# SPDX-License-Identifier: BSD-3-Clause
"""The command line as its users meet it: exit status, files, what is printed where."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import sae_fast
from data_helpers import write_set
from helpers import TIME_LIMIT
from sae_fast import cli
from sae_fast.experiment import arms, run
from sae_fast.experiment.save import OUTPUT_NAMES, ExperimentResult
from sae_fast.experiment.settings import COMMANDS, flag, options, written
from sae_fast.training.checkpoint import NAME, PREVIOUS

ARMS = ("pretrained", "normal", "he")
N_TRAIN, N_TEST, N_PIXELS, N_CLASSES = 320, 60, 48, 4
SMALL = "--hidden 9,5 --pretrain-steps 40 --finetune-steps 60 --batch-size 30 --eval-every 20"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    """A small data set in MNIST's format."""
    folder = tmp_path_factory.mktemp("set")
    write_set(folder, n_train=N_TRAIN, n_test=N_TEST, side=(6, 8), labels=range(N_CLASSES))
    return folder


@pytest.fixture
def no_mnist(tmp_path, monkeypatch):
    """As on a machine that MNIST has never been on."""
    monkeypatch.delenv("SAE_FAST_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def main(*words: object) -> int:
    """Run a command line in this process; strings are split at spaces."""
    argv = [part for word in words for part in (word.split() if isinstance(word, str) else [word])]
    try:
        return cli.main([str(part) for part in argv])
    except SystemExit as stop:  # argparse's way out
        return stop.code


def on(folder: Path) -> tuple[object, ...]:
    return "--dataset idx --data-dir", folder


def read(folder: Path) -> dict:
    def refuse(token):
        raise AssertionError(f"{token} is no JSON")

    return json.loads((folder / "result.json").read_text("utf-8"), parse_constant=refuse)


def without_seconds(value):
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if k != "seconds"}
    return [without_seconds(v) for v in value] if isinstance(value, list) else value


def file_names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".sae-fast.lock"}


def assert_failed(capsys, *words: str, status: int, expected: int = 1) -> None:
    """Check that the command failed with one line on stderr, which has all `words` in it."""
    out, err = capsys.readouterr()
    assert status == expected
    assert out == ""
    assert "Traceback" not in err
    [line] = err.splitlines()
    assert line.startswith("sae-fast: ")
    for word in words:
        assert word in line


# Complete runs, each in a process of its own


@pytest.fixture(scope="module")
def whole_run(data_dir, tmp_path_factory):
    """`sae-fast run` with all arms; its process and its folder."""
    folder = tmp_path_factory.mktemp("run") / "new" / "out"
    command = f"-m sae_fast run --arms {','.join(ARMS)} --seed 3 {SMALL}".split()
    done = subprocess.run(
        [sys.executable, *command, "--dataset=idx", f"--data-dir={data_dir}", f"--output={folder}"],
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    return done, folder


class TestRun:
    def test_what_it_prints(self, whole_run):
        done, folder = whole_run
        assert done.returncode == 0
        for word in ("320 training samples", "Pretraining", "Fine-tuning", *ARMS, str(folder)):
            assert word in done.stdout
        assert "Traceback" not in done.stderr
        for phase in ("autoencoder 1 (48 → 9)", "autoencoder 2 (9 → 5)", "fine-tuning, he"):
            assert phase in done.stderr

    def test_files(self, whole_run):
        _, folder = whole_run
        models = {f"model-{arm}.safetensors" for arm in ARMS}
        pictures = {name for name in OUTPUT_NAMES if name.endswith(".png")}
        assert file_names(folder) == {"result.json", "report.html"} | models | pictures
        for name in pictures:
            assert (folder / name).read_bytes().startswith(b"\x89PNG")

    def test_keys_of_the_result(self, whole_run):
        result = read(whole_run[1])
        assert list(result) == [
            "schema", "command", "dataset", "config", "pretraining", "arms", "seconds",
            "environment",
        ]  # fmt: skip
        assert result["schema"] == 1
        assert result["command"] == "run"
        assert set(result["dataset"]) == {"name", "n_train", "n_test", "sha256"}
        for layer in result["pretraining"]:
            assert set(layer) == {
                "layer", "n_in", "n_hidden", "steps", "loss", "dead_units", "seconds",
            }  # fmt: skip
        for arm in result["arms"].values():
            assert set(arm) == {
                "steps", "test_loss", "test_accuracy", "final_accuracy", "first_step_at_90",
                "seconds", "dead_units", "collapsed",
            }  # fmt: skip
        assert set(result["environment"]) == set(sae_fast.info()) - {"executable"}

    def test_values_of_the_result(self, whole_run, data_dir):
        result = read(whole_run[1])
        assert result["dataset"]["name"] == data_dir.name
        assert (result["dataset"]["n_train"], result["dataset"]["n_test"]) == (N_TRAIN, N_TEST)
        expected = {
            "dataset": "idx",
            "data_dir": str(data_dir),
            "hidden": [9, 5],
            "arms": list(ARMS),
            "pretrain_steps": 40,
            "finetune_steps": 60,
            "batch_size": 30,
            "activation": "relu",
            "decoder": "linear",
            "loss": "squared_error",
            "corruption": "none",
            "tune_steps": 0,
            "optimizer": "adam",
            "learning_rate": 0.001,
            "eval_every": 20,
            "seed": 3,
            "offline": False,
        }
        assert {name: result["config"][name] for name in expected} == expected
        shapes = [(la["layer"], la["n_in"], la["n_hidden"]) for la in result["pretraining"]]
        assert shapes == [(1, 48, 9), (2, 9, 5)]
        for layer in result["pretraining"]:
            assert layer["steps"] == [20, 40]
            assert len(layer["loss"]) == 2
        assert list(result["arms"]) == list(ARMS)
        for arm in result["arms"].values():
            assert arm["steps"] == [20, 40, 60]
            assert arm["final_accuracy"] == arm["test_accuracy"][-1]
            assert 0 < arm["seconds"] < result["seconds"]

    @pytest.mark.parametrize("arm", ARMS)
    def test_models_are_those_of_the_result(self, whole_run, data_dir, arm):
        _, folder = whole_run
        data = sae_fast.datasets.load("idx", data_dir)
        net = sae_fast.load(folder / f"model-{arm}.safetensors")
        loss, accuracy = net.evaluate(data.x_test, data.y_test, scale=data.scale)
        result = read(folder)["arms"][arm]
        assert (loss, accuracy) == (result["test_loss"][-1], result["final_accuracy"])
        assert net.pretrained == (arm == "pretrained")

    def test_report_is_one_file(self, whole_run):
        page = (whole_run[1] / "report.html").read_text("utf-8")
        assert "data:image/png;base64," in page
        assert "<script" not in page
        for arm in ARMS:
            assert arm in page

    def test_the_same_from_python(self, whole_run, data_dir):
        result = sae_fast.run_experiment(
            dataset="idx",
            data_dir=data_dir,
            arms=ARMS,
            hidden=[9, 5],
            pretrain_steps=40,
            finetune_steps=60,
            batch_size=30,
            eval_every=20,
            seed=3,
            threads=sae_fast.info()["threads"],
            quiet=True,
        ).to_dict()
        by_command = read(whole_run[1])
        for part in ("dataset", "config", "pretraining", "arms"):
            assert without_seconds(result[part]) == without_seconds(by_command[part])


@pytest.mark.usefixtures("no_pictures")
class TestOptions:
    def test_quiet(self, data_dir, tmp_path, capfd):
        assert main("run --quiet", SMALL, *on(data_dir), "--output", tmp_path) == 0
        assert capfd.readouterr() == ("", "")
        assert read(tmp_path)["arms"]

    def test_evaluation_at_the_end_only(self, data_dir, tmp_path):
        command = "run --quiet", SMALL, "--eval-every 0", *on(data_dir), "--output", tmp_path
        assert main(*command) == 0
        result = read(tmp_path)
        assert [layer["steps"] for layer in result["pretraining"]] == [[40], [40]]
        assert [arm["steps"] for arm in result["arms"].values()] == [[60], [60]]

    def test_steps_that_evaluations_do_not_divide(self, data_dir, tmp_path):
        command = "run --quiet", SMALL, "--eval-every 25", *on(data_dir), "--output", tmp_path
        assert main(*command) == 0
        assert read(tmp_path)["arms"]["normal"]["steps"] == [25, 50, 60]

    def test_one_arm(self, data_dir, tmp_path):
        assert main("run --quiet --arms he", SMALL, *on(data_dir), "--output", tmp_path) == 0
        assert file_names(tmp_path) == {"result.json", "report.html", "model.safetensors"}
        result = read(tmp_path)
        assert list(result["arms"]) == ["he"]
        assert result["pretraining"] == []

    def test_threads_do_not_matter(self, data_dir, tmp_path):
        for n in (1, 2, 3):
            folder = tmp_path / str(n)
            command = "run --quiet --arms pretrained,he --hidden 70,40 --batch-size 301"
            steps = "--pretrain-steps 20 --finetune-steps 20 --eval-every 5 --threads"
            assert main(command, steps, n, *on(data_dir), "--output", folder) == 0
        results = [read(tmp_path / str(n)) for n in (1, 2, 3)]
        assert [result["config"]["threads"] for result in results] == [1, 2, 3]
        for result in results[1:]:
            for part in ("arms", "pretraining"):
                assert without_seconds(result[part]) == without_seconds(results[0][part])
        for name in ("model-pretrained.safetensors", "model-he.safetensors"):
            assert len({(tmp_path / str(n) / name).read_bytes() for n in (1, 2, 3)}) == 1

    def test_the_seed_matters(self, data_dir, tmp_path):
        for seed in (0, 0, 1):
            folder = tmp_path / f"{seed}-{len(file_names(tmp_path))}"
            arms = "run --quiet --arms he --seed"
            assert main(arms, seed, SMALL, *on(data_dir), "--output", folder) == 0
        models = [(folder / "model.safetensors") for folder in sorted(tmp_path.iterdir())]
        a, b, c = (sae_fast.load(model).parameters["W1"].tobytes() for model in models)
        assert a == b != c

    def test_files_may_be_compressed(self, tmp_path):
        write_set(tmp_path / "set", n_train=40, n_test=10, suffix=".gz")
        command = "run --quiet --arms he --hidden 5 --finetune-steps 5 --batch-size 10"
        assert main(command, *on(tmp_path / "set"), "--output", tmp_path / "out") == 0
        assert read(tmp_path / "out")["dataset"]["n_train"] == 40


@pytest.mark.usefixtures("no_pictures")
def test_choices_are_kept_and_shown(data_dir, tmp_path, capsys):
    """In the numbers and the report; the command that it gives does the same again."""
    chosen = {
        "tune_steps": 30, "activation": "sigmoid", "decoder": "sigmoid",
        "loss": "binary_cross_entropy", "corruption": "masking:0.4", "optimizer": "rmsprop",
    }  # fmt: skip
    words = " ".join(f"{flag(name)} {written(value)}" for name, value in chosen.items())
    assert main("run", SMALL, words, *on(data_dir), "--output", tmp_path / "one") == 0
    assert "\nTuning\n" in capsys.readouterr().out
    result = read(tmp_path / "one")
    assert {name: result["config"][name] for name in chosen} == chosen
    page = (tmp_path / "one" / "report.html").read_text("utf-8")
    for name, value in chosen.items():
        assert f">{name.replace('_', ' ')}</th><td>{value}</td>" in page
    [again] = re.findall(r"<pre>sae-fast (run .*)</pre>", page)
    assert words.split()[0] in again
    again = again.replace("DIR", str(data_dir))
    assert main(again, "--quiet --output", tmp_path / "two") == 0
    for part in ("config", "pretraining", "tuning", "arms"):
        assert without_seconds(read(tmp_path / "two")[part]) == without_seconds(result[part])


class TestReconstruct:
    def test_files_and_result(self, data_dir, tmp_path, capsys):
        command = "reconstruct --units 7 --steps 50 --weight-decay 0.25 --batch-size 20"
        assert main(command, "--eval-every 20", *on(data_dir), "--output", tmp_path) == 0
        assert file_names(tmp_path) == {
            "result.json", "report.html", "model.safetensors",
            "codes.png", "pretraining.png", "reconstructions.png", "weights.png",
        }  # fmt: skip
        result = read(tmp_path)
        assert result["command"] == "reconstruct"
        assert result["arms"] == {}
        [layer] = result["pretraining"]
        assert layer["steps"] == [20, 40, 50]
        assert (layer["n_in"], layer["n_hidden"]) == (N_PIXELS, 7)
        for name, value in {"units": 7, "steps": 50, "weight_decay": 0.25}.items():
            assert result["config"][name] == value
        out, _ = capsys.readouterr()
        assert "autoencoder (7 units)" in out
        assert "PCA (7 components)" in out
        ae = sae_fast.load(tmp_path / "model.safetensors")
        data = sae_fast.datasets.load("idx", data_dir)
        ae.fit(data.x_train, steps=1, scale=data.scale)  # a model like any other
        assert ae.weight_decay == 0.25


# Information and usage


def test_info(capsys, no_mnist):
    assert main("info") == 0
    out, err = capsys.readouterr()
    facts = sae_fast.info()
    for word in (facts["version"], facts["isa"], facts["blas"], "not found"):
        assert word in out
    assert err == ""


def test_info_as_json(capsys, data_dir, monkeypatch):
    monkeypatch.setenv("SAE_FAST_DATA_DIR", str(data_dir))
    assert main("info --json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == sae_fast.info()
    assert json.loads(out)["mnist"] == str(data_dir)
    assert err == ""


def test_version(capsys):
    assert main("--version") == 0
    assert capsys.readouterr().out == f"sae-fast {sae_fast.__version__}\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("", ("run", "reconstruct", "info", "130")),
        ("run", ("--arms", "--hidden", "--pretrain-steps", "--finetune-steps", "--offline")),
        ("reconstruct", ("--units", "--steps", "--weight-decay", "--threads", "--output")),
        ("info", ("--json",)),
    ],
)
def test_help(command, words, capsys):
    assert main(command, "--help") == 0
    out, err = capsys.readouterr()
    for word in ("usage: sae-fast", *words):
        assert word in out
    assert err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_the_settings(command, capsys, monkeypatch):
    """Each with its words and its default, within 80 columns; values are those of the record."""
    monkeypatch.setenv("COLUMNS", "80")
    assert main(command, "--help") == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    shown = " ".join(out.split())
    given = vars(cli._parser().parse_args([command]))
    assert given.keys() == {"command", "experiment", "output"}  # others as in Python
    for option in options(COMMANDS[command]):
        assert flag(option.name) in shown
        assert option.metadata["words"], option.name
        assert " ".join(option.metadata["words"].split()) in shown
        if option.name != "output" and option.default not in (None, False):
            assert f"(default: {written(option.default)})" in shown


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("", "COMMAND"),
        ("train", "invalid choice"),
        ("run --step 3", "--step"),
        ("run --dataset cifar", "cifar"),
        ("run --arms pretrained,best", "'best'"),
        ("run --hidden 100,0", "--hidden"),
        ("run --hidden=", "--hidden: expected a sequence of positive integers, got ''"),
        ("run --hidden 100,x", "--hidden: expected a sequence of positive integers, got '100,x'"),
        ("run --hidden 9999999999999999999999", "--hidden: [0]: expected at most 16,777,216"),
        ("run --pretrain-steps=-1", "--pretrain-steps"),
        ("run --finetune-steps 1.5", "--finetune-steps"),
        ("run --batch-size 0", "--batch-size"),
        ("run --batch-size=-3", "--batch-size"),
        ("run --learning-rate 0", "--learning-rate"),
        ("run --learning-rate nan", "--learning-rate"),
        ("run --learning-rate fast", "--learning-rate"),
        ("run --activation rleu", "'rleu'; did you mean 'relu'?"),
        ("run --decoder softplus", "--decoder: expected one of linear, sigmoid, got 'softplus'"),
        ("run --loss binary_crossentropy", "did you mean 'binary_cross_entropy'?"),
        ("run --loss cross_entropy", "--loss: expected one of squared_error, "),
        ("run --optimizer Adam", "did you mean 'adam'?"),
        ("run --corruption mask", "'mask'; did you mean 'masking'?"),
        ("run --corruption masking:1", "--corruption: expected masking:VALUE to fit, got share"),
        ("run --corruption masking:x", "--corruption: expected a number after masking:, got 'x'"),
        ("run --tune-steps=-1", "--tune-steps"),
        ("reconstruct --tune-steps 5", "--tune-steps"),
        ("run --eval-every=-1", "--eval-every"),
        ("run --seed=-1", "--seed"),
        ("run --seed one", "--seed"),
        ("run --threads 0", "--threads"),
        ("run --threads 1000000000", "--threads: expected at most 1,024"),
        ("run --output=", "--output: expected a path, got ''"),
        ("run --data-dir=", "--data-dir: expected a path, got ''"),
        ("reconstruct --units 0", "--units"),
        ("reconstruct --weight-decay=-0.1", "--weight-decay"),
        ("reconstruct --arms he", "--arms"),
        ("reconstruct --quiet run", "unrecognized arguments: run"),
        ("info --jsom", "unrecognized arguments: --jsom"),
    ],
)
def test_usage(command, word, capsys):
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    name = command.partition(" ")[0]
    known = name in (*COMMANDS, "info")
    assert err.startswith(f"usage: sae-fast {name} " if known else "usage: sae-fast [-h] ")
    assert word in err.splitlines()[-1]


def test_what_users_named_is_no_option(data_dir, tmp_path, monkeypatch, capsys):
    """Neither in quotes nor in a path: only the setting that a message is about is one."""
    monkeypatch.chdir(tmp_path)
    for folder in ("seeds/pretrain_steps/eval_every", "eval_every"):
        assert main("run --dataset idx --data-dir", folder, "--output out") == 1
        assert capsys.readouterr().err.startswith(f"sae-fast: --data-dir: got {folder} (")
    Path("learning_rate").write_text("precious")
    assert main("study", *on(data_dir), "--batch-size 10 --output learning_rate") == 1
    error = capsys.readouterr().err
    assert error.startswith("sae-fast: --output: ")
    assert "'learning_rate'" in error
    cli._complain("run", "output: 'a-finetune_steps=1.json' is b; tune_steps: \"it's data_dir: c\"")
    expected = "--output: 'a-finetune_steps=1.json' is b; --tune-steps: \"it's data_dir: c\""
    assert capsys.readouterr().err == f"sae-fast: {expected}\n"


# Failures


@pytest.fixture
def no_training(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("training must not begin")

    monkeypatch.setattr(arms, "StackedAutoencoder", refuse)
    monkeypatch.setattr(run, "Autoencoder", refuse)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("command", ["run", "reconstruct"])
class TestBeforeTraining:
    @pytest.mark.parametrize("loss", ["binary_cross_entropy", "poisson"])
    def test_a_loss_that_does_not_fit(self, command, loss, data_dir, tmp_path, capsys):
        status = main(command, "--loss", loss, *on(data_dir), "--output", tmp_path / "out")
        words = "--loss: expected one that fits decoder linear", f"got '{loss}'; what fits toge"
        assert_failed(capsys, *words, status=status, expected=2)
        assert not (tmp_path / "out").exists()

    def test_no_such_folder(self, command, tmp_path, capsys):
        status = main(command, *on(tmp_path / "nowhere"), "--output", tmp_path / "out")
        assert_failed(capsys, "nowhere", "--data-dir", status=status)
        assert not (tmp_path / "out").exists()

    def test_no_data_dir(self, command, tmp_path, capsys, no_mnist):
        status = main(command, "--dataset idx --output", tmp_path / "out")
        assert_failed(capsys, "--data-dir", status=status, expected=2)

    def test_a_data_dir_that_nothing_is_read_from(self, command, tmp_path, capsys):
        status = main(command, "--dataset strokes --data-dir", tmp_path, "--output", tmp_path / "o")
        assert_failed(capsys, "--data-dir: expected none", status=status, expected=2)

    def test_several_sets(self, command, tmp_path, capsys):
        """What a folder holds is no matter of usage, whatever is wrong with it."""
        write_set(tmp_path)
        for file in list(tmp_path.iterdir()):
            shutil.copy(file, file.with_name("other-" + file.name))
        status = main(command, *on(tmp_path), "--output", tmp_path / "out")
        assert_failed(capsys, "--data-dir: got several data sets in", status=status)

    def test_mnist_never_falls_back(self, command, tmp_path, capsys, no_mnist):
        status = main(command, "--dataset mnist --offline --output", tmp_path / "out")
        assert_failed(capsys, "mnist", "--data-dir", status=status)

    def test_damaged_file(self, command, tmp_path, capsys):
        write_set(tmp_path)
        file = tmp_path / "train-images-idx3-ubyte"
        file.write_bytes(file.read_bytes()[:-5])
        status = main(command, *on(tmp_path), "--output", tmp_path / "out")
        assert_failed(capsys, file.name, status=status)

    def test_damaged_compressed_file(self, command, tmp_path, capsys):
        write_set(tmp_path, suffix=".gz")
        file = tmp_path / "train-images-idx3-ubyte.gz"
        file.write_bytes(gzip.compress(b"")[:-3])
        status = main(command, *on(tmp_path), "--output", tmp_path / "out")
        assert_failed(capsys, file.name, status=status)

    def test_batch_larger_than_the_data(self, command, data_dir, tmp_path, capsys):
        status = main(command, *on(data_dir), "--batch-size 321 --output", tmp_path / "out")
        assert_failed(capsys, "--batch-size", "320", "321", status=status)

    def test_output_is_a_file(self, command, data_dir, tmp_path, capsys):
        file = tmp_path / "file"
        file.write_text("precious")
        status = main(command, *on(data_dir), "--batch-size 10 --output", file)
        assert_failed(capsys, "output", str(file), status=status)
        assert file.read_text() == "precious"

    def test_output_below_a_file(self, command, data_dir, tmp_path, capsys):
        file = tmp_path / "file"
        file.write_text("precious")
        status = main(command, *on(data_dir), "--batch-size 10 --output", file / "out")
        assert_failed(capsys, "output", str(file), status=status)

    @pytest.mark.parametrize("name", ["report.html", "model.safetensors"])
    def test_the_files_of_a_stranger(self, command, name, data_dir, tmp_path, capsys):
        (tmp_path / name).write_text("precious")
        status = main(command, *on(data_dir), "--output", tmp_path)
        words = f"expected a new folder, or one of an earlier sae-fast {command}", name
        assert_failed(capsys, *words, status=status)
        assert file_names(tmp_path) == {name}
        assert (tmp_path / name).read_text() == "precious"

    @pytest.mark.parametrize("dataset", ["auto", "mnist", "idx"])
    def test_nothing_stands_in_for_a_data_dir(self, command, dataset, tmp_path, capsys):
        options = "--dataset", dataset, "--data-dir", tmp_path / "nowhere"
        status = main(command, *options, "--output", tmp_path / "out")
        assert_failed(capsys, "nowhere", status=status)


@pytest.mark.parametrize("command", ["run --arms pretrained", "reconstruct"])
def test_divergence(command, data_dir, tmp_path, capsys):
    status = main(
        command, "--quiet --batch-size 30 --learning-rate 1e30", *on(data_dir), "--output", tmp_path
    )
    assert_failed(capsys, "autoencoder 1", "diverged", "step", status=status)
    assert file_names(tmp_path) == set()


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("quiet", [False, True])
def test_results_that_cannot_be_written_are_still_shown(
    quiet, data_dir, tmp_path, capsys, monkeypatch
):
    def fail(path: Path, _: bytes) -> Path:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("sae_fast.experiment.save.write_file", fail)
    command = "run --arms he", "--quiet" if quiet else "", SMALL, *on(data_dir)
    assert main(*command, "--output", tmp_path / "out") == 1
    out, err = capsys.readouterr()
    assert "No space left on device" in err.splitlines()[-1]
    assert ("Fine-tuning" in out) is not quiet


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.usefixtures("no_pictures")
def test_says_what_there_is(installed, data_dir, tmp_path, capsys, monkeypatch):
    if not installed:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main("run --arms he", SMALL, *on(data_dir), "--output", tmp_path) == 0
    out, err = capsys.readouterr()
    advice = "" if installed else "; no pictures: pip install 'sae-fast[plot]'"
    assert out.splitlines()[-1] == f"results and report.html are in {tmp_path}{advice}"
    assert ("results and pictures" in err) is installed


@pytest.mark.usefixtures("no_pictures")
def test_a_summary_that_cannot_be_printed(data_dir, tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "write", fail)
        status = main("run --arms he", SMALL, *on(data_dir), "--output", tmp_path)
    assert status == 1
    where = f"{FULL}; results and report.html are in {tmp_path}"
    assert capsys.readouterr().err.splitlines()[-1] == f"sae-fast: {where}"


@pytest.mark.usefixtures("no_pictures")
def test_an_interrupt_after_the_training_says_what_there_is(data_dir, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ExperimentResult, "_write_pictures", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        main("run --quiet --arms he", SMALL, *on(data_dir), "--output", tmp_path)
    [words] = caught.value.args
    assert words.endswith(f"written to {tmp_path}: result.json, model.safetensors")


def test_output_that_vanishes_while_training(data_dir, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    save = ExperimentResult._save

    def save_too_late(self, *arguments):
        shutil.rmtree(out)
        out.write_text("in the way")
        return save(self, *arguments)

    monkeypatch.setattr(ExperimentResult, "_save", save_too_late)
    status = main("run --quiet --arms he", SMALL, *on(data_dir), "--output", out)
    assert_failed(capsys, str(out), status=status)


@pytest.mark.parametrize("other", ["run --arms he", "run --resume", "reconstruct"])
def test_a_folder_that_another_run_is_using(other, data_dir, tmp_path, capsys):
    command = "-m sae_fast run --quiet --arms he --hidden 9 --finetune-steps 10000000"
    command += f" --checkpoint-every 1000 --dataset idx --data-dir {data_dir} --output {tmp_path}"
    place = *on(data_dir), "--output", tmp_path
    with (
        subprocess.Popen([sys.executable, *command.split()]) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)
        deadline = time.monotonic() + TIME_LIMIT
        while not (tmp_path / NAME).exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        status = main(other, *place)
        assert_failed(capsys, "--output: expected a folder that no other run is", status=status)
        assert not file_names(tmp_path) & {*OUTPUT_NAMES}
        assert process.poll() is None
    command = "run --quiet --arms he", SMALL, *place
    words = "--output: expected a folder without a checkpoint", "`sae-fast run --resume --output"
    assert_failed(capsys, *words, status=main(*command))  # no results beside it, either
    for name in (NAME, PREVIOUS):
        (tmp_path / name).unlink(missing_ok=True)
    assert main(*command) == 0  # it is free again


def test_a_run_that_fails_leaves_its_folder_free(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(arms.ArmTraining, "pretrain", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError) as first:
        main("run --quiet --arms he", SMALL, *on(data_dir), "--output", tmp_path)
    monkeypatch.undo()
    assert main("run --quiet --arms he", SMALL, *on(data_dir), "--output", tmp_path) == 0
    monkeypatch.setattr(run, "prepare_inputs", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError) as second:
        main("run --quiet --arms he", SMALL, *on(data_dir), "--output", tmp_path)
    monkeypatch.undo()
    assert main("run --quiet --arms he", SMALL, *on(data_dir), "--output", tmp_path) == 0
    assert first.tb is not second.tb  # which hold all that was there


@pytest.mark.skipif(os.name == "nt", reason="this system has no SIGINT to send")
@pytest.mark.parametrize(
    ("phase", "arms", "threads", "times"),
    [
        ("autoencoder 1", "pretrained,normal", 2, 1),
        ("fine-tuning, normal", "normal", 2, 1),
        ("fine-tuning, he", "normal,he", 2, 5),  # side by side; more signals as that one ends
        ("fine-tuning, normal", "normal,he", 1, 1),  # one waits for the other
    ],
)
@pytest.mark.parametrize(
    ("sent", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_interrupt(sent, status, word, phase, arms, threads, times, data_dir, tmp_path):
    steps = 10_000_000 if phase.startswith("auto") else 1
    command = f"-m sae_fast run --hidden 9 --pretrain-steps {steps} --finetune-steps 10000000"
    terminal, stderr = os.openpty()
    process = subprocess.Popen(
        [
            sys.executable, *command.split(), f"--arms={arms}", "--dataset=idx",
            f"--data-dir={data_dir}", f"--output={tmp_path}", f"--threads={threads}",
        ],
        stdout=subprocess.PIPE,
        stderr=stderr,
    )  # fmt: skip
    os.close(stderr)
    shown = bytearray()

    def read(seconds):
        with contextlib.suppress(OSError):  # as a terminal's end is told
            if select.select([terminal], [], [], seconds)[0]:
                shown.extend(os.read(terminal, 65536))
                return True
        return False

    with process, contextlib.ExitStack() as stack:
        stack.callback(os.close, terminal)
        stack.callback(process.kill)
        deadline = time.monotonic() + TIME_LIMIT
        while not re.search(rf"{phase}[^\r]*\d left", shown.decode(errors="replace")):
            assert time.monotonic() < deadline, shown
            assert process.poll() is None, shown
            read(1)
        started = time.monotonic()
        for _ in range(times):
            process.send_signal(sent)
            time.sleep(0.005)
        while process.poll() is None:
            assert time.monotonic() < deadline, shown
            read(0.1)
        seconds = time.monotonic() - started
        while read(0):
            pass
        out = process.stdout.read()
    assert process.returncode == status
    assert seconds < 5
    nothing = "nothing was saved; with --checkpoint-every N the run could be resumed"
    assert shown.decode().splitlines()[-1] == f"sae-fast: {word}; {nothing}"
    assert b"Traceback" not in shown
    assert out == b""
    assert file_names(tmp_path) == set()


@pytest.mark.skipif(os.name == "nt", reason="this system has no SIGINT to send")
@pytest.mark.parametrize(("sent", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_where_python_drops_exceptions(sent, status):
    code = f"""
import os, signal, sys, time
import sae_fast.__main__, sae_fast.cli

class Dropped:
    def __del__(self):
        os.kill(os.getpid(), signal.{sent})

def run():
    Dropped()
    time.sleep({TIME_LIMIT})
    return 0

sae_fast.cli.main = run
status = sae_fast.__main__.main()
os.kill(os.getpid(), signal.{sent})  # a second one, at the end
sys.exit(status)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIME_LIMIT / 2
    )
    word = "interrupted" if sent == "SIGINT" else "terminated"
    assert (done.returncode, done.stderr) == (status, f"sae-fast: {word}\n")


@pytest.fixture
def no_sockets(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.mark.usefixtures("no_sockets", "no_mnist", "no_pictures")
@pytest.mark.filterwarnings("default::sae_fast.datasets.DatasetFallbackWarning")
def test_offline_falls_back_to_strokes_and_says_so(tmp_path, capsys):
    command = "run --offline --quiet --arms he --hidden 5 --finetune-steps 5 --output"
    assert main(command, tmp_path / "out") == 0
    assert read(tmp_path / "out")["dataset"]["name"] == "strokes"
    _, err = capsys.readouterr()
    [line] = err.splitlines()
    assert line.startswith("sae-fast: ")
    assert "strokes, not MNIST" in line


def test_an_interrupt_of_a_study_that_has_not_begun(tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sae_fast.experiment.studies.study.load_data", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        main("study --quiet --output", tmp_path)
    assert caught.value.args == ("nothing was saved",)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ("nothing was saved", "with --checkpoint-every N the run could be resumed")),
        (("--checkpoint-every", 10), ("`sae-fast run --resume --output {}` goes on",)),
    ],
)
def test_an_interrupt_says_how_to_go_on(options, words, data_dir, tmp_path, monkeypatch, capsys):
    """Where there is a checkpoint; and that is all that the command then needs."""

    def interrupt(_, training):
        if training.layer is None and training.step == 20:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(arms.Share, "on_evaluation", interrupt)
        with pytest.raises(KeyboardInterrupt) as caught:
            main("run --quiet", SMALL, *on(data_dir), *options, "--output", tmp_path)
    assert caught.value.args == tuple(word.format(tmp_path) for word in words)
    if options:
        status = main("run --quiet", SMALL, *on(data_dir), *options, "--output", tmp_path)
        [going_on] = caught.value.args
        assert_failed(capsys, "--output: expected", f"{going_on} from it", status=status)
        assert main("run --resume --output", tmp_path) == 0
        assert re.search(r"\ntrained in \d+\.\d s since it was resumed\n", capsys.readouterr().out)
        assert main("run --quiet", SMALL, *on(data_dir), "--output", tmp_path / "whole") == 0
        resumed, whole = (read(folder) for folder in (tmp_path, tmp_path / "whole"))
        for part in ("pretraining", "arms", "config"):
            assert without_seconds(resumed[part]) == without_seconds(whole[part])


def test_a_resumed_run_refuses_other_settings(data_dir, tmp_path, capsys, no_pictures):
    command = "run --quiet", SMALL, *on(data_dir), "--output", tmp_path
    assert main(*command, "--checkpoint-every 100") == 0
    status = main("run --resume --hidden 9 --seed 3 --output", tmp_path)
    words = "--hidden [9] where it has [9, 5]", "--seed 3 where it has 0"
    assert_failed(capsys, "--resume", *words, status=status)
    assert main(*command) == 0
    assert NAME not in file_names(tmp_path)  # that of a run whose results are replaced


@pytest.mark.parametrize("environment", [{}, {"MPLBACKEND": "nonsense"}], ids=["home", "backend"])
def test_no_result_waits_for_a_picture(environment, data_dir, tmp_path):
    """A user without a home has pictures; where they cannot be drawn, that is a warning."""
    code = f"""
import os, pwd, sys

def nobody(uid):
    raise KeyError(uid)

pwd.getpwuid = nobody
for name in ("HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME", "SAE_FAST_DATA_DIR"):
    os.environ.pop(name, None)
sys.argv[1:] = "run --quiet --arms he --hidden 5 --finetune-steps 5 --batch-size 10".split()
sys.argv += ["--dataset=idx", "--data-dir={data_dir}", "--output={tmp_path}"]
from sae_fast.__main__ import main
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )
    assert done.returncode == 0
    names = file_names(tmp_path)
    assert {"result.json", "model.safetensors", "report.html"} <= names
    if "accuracy.png" in names:
        assert done.stderr == ""
    else:
        assert environment
        assert re.fullmatch("sae-fast: pictures: accuracy, .* not drawn: .*\n", done.stderr)


# Output that cannot be written, and an installation that cannot run


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = command.replace("sae-fast", f"{shlex.quote(sys.executable)} -m sae_fast")
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )


FULL = "standard output cannot be written to: No space left on device"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("sae-fast info | head -1", 0, ""),
        ("PYTHONUNBUFFERED=1 sae-fast run --help | head -1", 0, ""),
        ("sae-fast info > /dev/full", 1, f"sae-fast: {FULL}\n"),
        ("sae-fast info --jsom 2> /dev/full", 2, ""),
        ("sae-fast run --data-dir /nowhere --dataset idx 2>&- >&-", 1, ""),
    ],
)
def test_output_that_cannot_be_written(command, status, words):
    done = shell(command)
    assert (done.returncode, done.stderr) == (status, words)


def test_an_instruction_set_that_is_none():
    """One line, and in Python an ImportError."""
    done = shell("sae-fast info", SAE_FAST_ISA="foo")
    assert done.returncode == 1
    assert re.fullmatch("sae-fast: SAE_FAST_ISA: instruction set 'foo' .*\n", done.stderr)
    done = shell(f"{shlex.quote(sys.executable)} -c 'import sae_fast'", SAE_FAST_ISA="foo")
    assert "\nImportError: SAE_FAST_ISA: " in done.stderr


# The real data


@pytest.fixture(scope="module")
def mnist_run(mnist_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mnist")
    command = "run --quiet --pretrain-steps 100 --finetune-steps 300 --eval-every 100 --arms"
    options = "--dataset mnist --offline --output"
    assert main(command, ",".join(ARMS), "--data-dir", mnist_dir, options, folder) == 0
    return folder


def test_a_short_run_on_mnist(mnist_run):
    result = read(mnist_run)
    assert result["dataset"]["name"] == "mnist"
    assert (result["dataset"]["n_train"], result["dataset"]["n_test"]) == (55_000, 10_000)
    assert [layer["n_hidden"] for layer in result["pretraining"]] == [100, 50, 25, 12, 5, 5]
    assert list(result["arms"]) == list(ARMS)
    for arm in result["arms"].values():
        assert arm["steps"] == [100, 200, 300]
        assert arm["final_accuracy"] > 0.05
    assert result["arms"]["he"]["final_accuracy"] > 0.5
    assert result["arms"]["he"]["test_loss"][-1] < result["arms"]["he"]["test_loss"][0]
    first_loss, *_ = result["pretraining"]
    assert np.all(np.diff(first_loss["loss"]) <= 0)
