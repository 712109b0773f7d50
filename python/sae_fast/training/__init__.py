# SPDX-License-Identifier: BSD-3-Clause
"""How a model is trained: objective, optimizer, schedule, loop, callbacks, checkpoints."""
