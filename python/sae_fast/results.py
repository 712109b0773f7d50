# SPDX-License-Identifier: BSD-3-Clause
"""Where release 0.1.0 had results: its pickles name this module."""

from .experiment.results import ArmResult, LayerResult, Reconstructions
from .experiment.save import ExperimentResult
from .training.history import History

__all__ = ["ArmResult", "ExperimentResult", "History", "LayerResult", "Reconstructions"]
