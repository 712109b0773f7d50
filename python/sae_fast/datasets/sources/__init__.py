# SPDX-License-Identifier: BSD-3-Clause
"""Samples that are read from where they lie: one class for each kind of file."""

from .arrow import ArrowSource
from .files import ConcatenatedSource, SubsetSource, open_source
from .flat import CsrSource, FlatSource, SpilledSource
from .hdf5 import Hdf5Source
from .source import ArraySource, DataSource
from .zarr import ZarrSource

__all__ = [
    "ArraySource",
    "ArrowSource",
    "ConcatenatedSource",
    "CsrSource",
    "DataSource",
    "FlatSource",
    "Hdf5Source",
    "SpilledSource",
    "SubsetSource",
    "ZarrSource",
    "open_source",
]
