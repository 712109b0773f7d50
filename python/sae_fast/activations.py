# SPDX-License-Identifier: BSD-3-Clause
"""The activations of layers, by name."""

from .core.activations import ACTIVATIONS

__all__ = ["NAMES"]

#: What `activation=` and `output=` may be.
NAMES = tuple(ACTIVATIONS)
