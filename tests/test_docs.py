# SPDX-License-Identifier: BSD-3-Clause
"""The pages in docs/ keep what they say: their examples run, their pictures and links are there.

Blocks marked ``pycon`` are doctests, in one namespace for each page. Whether the site builds is for
`.ci/run` to find out. README and what else presents the project are held to the same.
"""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path

import pytest
import sae_fast
from helpers import assert_examples_run
from sae_fast import (
    callbacks,
    corruptions,
    datasets,
    distributed,
    errors,
    optimizers,
    penalties,
    plot,
    schedules,
    sklearn,
)
from sae_fast.experiment.settings import COMMANDS, flag, options

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```pycon\n(.*?)^```$", re.MULTILINE | re.DOTALL)


#: Links of Markdown: the file, "" for the page itself, and the heading.
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
WRITTEN = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "benchmarks/README.md")


def text_of(page):
    return (DOCS / page).read_text(encoding="utf-8")


def links():
    """Links between files of this repository: from where, to which file, to which heading."""
    for page in [*(ROOT / name for name in WRITTEN), *(DOCS / page for page in PAGES)]:
        for target, heading in LINK.findall(page.read_text(encoding="utf-8")):
            if "://" not in target:
                yield page, (page.parent / target if target else page), heading


def anchors(path):
    """What links may call the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


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


MODULES = (
    "activations",
    "callbacks",
    "corruptions",
    "datasets",
    "distributed",
    "optimizers",
    "penalties",
    "plot",
    "schedules",
    "sklearn",
)
WITH_EXAMPLES = [page for page in PAGES if "```pycon" in text_of(page)]


def test_there_are_pages_and_examples():
    assert len(PAGES) > 10
    assert len(WITH_EXAMPLES) >= 5


@pytest.mark.parametrize("page", WITH_EXAMPLES)
def test_examples(page, tmp_path, monkeypatch):
    for package in set(re.findall(r"^>>> (?:from|import) (\w+)", text_of(page), re.MULTILINE)):
        pytest.importorskip(package)
    test = doctest_of(page)
    assert test.examples
    monkeypatch.chdir(tmp_path)  # examples write models and logs
    assert_examples_run(test)


@pytest.mark.parametrize("page", PAGES)
def test_prompts_stand_in_blocks_that_run(page):
    rest = BLOCK.sub("", text_of(page))
    assert not re.search(r"^\s*>>> ", rest, re.MULTILINE)


@pytest.mark.parametrize("page", ["data.md", "settings.md", "troubleshooting.md"])
def test_every_block_of_code_runs(page):
    """These pages are read by who has to type something: nothing there is only shown."""
    languages = re.findall(r"^```(\w*)\n.*?^```$", text_of(page), re.MULTILINE | re.DOTALL)
    assert "pycon" in languages
    assert set(languages) <= {"pycon", "text"}


def test_links_to_files():
    found = list(links())
    assert len(found) > 50
    assert [link for link in found if not link[1].is_file()] == []


def test_links_to_headings():
    found = [link for link in links() if link[2]]
    assert len(found) > 5
    assert [link for link in found if link[2] not in anchors(link[1])] == []


def test_each_page_has_a_title_and_one_place_in_the_contents():
    contents = []
    for page in ("index.md", "api/index.md"):
        for block in re.findall(r"^```{toctree}\n(.*?)^```$", text_of(page), re.M | re.S):
            contents += [
                (DOCS / page).parent / name for name in re.findall(r"^[\w/-]+$", block, re.M)
            ]
    pages = {path.with_suffix("") for path in [*DOCS.rglob("*.md"), *DOCS.rglob("*.rst")]}
    assert sorted(contents) == sorted(pages - {DOCS / "index"})
    for page in PAGES:
        assert text_of(page).startswith(("# ", "```{include} ../")), page


def test_maintainers_pages_stand_apart():
    captions = dict(re.findall(r":caption: (.+)\n:hidden:\n\n([^`]+)", text_of("index.md")))
    *users, maintainers = captions
    assert maintainers == "For maintainers"
    assert {"contributing", "performance", "reliability"} <= set(captions[maintainers].split())
    assert "start" in captions[users[0]].split()


@pytest.mark.parametrize("word", ["arms?", "normal", "strokes"])
@pytest.mark.parametrize("page", ["README.md", "docs/start.md", "docs/experiment.md"])
def test_words_of_the_experiment_are_explained_where_they_come_first(page, word):
    """At its first use a word is set apart, and a sentence says what it is."""
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(
        r"```.*?```|`sae-fast[^`]*`|`--\w[^`]*`|!?\[[^]]*\]\([^)]*\)", "", text, flags=re.S
    )
    first = re.search(rf"(\W*)\b{word}\b(?! distribution)", text)
    assert first is None or first[1][-1:] in ("*", "`"), first


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
        ("distributed", distributed.__all__),
        ("optimizers", optimizers.__all__),
        ("penalties", penalties.__all__),
        ("schedules", schedules.__all__),
        ("errors", classes_in(errors)),
    ],
)
def test_the_reference_has_every_public_name(page, names):
    text = "".join(path.read_text(encoding="utf-8") for path in DOCS.glob(f"api/{page}.rst"))
    there = re.findall(r"^\.\. auto(?:class|function|exception):: (\w+)$", text, re.MULTILINE)
    assert names
    assert set(names) - set(there) == set()


def test_the_page_of_the_command_line_has_every_option_of_every_command():
    """Each command's own help, which `tests/test_cli.py` holds to the settings."""
    page = (DOCS / "command-line.md").read_text("utf-8")
    for command in COMMANDS:
        assert f":prog: sae-fast\n:path: {command}\n" in page
    named = set(re.findall(r"`(?:sae-fast \w+ )?(--[a-z-]+)", page))
    known = {flag(option.name) for kind in COMMANDS.values() for option in options(kind)}
    assert named <= known


