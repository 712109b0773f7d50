# SPDX-License-Identifier: BSD-3-Clause
"""How a training goes from gradients to new parameters: what ``optimizer=`` takes.

A name stands for an object with default settings: ``"adamw"`` for ``AdamW()``, ``"sgd"``,
``"rmsprop"``, and ``"adam"`` for ``Adam(form)``, whose form is what ``adam=`` says. How large steps
are, ``learning_rate=`` says: a number, or one of :mod:`sae_fast.schedules`.
"""

from .training.optimizers import SGD, Adam, AdamW, RMSprop

__all__ = ["SGD", "Adam", "AdamW", "RMSprop"]
