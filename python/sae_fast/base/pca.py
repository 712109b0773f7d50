# SPDX-License-Identifier: BSD-3-Clause
"""Principal component analysis: what the best linear code of the same width would leave.

The article remarks that an autoencoder amounts to a PCA with as many components; this is the
yardstick beside its reconstructions. From the covariance, so that no copy of the data is made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROWS = 4096  # converted to floating point at once


class PCA:
    """All principal components of `x` (n_samples, n_features), a factor `scale` on all values."""

    def __init__(self, x: NDArray[Any], scale: float = 1.0) -> None:
        n_samples, n_features = x.shape
        self._scale = scale
        self.mean: NDArray[np.float64] = x.mean(axis=0, dtype=np.float64) * scale
        covariance = np.zeros((n_features, n_features))
        for start in range(0, n_samples, _ROWS):
            rows = self._centered(x[start : start + _ROWS])
            covariance += rows.T @ rows
            del rows  # before the next are made
        # ascending eigenvalues; the eigenvectors are the columns
        self._variances, self._components = np.linalg.eigh(covariance / n_samples)

    def _centered(self, x: NDArray[Any]) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = np.multiply(x, self._scale, dtype=np.float32)
        rows -= self.mean.astype(np.float32)
        return rows

    def variance_shares(self, n_components: int) -> list[float]:
        """Return the share of the variance along each of the first `n_components`."""
        variances = self._variances[::-1].clip(min=0)
        shares: list[float] = (variances[:n_components] / (variances.sum() or 1)).tolist()
        return shares

    def transform(self, x: NDArray[Any], n_components: int) -> NDArray[np.float32]:
        """Return `x` along its first `n_components`, shape (n_samples, n_components)."""
        components = self._components[:, ::-1][:, :n_components].astype(np.float32)
        return self._centered(x) @ components

    def reconstruct(self, x: NDArray[Any], n_components: int) -> NDArray[np.float32]:
        """Return `x` (n_samples, n_features) through its first `n_components` and back."""
        components = self._components[:, -n_components:].astype(np.float32)
        images: NDArray[np.float32] = self._centered(x) @ components @ components.T
        return images + self.mean.astype(np.float32)

    def mean_squared_error(self, n_components: int) -> float:
        """Return the error per feature that `n_components` leave over the whole data set."""
        rest = self._variances[:-n_components].clip(min=0).sum()
        return float(rest / len(self._variances))