def test_no_line_of_prose_begins_like_an_item_of_a_list():
    """Sphinx and Markdown would make a list of "K. He, ...", or of a line that begins "(1000)"."""
    item = re.compile(
        r"^[ >]*(?:\.\. \[\d+\] )?(?:\(?\d+\)|\([a-z]\)|[A-Z]\.|\d{2,}\.) .*", re.MULTILINE
    )
    paths = [*(ROOT / name for name in WRITTEN), *DOCS.rglob("*.md"), *ROOT.glob("python/**/*.py")]
    assert len(paths) > 60
    found = {path: item.search(path.read_text(encoding="utf-8")) for path in paths}
    assert {path: match[0] for path, match in found.items() if match} == {}


def test_what_presents_the_project_agrees():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)[1]
    assert f"\nversion: {version}\n" in citation
    author = re.search(r'^authors = \[{ name = "(.+)" }\]$', project, re.MULTILINE)[1]
    assert f"\nauthors:\n  - name: {author}\n" in citation
    assert author in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "\nlicense: BSD-3-Clause\n" in citation
    assert "\n  configuration: docs/conf.py\n" in (ROOT / ".readthedocs.yaml").read_text("utf-8")


def test_an_index_page_has_no_links_that_break_there():
    spec = importlib.util.spec_from_file_location("description", ROOT / "cmake" / "description.py")
    description = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(description)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'metadata.readme.provider = "description"' in project
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    page = description.describe(readme)
    assert re.search(r"\]\((?!https?://)", readme)
    assert not re.search(r"\]\((?!https?://)", page)
    kept = "[a](https://a.b/c.md), ![b](https://a.b/c.png)"
    assert description.describe(f"{kept}, [d](e.md), ![f](g.png)") == f"{kept}, d, *f.*"
    pictures = re.findall(r"!\[([^]]*)\]", readme)
    assert pictures
    assert all(f"\n*{alternative}.*\n" in page for alternative in pictures)
