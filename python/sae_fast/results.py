# SPDX-License-Identifier: BSD-3-Clause
"""Where release 0.1.0 had `History`: its pickles name this module."""

from .training.history import History as History
