# SPDX-License-Identifier: BSD-3-Clause
"""Pictures: what is drawn, that it is legible for any numbers and on any ground, no leaks."""

from __future__ import annotations

import gc
import io
import itertools
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_results import fake_codes, fake_reconstructions, fake_run
from sae_fast import plot
from sae_fast.errors import DataError
from sae_fast.experiment.results import ArmResult
from sae_fast.experiment.settings import ARMS
from sae_fast.plot.axes import ARM_STYLES
from sae_fast.plot.axes import style as style_of
from sae_fast.plot.groups import N_BINS
from sae_fast.training.history import History

matplotlib = pytest.importorskip("matplotlib")
Figure = pytest.importorskip("matplotlib.figure").Figure
style = pytest.importorskip("matplotlib.style")
colors = pytest.importorskip("matplotlib.colors")
Text = pytest.importorskip("matplotlib.text").Text

RNG = np.random.default_rng(0)
W = RNG.normal(size=(42, 120))
CODES, Y = fake_codes()
BLOBS = fake_reconstructions()


def fake_history(n_points: int = 30, scale: float = 1.0, accuracy: bool = True) -> History:
    steps = np.arange(1, n_points + 1) * 100
    loss = scale * (0.2 + np.exp(-steps / 500))
    right = (1 - 0.8 * np.exp(-steps / 500)).tolist() if accuracy else []
    return History(steps.tolist(), loss.tolist(), right, 0.1)


#: One call of each public function.
PICTURES: dict[str, Callable[..., object]] = {
    "plot_accuracy": lambda ax=None: plot.plot_accuracy(fake_run(), ax=ax),
    "plot_codes": lambda ax=None: plot.plot_codes(CODES, Y, ax=ax),
    "plot_confusion_matrix": lambda ax=None: plot.plot_confusion_matrix(
        Y, np.where(np.arange(500) % 10 > 0, Y, 3), ax=ax
    ),
    "plot_dead_units": lambda ax=None: plot.plot_dead_units(
        {"pretrained": [15, 2], "he": [0, 5]}, [100, 5], ax=ax
    ),
    "plot_history": lambda ax=None: plot.plot_history(
        [fake_history(), fake_history(scale=1e5)], dead_units=[3, 0], ax=ax
    ),
    "plot_reconstructions": lambda ax=None: plot.plot_reconstructions(
        BLOBS.originals, BLOBS.rows[0][1], (28, 28), ax=ax
    ),
    "plot_scores": lambda ax=None: plot.plot_scores(CODES[:, 0], Y == 3, 4.0, ax=ax),
    "plot_weights": lambda ax=None: plot.plot_weights(W, (6, 7), ax=ax),
}


#: Settings of a user that would break pictures or turn them upside down.
HOSTILE = {
    "text.usetex": True,
    "image.origin": "lower",
    "image.aspect": "auto",
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.formatter.use_mathtext": True,
    "figure.constrained_layout.use": True,
    "legend.loc": "center",
    "lines.marker": "x",
    "xtick.labelbottom": False,
    "savefig.dpi": 10,
}
#: A name that is no TeX, one that legends leave out, and one that finds no room.
NAMES = ("$\\frac", "_background", "a name of which there is no end " * 9)


