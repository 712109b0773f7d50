# SPDX-License-Identifier: BSD-3-Clause
"""What `docs/reliability.md` promises, tried at length: one module per row of its table."""
