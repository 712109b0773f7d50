# SPDX-License-Identifier: BSD-3-Clause
"""Trainings that processes of a real mpiexec share: the same bits, and how they end."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sae_fast
from data_helpers import write_set
from distributed_work import X, digest
from helpers import TIME_LIMIT, core, core_input, core_trainer, mpiexec
from sae_fast import _core
from sae_fast.training.distributed import nodes, summed

HERE = Path(__file__).parent
UNDRAWN = """
import sys
sys.modules["matplotlib"] = None  # pictures take longer than all else
from sae_fast.__main__ import main
sys.exit(main())
"""
COMMAND = ["-c", UNDRAWN, "run"]
TOLERANCE = {"tied": 1e-9}  # in float64


def work(n: int, folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """Run parts of `distributed_work.py` in so many processes."""
    folder.mkdir(exist_ok=True)
    return python(n, HERE / "distributed_work.py", folder, *names)


def python(
    n: int, *arguments: str | Path, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Python in so many processes."""
    command, environment = mpiexec()
    return subprocess.run(
        [command, "-n", str(n), sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )


def found(n: int, folder: Path, *names: str) -> list[list[Any]]:
    """Return what each of so many processes has found in each part, which all have to end well."""
    done = work(n, folder, *names)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return [
        [json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in range(n)]
        for name in names
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> list[Any]:
    """Give what one process finds: the bits of each kind of training, and of one not broken off."""
    folder = tmp_path_factory.mktemp("alone")
    write_set(folder, n_train=150)
    parts = found(1, folder, "same_bits", "resumed", "experiment")
    return [folder, *(one for [one] in parts)]


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[Any]:
    """Give what two processes find."""
    return found(2, tmp_path_factory.mktemp("two"), "same_bits", "refused", "stop")


@pytest.fixture(scope="module")
def after_two(tmp_path_factory) -> tuple[Any, list[str], list[Any]]:
    """Let one of two processes die; give how they ended, what they left and what three find."""
    folder = tmp_path_factory.mktemp("three")
    ended = work(2, folder, "die")
    left = sorted(path.name for path in folder.iterdir())
    return ended, left, found(3, folder, "resumed", "same_bits")


# The core, in this process


def gradients(n_threads=1):
    """Give a trainer, and a function for the gradient of some chunks of a batch."""
    dtype = "float32"
    network = core("Network", dtype)([9, 6, 9], [_core.Activation.sigmoid] * 2)
    rng = np.random.default_rng(0)
    for layer, (n_in, n_out) in enumerate([(9, 6), (6, 9)]):
        w, b = rng.normal(size=(n_in, n_out)), rng.normal(size=n_out)
        network.set_parameters(layer, w.astype(dtype), b.astype(dtype))
    samples = core_input(rng.normal(size=(50, 9)).astype(dtype), dtype)
    loss = _core.Loss.squared_error
    trainer = core_trainer(network, samples, None, dtype=dtype, loss=loss, batch_size=CHUNK)

    def of(first, end, n_samples=50):
        out = trainer.new_gradient()
        rows = slice(first * CHUNK, min(end * CHUNK, n_samples))
        own = np.arange(n_samples)[rows]
        trainer.gradient(own, first=rows.start, out=out, n_threads=n_threads)
        return out

    return trainer, of


CHUNK = 7  # so that 50 samples are eight chunks, the last of one


@pytest.mark.parametrize("n_chunks", range(1, 9))
def test_sums_of_subtrees_are_those_of_the_tree(n_chunks):
    """Whatever ranges of chunks there are, the largest nodes in them add up to the same bits."""
    n_samples = min(50, n_chunks * CHUNK)
    _, of = gradients()
    whole = of(0, n_chunks, n_samples)
    assert np.abs(whole).max() > 0
    for cuts in itertools.combinations_with_replacement(range(n_chunks + 1), 2):
        ranges = itertools.pairwise([0, *cuts, n_chunks])
        parts = [node for ends in ranges for node in nodes(*ends, n_chunks)]
        assert [node.first for node in parts] == [0, *(node.end for node in parts[:-1])]
        found = summed([(node, of(node.first, node.end, n_samples)) for node in parts])
        assert found.tobytes() == whole.tobytes(), parts


def test_a_gradient_is_the_same_for_every_number_of_threads():
    (_, of), (_, by_two) = gradients(), gradients(2)
    np.testing.assert_array_equal(of(0, 8), by_two(0, 8))


def test_the_core_refuses_what_is_no_gradient_of_its_own():
    trainer, _ = gradients()
    out, samples = trainer.new_gradient(), np.arange(10)
    for wrong in (out[:-16], out[1:], np.empty(len(out) * 2, np.float32)[::2]):
        with pytest.raises((ValueError, TypeError)):
            trainer.gradient(samples, first=0, out=wrong, n_threads=1)
        with pytest.raises((ValueError, TypeError)):
            trainer.update(wrong, learning_rate=0.1, n_threads=1)
    with pytest.raises(IndexError, match="sample 50 of 50"):
        trainer.gradient(samples + 41, first=0, out=out, n_threads=1)


# Processes


def test_the_same_bits_whatever_the_number_of_processes(alone, two, after_two, tmp_path):
    for name, (_, far) in alone[1]["kinds"].items():
        assert 0 < far < TOLERANCE.get(name, 1e-4), name  # another order of sums, no more
    bits = {name: bits for name, (bits, _) in alone[1]["kinds"].items()}
    [four] = found(4, tmp_path, "same_bits")
    for n, shared in ((2, two[0]), (3, after_two[2][1]), (4, four)):
        for one in shared:
            assert {name: bits for name, (bits, _) in one["kinds"].items()} == bits
            assert one["rows read"] < 1.4 * alone[1]["rows read"] / n  # its own share of batches


def test_what_cannot_be_shared_is_refused_before_anything_has_changed(two):
    first, second = two[1]
    assert all(same for _, same in first + second)
    for (message, _), start in zip(
        first,
        [
            "penalties: expected none that needs a whole batch at once, which no process of a",
            "penalties: expected none that needs a whole batch at once",
            "corruption: expected none that needs a whole batch at once",
            "batch_size: expected a chunk of 20 samples for each of 2 processes, got 20",
            "autoencoder 1 (24 → 10): expected the same steps in all processes, got others in "
            "process 1 than in process 0",
            "session: expected none that is open on this thread, got one",
        ],
        strict=True,
    ):
        assert message.startswith(start)
    assert len(second) == len(first)


def test_all_stop_where_one_does_and_what_writes_is_called_in_the_first_alone(two):
    assert two[2] == [[4, [3, "end"]], [4, []]]


def test_where_one_process_raises_all_end(tmp_path):
    ended = work(2, tmp_path, "raise")
    assert ended.returncode == 1
    assert "RuntimeError: out of luck" in ended.stderr
    assert "in process 1 of 2" in ended.stderr or sys.version_info < (3, 11)
    assert "DistributedError" not in ended.stderr  # the other has not waited in vain


def test_where_one_process_hangs_the_others_say_so(tmp_path):
    ended = work(2, tmp_path, "hang")
    assert ended.returncode == 1
    said = "timeout: process 0 of 2 has waited for 1 s, expected word of process 1, got none"
    assert said in ended.stderr


def test_where_one_process_dies_all_end_and_another_number_goes_on(after_two, alone):
    ended, left, after = after_two
    assert ended.returncode != 0
    assert left == ["checkpoint-previous.safetensors", "checkpoint.safetensors"]
    assert after[0] == [alone[2]] * 3


def test_what_was_shared_does_not_go_on_unshared(alone):
    checkpoint = sae_fast.RunCheckpoint(alone[0], every=4)
    ae = sae_fast.Autoencoder(24, 10)
    with pytest.raises(sae_fast.CheckpointError, match=r"got chunk_size None where it has 20$"):
        ae.fit(X, steps=24, eval_every=5, callbacks=[checkpoint])


def test_the_command_line_begins_with_two_and_goes_on_with_one(tmp_path, alone):
    """The first process speaks for both."""
    data, *_, bits = alone
    run = [*COMMAND, "--output", tmp_path]
    network = [
        "--hidden",
        "5,4",
        "--pretrain-steps",
        "5",
        "--finetune-steps",
        "10",
        "--checkpoint-every",
        "5",
    ]
    begun = python(2, *run, "--distributed", "--dataset", "idx", "--data-dir", data, *network)
    assert (begun.returncode, begun.stdout.count("report.html are in")) == (0, 1)
    assert begun.stderr.count("whole run") == 1
    ended = python(1, *run, "--resume", "--finetune-steps", "20", "--quiet")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    for arm, expected in bits.items():
        net = sae_fast.load(tmp_path / f"model-{arm}.safetensors")
        assert digest(net.parameters) == expected


def test_one_that_fails_says_which_in_a_line(tmp_path, alone):
    run = [
        "-m",
        "sae_fast",
        "run",
        "--output",
        tmp_path,
        "--dataset",
        "idx",
        "--data-dir",
        alone[0],
    ]
    run += ["--dataset", "idx", "--batch-size", "10"]
    done = python(2, *run, "--distributed", "--quiet")
    said = [line for line in done.stderr.splitlines() if "sae-fast" in line]
    assert done.returncode == 1
    assert said == [
        "sae-fast: process 0 of 2: --batch-size: expected a chunk of 10 samples for each of 2 "
        "processes, got 10 samples, which are 1"
    ]


def test_the_program_of_the_page(tmp_path):
    page = HERE.parent / "docs" / "distributed.md"
    program = re.search(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)[1]
    done = python(2, "-c", program, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sae_fast.load(tmp_path / "net.safetensors").pretrained


def test_without_mpi4py_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(sae_fast.DistributedError, match=r"pip install 'sae-fast\[mpi\]'$"):
        sae_fast.distributed.session()


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"chunk_size": 0}, {"timeout": "long"}])
def test_what_does_not_fit_is_refused(wrong):
    with pytest.raises(sae_fast.DataError, match=f"^{next(iter(wrong))}: "):
        sae_fast.distributed.session(**wrong)
