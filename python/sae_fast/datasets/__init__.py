# SPDX-License-Identifier: BSD-3-Clause
"""Data sets: read, downloaded or drawn, as NumPy arrays; and sources, of what memory cannot hold.

Without the compiled core, so that data can be had and looked at without it.
"""

from .catalog import DatasetFallbackWarning, Name, load
from .dataset import Dataset, DatasetLabelsWarning
from .idx import load_idx, read_idx
from .mnist import load_mnist, locate_mnist
from .sources import (
    ArraySource,
    ArrowSource,
    ConcatenatedSource,
    CsrSource,
    DataSource,
    FlatSource,
    Hdf5Source,
    SubsetSource,
    ZarrSource,
    open_source,
)
from .strokes import load_strokes

__all__ = [
    "ArraySource",
    "ArrowSource",
    "ConcatenatedSource",
    "CsrSource",
    "DataSource",
    "Dataset",
    "DatasetFallbackWarning",
    "DatasetLabelsWarning",
    "FlatSource",
    "Hdf5Source",
    "Name",
    "SubsetSource",
    "ZarrSource",
    "load",
    "load_idx",
    "load_mnist",
    "load_strokes",
    "locate_mnist",
    "open_source",
    "read_idx",
]
