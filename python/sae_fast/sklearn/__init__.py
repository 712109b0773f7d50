# SPDX-License-Identifier: BSD-3-Clause
"""Stacked autoencoders as scikit-learn estimators: one file for each, on top of `estimator`.

They translate scikit-learn's conventions (labels of any kind, random_state, tags) to those of
:class:`sae_fast.StackedAutoencoder`, which does the work and is there as `network_`.
"""

try:
    from sklearn.utils.validation import validate_data  # noqa: F401 (came with 1.6)
except ImportError as error:
    raise ImportError(
        f"sae_fast.sklearn: expected scikit-learn 1.6 or newer (pip install 'sae-fast[sklearn]'), "
        f"got {error}"
    ) from error

from .classifier import StackedAutoencoderClassifier
from .clustering import DeepEmbeddedClustering
from .detector import StackedAutoencoderOutlierDetector
from .regressor import StackedAutoencoderRegressor
from .transformer import StackedAutoencoderTransformer

__all__ = [
    "DeepEmbeddedClustering",
    "StackedAutoencoderClassifier",
    "StackedAutoencoderOutlierDetector",
    "StackedAutoencoderRegressor",
    "StackedAutoencoderTransformer",
]
