# SPDX-License-Identifier: BSD-3-Clause
"""Stacked autoencoders, and small dense networks in general, trained fast on CPUs."""

from . import datasets
from ._core import build_config as _build_config
from .autoencoder import Autoencoder
from .errors import (
    CheckpointError,
    DataError,
    DatasetUnavailableError,
    DivergenceError,
    ModelFileError,
    OutputError,
    SaeFastError,
)
from .experiment import run_experiment, run_reconstruction
from .info import info
from .model_file import load
from .results import ArmResult, ExperimentResult, History, LayerResult, Reconstructions
from .stacked import StackedAutoencoder

__version__: str = _build_config()["version"]

__all__ = [
    "ArmResult",
    "Autoencoder",
    "CheckpointError",
    "DataError",
    "DatasetUnavailableError",
    "DivergenceError",
    "ExperimentResult",
    "History",
    "LayerResult",
    "ModelFileError",
    "OutputError",
    "Reconstructions",
    "SaeFastError",
    "StackedAutoencoder",
    "__version__",
    "datasets",
    "info",
    "load",
    "run_experiment",
    "run_reconstruction",
]
