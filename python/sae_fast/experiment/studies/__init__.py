# SPDX-License-Identifier: BSD-3-Clause
"""Many runs of the experiment, over seeds, arms and settings, and what may be concluded."""
