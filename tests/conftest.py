# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures that more than one test file uses."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ALL_THREADS = bool(os.environ.get("SAE_FAST_ALL_THREADS"))
if not ALL_THREADS:  # read as libraries are loaded, by that of OpenMP with our core
    os.environ.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")

from sae_fast import datasets  # noqa: E402
from sae_fast.base import threads  # noqa: E402

# what a script starts in its background ignores Ctrl-C, and so would the programs of the tests
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models take one thread, unless a test names another number, as all those of threads do.

    Two that train such small networks wait for each other at each step, and where other programs
    use the processors too, they wait five times as long; so do those of NumPy's BLAS and PyTorch.
    `SAE_FAST_ALL_THREADS` leaves the defaults.
    """
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        if not ALL_THREADS:
            patch.setattr(threads, "available_threads", lambda: 1)
            with contextlib.suppress(ImportError):
                import threadpoolctl

                stack.enter_context(threadpoolctl.threadpool_limits(1, user_api="blas"))
        yield


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Folder of the real MNIST files; never downloaded by the tests."""
    folder = datasets.locate_mnist()
    if folder is None:
        if os.environ.get("SAE_FAST_REQUIRE_MNIST"):
            pytest.fail("MNIST is required (SAE_FAST_REQUIRE_MNIST) but was not found")
        pytest.skip(
            "MNIST is not on this machine: set SAE_FAST_DATA_DIR to the folder of its four IDX "
            "files, or run sae_fast.datasets.load_mnist() once to put them into the user cache"
        )
    return folder


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if matplotlib were not installed: most tests are not about pictures, which take time."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
