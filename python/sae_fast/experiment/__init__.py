# SPDX-License-Identifier: BSD-3-Clause
"""The article's experiments: settings, arms, results, report and pictures."""
