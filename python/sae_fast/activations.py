# SPDX-License-Identifier: BSD-3-Clause
"""The activations of layers: their names, and objects where there are numbers beside one."""

from .core.activations import ACTIVATIONS, TopK

__all__ = ["NAMES", "TopK"]

#: What `activation=` and `output=` may be.
NAMES = tuple(ACTIVATIONS)
