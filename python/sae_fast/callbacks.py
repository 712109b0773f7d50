# SPDX-License-Identifier: BSD-3-Clause
"""What watches a training, and may stop it: bars, logs, early stopping, functions of your own.

A callback is called between native calls, on the thread that trains, so that it may read and even
assign the model's parameters. If one raises, training ends there with the model as the last whole
step left it, every callback's `on_stop` is called, and the exception reaches the caller.
"""

from .training.callbacks import (
    Callback,
    CallbackOption,
    Checkpoint,
    EarlyStopping,
    JsonLinesLog,
    ProgressBar,
    TensorBoard,
    Training,
)

__all__ = [
    "Callback",
    "CallbackOption",
    "Checkpoint",
    "EarlyStopping",
    "JsonLinesLog",
    "ProgressBar",
    "TensorBoard",
    "Training",
]
