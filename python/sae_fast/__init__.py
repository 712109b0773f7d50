# SPDX-License-Identifier: BSD-3-Clause
"""Stacked autoencoders, and small dense networks in general, trained fast on CPUs.

Importing the package loads the compiled core, which fails at once if it cannot run on this
processor; everything else, NumPy included, is loaded with the first name that needs it.
"""

import importlib
import sys

try:
    from ._core import build_config as _build_config
except ImportError as error:
    started = sys.orig_argv[-len(sys.argv)].replace("\\", "/")  # the script or module that runs
    if started.rpartition("/")[2] in ("sae_fast", "sae-fast", "sae-fast.exe"):
        raise SystemExit(f"sae-fast: {error}") from None
    raise

TYPE_CHECKING = False  # typing's own costs an import
if TYPE_CHECKING:
    from . import (
        activations,
        callbacks,
        corruptions,
        datasets,
        distributed,
        optimizers,
        penalties,
        plot,
        schedules,
    )
    from .core.environment import info
    from .errors import (
        CheckpointError,
        DataError,
        DatasetUnavailableError,
        DeadUnitWarning,
        DistributedError,
        DivergenceError,
        EmptyClusterWarning,
        ExecutorError,
        ModelFileError,
        OutputError,
        SaeFastError,
        SaeFastWarning,
        ScaleWarning,
        UnlabelledWarning,
        UntrainedWarning,
    )
    from .experiment.results import ArmResult, LayerResult, Reconstructions, TuningResult
    from .experiment.run import run_experiment, run_reconstruction
    from .experiment.save import ExperimentResult
    from .experiment.studies.save import StudyResult
    from .experiment.studies.study import run_study
    from .models import Autoencoder, StackedAutoencoder, load
    from .training.checkpoint import RunCheckpoint
    from .training.history import History

__version__: str = _build_config()["version"]

__all__ = [
    "ArmResult",
    "Autoencoder",
    "CheckpointError",
    "DataError",
    "DatasetUnavailableError",
    "DeadUnitWarning",
    "DistributedError",
    "DivergenceError",
    "EmptyClusterWarning",
    "ExecutorError",
    "ExperimentResult",
    "History",
    "LayerResult",
    "ModelFileError",
    "OutputError",
    "Reconstructions",
    "RunCheckpoint",
    "SaeFastError",
    "SaeFastWarning",
    "ScaleWarning",
    "StackedAutoencoder",
    "StudyResult",
    "TuningResult",
    "UnlabelledWarning",
    "UntrainedWarning",
    "__version__",
    "activations",
    "callbacks",
    "corruptions",
    "datasets",
    "distributed",
    "info",
    "load",
    "optimizers",
    "penalties",
    "plot",
    "run_experiment",
    "run_reconstruction",
    "run_study",
    "schedules",
]

#: Where each public name lives; modules stand for themselves.
_HOMES = {
    "Autoencoder": "models",
    "ExperimentResult": "experiment.save",
    "History": "training.history",
    "RunCheckpoint": "training.checkpoint",
    "StackedAutoencoder": "models",
    "info": "core.environment",
    "load": "models",
    "run_experiment": "experiment.run",
    "run_reconstruction": "experiment.run",
    "run_study": "experiment.studies.study",
    "StudyResult": "experiment.studies.save",
    **dict.fromkeys(
        ("ArmResult", "LayerResult", "Reconstructions", "TuningResult"), "experiment.results"
    ),
    **dict.fromkeys((name for name in __all__ if name.endswith(("Error", "Warning"))), "errors"),
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used."""
    if name in _HOMES:
        value: object = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    elif name in __all__:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
