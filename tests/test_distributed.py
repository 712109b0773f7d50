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

import filelock
import numpy as np
import pytest
import sae_fast
from data_helpers import write_set
from distributed_work import X, digest
from helpers import TIME_LIMIT, core, core_input, core_trainer, mpiexec
from sae_fast import _core
from sae_fast.experiment.save import claimed_output
from sae_fast.training.tree import nodes, shares, summed

HERE = Path(__file__).parent
UNDRAWN = """
import sys
sys.modules["matplotlib"] = None  # pictures take longer than all else
from sae_fast.__main__ import main
sys.exit(main())
"""
COMMAND = ["-c", UNDRAWN, "run"]
TOLERANCE = {"tied": 1e-9}  # in float64


def work(n: int, folder: Path, what: str) -> subprocess.CompletedProcess[str]:
    """Run a part of `distributed_work.py` in so many processes."""
    return python(n, HERE / "distributed_work.py", folder, what)


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


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    """Let two processes train and one of them die, then four do all else; give their folder.

    Once for all processes that run tests.
    """
    mpiexec()  # or skip, without waiting
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "together"
    with filelock.FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            write_set(folder, n_train=150)
            died = work(2, folder, "die").returncode, sorted(path.name for path in folder.iterdir())
            done = work(4, folder, "together")
            ended = [died, done.returncode, done.stdout, done.stderr]
            (folder / "ended.json").write_text(json.dumps(ended))
    assert ended_in(folder)[1:] == [0, "", ""]
    return folder


def ended_in(folder: Path) -> list[Any]:
    """Return how the processes of the fixture have ended."""
    return json.loads((folder / "ended.json").read_text())


def found(folder: Path, name: str, n: int) -> list[Any]:
    """Return what each of so many processes has found in a part."""
    return [json.loads((folder / f"{name}-{n}-{rank}.json").read_text()) for rank in range(n)]


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


