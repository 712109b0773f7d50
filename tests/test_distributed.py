# SPDX-License-Identifier: BSD-3-Clause
"""Trainings that processes of a real mpiexec share: the same bits, and how they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import TIME_LIMIT, mpiexec

HERE = Path(__file__).parent
TOLERANCE = {"tied": 1e-9}  # in float64


def work(n: int, folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """Run parts of `distributed_work.py` in so many processes."""
    command, environment = mpiexec()
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [command, "-n", str(n), sys.executable, HERE / "distributed_work.py", folder, *names],
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
    parts = found(1, tmp_path_factory.mktemp("alone"), "same_bits", "resumed")
    return [one for [one] in parts]


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[Any]:
    """Give what two processes find."""
    return found(2, tmp_path_factory.mktemp("two"), "same_bits", "refused", "stop")


def test_the_same_bits_whatever_the_number_of_processes(alone, two, tmp_path):
    for name, (_, far) in alone[0]["kinds"].items():
        assert 0 < far < TOLERANCE.get(name, 1e-4), name  # another order of sums, no more
    bits = {name: bits for name, (bits, _) in alone[0]["kinds"].items()}
    for n in (2, 3, 4):
        for one in two[0] if n == 2 else found(n, tmp_path, "same_bits")[0]:
            assert {name: bits for name, (bits, _) in one["kinds"].items()} == bits
            assert one["rows read"] < 1.4 * alone[0]["rows read"] / n  # its own share of batches


def test_what_cannot_be_shared_is_refused_before_anything_has_changed(two):
    first, second = two[1]
    assert all(same for _, same in first + second)
    for (message, _), start in zip(
        first,
        [
            "penalties: expected none that needs a whole batch at once, which no process of a",
            "penalties: expected none that needs a whole batch at once",
            "corruption: expected none that needs a whole batch at once",
            "batch_size: expected a chunk of 20 samples or more for each of 2 processes, got 20",
            "autoencoder 1 (24 → 10): expected the same steps in all processes, got others in "
            "process 1 than in process 0",
            "session: expected none that is open on this thread, got one",
        ],
        strict=True,
    ):
        assert message.startswith(start)
    assert len(second) == len(first)


def test_all_stop_where_one_does_and_what_writes_is_called_in_the_first_alone(two):
    assert two[2] == [[4, [3]], [4, []]]


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


def test_where_one_process_dies_all_end_and_another_number_goes_on(tmp_path, alone):
    ended = work(2, tmp_path, "die")
    assert ended.returncode != 0
    assert (tmp_path / "checkpoint.safetensors").exists()
    assert not [*tmp_path.glob("*.json")]  # none has got to the end
    assert found(3, tmp_path, "resumed") == [[alone[1]] * 3]
