# SPDX-License-Identifier: BSD-3-Clause
"""What a training adds to its loss, beside weight decay: what ``penalties=`` takes, a list of them.

`L1` and `MaxNorm` are on weights, the others on the codes of an autoencoder. Those add up over the
samples of a batch, as losses do; the weight of a sample, where samples have weights, counts as so
many samples. Codes are those of the samples as the encoder reads them, noise included, before
dropout. Where a model reads samples in units of their own (`init` of
:class:`~sae_fast.Autoencoder`), penalties go by its weights in these. An evaluation on the samples
of the training includes them as it includes weight decay, one on an ``eval_set`` does not.
"""

from .training.penalties import L1, CodeL1, Contractive, KLSparsity, MaxNorm

__all__ = ["L1", "CodeL1", "Contractive", "KLSparsity", "MaxNorm"]
