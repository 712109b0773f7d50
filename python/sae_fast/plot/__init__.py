# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of networks and what they do, each drawn on one Axes, a given one or a new one.

matplotlib is imported when the first figure is made, and pyplot never: figures need no display,
leave no global state, and are freed with their last reference. Text and background are those of
the matplotlib style in use, dark ones included; colours hold on both and never speak alone:
a marker, a hatch, a number or a name says the same.
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