@pytest.mark.parametrize(("chunk", "n_samples"), [(100, 120), (128, 144), (200, 250), (64, 65)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_with_a_short_last_chunk(dtype, chunk, n_samples):
    """Of samples that are kept as bytes, after a longer chunk, to the bits of lists."""
    rng = np.random.default_rng(0)
    few = rng.integers(1, 250, (n_samples, 150)) * (rng.random((n_samples, 150)) < 0.3)
    few = few.astype(dtype)
    many = np.vstack([few, rng.random((n_samples, 150)) * (rng.random((n_samples, 150)) < 0.3)])
    found = []
    for samples in (few, many.astype(dtype)):
        network = core("Network", dtype)([150, 20, 150], [_core.Activation.sigmoid] * 2)
        weights = np.random.default_rng(1)
        for layer, shape in enumerate([(150, 20), (20, 150)]):
            w, b = weights.normal(0, 0.01, shape), weights.normal(size=shape[1])
            network.set_parameters(layer, w.astype(dtype), b.astype(dtype))
        data = core_input(samples, dtype, "sparse")
        loss = _core.Loss.squared_error
        trainer = core_trainer(network, data, None, dtype=dtype, loss=loss, batch_size=chunk)
        out = trainer.new_gradient()
        trainer.gradient(np.arange(n_samples), first=0, out=out, n_threads=1)
        found.append(out.copy())
    np.testing.assert_array_equal(*found)


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


@pytest.mark.parametrize("n_chunks", [1, 5, 16, 100, 1024])
def test_processes_have_even_shares_of_few_nodes(n_chunks):
    for n in range(1, min(n_chunks, 130) + 1):
        own = shares(n_chunks, n)
        assert [at for one in own for at in one] == list(range(n_chunks))
        sizes = [len(one) for one in own]
        assert min(sizes) > 0
        assert max(sizes) <= -(-n_chunks // n) * 9 / 8
        most = max(len(list(nodes(one.start, one.stop, n_chunks))) for one in own)
        assert most <= (5 if n & (n - 1) or n_chunks & (n_chunks - 1) else 1)


# Processes


def test_the_same_bits_whatever_the_number_of_processes(together):
    [alone] = found(together, "same_bits", 1)
    for name, (_, far) in alone["kinds"].items():
        assert 0 < far < TOLERANCE.get(name, 1e-4), name  # another order of sums, no more
    bits = {name: bits for name, (bits, _) in alone["kinds"].items()}
    for n in (2, 3, 4):
        for one in found(together, "same_bits", n):
            assert {name: bits for name, (bits, _) in one["kinds"].items()} == bits
            assert one["rows read"] < 1.4 * alone["rows read"] / n  # its own share of batches


def test_what_cannot_be_shared_is_refused_before_anything_has_changed(together):
    first, second = found(together, "refused", 2)
    assert all(same for _, same in first + second)
    assert len(second) == len(first)
    others = "in all processes, got others in process 1 than in process 0"
    title = "autoencoder 1 (24 → 10): expected the same"
    for (message, _), start in zip(
        first,
        [
            "penalties: expected none that needs a whole batch at once, which no process of a",
            "penalties: expected none that needs a whole batch at once",
            "corruption: expected none that needs a whole batch at once",
            "batch_size: expected a chunk of 20 samples for each of 2 processes, got 20",
            f"{title} steps {others}",
            f"{title} callbacks with an `every` {others}",
            f"{title} sample_weight {others}",
            f"{title} state of the optimizer {others}",
            f"{title} parameters {others}",
            "5",  # the number that the first has
            "session: expected none that is open on this thread, got one",
            "session: expected none that is open on this thread, got one",
            "session: expected one that has not been entered yet, got one that has ended",
        ],
        strict=True,
    ):
        assert message.startswith(start)
    assert second[9][0] == "5"


def test_all_stop_where_one_does_and_what_writes_is_called_in_the_first_alone(together):
    first, second = found(together, "stop", 2)
    assert first[:2] == [4, [3, "end"]]
    assert second[:2] == [4, []]
    assert first[2] == second[2]
    assert first[2][-1] < 1000  # long before batches have to be drawn again


def test_processes_share_processors_unless_a_number_of_threads_is_given(together):
    for one in found(together, "processors", 2):
        assert one == [[3, 3, 5], [6], [6, 6, 5], [6]]


def test_where_one_process_dies_all_end_and_another_number_goes_on(together):
    (status, left), *_ = ended_in(together)
    assert status != 0
    assert "checkpoint.safetensors" in left  # and perhaps one that was being written
    assert found(together, "resumed", 3) == 3 * found(together / "alone", "resumed", 1)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", ["RuntimeError: out of luck"]),
        (
            "hang",
            [
                "stops",
                "timeout: process 0 of 2 has waited for 2 s, expected word of process 1, got none",
                "DistributedError: session: expected one that is open, got one that has ended: "
                "timeout: process 0 of 2 has waited",
            ],
        ),
        ("hang_at_the_end", ["stops", "has waited for 2 s, expected word of process 1, got none"]),
        (
            "raise_before",
            ["RuntimeError: no data", "has waited for 2 s, expected all 2 to enter a session"],
        ),
        ("exit_alone", []),
    ],
)
def test_where_one_process_fails_all_end(how, said, tmp_path):
    ended = work(2, tmp_path, how)
    assert ended.returncode == 1
    for words in said:
        assert words in ended.stdout + ended.stderr
    if how == "raise":
        assert "in process 1 of 2" in ended.stderr or sys.version_info < (3, 11)
        assert "DistributedError" not in ended.stderr  # the other has not waited in vain


def test_what_was_shared_does_not_go_on_unshared(together):
    checkpoint = sae_fast.RunCheckpoint(together / "alone", every=4)
    ae = sae_fast.Autoencoder(24, 10)
    with pytest.raises(sae_fast.CheckpointError, match=r"got chunk_size None where it has 20$"):
        ae.fit(X, steps=24, eval_every=5, callbacks=[checkpoint])


def test_the_command_line_begins_with_two_and_goes_on_with_one(tmp_path, together):
    """The first process speaks for both."""
    [bits] = found(together, "experiment", 1)
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
    begun = python(2, *run, "--distributed", "--dataset", "idx", "--data-dir", together, *network)
    assert (begun.returncode, begun.stdout.count("report.html are in")) == (0, 1)
    assert begun.stderr.count("whole run") == 1
    ended = python(1, *run, "--resume", "--finetune-steps", "20", "--quiet")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    for arm, expected in bits.items():
        net = sae_fast.load(tmp_path / f"model-{arm}.safetensors")
        assert digest(net.parameters) == expected


def test_one_that_fails_says_which_in_a_line(tmp_path, together):
    run = [*COMMAND, "--output", tmp_path, "--dataset", "idx", "--data-dir", together]
    done = python(2, *run, "--batch-size", "10", "--distributed", "--quiet")
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


def test_processes_that_do_not_share_a_run_are_told_how(tmp_path, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "1")
    with claimed_output(tmp_path, Path), pytest.raises(sae_fast.OutputError, match="--distributed"):
        claimed_output(tmp_path, Path).__enter__()


def test_without_mpi4py_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(sae_fast.DistributedError, match=r"pip install 'sae-fast\[mpi\]'$"):
        sae_fast.distributed.session()


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"chunk_size": 0}, {"timeout": "long"}])
def test_what_does_not_fit_is_refused(wrong):
    with pytest.raises(sae_fast.DataError, match=f"^{next(iter(wrong))}: "):
        sae_fast.distributed.session(**wrong)
