# SPDX-License-Identifier: BSD-3-Clause
"""The models: an autoencoder, and a stack of them under a softmax layer."""
