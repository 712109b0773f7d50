# SPDX-License-Identifier: BSD-3-Clause
"""The report: one file that loads nothing, says what came out, and escapes what it is given."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_results import fake_reconstruct, fake_run, fake_tuned
from sae_fast import cli
from sae_fast.experiment import report
from sae_fast.experiment.pictures import PICTURES
from sae_fast.experiment.save import ExperimentResult
from sae_fast.experiment.settings import ARMS, COMMANDS, Settings, options

VOID = {"meta", "img", "br", "link", "input"}
#: The start of a PNG file of 150 by 300 pixels, all that the report reads of it.
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x96\0\0\x01\x2c"


class Page(HTMLParser):
    """Reads a page, and fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.cells: dict[str, list[str]] = {}  # texts by tag
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)
            if self.open and data.strip():
                self.cells.setdefault(self.open[-1], []).append(data.replace("\xa0", " "))

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))  # no-break spaces too

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(result: ExperimentResult, folder: Path, *pictures: str) -> Page:
    files = {name: folder / f"{name}.png" for name in pictures}
    for name, file in files.items():
        file.write_bytes(PNG + name.encode())
    report.write_report(result, folder / "report.html", files)
    return Page((folder / "report.html").read_text("utf-8"))


def test_stands_alone(tmp_path: Path) -> None:
    page = page_of(fake_run(), tmp_path, *PICTURES)
    source = (tmp_path / "report.html").read_text("utf-8")
    assert not re.search(r"https?:|url\(|@import|<script|<link", source)
    for picture in page.all("img"):
        assert picture["src"].startswith("data:image/png;base64,")


def test_pictures_are_embedded_with_captions(tmp_path: Path) -> None:
    page = page_of(fake_run(), tmp_path, "accuracy", "weights")
    pictures = page.all("img")
    contents = [base64.b64decode(picture["src"].partition(",")[2]) for picture in pictures]
    assert contents == [PNG + b"accuracy", PNG + b"weights"]
    assert all(picture["alt"] for picture in pictures)
    assert (pictures[0]["width"], pictures[0]["height"]) == ("96", "192")
    assert len(page.all("figcaption")) == 2


def test_a_click_on_a_picture_shows_it_in_its_full_size(tmp_path: Path) -> None:
    page = page_of(fake_run(), tmp_path, "accuracy", "weights")
    source = (tmp_path / "report.html").read_text("utf-8")
    assert page.all("label") == [{"class": "picture"}] * 2
    assert page.all("input") == [{"type": "checkbox"}] * 2
    assert source.count('<label class="picture"><input type="checkbox"><img ') == 2
    assert re.search(r"\.picture { [^}]*overflow-x: auto", source)
    assert re.search(r"\.picture :checked \+ img { max-width: none", source)
    assert page.text.count("A tap or a click") == 1
    assert "A tap or a click" not in page_of(fake_run(), tmp_path).text


def test_cells_know_their_columns_where_a_phone_shows_cards(tmp_path: Path) -> None:
    result = fake_run()
    page = page_of(result, tmp_path)
    cells = [attributes.get("data-column") for tag, attributes in page.tags if tag in ("th", "td")]
    named = [column for table in result.tables() for row in table.rows for column in row]
    assert [column for column in cells if column] == named


def test_contains_the_numbers(tmp_path: Path) -> None:
    text = page_of(fake_run(), tmp_path).text
    for number in ("96.42 %", "11.35 %", "97.21 %", "2,400", "800", "0.00912", "0.00431", "45.2"):
        assert number in text
    assert "OpenBLAS" in text


@pytest.mark.parametrize("make", [fake_run, fake_tuned, fake_reconstruct])
def test_has_the_tables_of_the_summary(
    make: Callable[[], ExperimentResult], tmp_path: Path
) -> None:
    result = make()
    page = page_of(result, tmp_path)
    for table in result.tables():
        assert table.title in page.cells["caption"]
        for row in table.rows:
            assert {*row} <= {*page.cells["th"]}
            name, *values = row.values()
            assert name in page.cells["th"]
            assert {*values} <= {*page.cells["td"]}


def test_names_each_collapse_once(tmp_path: Path) -> None:
    text = page_of(fake_run(), tmp_path).text
    assert text.count("normal collapsed: 11.35 %, all 5 units of hidden layer 6 are dead") == 1
    assert text.count(" collapsed: ") == 1
    assert " collapsed: " not in page_of(fake_run(collapsed=()), tmp_path).text


def test_begins_with_the_verdict_and_the_curve(tmp_path: Path) -> None:
    page = page_of(fake_run(), tmp_path, *PICTURES)
    assert page.cells["h2"][:2] == ["Result", "Numbers"]
    assert page.cells["li"] == fake_run().verdicts
    tags = [tag for tag, _ in page.tags]
    assert tags.index("li") < tags.index("img") < tags.index("table")
    assert page.all("img")[0]["alt"] == PICTURES["accuracy"].alternative
    other = page_of(fake_reconstruct(), tmp_path, "pretraining", "reconstructions")
    assert other.all("img")[0]["alt"] == PICTURES["reconstructions"].alternative


def test_explains_its_words_before_it_shows_more(tmp_path: Path) -> None:
    result = fake_run()
    result.dataset["name"] = "strokes"
    source = page_of(result, tmp_path, "accuracy").text
    for words in (
        "Strokes are digits",
        "trained once for each arm",
        "normal: random hidden weights",
    ):
        assert source.index(words) < source.index(PICTURES["accuracy"].caption[:20])
    assert "Strokes" not in page_of(fake_run(), tmp_path).text


