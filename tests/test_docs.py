# SPDX-License-Identifier: BSD-3-Clause
"""The pages in docs/ keep what they say: their examples run, their pictures and links are there.

Blocks marked ``pycon`` are doctests, in one namespace for each page. Whether the site builds is for
`.ci/run` to find out.
"""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
import sae_fast
from helpers import assert_examples_run
from sae_fast import callbacks, corruptions, datasets, errors, optimizers, plot, sklearn

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```pycon\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text_of(page):
    return (DOCS / page).read_text(encoding="utf-8")


def doctest_of(page):
    """All examples of a page as one test, each at its own line."""
    text = text_of(page)
    lines = [""] * text.count("\n")
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        found = block[1].split("\n")[:-1]
        lines[first : first + len(found)] = found
    source = "\n".join(lines)
    return doctest.DocTestParser().get_doctest(source, {}, page, str(DOCS / page), 0)


def classes_in(module):
    """Names of a module's public classes."""
    return [
        name for name, value in vars(module).items() if isinstance(value, type) and name[0] != "_"
    ]


MODULES = ("activations", "callbacks", "corruptions", "datasets", "optimizers", "plot", "sklearn")
WITH_EXAMPLES = [page for page in PAGES if "```pycon" in text_of(page)]


def test_there_are_pages_and_examples():
    assert len(PAGES) > 10
    assert len(WITH_EXAMPLES) >= 5


@pytest.mark.parametrize("page", WITH_EXAMPLES)
def test_examples(page, tmp_path, monkeypatch):
    if "sklearn" in text_of(page):
        pytest.importorskip("sklearn")
    test = doctest_of(page)
    assert test.examples
    monkeypatch.chdir(tmp_path)  # examples write models and logs
    assert_examples_run(test)


@pytest.mark.parametrize("page", PAGES)
def test_prompts_stand_in_blocks_that_run(page):
    rest = BLOCK.sub("", text_of(page))
    assert not re.search(r"^\s*>>> ", rest, re.MULTILINE)


def test_links_to_files():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(DOCS / page for page in PAGES)]
    targets = {
        page.parent / target
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if "://" not in target
    }
    assert len(targets) > 10
    assert {target for target in targets if not target.is_file()} == set()


def test_pictures_are_small_and_used():
    text = "".join(map(text_of, PAGES))
    pictures = sorted((DOCS / "pictures").iterdir())
    assert pictures
    for picture in pictures:
        assert picture.stat().st_size < 100_000, picture
        assert f"](pictures/{picture.name})" in text


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("*", [name for name in sae_fast.__all__ if name not in ("__version__", *MODULES)]),
        ("plot", plot.__all__),
        ("sklearn", sklearn.__all__),
        ("datasets", [name for name in datasets.__all__ if name != "Name"]),
        ("callbacks", [name for name in callbacks.__all__ if name != "CallbackOption"]),
        ("corruptions", corruptions.__all__),
        ("optimizers", optimizers.__all__),
        ("errors", classes_in(errors)),
    ],
)
def test_the_reference_has_every_public_name(page, names):
    text = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob(f"api/{page}.rst"))
    there = re.findall(r"^\.\. auto(?:class|function|exception):: (\w+)$", text, re.MULTILINE)
    assert names
    assert set(names) - set(there) == set()
