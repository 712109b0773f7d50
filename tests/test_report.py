# SPDX-License-Identifier: BSD-3-Clause
"""The report: one file that loads nothing, says what came out, and escapes what it is given."""

from __future__ import annotations

import base64
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_results import fake_reconstruct, fake_run
from sae_fast.experiment import report
from sae_fast.experiment.results import ExperimentResult

VOID = {"meta", "img", "br", "link"}
#: The start of a PNG file of 150 by 300 pixels, all that the report reads of it.
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x96\0\0\x01\x2c"


class Page(HTMLParser):
    """Reads a page, and fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
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

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(result: ExperimentResult, folder: Path, *pictures: str) -> Page:
    files = {name: folder / f"{name}.png" for name in pictures}
    for name, file in files.items():
        file.write_bytes(PNG + name.encode())
    report.write_report(result, folder / "report.html", files)
    return Page((folder / "report.html").read_text("utf-8"))


def test_stands_alone(tmp_path: Path) -> None:
    page = page_of(fake_run(), tmp_path, *report.CAPTIONS)
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


def test_contains_the_numbers(tmp_path: Path) -> None:
    text = page_of(fake_run(), tmp_path).text
    for number in ("96.42 %", "11.35 %", "97.21 %", "2,400", "800", "0.00912", "0.00431", "45.2"):
        assert number in text
    assert "OpenBLAS" in text


def test_states_lead_speed_collapse_and_seed() -> None:
    text = " ".join(report.statement(fake_run()))
    assert (
        "“he” has 97.21 % of 10,000 test samples right, 0.79 points ahead of “pretrained”" in text
    )
    assert "by “he” at step 800 and by “pretrained” at step 2,400, never by “normal”" in text
    assert "“normal” collapsed: 11.35 %, all 5 units of hidden layer 6 are dead" in text
    assert "one seed" in text
    assert "may be chance" not in text


def test_owns_up_to_a_lead_within_chance() -> None:
    result = fake_run(("pretrained", "normal"), ())
    result.arms["normal"].test_accuracy[-1] = 0.9627
    text = " ".join(report.statement(result))
    assert "0.15 points ahead" in text
    assert "a lead this small over “normal” may be chance" in text


def test_equal_arms_are_level() -> None:
    result = fake_run(("normal", "he"), ("normal", "he"))
    text = " ".join(report.statement(result))
    assert "level with" in text
    assert "0.00 points" not in text
    assert "reached by none" in text


def test_one_arm_one_point_says_nothing_of_speed() -> None:
    text = " ".join(report.statement(fake_run(("normal",), (), n_points=1)))
    assert text.startswith("One network")
    assert "reached" not in text
    assert "change places" not in text


def test_reconstruct_compares_with_pca(tmp_path: Path) -> None:
    text = page_of(fake_reconstruct(), tmp_path).text
    assert "compresses 784 numbers into 100" in text
    assert "autoencoder 0.00912 and PCA 0.00431. Closest to the originals is PCA." in text
    assert "collapsed" not in text


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


@pytest.mark.parametrize("make", [fake_run, fake_reconstruct])
def test_is_structured(make: type[ExperimentResult], tmp_path: Path) -> None:
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
        assert words[2:6] == ["--dataset", "idx", "--data-dir", "my data; rm"]

    def test_none_for_data_from_python(self, tmp_path: Path) -> None:
        result = fake_run()
        result.config["dataset"] = result.dataset["name"] = "mine"
        assert report.command_line(result) is None
        assert "handed over in Python" in page_of(result, tmp_path).text