def test_publishes_no_path_of_this_machine(tmp_path: Path) -> None:
    result = fake_run()
    home = str(tmp_path)
    result.config |= {"dataset": "idx", "data_dir": f"{home}/data"}
    result.environment |= {"executable": f"{home}/bin/python", "mnist": home, "packages": {}}
    text = page_of(result, tmp_path).text
    assert home not in text
    assert "--data-dir DIR " in text
    assert "DIR stands for" in text
    result.config["data_dir"] = "data"
    assert "--data-dir data " in page_of(result, tmp_path).text


def test_owns_up_to_one_seed_where_arms_compare(tmp_path: Path) -> None:
    assert page_of(fake_run(), tmp_path).text.count("may be chance") == 1
    assert "may be chance" not in page_of(fake_reconstruct(), tmp_path).text


def test_explains_the_arms_it_has_and_no_others(tmp_path: Path) -> None:
    page = page_of(fake_run(("he",), ()), tmp_path)
    assert page.cells["dt"] == [*report.WORDS]
    assert f"he: {ARMS['he'].words}." in page.text
    assert ARMS["normal"].words not in page.text
    page = page_of(fake_reconstruct(), tmp_path)
    assert page.cells["dt"] == ["first loss", "dead"]
    assert "of a training, at the first evaluation, after step 100, not before it." in page.text


def test_says_that_all_layers_were_tuned(tmp_path: Path) -> None:
    assert report.TUNED not in page_of(fake_run(), tmp_path).text
    page = page_of(fake_tuned(), tmp_path)
    assert f"{ARMS['pretrained'].words}{report.TUNED}; normal: " in page.text
    assert page.text.count(report.TUNED) == 1
    assert "784 → 5 → 784" in page.cells["th"]
    assert "--pretrain-steps 3000 --tune-steps 3000 " in page.text


@pytest.mark.parametrize("make", [fake_run, fake_tuned, fake_reconstruct])
def test_says_nothing_twice(make: Callable[[], ExperimentResult], tmp_path: Path) -> None:
    page = page_of(make(), tmp_path, *PICTURES)
    sentences = re.findall(r"[A-Z][^.;:]{25,}[.;:]", page.text)
    assert len(sentences) > 10
    assert len(set(sentences)) == len(sentences)


def test_escapes_everything(tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>&$title'
    result = fake_run()
    result.dataset["name"] = evil
    result.config[evil] = evil
    result.environment = {evil: {evil: [evil]}}
    result.arms[evil] = result.arms.pop("he")
    result.reconstructions.rows[0] = (evil, *result.reconstructions.rows[0][1:])
    page = page_of(result, tmp_path)
    assert page.all("script") == []
    assert evil in page.text


def test_takes_a_name_that_is_no_unicode(tmp_path: Path) -> None:
    result = fake_run()
    result.config["data_dir"] = "/tmp/\udcff"
    report.write_report(result, tmp_path / "report.html", {})


def test_without_pictures_says_what_adds_them(tmp_path: Path) -> None:
    assert "pip install 'sae-fast[plot]'" in page_of(fake_run(), tmp_path).text


@pytest.mark.parametrize("make", [fake_run, fake_tuned, fake_reconstruct])
def test_is_structured(make: Callable[[], ExperimentResult], tmp_path: Path) -> None:
    page = page_of(make(), tmp_path)
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
    assert page.all("html")[0]["lang"] == "en"
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all(
        "meta"
    )
    assert all("scope" in cell for cell in page.all("th"))


class TestCommandLine:
    def test_run(self) -> None:
        assert report.command_line(fake_run()) == (
            "sae-fast run --dataset mnist --hidden 100,50,25,12,5,5 --arms pretrained,normal,he "
            "--pretrain-steps 3000 --finetune-steps 30000 --batch-size 100 --learning-rate 0.001 "
            "--eval-every 100 --seed 0"
        )

    def test_reconstruct(self) -> None:
        assert report.command_line(fake_reconstruct()) == (
            "sae-fast reconstruct --dataset mnist --units 100 --steps 3000 --weight-decay 0.1 "
            "--seed 0"
        )

    def test_quotes_for_the_shell(self) -> None:
        result = fake_run()
        result.config |= {"dataset": "idx", "data_dir": Path("my data; rm")}
        words = shlex.split(report.command_line(result))
        assert words[words.index("--dataset") + 1] == "idx"
        assert words[words.index("--data-dir") + 1] == "my data; rm"

    @pytest.mark.parametrize("kind", COMMANDS.values())
    def test_gives_the_settings_back(self, kind: type[Settings]) -> None:
        """The command line reads what the report has written of settings."""
        result = fake_run()
        result.command = kind.command
        names = {"activation": "sigmoid", "decoder": "sigmoid", "loss": "binary_cross_entropy"}
        chosen = {**names, "corruption": "masking:0.5", "optimizer": "sgd"}
        settings = kind(
            dataset="mnist", data_dir="my data", offline=True, threads=3, seed=5, **chosen
        )
        result.config = settings.config()
        words = shlex.split(report.command_line(result))
        read = vars(cli._parser().parse_args(words[1:]))
        again = kind(
            **{option.name: read[option.name] for option in options(kind) if option.name in read}
        )
        assert again.config() == result.config

    def test_none_for_data_from_python(self, tmp_path: Path) -> None:
        result = fake_run()
        result.config["dataset"] = result.dataset["name"] = "mine"
        assert report.command_line(result) is None
        assert "handed over in Python" in page_of(result, tmp_path).text
