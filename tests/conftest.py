# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures that more than one test file uses."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from sae_fast import datasets


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
