# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of networks and what they do, each drawn on one Axes, a given one or a new one.

matplotlib is imported when the first figure is made, and pyplot never. Where it has been imported,
a figure of ours is one of pyplot's and appears as those do; elsewhere figures need no display or
backend, leave no global state, and are freed with their last reference, and a notebook shows the
Axes that a cell ends with. Colours and fonts are those of the matplotlib style in use, dark ones
included, and nothing else of a user's settings; text is never TeX. Our own colours hold on both
grounds and never speak alone: a marker, a hatch, a number or a name says the same.
"""

from .curves import plot_accuracy, plot_dead_units, plot_history
from .groups import plot_codes, plot_confusion_matrix, plot_scores
from .images import plot_reconstructions, plot_weights

__all__ = [
    "plot_accuracy",
    "plot_codes",
    "plot_confusion_matrix",
    "plot_dead_units",
    "plot_history",
    "plot_reconstructions",
    "plot_scores",
    "plot_weights",
]
