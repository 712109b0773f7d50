# SPDX-License-Identifier: BSD-3-Clause
"""Pictures: what is drawn, that it is legible for any numbers, and that nothing leaks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_results import fake_layers, fake_reconstruct, fake_reconstructions, fake_run
from sae_fast import plot
from sae_fast.errors import DataError
from sae_fast.results import ArmResult

Figure = pytest.importorskip("matplotlib.figure").Figure
image = pytest.importorskip("matplotlib.image")


def decode(file: Path) -> np.ndarray:
    """Read a PNG back, at least 300 by 200 pixels and not blank."""
    pixels = image.imread(file)
    height, width = pixels.shape[:2]
    assert width >= 300
    assert height >= 200
    assert pixels[..., :3].std() > 0.02
    return pixels


def draw(figure: Figure, folder: Path) -> np.ndarray:
    figure.savefig(folder / "picture.png")
    return decode(folder / "picture.png")


class TestSavePictures:
    def test_run_without_pyplot(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # its import would fail
        files = plot.save_pictures(fake_run(), tmp_path)
        assert set(files) == {"accuracy", "pretraining", "reconstructions", "weights"}
        shapes = {name: decode(file).shape for name, file in files.items()}
        height, width = shapes["accuracy"][:2]
        assert width == pytest.approx(8 * plot.DPI, rel=0.05)
        assert height == pytest.approx(5 * plot.DPI, rel=0.05)

    def test_only_what_there_is(self, tmp_path: Path) -> None:
        result = fake_reconstruct()
        result.reconstructions = None
        assert set(plot.save_pictures(result, tmp_path)) == {"pretraining", "weights"}


class TestAccuracy:
    def test_draws_every_arm_in_its_own_colour_and_marker(self) -> None:
        result = fake_run()
        ax = plot.plot_accuracy(result)
        curves = ax.get_lines()[:3]
        for curve, arm in zip(curves, result.arms.values(), strict=True):
            np.testing.assert_array_equal(curve.get_xdata(), arm.steps)
            np.testing.assert_allclose(curve.get_ydata(), 100 * np.array(arm.test_accuracy))
        assert len({(curve.get_color(), curve.get_marker()) for curve in curves}) == 3

    def test_legend_tells_how_each_arm_ended(self) -> None:
        labels = [text.get_text() for text in plot.plot_accuracy(fake_run()).get_legend().texts]
        assert labels == [
            "pretrained: 96.42 %, 90 % at step 2,400",
            "normal: 11.35 %, collapsed, 5 of 5 top units dead",
            "he: 97.21 %, 90 % at step 800",
        ]

    def test_axis_opens_up_the_top(self) -> None:
        ax = plot.plot_accuracy(fake_run())
        low, ninety, high = ax.transData.transform([(0, 11.35), (0, 90), (0, 97)])[:, 1]
        bottom, top = ax.bbox.intervaly
        assert low > bottom
        assert high < top
        assert high - ninety > 0.2 * (top - bottom)

    def test_marks_the_first_step_at_90_and_the_end(self) -> None:
        (curve, *_) = plot.plot_accuracy(fake_run()).get_lines()
        assert sorted(curve.get_markevery()) == [23, 299]

    def test_draws_into_given_axes(self) -> None:
        ax = Figure().subplots()
        assert plot.plot_accuracy(fake_run(), ax) is ax
        assert fake_run().plot_accuracy(ax) is ax

    @pytest.mark.parametrize("accuracy", [0.0, 0.98, 1.0])
    def test_any_accuracy_one_point(self, accuracy: float, tmp_path: Path) -> None:
        result = fake_run(("he",), ())
        result.arms = {"he": ArmResult([7], [1.0], [accuracy], [0, 0, 0, 0, 0, 0], 0.1)}
        ax = plot.plot_accuracy(result)
        bottom, top = ax.get_ylim()
        assert bottom <= 100 * accuracy <= top or accuracy == 1
        draw(ax.figure, tmp_path)

    def test_no_point(self, tmp_path: Path) -> None:
        result = fake_run(("he",), ())
        result.arms = {"he": ArmResult([], [], [], [0, 0, 0, 0, 0, 0], 0.1)}
        draw(plot.plot_accuracy(result).figure, tmp_path)


class TestPretraining:
    @pytest.mark.parametrize("n_layers", [0, 1, 4])
    def test_panel_per_layer(self, n_layers: int, tmp_path: Path) -> None:
        result = fake_run()
        result.pretraining = fake_layers()[:n_layers]
        figure = plot.plot_pretraining(result)
        panels = [ax for ax in figure.axes if ax.axison]
        assert len(panels) == n_layers
        figure.savefig(tmp_path / "picture.png")

    def test_titles_name_layer_and_dead_units(self) -> None:
        ax = plot.plot_pretraining(fake_run()).axes[0]
        assert ax.get_title("left") == "1: 784 → 100"
        assert ax.get_title("right") == "15 of 100 dead"

    @pytest.mark.parametrize("loss", [[], [5.0], [0.0, 0.0]])
    def test_any_curve(self, loss: list[float], tmp_path: Path) -> None:
        result = fake_reconstruct()
        layer = result.pretraining[0]
        layer.steps, layer.loss = list(range(1, len(loss) + 1)), loss
        draw(plot.plot_pretraining(result), tmp_path)


class TestReconstructions:
    @pytest.mark.parametrize("image_shape", [(28, 28), (8, 8), (8, 20), None])
    def test_any_shape(self, image_shape: tuple[int, int] | None, tmp_path: Path) -> None:
        draw(plot.plot_reconstructions(fake_reconstructions(image_shape)), tmp_path)

    @pytest.mark.parametrize("image_shape", [(28, 28), None])
    @pytest.mark.parametrize("n_samples", [1, 25])
    def test_any_number_of_samples(
        self, n_samples: int, image_shape: tuple[int, int] | None, tmp_path: Path
    ) -> None:
        record = fake_reconstructions(image_shape)
        take = np.arange(n_samples) % 10
        record.originals = record.originals[take]
        record.rows = [(label, images[take], mse) for label, images, mse in record.rows]
        draw(plot.plot_reconstructions(record), tmp_path)

    def test_rows_say_method_and_error(self) -> None:
        (ax,) = plot.plot_reconstructions(fake_reconstructions()).axes
        labels = [label.get_text() for label in ax.get_yticklabels()]
        assert labels == ["original", "autoencoder\nMSE 0.00912", "PCA\nMSE 0.00431"]

    def test_sheet_holds_the_images(self) -> None:
        record = fake_reconstructions()
        (ax,) = plot.plot_reconstructions(record).axes
        sheet = ax.images[0].get_array()
        assert sheet.shape == (3 * 30 - 2, 10 * 30 - 2)
        np.testing.assert_array_equal(sheet[30:58, 60:88], record.rows[0][1][2].reshape(28, 28))

    def test_shape_that_does_not_fit(self) -> None:
        record = fake_reconstructions()
        record.image_shape = (28, 27)
        with pytest.raises(DataError, match=r"\(28, 27\) does not make up 784"):
            plot.plot_reconstructions(record)


class TestWeights:
    @pytest.mark.parametrize("n_units", [1, 5, 100, 1000])
    @pytest.mark.parametrize("image_shape", [(6, 7), None])
    def test_any_number_of_units(
        self, n_units: int, image_shape: tuple[int, int] | None, tmp_path: Path
    ) -> None:
        w = np.random.default_rng(0).normal(size=(42, n_units))
        ax = plot.plot_weights(w, image_shape)
        draw(ax.figure, tmp_path)
        assert ("100 of 1,000" in ax.get_title()) == (n_units == 1000)

    def test_scale_is_symmetric_and_dead_units_are_blank(self) -> None:
        w = np.random.default_rng(0).normal(size=(784, 4))
        w[:, 1] = 0
        (drawn,) = plot.plot_weights(w, (28, 28)).images
        low, high = drawn.get_clim()
        assert low == -high
        colours = drawn.cmap(drawn.norm(drawn.get_array()))
        assert np.ptp(colours[:28, 30:58, :3]) < 0.01
        assert colours[:28, 30:58, :3].min() > 0.9
        assert np.ptp(colours[:28, :28, :3]) > 0.5

    def test_all_zero(self, tmp_path: Path) -> None:
        draw(plot.plot_weights(np.zeros((784, 12)), (28, 28)).figure, tmp_path)

    def test_block_per_arm_on_one_scale(self) -> None:
        figure = plot.plot_first_weights(fake_run())
        blocks = [ax for ax in figure.axes if ax.images]
        assert [ax.get_title() for ax in blocks] == ["pretrained", "normal", "he"]
        assert len({ax.images[0].get_clim() for ax in blocks}) == 1

    def test_features_that_are_no_image(self, tmp_path: Path) -> None:
        result = fake_run()
        result.reconstructions = fake_reconstructions(None)
        draw(plot.plot_first_weights(result), tmp_path)


@pytest.mark.parametrize(
    "function",
    [
        plot.plot_pretraining,
        plot.plot_first_weights,
        lambda result: plot.plot_accuracy(result).figure,
    ],
)
def test_one_arm_nothing_else(function: Callable[..., Figure], tmp_path: Path) -> None:
    result = fake_run(("normal",), (), n_points=1)
    result.reconstructions = None
    function(result).savefig(tmp_path / "picture.png")
