# SPDX-License-Identifier: BSD-3-Clause
"""How the learning rate goes with the steps: what ``learning_rate=`` takes beside a number.

A function of one's own does as well. It is called with how many steps have been taken before, 0 at
the first and counted on by ``continued=True``, and returns a number of at least 0; a stretch of
steps is asked for before it is taken. Schedules here can be called like that too. Checkpoints tell
functions apart by their qualified names alone: of two lambdas of one function, or of one that has
been changed, they see no difference.
"""

from .training.rates import Constant, Cosine, Exponential, Step

__all__ = ["Constant", "Cosine", "Exponential", "Step"]
