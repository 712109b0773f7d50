# SPDX-License-Identifier: BSD-3-Clause
"""Runs of a study through every kind of executor: the same bits, whoever dies in between."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers import TIME_LIMIT
from sae_fast.experiment.studies import pools
from sae_fast.experiment.studies.executors import Failure, run_tasks
from study_work import marks, obey, tiny_context, train

HERE = Path(__file__).parent
TASKS = [(arm, seed) for seed in range(4) for arm in ("pretrained", "he")]


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> list:
    context = tiny_context(tmp_path_factory.mktemp("expected"))
    return [train(context, task) for task in TASKS]


def in_order(found) -> list:
    """Give outcomes by index, each of which came once."""
    found = sorted(found, key=lambda pair: pair[0])
    assert [index for index, _ in found] == list(range(len(found)))
    return [outcome for _, outcome in found]


@contextlib.contextmanager
def program(*command: str, **options) -> Iterator[subprocess.Popen]:
    """Run a program that finds the package and these tests, in a process group of its own."""
    paths = [str(HERE), *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [sys.executable, *command], env=environment, text=True, start_new_session=True, **options
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class TestSameBits:
    @pytest.mark.parametrize("executor", ["threads", "processes"])
    def test_by_name(self, executor, expected, tmp_path):
        found = run_tasks(TASKS, train, tiny_context(tmp_path), executor=executor, workers=2)
        assert in_order(found) == expected

    def test_executors_of_others(self, expected, tmp_path):
        """Threads share the context; processes of which nothing is known are sent it."""
        context = tiny_context(tmp_path)
        with ThreadPoolExecutor(2) as pool:
            assert in_order(run_tasks(TASKS, train, context, executor=pool)) == expected
        with ProcessPoolExecutor(1, pools.multiprocessing.get_context("spawn")) as pool:
            for _ in range(2):
                assert in_order(run_tasks(TASKS[:2], train, context, executor=pool)) == expected[:2]


class TestFailures:
    def test_what_a_run_raises_is_its_own_failure(self, tmp_path):
        found = in_order(run_tasks(["a", "raise", "b"], obey, tmp_path))
        assert found == ["A", Failure("ArithmeticError: a loss is NaN", 1), "B"]

    def test_a_run_that_kills_workers_is_given_up_and_no_other(self, tmp_path):
        """In chunks, then one by one, at last alone: nobody else is blamed, or computed for ever."""
        tasks = ["a", "b", "die", "c", "d", "e"]
        found = in_order(run_tasks(tasks, obey, tmp_path, executor="processes", workers=2, chunk=3))
        assert [outcome for outcome in found if outcome != found[2]] == ["A", "B", "C", "D", "E"]
        assert isinstance(found[2], Failure)
        assert (found[2].attempts, marks(tmp_path, "die")) == (3, 3)
        assert "terminated abruptly" in found[2].error


FOR_EVER = """
import sys
from pathlib import Path
from sae_fast.experiment.studies.executors import run_tasks
from study_work import tiny_context, train_for_ever
context = tiny_context(Path(sys.argv[1]), steps=10**9)
options = {"scheduler": sys.argv[3]} if len(sys.argv) > 3 else {"workers": 2}
tasks = [("he", seed) for seed in range(4)]
print(list(run_tasks(tasks, train_for_ever, context, executor=sys.argv[2], **options)))
"""


def until(condition, seconds: float = TIME_LIMIT):
    """Wait until a condition holds, and return what it gives."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends
        time.sleep(0.02)
    return found


def is_gone(group: int) -> bool:
    """Say whether a process group has no process any more, dead ones that wait aside."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.skipif(os.name == "nt", reason="this system has no process groups")
class TestTheEnd:
    @pytest.mark.parametrize(
        ("executor", "signum"),
        [
            ("threads", signal.SIGINT),
            ("processes", signal.SIGINT),
            ("processes", signal.SIGKILL),
        ],
    )
    def test_nothing_is_left(self, executor, signum, tmp_path):
        """Neither of Ctrl-C, also under python -c, nor if the process that hands out is killed."""
        with program("-c", FOR_EVER, str(tmp_path), executor, stderr=subprocess.PIPE) as process:
            until(lambda: marks(tmp_path, "begun") == 2)
            process.send_signal(signum)
            _, errors = process.communicate(timeout=10)
            until(lambda: is_gone(process.pid), 5)
        assert process.returncode == -signum
        assert errors.count("Traceback") == (signum == signal.SIGINT)
