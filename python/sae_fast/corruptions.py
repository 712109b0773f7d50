# SPDX-License-Identifier: BSD-3-Clause
"""Noise on the samples that an autoencoder reads: what ``corruption=`` takes."""

from .training.corruptions import Gaussian, Masking, SaltAndPepper, Swap

__all__ = ["Gaussian", "Masking", "SaltAndPepper", "Swap"]
