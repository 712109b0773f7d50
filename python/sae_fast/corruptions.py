# SPDX-License-Identifier: BSD-3-Clause
"""Noise on the samples that an autoencoder reads: what ``corruption=`` takes."""

from .training.corruptions import Masking

__all__ = ["Masking"]
