# SPDX-License-Identifier: BSD-3-Clause
"""What a user sees in a notebook, run by a real kernel."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sae_fast
from fake_results import fake_run
from helpers import TIME_LIMIT
from sae_fast.base.text import Described

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
pretty = pytest.importorskip("IPython.lib.pretty").pretty

TRAIN = """
import numpy as np, sae_fast
x = np.random.default_rng(0).random((200, 12))
ae = sae_fast.Autoencoder(12, 4)
history = ae.fit(x, steps=100, eval_every=10, progress=True)
history
"""


def shown(*sources: str) -> list[list[dict[str, str]]]:
    """Return what each cell shows: each time, data by their kind."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=TIME_LIMIT, kernel_name="python3").execute()
    return [[out.get("data", {}) for out in cell.outputs] for cell in cells]


def kinds(outputs: list[dict[str, str]]) -> list[str]:
    return [kind for data in outputs for kind in data]


def test_results_and_figures_appear() -> None:
    training, model, figure, pyplots, summary = shown(
        TRAIN,
        "ae",
        "sae_fast.plot.plot_history(history)",
        "import matplotlib.pyplot as plt\nax = sae_fast.plot.plot_history(history)",
        "sae_fast.Autoencoder(12, 4).summary()",
    )
    assert "text/html" in kinds(training)
    assert "text/html" in kinds(model)
    assert kinds(figure).count("image/png") == 1
    assert kinds(pyplots).count("image/png") == 1
    assert summary == [{"text/plain": sae_fast.Autoencoder(12, 4).summary()}]


@pytest.mark.parametrize(
    "described",
    [
        sae_fast.Autoencoder(12, 4),
        sae_fast.StackedAutoencoder([12, 4], 3),
        sae_fast.History([10, 20], [90.0, 30.0]),
        fake_run(),
    ],
    ids=lambda described: type(described).__name__,
)
def test_summaries_are_shown_as_they_print(described: Described) -> None:
    summary = described.summary()
    assert pretty(summary) == str(summary)
    assert len(summary.splitlines()) > 3
    assert pickle.loads(pickle.dumps(summary)) == summary


def test_summaries_of_dead_units_are_shown_as_they_print() -> None:
    summary = sae_fast.Autoencoder(12, 4).summary(np.eye(12))
    assert "dead" in summary
    assert pretty(summary) == str(summary)