@pytest.fixture
def pyplot(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """As a user has it who has imported it; gone after the test."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    del sys.modules["matplotlib.pyplot"]
    import matplotlib.pyplot as plt

    with matplotlib.rc_context():
        plt.switch_backend("agg")
        yield plt
        plt.close("all")


def pixels(figure: object) -> np.ndarray:
    file = io.BytesIO()
    figure.savefig(file, dpi=50)
    file.seek(0)
    return pytest.importorskip("matplotlib.image").imread(file)


def draw(ax: object) -> None:
    ax.figure.canvas.draw()  # every warning is an error


def luminance(color: object) -> float:
    """Relative luminance by WCAG 2."""
    rgb = np.array(colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: object, other: object) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def texts(ax: object) -> list[str]:
    return [text.get_text() for text in ax.texts]


def legend(ax: object) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_all_functions_are_tested() -> None:
    assert set(PICTURES) == set(plot.__all__)
    assert {name for name in dir(plot) if name.startswith("plot_")} == set(plot.__all__)


@pytest.mark.parametrize("name", PICTURES)
class TestEach:
    def test_returns_the_axes_given(self, name: str) -> None:
        ax, other = Figure((8, 4)).subplots(1, 2)
        assert PICTURES[name](ax=ax) is ax
        draw(ax)
        assert ax.has_data()
        assert not other.has_data()

    def test_makes_a_figure_that_is_freed(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # its import would fail
        ax = PICTURES[name]()
        assert isinstance(ax.figure, Figure)
        draw(ax)
        figure = weakref.ref(ax.figure)
        del ax
        gc.collect()
        assert figure() is None

    def test_shows_itself_in_a_notebook(self, name: str) -> None:
        ax = PICTURES[name]()
        assert ax._repr_png_().startswith(b"\x89PNG")
        assert type(ax.figure)._repr_png_ is type(ax)._repr_png_

    def test_is_pyplots_where_that_is_in_use(self, name: str, pyplot: object) -> None:
        ax = PICTURES[name]()
        assert pyplot.gcf() is ax.figure
        assert ax._repr_png_() is None  # pyplot shows it, once

    def test_no_setting_of_the_user_breaks_it(self, name: str) -> None:
        expected = pixels(PICTURES[name]().figure)
        with matplotlib.rc_context(HOSTILE):
            np.testing.assert_array_equal(pixels(PICTURES[name]().figure), expected)
            assert {key: matplotlib.rcParams[key] for key in HOSTILE} == HOSTILE

    @pytest.mark.parametrize("look", ["default", "dark_background"])
    def test_text_is_legible_on_light_and_dark(self, name: str, look: str) -> None:
        with style.context(look):
            ax = PICTURES[name]()
            draw(ax)
        ground = ax.figure.get_facecolor()
        inside = ax.texts if name == "plot_confusion_matrix" else []  # judged below
        shown = [
            text
            for text in ax.figure.findobj(Text)
            if text.get_text() and text.get_visible() and text not in inside
        ]
        assert shown or name == "plot_weights"
        for text in shown:
            assert contrast(text.get_color(), ground) > 4.5, text.get_text()
        for line in ax.lines:
            assert contrast(line.get_color(), ground) > 1.9, line.get_label()

    def test_without_matplotlib_says_how_to_get_it(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ImportError, match=r"pip install 'sae-fast\[plot\]'"):
            PICTURES[name]()


def test_styles_differ_by_more_than_colour() -> None:
    assert len({style_of(index)[0] for index in range(10)}) == 10
    assert len({style_of(index)[1] for index in range(10)}) == 10
    assert len({marker for _, marker in ARM_STYLES.values()}) == 3


def test_every_arm_has_its_style() -> None:
    assert set(ARM_STYLES) == set(ARMS)


def test_importing_loads_neither_matplotlib_nor_scikit_learn() -> None:
    code = (
        "import sys, sae_fast.plot, sae_fast.experiment.pictures\n"
        "sys.exit('matplotlib' in sys.modules or 'sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("backend", ["nonsense", "svg"])
def test_needs_no_backend_and_changes_none(backend: str) -> None:
    code = (
        "import os, sae_fast.plot as p, sys; p.plot_scores([1.0, 2.0]).figure.canvas.draw()\n"
        "import matplotlib as m; assert sys.argv[1] != 'svg' or m.get_backend() == 'svg'\n"
        "sys.exit('matplotlib.pyplot' in sys.modules or os.environ['MPLBACKEND'] != sys.argv[1])"
    )
    environment = {**os.environ, "MPLBACKEND": backend}
    assert subprocess.run([sys.executable, "-c", code, backend], env=environment).returncode == 0


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
        assert legend(plot.plot_accuracy(fake_run())) == [
            "pretrained: 96.42 %, 90 % at step 2,400",
            "normal collapsed: 11.35 %, all 5 units of hidden layer 6 are dead",
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

    def test_result_draws_itself(self) -> None:
        ax = Figure().subplots()
        assert fake_run().plot_accuracy(ax) is ax

    @pytest.mark.parametrize("accuracy", [0.0, 0.98, 1.0])
    def test_any_accuracy_one_point(self, accuracy: float) -> None:
        result = fake_run(("he",), ())
        result.arms = {"he": ArmResult([7], [1.0], [accuracy], [0, 0, 0, 0, 0, 0], 0.1)}
        ax = plot.plot_accuracy(result)
        bottom, top = ax.get_ylim()
        assert bottom <= 100 * accuracy <= top or accuracy == 1
        draw(ax)

    def test_no_point(self) -> None:
        result = fake_run(("he",), ())
        result.arms = {"he": ArmResult([], [], [], [0, 0, 0, 0, 0, 0], 0.1)}
        draw(plot.plot_accuracy(result))


class TestHistory:
    def test_layers_of_a_pretraining(self) -> None:
        histories = [fake_history(scale=1e6), fake_history(scale=2000)]
        ax = plot.plot_history(histories, dead_units=[15, 0])
        for curve, history in zip(ax.lines, histories, strict=True):
            np.testing.assert_array_equal(curve.get_xdata(), history.steps)
            np.testing.assert_array_equal(curve.get_ydata(), history.loss)
        assert legend(ax) == ["layer 1: 202,479, 15 dead units", "layer 2: 405, 0 dead units"]
        assert ax.get_yscale() == "log"

    def test_one_fine_tuning(self) -> None:
        history = fake_history()
        ax = plot.plot_history(history, "accuracy", dead_units=[3, 0, 1])
        np.testing.assert_allclose(ax.lines[0].get_ydata(), 100 * np.array(history.accuracy))
        assert legend(ax) == ["last 99.80 %, dead units by layer: 3, 0, 1"]

    def test_several_by_name(self) -> None:
        runs = {"he": fake_history(), "mine": fake_history(20)}
        ax = plot.plot_history(runs, "accuracy", dead_units={"mine": 4})
        assert legend(ax) == ["he: 99.80 %", "mine: 98.53 %, 4 dead units"]
        assert ax.lines[0].get_color() == ARM_STYLES["he"][0]
        assert ax.lines[0].get_marker() != ax.lines[1].get_marker()

    @pytest.mark.parametrize(
        "loss", [[573.2, 573.1], [573.2], [9.0, 2.1], [9e5, 1e-3], [6.0, 1.0], [1e-12, 1e12]]
    )
    def test_a_log_scale_has_numbers_that_tell_it(self, loss: list[float]) -> None:
        ax = plot.plot_history(History(list(range(1, len(loss) + 1)), loss))
        draw(ax)
        low, high = ax.get_ylim()
        shown = zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
        labels = {text.get_text() for at, text in shown if low <= at <= high}
        assert len(labels - {""}) >= 2
        assert ax.get_ylabel().endswith("(log scale)")

    @pytest.mark.parametrize("loss", [[5.0], [0.0, 0.0], [3.0, 0.0], [1e-12, 1e12]])
    @pytest.mark.parametrize("n_curves", [1, 12])
    def test_any_loss(self, loss: list[float], n_curves: int) -> None:
        history = History(list(range(1, len(loss) + 1)), loss)
        ax = plot.plot_history([history] * n_curves)
        draw(ax)
        low, high = ax.get_ylim()
        assert low <= min(loss) <= max(loss) <= high

    @pytest.mark.parametrize("loss", [[1e300, 1e290], [1e-300, 1e-310], [7.0]])
    def test_extreme_losses_are_legible(self, loss: list[float]) -> None:
        ax = plot.plot_history({NAMES[2]: History(list(range(1, len(loss) + 1)), loss)})
        draw(ax)
        assert max(map(len, legend(ax))) < 40
        steps = [label.get_text() for label in ax.get_xticklabels()]
        assert len(set(steps)) == len(steps)

    def test_one_point_is_seen(self) -> None:
        ax = plot.plot_history(History([50], [3.0], [0.15]), "accuracy")
        bare = plot.plot_history(History([50], [3.0], [0.15]), "accuracy")
        bare.lines[0].set_marker("")
        assert (pixels(ax.figure) != pixels(bare.figure)).any()

    def test_log_axis_has_numbers_within_a_decade(self) -> None:
        ax = plot.plot_history(History([1, 2], [410_000.0, 230_000.0]))
        draw(ax)
        low, high = ax.get_ylim()
        places = ax.get_yticks()
        labels = [
            label.get_text()
            for label, place in zip(ax.get_yticklabels(), places, strict=True)
            if low <= place <= high
        ]
        assert len(labels) >= 2
        assert all(labels)

    @pytest.mark.parametrize(
        ("history", "quantity", "dead_units", "message"),
        [
            (
                fake_history(),
                "error",
                None,
                "quantity: expected one of loss, accuracy, got 'error'",
            ),
            ([], "loss", None, "history: expected at least one History"),
            ([1.0], "loss", None, "history: expected History, got float"),
            (History(), "loss", None, "history: expected a curve of the loss, got none;"),
            ([fake_history(accuracy=False)], "accuracy", None, "none in 'layer 1'; finetune"),
            (
                [fake_history()],
                "loss",
                [1, 2],
                r"dead_units: expected those of \['layer 1'\], got \[1, 2\]",
            ),
            ([fake_history()], "loss", 1, r"dead_units: expected those of \['layer 1'\], got 1"),
            ([fake_history()] * 2, "loss", [1], "expected those of .*'layer 2'"),
            (
                {"a": fake_history()},
                "loss",
                [1],
                r"dead_units: expected those of \['a'\], got \[1\]",
            ),
            (
                {"a": fake_history()},
                "loss",
                {"b": 1},
                r"dead_units: expected those of \['a'\], got {'b': 1}",
            ),
        ],
    )
    def test_what_does_not_fit(
        self, history: object, quantity: str, dead_units: object, message: str
    ) -> None:
        with pytest.raises(DataError, match=message):
            plot.plot_history(history, quantity, dead_units=dead_units)


class TestDeadUnits:
    def test_bars_are_shares_and_numbers_counts(self) -> None:
        ax = plot.plot_dead_units({"he": [25, 0], "normal": [50, 5]}, [100, 5])
        assert [bar.get_height() for bar in ax.patches] == [25, 0, 50, 100]
        assert texts(ax) == ["25", "0", "50", "5"]
        assert legend(ax) == ["he", "normal"]
        assert len({bar.get_hatch() for bar in ax.patches}) == 2
        assert [tick.get_text() for tick in ax.get_xticklabels()] == [
            "1\n100 units",
            "2\n5 units",
        ]

    def test_bars_of_a_layer_stand_side_by_side(self) -> None:
        ax = plot.plot_dead_units({"a": [1, 2], "b": [1, 2], "c": [1, 2]}, [4, 4])
        left = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(left))

    def test_one_network_needs_no_name(self) -> None:
        ax = plot.plot_dead_units([1, 0, 2], (5, 5, 2))
        assert ax.get_legend() is None
        assert texts(ax) == ["1", "0", "2"]

    @pytest.mark.parametrize("n_layers", [1, 30])
    def test_any_number_of_layers_and_names(self, n_layers: int) -> None:
        draw(plot.plot_dead_units(dict.fromkeys(NAMES, [0] * n_layers), [5000] * n_layers))

    def test_no_network(self) -> None:
        with pytest.raises(DataError, match="dead_units: expected those of at least one network"):
            plot.plot_dead_units({}, [5])

    @pytest.mark.parametrize("dead", [[1], [1, 6], [-1, 0], [[1, 2]]])
    def test_what_does_not_fit(self, dead: list[int]) -> None:
        with pytest.raises(DataError, match=r"dead_units: expected a number for each .*\[9, 5\]"):
            plot.plot_dead_units(dead, [9, 5])


class TestConfusionMatrix:
    TRUE = (0, 0, 0, 1, 1, 2, 2, 2, 2, 2)
    PREDICTED = (0, 0, 1, 1, 1, 2, 2, 2, 2, 0)

    def test_numbers_colours_and_recall(self) -> None:
        ax = plot.plot_confusion_matrix(self.TRUE, self.PREDICTED)
        cells = {text.get_position(): text.get_text() for text in ax.texts}
        assert cells == {(0, 0): "2", (1, 0): "1", (1, 1): "2", (2, 2): "4", (0, 2): "1"}
        tint = ax.images[0].get_array()
        np.testing.assert_allclose(np.sign(tint), [[1, -1, 0], [0, 1, 0], [-1, 0, 1]])
        np.testing.assert_allclose(tint**2, [[2 / 3, 1 / 3, 0], [0, 1, 0], [0.2, 0, 0.8]])
        (recall,) = ax.child_axes
        assert [tick.get_text() for tick in recall.get_yticklabels()] == ["66.7", "100.0", "80.0"]
        assert ax.get_title() == "80.00 % of 10 right"

    @pytest.mark.parametrize("look", ["default", "dark_background"])
    def test_numbers_are_legible_on_their_cells(self, look: str) -> None:
        y = np.repeat(np.arange(10), 100)
        shifts = np.tile(np.repeat(np.arange(5), [60, 25, 10, 4, 1]), 10)
        with style.context(look):
            ax = plot.plot_confusion_matrix(y, (y + shifts * (y % 3)) % 10)
        picture = ax.images[0]
        for text in ax.texts:
            column, row = text.get_position()
            cell = picture.cmap(picture.norm(picture.get_array()[row, column]))
            assert contrast(text.get_color(), cell) > 4
            assert text.get_fontsize() >= 7

    def test_names_and_their_order(self) -> None:
        ax = plot.plot_confusion_matrix(["cat", "ox"], ["ox", "ox"], labels=["ox", "cat", "emu"])
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["ox", "cat", "emu"]
        cells = {text.get_position(): text.get_text() for text in ax.texts}
        assert cells == {(0, 0): "1", (0, 1): "1"}
        (recall,) = ax.child_axes
        assert [tick.get_text() for tick in recall.get_yticklabels()] == ["100.0", "0.0", "-"]

    @pytest.mark.parametrize("dtype", [int, float])
    def test_names_of_numbered_classes(self, dtype: type) -> None:
        y_true, y_pred = np.array([0, 1, 1], dtype), np.array([0, 1, 0], dtype)
        ax = plot.plot_confusion_matrix(y_true, y_pred, labels=[*NAMES[:2], "ox"])
        draw(ax)
        assert [tick.get_text().strip() for tick in ax.get_yticklabels()] == [*NAMES[:2], "ox"]
        assert {text.get_position(): text.get_text() for text in ax.texts} == {
            (0, 0): "1",
            (1, 1): "1",
            (0, 1): "1",
        }

    @pytest.mark.parametrize("n_classes", [1, 2, 26, 100])
    def test_any_number_of_classes(self, n_classes: int) -> None:
        y = np.arange(n_classes * 3) % n_classes
        ax = plot.plot_confusion_matrix(y, y)
        draw(ax)
        assert len(ax.texts) == (n_classes if n_classes < 100 else 0)

    @pytest.mark.parametrize(
        ("y_true", "y_pred", "labels", "message"),
        [
            ([0, 1], [0], None, r"y_pred: expected 2 classes, one per sample, got shape \(1,\)"),
            ([], [], None, "y_true: expected at least one class"),
            ([[0]], [[0]], None, r"y_true: .* got shape \(1, 1\)"),
            ([0, 1], [0, 2], [0, 1], "labels: expected all classes, got none for 2"),
            ([0, 1], [0, 2], ["a", "b"], "labels: expected all classes, got none for 2"),
            ([0, 1], [0, -1], ["a", "b"], "labels: expected all classes, got none for -1"),
            ([0, 1], [0, 1], [0, 1, 1], "labels: expected each class once"),
            ([0, 1], ["a", "b"], None, "y_true, y_pred: expected classes that can be sorted"),
        ],
    )
    def test_what_does_not_fit(
        self, y_true: object, y_pred: object, labels: object, message: str
    ) -> None:
        with pytest.raises(DataError, match=message):
            plot.plot_confusion_matrix(y_true, y_pred, labels=labels)


class TestCodes:
    def test_principal_components(self) -> None:
        ax = plot.plot_codes(CODES)
        (group,) = ax.collections
        points = np.asarray(group.get_offsets())
        centered = CODES - CODES.mean(axis=0)
        _, s, vt = np.linalg.svd(centered.astype(np.float64), full_matrices=False)
        np.testing.assert_allclose(np.abs(points), np.abs(centered @ vt[:2].T), atol=1e-3)
        share = 100 * s[:2] ** 2 / np.sum(s**2)
        assert ax.get_xlabel() == f"first principal component, {share[0]:.1f} % of the variance"
        assert ax.get_ylabel() == f"second principal component, {share[1]:.1f} % of the variance"

    def test_each_class_has_its_points_style_and_name(self) -> None:
        names = np.array(list("abcdefghij"))[Y]
        ax = plot.plot_codes(CODES, names)
        every = np.asarray(plot.plot_codes(CODES).collections[0].get_offsets())
        for index, group in enumerate(ax.collections):
            np.testing.assert_array_equal(group.get_offsets(), every[index == Y])
        assert legend(ax) == list("abcdefghij")
        assert ax.texts
        for text in ax.texts:
            number = "abcdefghij".index(text.get_text())
            points = every[number == Y]
            np.testing.assert_allclose(text.xy, np.median(points, axis=0))
        assert len({tuple(group.get_facecolor()[0]) for group in ax.collections}) == 10
        assert len({group.get_paths()[0].vertices.tobytes() for group in ax.collections}) == 10

    def test_names_do_not_cover_each_other(self) -> None:
        rng = np.random.default_rng(0)
        at = np.array([[0, 0], [9, 9], [9.1, 9], [0, 9]])
        y = np.arange(400) % 4
        ax = plot.plot_codes(at[y] + 0.01 * rng.standard_normal((400, 2)), y)
        draw(ax)
        assert texts(ax) == ["0", "1", "2", "3"]
        boxes = [Text.get_window_extent(text) for text in ax.texts]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))

    def test_long_names_stay_within(self) -> None:
        ax = plot.plot_codes(CODES, np.array([*NAMES, "short"])[Y % 4])
        draw(ax)
        assert len(ax.texts) == len(legend(ax)) == 4
        for text in ax.texts:
            box = Text.get_window_extent(text)
            assert ax.bbox.x0 - 1 <= box.x0 < box.x1 <= ax.bbox.x1 + 1

    def test_noise_is_not_stretched(self) -> None:
        line = np.linspace(0, 1, 50)
        ax = plot.plot_codes(np.column_stack([line, 1e-4 * np.sin(9e3 * line)]))
        assert ax.get_ylabel() == "second principal component, 0.0 % of the variance"
        low, high = ax.get_ylim()
        assert high - low == pytest.approx(0.1, rel=0.01)

    @pytest.mark.parametrize("size", [1e-300, 1e-30, 1e30, 1e300])
    def test_codes_of_any_size(self, size: float) -> None:
        (group,) = plot.plot_codes(size * CODES.astype(np.float64)).collections
        points = np.asarray(group.get_offsets()) / size
        expected = plot.plot_codes(CODES).collections[0].get_offsets()
        np.testing.assert_allclose(np.abs(points), np.abs(expected), atol=1e-3)

    @pytest.mark.parametrize(
        "codes", [np.zeros((5, 3)), np.ones((1, 4)), np.arange(6.0)[:, None], np.eye(9, 2)]
    )
    def test_any_codes(self, codes: np.ndarray) -> None:
        ax = plot.plot_codes(codes, np.arange(len(codes)) % 2)
        draw(ax)
        assert sum(len(group.get_offsets()) for group in ax.collections) == len(codes)

    def test_more_classes_than_styles(self) -> None:
        draw(plot.plot_codes(CODES, np.arange(500) % 60))

    @pytest.mark.parametrize(
        ("codes", "y", "method", "message"),
        [
            (CODES, None, "umap", "method: expected one of pca, tsne, got 'umap'"),
            (CODES[0], None, "pca", r"codes: expected 2 dimensions .* got shape \(5,\)"),
            (CODES[:0], None, "pca", r"codes: .* at least one sample, got shape \(0, 5\)"),
            (CODES * np.nan, None, "pca", "codes: expected finite numbers"),
            (CODES.astype(str), None, "pca", "codes: expected numbers, got dtype <U"),
            (CODES, Y[1:], "pca", r"y: expected 500 classes, one per sample, got shape \(499,\)"),
        ],
    )
    def test_what_does_not_fit(self, codes: object, y: object, method: str, message: str) -> None:
        with pytest.raises(DataError, match=message):
            plot.plot_codes(codes, y, method=method)


class TestTsne:
    def test_without_scikit_learn_says_how_to_get_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
        with pytest.raises(ImportError, match=r"pip install 'sae-fast\[sklearn\]'"):
            plot.plot_codes(CODES, method="tsne")

    def test_keeps_classes_together(self) -> None:
        pytest.importorskip("sklearn")
        places = 30 * np.eye(3, 5)[Y[:90] % 3]
        codes = places + RNG.normal(size=places.shape)
        ax = plot.plot_codes(codes, Y[:90] % 3, method="tsne")
        groups = [np.asarray(group.get_offsets()) for group in ax.collections]
        centres = np.array([group.mean(axis=0) for group in groups])
        for index, group in enumerate(groups):
            distances = np.linalg.norm(group[:, None] - centres, axis=-1)
            assert (distances.argmin(axis=1) == index).mean() > 0.95
        again = plot.plot_codes(codes, Y[:90] % 3, method="tsne")
        np.testing.assert_array_equal(again.collections[0].get_offsets(), groups[0])

    @pytest.mark.parametrize("codes", [CODES[:3], CODES[:40, :1]])
    def test_few_samples_one_unit(self, codes: np.ndarray) -> None:
        pytest.importorskip("sklearn")
        (group,) = plot.plot_codes(codes, method="tsne").collections
        assert np.isfinite(np.asarray(group.get_offsets())).all()

    def test_codes_all_the_same(self) -> None:
        pytest.importorskip("sklearn")
        with pytest.raises(DataError, match="codes: expected samples that differ"):
            plot.plot_codes(np.ones((20, 3)), method="tsne")


class TestScores:
    def test_each_group_in_per_cent_of_itself(self) -> None:
        scores = np.concatenate([RNG.normal(1, 0.1, 900), RNG.normal(2, 0.1, 30)])
        ax = plot.plot_scores(scores, np.arange(930) >= 900, 1.5)
        assert legend(ax)[:2] == [
            "normal: 900, above 1.5: 0.0 %",
            "anomalous: 30, above 1.5: 100.0 %",
        ]
        normal, anomalous = ax.patches
        edges = np.histogram_bin_edges(scores, N_BINS)
        for patch, group in ((normal, scores[:900]), (anomalous, scores[900:])):
            expected = 100 * np.histogram(group, edges)[0] / len(group)
            assert patch.get_xy()[:, 1].max() == pytest.approx(expected.max())
        assert normal.get_hatch() != anomalous.get_hatch()
        assert normal.get_facecolor() != anomalous.get_facecolor()
        (line,) = ax.lines
        assert list(line.get_xdata()) == [1.5, 1.5]

    def test_without_knowledge_one_group(self) -> None:
        ax = plot.plot_scores([1, 2, 3])
        assert legend(ax) == ["samples: 3"]
        assert ax.get_ylabel() == "% of the samples"

    @pytest.mark.parametrize("scores", [[0.5], [2.0, 2.0], [0, 1e30], [-3, 5, 7]])
    @pytest.mark.parametrize("anomalous", [0, 1])
    def test_any_scores(self, scores: list[float], anomalous: int) -> None:
        draw(plot.plot_scores(scores, [anomalous] * len(scores), threshold=1))

    @pytest.mark.parametrize(
        ("scores", "is_anomaly", "threshold", "message"),
        [
            ([], None, None, "scores: expected 1 dimension and at least one sample"),
            ([[1.0]], None, None, "scores: expected 1 dimension"),
            ([1.0, np.inf], None, None, "scores: expected finite numbers"),
            ([1.0, 2.0], [True], None, "is_anomaly: expected true or false for each of 2 scores"),
            ([1.0, 2.0], [1, -1], None, "is_anomaly: expected true or false"),
            ([1.0], None, "high", "threshold: expected"),
        ],
    )
    def test_what_does_not_fit(
        self, scores: object, is_anomaly: object, threshold: object, message: str
    ) -> None:
        with pytest.raises(DataError, match=message):
            plot.plot_scores(scores, is_anomaly, threshold)


class TestReconstructions:
    @pytest.mark.parametrize("image_shape", [(28, 28), None])
    def test_any_name(self, image_shape: tuple[int, int] | None) -> None:
        record = fake_reconstructions(image_shape)
        images = dict.fromkeys((*NAMES, 7), record.originals)
        draw(plot.plot_reconstructions(record.originals, images, image_shape))

    @pytest.mark.parametrize("image_shape", [(28, 28), (8, 8), (8, 20), None])
    @pytest.mark.parametrize("n_samples", [1, 25])
    def test_any_shape_and_number(
        self, image_shape: tuple[int, int] | None, n_samples: int
    ) -> None:
        record = fake_reconstructions(image_shape)
        take = np.arange(n_samples) % 10
        images = {name: images[take] for name, images, _ in record.rows}
        draw(plot.plot_reconstructions(record.originals[take], images, image_shape))

    def test_sheet_holds_the_images(self) -> None:
        images = {name: images for name, images, _ in BLOBS.rows}
        ax = plot.plot_reconstructions(BLOBS.originals, images, (28, 28))
        assert [tick.get_text() for tick in ax.get_yticklabels()] == ["original", *images]
        sheet = ax.images[0].get_array()
        assert sheet.shape == (3 * 30 - 2, 10 * 30 - 2)
        np.testing.assert_array_equal(sheet[:28, 60:88], BLOBS.originals[2].reshape(28, 28))
        np.testing.assert_array_equal(sheet[30:58, 60:88], BLOBS.rows[0][1][2].reshape(28, 28))

    def test_pixels_with_their_scale(self) -> None:
        pixels = np.arange(12, dtype=np.uint8).reshape(2, 6) * 20
        ax = plot.plot_reconstructions(pixels, pixels / 510, (2, 3), scale=1 / 255)
        sheet = ax.images[0].get_array()
        np.testing.assert_allclose(sheet[:2, :3], pixels[0].reshape(2, 3) / 255, rtol=1e-6)
        assert [tick.get_text() for tick in ax.get_yticklabels()] == ["original", "reconstruction"]
        assert ax.images[0].get_clim() == pytest.approx((0, 220 / 255))

    def test_curves_of_each_sample_lie_apart(self) -> None:
        record = fake_reconstructions(None)
        images = {"a\nMSE 1": record.rows[0][1], "b": record.rows[1][1]}
        ax = plot.plot_reconstructions(record.originals, images)
        assert legend(ax) == ["original", "a, MSE 1", "b"]
        curves = [np.asarray(line.get_ydata()) for line in ax.lines]
        assert len(curves) == 30
        for sample in range(9):
            assert curves[sample].min() > curves[sample + 1].max()
        step = curves[0] - curves[10]
        np.testing.assert_allclose(
            step * 1.1 * np.ptp(record.originals),
            record.originals[0] - record.rows[0][1][0],
            atol=1e-5,
        )

    @pytest.mark.parametrize(
        ("reconstructions", "image_shape", "message"),
        [
            (BLOBS.originals, (28, 27), r"image_shape: \(28, 27\) does not make up 784 features"),
            (BLOBS.originals[:3], None, r"the shape of x, \(10, 784\), got \(3, 784\) for 'recon"),
            ({"a": BLOBS.originals[:, 1:]}, None, r"got \(10, 783\) for 'a'"),
        ],
    )
    def test_what_does_not_fit(
        self, reconstructions: object, image_shape: tuple[int, int] | None, message: str
    ) -> None:
        with pytest.raises(DataError, match=message):
            plot.plot_reconstructions(BLOBS.originals, reconstructions, image_shape)


class TestWeights:
    @pytest.mark.parametrize("n_units", [1, 5, 100, 1000])
    @pytest.mark.parametrize("image_shape", [(6, 7), None])
    def test_any_number_of_units(self, n_units: int, image_shape: tuple[int, int] | None) -> None:
        w = RNG.normal(size=(42, n_units))
        ax = plot.plot_weights(w, image_shape)
        draw(ax)
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

    def test_limit(self) -> None:
        assert plot.plot_weights(W, (6, 7), limit=2.5).images[0].get_clim() == (-2.5, 2.5)

    def test_all_zero(self) -> None:
        draw(plot.plot_weights(np.zeros((784, 12)), (28, 28)))

    @pytest.mark.parametrize(
        ("w", "message"),
        [
            (W, r"image_shape: \(28, 28\) does not make up 42 features"),
            (W[0], r"w: expected 2 dimensions .* got shape \(120,\)"),
            (np.full((784, 2), np.inf), "w: expected finite numbers"),
        ],
    )
    def test_what_does_not_fit(self, w: np.ndarray, message: str) -> None:
        with pytest.raises(DataError, match=message):
            plot.plot_weights(w, (28, 28))


def test_no_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for make in PICTURES.values():
        draw(make())
    assert list(tmp_path.iterdir()) == []
