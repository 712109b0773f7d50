# SPDX-License-Identifier: BSD-3-Clause
# The compiled core, as cpp/bindings registers it. Kept by hand; checked by stubtest and
# tests/test_stub.py. The kernels, for tests and benchmarks alone, have no types.
import enum
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

class Layout(enum.Enum):
    automatic = ...
    dense = ...
    sparse = ...

class Activation(enum.Enum):
    identity = ...
    relu = ...

class Loss(enum.Enum):
    squared_error = ...
    cross_entropy = ...
    article = ...

class AdamForm(enum.Enum):
    tf1 = ...
    torch = ...

class Input_float32:
    def __init__(
        self, x: NDArray[Any], *, scale: float, layout: Layout, n_threads: int
    ) -> None: ...
    @staticmethod
    def from_csr(
        indptr: NDArray[Any],
        indices: NDArray[Any],
        data: NDArray[Any],
        n_features: int,
        *,
        scale: float,
        n_threads: int,
    ) -> Input_float32: ...
    @property
    def n_samples(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def n_nonzero(self) -> int: ...
    @property
    def sparse(self) -> bool: ...
    def rows(self, first: int, last: int) -> NDArray[np.float32]: ...

class Input_float64:
    def __init__(
        self, x: NDArray[Any], *, scale: float, layout: Layout, n_threads: int
    ) -> None: ...
    @staticmethod
    def from_csr(
        indptr: NDArray[Any],
        indices: NDArray[Any],
        data: NDArray[Any],
        n_features: int,
        *,
        scale: float,
        n_threads: int,
    ) -> Input_float64: ...
    @property
    def n_samples(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def n_nonzero(self) -> int: ...
    @property
    def sparse(self) -> bool: ...
    def rows(self, first: int, last: int) -> NDArray[np.float64]: ...

class Network_float32:
    def __init__(self, sizes: Sequence[int], activations: Sequence[Activation]) -> None: ...
    def set_parameters(
        self, layer: int, w: NDArray[np.float32], b: NDArray[np.float32]
    ) -> None: ...
    def get_parameters(self, layer: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
    def finite(self) -> bool: ...
    def uses_blas(self) -> bool: ...
    def predict(
        self,
        x: Input_float32,
        *,
        first_layer: int,
        last_layer: int,
        softmax: bool,
        n_threads: int,
    ) -> NDArray[np.float32]: ...
    def classify(self, x: Input_float32, *, n_threads: int) -> NDArray[np.int64]: ...
    def count_dead_units(self, x: Input_float32, *, n_threads: int) -> list[int]: ...

class Network_float64:
    def __init__(self, sizes: Sequence[int], activations: Sequence[Activation]) -> None: ...
    def set_parameters(
        self, layer: int, w: NDArray[np.float64], b: NDArray[np.float64]
    ) -> None: ...
    def get_parameters(self, layer: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
    def finite(self) -> bool: ...
    def uses_blas(self) -> bool: ...
    def predict(
        self,
        x: Input_float64,
        *,
        first_layer: int,
        last_layer: int,
        softmax: bool,
        n_threads: int,
    ) -> NDArray[np.float64]: ...
    def classify(self, x: Input_float64, *, n_threads: int) -> NDArray[np.int64]: ...
    def count_dead_units(self, x: Input_float64, *, n_threads: int) -> list[int]: ...

class Moments_float32:
    def __init__(self, network: Network_float32) -> None: ...
    @property
    def steps_done(self) -> int: ...
    def get_state(self) -> tuple[NDArray[np.float32], NDArray[np.float32], int]: ...
    def set_state(
        self, m: NDArray[np.float32], v: NDArray[np.float32], steps_done: int
    ) -> None: ...

class Trainer_float32:
    def __init__(
        self,
        network: Network_float32,
        moments: Moments_float32,
        input: Input_float32,
        labels: NDArray[np.int64] | None,
        weights: NDArray[np.float32] | None,
        *,
        loss: Loss,
        batch_size: int,
        adam: AdamForm,
        learning_rate: float,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float,
    ) -> None: ...
    def run(self, batches: NDArray[np.int64], *, max_seconds: float, n_threads: int) -> int: ...
    def save_state(self) -> None: ...
    def restore_state(self) -> None: ...

class Moments_float64:
    def __init__(self, network: Network_float64) -> None: ...
    @property
    def steps_done(self) -> int: ...
    def get_state(self) -> tuple[NDArray[np.float64], NDArray[np.float64], int]: ...
    def set_state(
        self, m: NDArray[np.float64], v: NDArray[np.float64], steps_done: int
    ) -> None: ...

class Trainer_float64:
    def __init__(
        self,
        network: Network_float64,
        moments: Moments_float64,
        input: Input_float64,
        labels: NDArray[np.int64] | None,
        weights: NDArray[np.float64] | None,
        *,
        loss: Loss,
        batch_size: int,
        adam: AdamForm,
        learning_rate: float,
        beta1: float,
        beta2: float,
        epsilon: float,
        weight_decay: float,
    ) -> None: ...
    def run(self, batches: NDArray[np.int64], *, max_seconds: float, n_threads: int) -> int: ...
    def save_state(self) -> None: ...
    def restore_state(self) -> None: ...

def evaluate(
    network: Network_float32 | Network_float64,
    x: Input_float32 | Input_float64,
    labels: NDArray[np.int64] | None,
    *,
    loss: Loss,
    weight_decay: float,
    n_threads: int,
) -> tuple[float, int]: ...
def squared_errors(
    network: Network_float32 | Network_float64,
    x: Input_float32 | Input_float64,
    *,
    n_threads: int,
) -> NDArray[np.float64]: ...
def build_config() -> dict[str, Any]: ...

kernels_float32: ModuleType
kernels_float64: ModuleType
