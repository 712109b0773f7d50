# SPDX-License-Identifier: BSD-3-Clause
"""Runs of a study through every kind of executor: the same bits, whoever dies in between."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers import TIME_LIMIT
from sae_fast import DataError, ExecutorError
from sae_fast.experiment.studies import pools, worker
from sae_fast.experiment.studies.executors import Failure, run_tasks
from study_work import marks, obey, tiny_context, train, train_and_die_once

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
