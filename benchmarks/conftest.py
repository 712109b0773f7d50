# SPDX-License-Identifier: BSD-3-Clause
"""What pytest says above its timings."""

from machine import describe, facts


def pytest_report_header() -> str:
    return describe(facts())
