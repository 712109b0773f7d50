# SPDX-License-Identifier: BSD-3-Clause
"""Models on their way elsewhere: files of our own, ONNX, PyTorch."""
