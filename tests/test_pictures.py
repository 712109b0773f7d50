# SPDX-License-Identifier: BSD-3-Clause
"""The pictures of a run: which there are, what each shows, and that any numbers can be drawn."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from fake_results import fake_layers, fake_reconstruct, fake_reconstructions, fake_run
from sae_fast.experiment import pictures
from sae_fast.plot.axes import ARM_STYLES, DPI

image = pytest.importorskip("matplotlib.image")

RUN = ["accuracy", "confusion", "dead_units", "codes", "reconstructions", "pretraining", "weights"]


def decode(file: Path) -> np.ndarray:
    """Read a PNG back, at least 300 by 200 pixels and not blank."""
    pixels = image.imread(file)
    height, width = pixels.shape[:2]
    assert width >= 300
    assert height >= 200
    assert pixels[..., :3].std() > 0.02
    return pixels


@pytest.fixture(scope="module")
def run_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.pyplot", None)  # its import would fail
        return pictures.save_pictures(fake_run(), tmp_path_factory.mktemp("run"))


class TestSavePictures:
    def test_run_without_pyplot(self, run_files: dict[str, Path]) -> None:
        files = run_files
        assert list(files) == RUN
        assert list(files) == list(pictures.PICTURES)
        shapes = {name: decode(file).shape for name, file in files.items()}
        height, width = shapes["accuracy"][:2]
        assert width == pytest.approx(6.4 * DPI, rel=0.05)
        assert height == pytest.approx(4.2 * DPI, rel=0.05)
        assert sum(file.stat().st_size for file in files.values()) < 1_500_000

    def test_one_that_cannot_be_drawn(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Is a warning, and takes no other with it."""

        def fail(_: object) -> None:
            raise RuntimeError("latex could not be found")

        broken = pictures.PICTURES["codes"]._replace(draw=fail)
        monkeypatch.setitem(pictures.PICTURES, "codes", broken)
        with pytest.warns(UserWarning, match="^pictures: codes not drawn: latex could not be"):
            files = pictures.save_pictures(fake_reconstruct(), tmp_path)
        assert list(files) == ["reconstructions", "pretraining", "weights"]

    def test_only_what_there_is(self, tmp_path: Path) -> None:
        result = fake_reconstruct()
        result.reconstructions = None
        assert list(pictures.save_pictures(result, tmp_path)) == ["codes", "pretraining", "weights"]


class TestConfusion:
    @pytest.mark.parametrize("arms", [("he",), ("pretrained", "normal"), tuple(ARM_STYLES)])
    def test_panel_per_arm(self, arms: tuple[str, ...]) -> None:
        result = fake_run(arms)
        panels = [ax for ax in pictures.draw_confusion(result).axes if ax.axison]
        for ax, (arm, y_pred) in zip(panels, result.predictions.items(), strict=True):
            right = 100 * np.mean(y_pred == result.y_test)
            assert ax.get_title() == f"{arm}: {right:.2f} % of 500 right"

    def test_all_arms_show_all_classes(self) -> None:
        result = fake_run()
        result.y_test = result.y_test % 3
        result.predictions = {"he": result.y_test % 2, "normal": result.y_test}
        for ax in pictures.draw_confusion(result).axes:
            assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "1", "2"]


class TestCodes:
    def test_panel_for_each_one_legend(self) -> None:
        result = fake_run()
        result.codes = {"before": result.codes["pretrained"], "after": np.zeros((300, 1))}
        before, after = pictures.draw_codes(result).axes
        assert (before.get_title(), after.get_title()) == ("before", "after")
        assert before.get_legend() is None
        assert len(after.get_legend().get_texts()) == 10
        assert sum(len(group.get_offsets()) for group in before.collections) == 500
        assert sum(len(group.get_offsets()) for group in after.collections) == 300

    def test_without_classes(self) -> None:
        result = fake_reconstruct()
        result.y_test = None
        (ax,) = pictures.draw_codes(result).axes
        assert ax.get_legend() is None
        assert len(ax.texts) == 0


class TestPretraining:
    @pytest.mark.parametrize("n_layers", [1, 4])
    def test_panel_per_layer(self, n_layers: int, tmp_path: Path) -> None:
        result = fake_run()
        result.pretraining = fake_layers()[:n_layers]
        figure = pictures.draw_pretraining(result)
        panels = [ax for ax in figure.axes if ax.axison]
        assert len(panels) == n_layers
        figure.savefig(tmp_path / "picture.png")

    def test_layers_without_steps_have_no_panel(self) -> None:
        result = fake_run()
        for layer in result.pretraining[1:]:
            layer.steps, layer.loss = [], []
        figure = pictures.draw_pretraining(result)
        assert [ax.get_title("left") for ax in figure.axes] == ["1: 784 → 100"]
        assert [row["last loss"] for row in result.tables()[0].rows[1:]] == ["-"] * 5
        result.pretraining = result.pretraining[1:]
        assert not getattr(result, pictures.PICTURES["pretraining"].shows)

    def test_titles_name_layer_and_dead_units(self) -> None:
        ax = pictures.draw_pretraining(fake_run()).axes[0]
        assert ax.get_title("left") == "1: 784 → 100"
        assert ax.get_title("right") == "15 of 100 dead"

    def test_curves_are_whole(self) -> None:
        result = fake_run()
        result.pretraining[2].loss = [238_000.0, 235_000.0]
        result.pretraining[2].steps = [100, 200]
        for ax in pictures.draw_pretraining(result).axes:
            (line,) = ax.lines
            assert not line.get_clip_on()
            assert ax.get_ylim()[1] >= 1.05 * max(line.get_ydata())

    @pytest.mark.parametrize("loss", [[5.0], [0.0, 0.0]])
    def test_any_curve(self, loss: list[float], tmp_path: Path) -> None:
        result = fake_reconstruct()
        layer = result.pretraining[0]
        layer.steps, layer.loss = list(range(1, len(loss) + 1)), loss
        pictures.draw_pretraining(result).savefig(tmp_path / "picture.png")
        decode(tmp_path / "picture.png")


def test_reconstructions_say_method_and_error() -> None:
    (ax,) = pictures.draw_reconstructions(fake_run()).axes
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["original", "autoencoder\nMSE 0.00912", "PCA\nMSE 0.00431"]


class TestFirstWeights:
    def test_block_per_arm_on_one_scale(self) -> None:
        figure = pictures.draw_weights(fake_run())
        blocks = [ax for ax in figure.axes if ax.images]
        assert [ax.get_title() for ax in blocks] == ["pretrained", "normal", "he"]
        assert len({ax.images[0].get_clim() for ax in blocks}) == 1

    def test_features_that_are_no_image(self, tmp_path: Path) -> None:
        result = fake_run()
        result.reconstructions = fake_reconstructions(None)
        pictures.draw_weights(result).savefig(tmp_path / "picture.png")
        decode(tmp_path / "picture.png")


def test_no_setting_of_the_user_shows_in_a_file(
    run_files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    style = pytest.importorskip("matplotlib.style")
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", object())  # any use of it would fail
    with style.context(["dark_background", {"text.usetex": True, "font.size": 30}]):
        files = pictures.save_pictures(fake_run(), tmp_path)
    for name, file in files.items():
        assert file.read_bytes() == run_files[name].read_bytes()


def test_one_arm_one_point(tmp_path: Path) -> None:
    result = fake_run(("normal",), (), n_points=1)
    result.reconstructions = None
    drawn = pictures.save_pictures(result, tmp_path)
    assert list(drawn) == ["accuracy", "confusion", "dead_units", "weights"]
