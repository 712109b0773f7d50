# SPDX-License-Identifier: BSD-3-Clause
"""What an index says of the package: README.md, whose pictures and relative links break there.

Of a picture its alternative is left, of a link its text. scikit-build-core asks for it in builds.
"""

from __future__ import annotations

import re
from pathlib import Path


def describe(readme: str) -> str:
    """Return a page in Markdown without pictures and links that are relative."""
    readme = re.sub(r"!\[([^]]*)\]\([^:)]*\)", r"*\1.*", readme)
    return re.sub(r"\[([^]]*)\]\([^:)]*\)", r"\1", readme)


def dynamic_metadata(field: str, settings: object, project: object = None) -> dict[str, str]:
    """Return the field "readme"."""
    text = describe(Path("README.md").read_text(encoding="utf-8"))
    return {"content-type": "text/markdown", "text": text}
