# SPDX-License-Identifier: BSD-3-Clause
"""How a training goes from gradients to new parameters: what ``optimizer=`` takes.

A name stands for an object with default settings: ``"sgd"`` for ``SGD()``, and ``"adam"`` for
``Adam(form)``, whose form is what ``adam=`` says.
"""

from .training.optimizers import SGD, Adam

__all__ = ["SGD", "Adam"]
