# SPDX-License-Identifier: BSD-3-Clause
"""Data sets: read, downloaded or drawn, as NumPy arrays.

Pure Python and NumPy, so that data can be had and looked at without the compiled core.
"""

from .catalog import DatasetFallbackWarning, Name, load
from .dataset import Dataset, DatasetLabelsWarning
from .idx import load_idx, read_idx
from .mnist import load_mnist, locate_mnist
from .strokes import load_strokes

__all__ = [
    "Dataset",
    "DatasetFallbackWarning",
    "DatasetLabelsWarning",
    "Name",
    "load",
    "load_idx",
    "load_mnist",
    "load_strokes",
    "locate_mnist",
    "read_idx",
]
