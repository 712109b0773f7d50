# SPDX-License-Identifier: BSD-3-Clause
"""The compiled core, and what surrounds it: inputs, networks, the environment it runs in."""
