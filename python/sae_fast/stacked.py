# SPDX-License-Identifier: BSD-3-Clause
"""Where release 0.1.0 had `StackedAutoencoder`: its pickles name this module."""

from .models import StackedAutoencoder as StackedAutoencoder
