# SPDX-License-Identifier: BSD-3-Clause
"""What a user sees in a notebook, run by a real kernel."""

from __future__ import annotations

import pytest
from helpers import TIME_LIMIT

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

TRAIN = """
import numpy as np, sae_fast
x = np.random.default_rng(0).random((200, 12))
ae = sae_fast.Autoencoder(12, 4)
history = ae.fit(x, steps=100, eval_every=10, progress=True)
history
"""


def shown(*sources: str) -> list[list[str]]:
    """Return the kinds of data that each cell shows."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=TIME_LIMIT, kernel_name="python3").execute()
    return [[kind for out in cell.outputs for kind in out.get("data", ())] for cell in cells]


def test_results_and_figures_appear() -> None:
    training, model, figure, pyplots = shown(
        TRAIN,
        "ae",
        "sae_fast.plot.plot_history(history)",
        "import matplotlib.pyplot as plt\nax = sae_fast.plot.plot_history(history)",
    )
    assert "text/html" in training
    assert "text/html" in model
    assert figure.count("image/png") == 1
    assert pyplots.count("image/png") == 1
