# SPDX-License-Identifier: BSD-3-Clause
"""Measure sae_fast beside its peers, in turn on one machine, and say which aims are reached.

Tasks: the article's whole experiment, its fine-tuning alone (scikit-learn knows no pretraining),
single steps, prediction of a few rows, imports, two trainings at once, and the machine's own rate.
Systems take turns, so that a machine that warms up or is shared treats all of them alike, and every
ratio is the median over rounds of ratios within a round. Absolute times belong to the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

from peers.shared import BATCH, N_CLASSES, SIZES, Point
from systems import OURS, SYSTEMS, RunError, Runner, add_arguments, print_table, run_command

ARTICLE = Point(SIZES, data="mnist")
WIDE = Point((784, 1000, 1000, 1000, 10))
WIDE_512 = dataclasses.replace(WIDE, batch=512)
WIDE_STEPS = (  # what the field trains, and widths between
    WIDE,  # the stacked denoising autoencoder of three layers of one width
    WIDE_512,
    Point((784, 1000, 500, 250, 30, 10)),  # the deep autoencoder's encoder
    Point((784, 500, 500, 2000, 10), batch=256),  # the deep classifier, and DEC's encoder
    Point((784, 1024, 1024, 10)),
    Point((784, 500, 250, 100, 10)),
    Point((784, 256, 128, 10)),
)
STEPS = (ARTICLE, *WIDE_STEPS)
ROW, WIDE_ROW, TEN_ROWS = (
    dataclasses.replace(point, batch=batch, data="mnist")
    for point, batch in ((ARTICLE, 1), (WIDE, 1), (ARTICLE, 10))
)
PREDICTIONS = (ROW, WIDE_ROW, TEN_ROWS)

JAX = ("jax", "jax-side-by-side")
TORCH = ("torch", "torch-side-by-side", "torch-compile")
TENSORFLOW = ("tensorflow-graph", "tensorflow-function")
TASKS = {  # which systems do what; for steps and predictions one way of each framework's few
    "experiment": (OURS.name, *JAX, *TORCH, *TENSORFLOW),
    "finetune": (OURS.name, "sklearn"),
    "step": (OURS.name, "jax", "torch", "torch-compile", "sklearn"),
    "predict": (OURS.name, "jax", "torch", "torch-module", "sklearn"),
    "pair": (OURS.name,),
    "sgemm": (OURS.name, "jax", "torch"),
    "import": (),
}
NEED_MNIST = ("experiment", "finetune", "pair")
IMPORTS = {  # what is imported, and what for
    "numpy": "import numpy",
    "sae_fast": "import sae_fast",
    "sae_fast, first class": "from sae_fast import StackedAutoencoder",
    "jax": "import jax",
    "torch": "import torch",
    "tensorflow": "import tensorflow",
    "sklearn": "from sklearn.neural_network import MLPClassifier",
}

#: Times as fast as a peer in a wide network's step: without AVX-512 and with it; at a batch of 100,
#: and at larger ones.
AHEAD = ((1.15, 1.0), (1.3, 1.13))
FULL_PRETRAINING, FULL_FINETUNING = 3000, 30000
PAIR_STEPS = 3000  # at most; enough for start-up not to count

# What has to be true of a system that learns, from the article's experiment over 25 seeds
SPREAD = (0.94, 0.975)  # final accuracy of an arm that has not collapsed
LOSS_SPREAD = 0.25  # of the first autoencoder, about the systems' median
SHORTEST_JUDGED = 1000  # steps of fine-tuning; before that an arm may still be at chance
CHANCE = math.log(N_CLASSES) * 10_000  # loss over the test set


# Measuring


def measure(runner: Runner, options: argparse.Namespace) -> dict[str, dict[str, list[dict]]]:
    """Run all tasks: results by task and system, a list of rounds."""

    def seeded(number: int, finetune_steps: int = options.finetune_steps) -> list[str]:
        return [
            f"--seed={options.seed + number}",
            f"--pretrain-steps={options.pretrain_steps}",
            f"--finetune-steps={finetune_steps}",
        ]

    def at(points: Iterable[Point]) -> Callable[[int], list[str]]:
        return lambda number: [f"--point={point}" for point in points]

    arguments = {
        "experiment": seeded,
        "finetune": seeded,
        "step": at(STEPS),
        "predict": at(PREDICTIONS),
        "pair": lambda number: seeded(number, min(options.finetune_steps, PAIR_STEPS)),
        "sgemm": lambda number: [],
    }
    results = {}
    for task in options.tasks:
        if task in NEED_MNIST and not options.data_dir:
            runner.left_out[task] = "needs --data-dir"
        elif task == "import":
            results[task] = time_imports(runner, options.rounds)
        else:
            results[task] = runner.take_turns(
                task, TASKS[task], options.rounds, arguments[task], describe
            )
    return results


def describe(result: dict) -> str:
    """One run in a few words, for the log."""
    if "seconds" in result:
        return f"{result['seconds']:.2f} s"
    if "points" in result:
        return ", ".join(f"{entry['us']:.1f}" for entry in result["points"]) + " µs"
    if "gflops" in result:
        return f"{result['gflops']:.0f} GFLOP/s"
    return f"{pair_ratio(result):.2f} x one"


def time_imports(runner: Runner, rounds: int) -> dict[str, list[dict]]:
    """Time imports in fresh interpreters, a bare one's time taken off.

    NumPy and ours, a ratio of two small times, get five interpreters a round.
    """
    results: dict[str, list[dict]] = {name: [] for name in IMPORTS}
    missing = {system.module for system in SYSTEMS if system.name in runner.missing}
    for _, (name, statement) in itertools.product(range(rounds), IMPORTS.items()):
        module = statement.split()[1].partition(".")[0]
        wanted = not runner.only or module in ("numpy", *runner.only)
        if name not in results or module in missing or not wanted:
            continue
        repeats = 5 if module in ("numpy", OURS.module) else 1
        try:
            bare = runner.import_seconds(module, "pass", repeats)
            seconds = runner.import_seconds(module, statement, repeats) - bare
        except RunError as error:
            runner.failed[f"import, {name}"] = str(error)
            del results[name]
        else:
            results[name].append({"seconds": seconds})
    return {name: runs for name, runs in results.items() if runs}


# Checking that each learns


def check_learning(results: dict, options: argparse.Namespace) -> list[str]:
    """Say what speaks against a system having learned; a collapsed arm alone does not.

    Each run counts by its better arm, each system by the median of its runs, and it is held against
    the median of the others. The first autoencoder has to come down as far as theirs; unless the
    run is too short to tell, the test loss has to be within three times theirs, clear of chance,
    and at the article's length the accuracy within the seeds' spread. A loss that is no number is
    a problem wherever it stands.
    """
    first = {
        name: statistics.median(number(run["pretraining"][0]["loss"][-1]) for run in own)
        for name, own in results.get("experiment", {}).items()
    }
    problems = [
        f"{name}: first autoencoder's loss {loss:.0f}, others {others:.0f}"
        for name, loss, others in beside_the_others(first)
        if not abs(loss / others - 1) < LOSS_SPREAD
    ]
    if options.finetune_steps < SHORTEST_JUDGED:
        return problems
    for task in ("experiment", "finetune"):
        problems += [f"{task}, {text}" for text in check_arms(results.get(task, {}), options)]
    return problems


def check_arms(runs: dict[str, list[dict]], options: argparse.Namespace) -> list[str]:
    problems = [
        f"{name}: the test loss of {arm} is no number"
        for name, own in runs.items()
        for run in own
        for arm, record in run["arms"].items()
        if math.isnan(record["test_loss"][-1])
    ]
    losses, accuracies = {}, {}
    for name, own in runs.items():
        losses[name] = statistics.median(
            min(number(arm["test_loss"][-1]) for arm in run["arms"].values()) for run in own
        )
        accuracies[name] = statistics.median(
            max(arm["final_accuracy"] for arm in run["arms"].values()) for run in own
        )
    for name, loss, others in beside_the_others(losses):
        if not loss < min(3 * others, 0.9 * CHANCE):
            problems.append(f"{name}: test loss {loss:.0f}, others {others:.0f}")
        if is_full(options) and not SPREAD[0] <= accuracies[name] <= SPREAD[1]:
            problems.append(f"{name}: accuracy {accuracies[name]:.1%}")
    return problems


def check_predictions(runs: dict[str, list[dict]]) -> list[str]:
    """All systems were given the same weights and rows: they have to see the same classes."""
    seen = [
        (name, entry["point"], tuple(entry["classes"]))
        for name, own in runs.items()
        for run in own
        for entry in run["points"]
    ]
    problems = []
    for name, point, classes in dict.fromkeys(seen):
        usual = statistics.mode(c for _, p, c in seen if p == point)
        if classes != usual:
            problems.append(f"{name}: classes {classes} at {point}, others {usual}")
    return problems


def number(loss: float) -> float:
    return math.inf if math.isnan(loss) else loss


def beside_the_others(losses: dict[str, float]) -> list[tuple[str, float, float]]:
    """Each system's loss, and the median of the others' (of its own if it is alone)."""
    return [
        (name, loss, statistics.median([v for k, v in losses.items() if k != name] or [loss]))
        for name, loss in losses.items()
    ]


def is_full(options: argparse.Namespace) -> bool:
    return options.pretrain_steps >= FULL_PRETRAINING and options.finetune_steps >= FULL_FINETUNING


# Figures


def seconds_of(run: dict) -> float:
    return run["seconds"]


def microseconds_at(point: Point) -> Callable[[dict], float]:
    def figure(run: dict) -> float:
        return next(entry["us"] for entry in run["points"] if entry["point"] == str(point))

    return figure


def pair_ratio(run: dict) -> float:
    """How many trainings alone two at once are worth."""
    rounds = zip(run["alone_seconds"], run["pair_seconds"], strict=True)
    return statistics.median(2 * alone / pair for alone, pair in rounds)


def ratios(runs: dict, name: str, figure: Callable, base: str = OURS.name) -> list[float]:
    """Return a system's figure over ours, round by round; nothing if one of both is not there."""
    pairs = zip(runs.get(name, []), runs.get(base, []), strict=False)
    return [figure(theirs) / figure(ours) for theirs, ours in pairs]


def fastest(runs: dict, names: Iterable[str], figure: Callable) -> tuple[str, list[float]]:
    """Of a framework's ways the one that comes closest to us, and its ratios."""
    known = {name: own for name in names if (own := ratios(runs, name, figure))}
    if not known:
        return next(iter(names)), []
    return min(known.items(), key=lambda item: statistics.median(item[1]))


def shares_of_sgemm(results: dict, name: str, point: Point) -> list[float]:
    """Rate of a training step over the machine's best big product, round by round."""
    steps, products = results.get("step", {}).get(name, []), results.get("sgemm", {}).values()
    figure = microseconds_at(point)
    return [
        point.flops() / (1e3 * figure(step)) / max(run["gflops"] for run in same_round)
        for step, same_round in zip(steps, zip(*products, strict=True), strict=False)
    ]


# Aims


@dataclasses.dataclass
class Aim:
    """A row of the table of aims."""

    row: str
    rounds: list[float]  # what each round measured
    least: float
    unit: str = "x"
    at_most: bool = False
    aim: float | None = None

    @property
    def measured(self) -> float | None:
        return statistics.median(self.rounds) if self.rounds else None

    @property
    def reached(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured <= self.least if self.at_most else self.measured >= self.least

    def cells(self) -> list[str]:
        """Row, measured, its lowest and highest round, target, reached."""
        digits = 0 if self.unit == "MB" else 2

        def text(value: float) -> str:
            return f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"

        target = f"{'≤' if self.at_most else '≥'} {text(self.least)} {self.unit}".strip()
        if self.aim is not None:
            target += f", aim {text(self.aim)}"
        if self.measured is None:
            return [self.row, "not measured", "-", target, "-"]
        measured = f"{self.measured:.{digits}f} {self.unit}".strip()
        spread = f"{min(self.rounds):.{digits}f} to {max(self.rounds):.{digits}f}"
        return [self.row, measured, spread, target, "yes" if self.reached else "NO"]


def list_aims(results: dict, has_avx512: bool) -> list[Aim]:
    """Return the *Done when* table: what was set out to be reached, and what was."""
    experiment, finetune = results.get("experiment", {}), results.get("finetune", {})
    steps, predictions = results.get("step", {}), results.get("predict", {})
    imports = results.get("import", {})

    def against(row: str, runs: dict, names: Iterable[str], figure: Callable, *bounds) -> Aim:
        name, own = fastest(runs, names, figure)
        return Aim(f"{row} ({name})", own, bounds[0], aim=bounds[1] if bounds[1:] else None)

    aims = [
        against("whole experiment against JAX", experiment, JAX, seconds_of, 6, 8),
        *(
            against(f"whole experiment against {title}", experiment, names, seconds_of, 16, 20)
            for title, names in (
                ("the article's program", ["tensorflow-graph"]),
                ("TensorFlow, its fastest way", TENSORFLOW),
                ("PyTorch, eager", ["torch"]),
                ("PyTorch, its fastest way", TORCH),
            )
        ),
        against("a step of the article's network", steps, ["jax"], microseconds_at(ARTICLE), 5, 6),
    ]
    for point, least in ((WIDE, 0.72), (WIDE_512, 0.90)):
        row = f"784-1000-1000-1000, batch {point.batch}"
        aims.append(
            Aim(f"{row}: share of sgemm", shares_of_sgemm(results, OURS.name, point), least, "")
        )
    for point in WIDE_STEPS:
        row = f"{'-'.join(map(str, point.sizes))}, batch {point.batch}"
        least = AHEAD[has_avx512][point.batch > BATCH]
        aims += [
            against(f"{row}: time against {title}", steps, names, microseconds_at(point), least)
            for title, names in (("JAX", ["jax"]), ("PyTorch", TORCH))
        ]
    one_row = microseconds_at(ROW)
    pairs = results.get("pair", {}).get(OURS.name, [])
    memory = [run["peak_memory_mb"] for run in experiment.get(OURS.name, [])]
    return [
        *aims,
        against("predict one row", predictions, ["torch-module"], one_row, 10),
        against("predict one row", predictions, ["torch"], one_row, 10),
        against("predict one row", predictions, ["sklearn"], one_row, 20),
        against("fine-tuning in MLPClassifier", finetune, ["sklearn"], seconds_of, 10),
        Aim(
            "two trainings at once, in trainings alone",
            list(map(pair_ratio, pairs)),
            1.9,
        ),
        Aim("peak memory of the experiment", memory, 200, "MB", at_most=True),
        Aim(
            "import sae_fast against import numpy",
            ratios(imports, OURS.name, seconds_of, base="numpy"),
            1.3,
            at_most=True,
        ),
    ]


# Tables


def columns_of(runs: dict[str, list[dict]], name: str, figure: Callable, digits: int) -> list[str]:
    """Median, fastest and slowest round, and the ratio to ours."""
    values = [figure(run) for run in runs[name]]
    cells = [f"{f(values):.{digits}f}" for f in (statistics.median, min, max)]
    to_ours = ratios(runs, name, figure)
    return [*cells, f"{statistics.median(to_ours):.2f}" if to_ours else "-"]


def print_experiments(results: dict) -> None:
    imports = results.get("import", {})
    for task, title in (
        ("experiment", "The whole experiment: both arms, all evaluations, compilation not counted"),
        ("finetune", "Fine-tuning alone, from He's weights or their like"),
    ):
        runs = results.get(task, {})
        rows = []
        for name, own in runs.items():
            module = next(system.module for system in SYSTEMS if system.name == name)
            arms = [arm for run in own for arm in run["arms"].values()]
            accuracies = [arm["final_accuracy"] for arm in arms]
            n_below = sum(accuracy < 0.9 for accuracy in accuracies)
            imported = [run["seconds"] for run in imports.get(module, [])]
            rows.append(
                [
                    name,
                    *columns_of(runs, name, seconds_of, 2),
                    f"{statistics.median(run.get('compile_seconds', 0) for run in own):.1f}",
                    f"{max(run['peak_memory_mb'] for run in own):.0f}",
                    f"{statistics.median(imported):.2f}" if imported else "-",
                    f"{100 * max(accuracies):.2f} %",
                    f"{n_below} of {len(arms)}",
                ]
            )
        head = ["system", "seconds", "min", "max", "ratio", "compile", "peak MB", "import s"]
        print_table(title, [*head, "best arm", "below 90 %"], rows)


def print_points(results: dict) -> None:
    for task, points, title in (
        ("step", STEPS, "A training step, µs"),
        ("predict", PREDICTIONS, "Prediction, from a NumPy array to one, µs"),
    ):
        runs = results.get(task, {})
        for point in points:
            figure = microseconds_at(point)
            rows = [[name, *columns_of(runs, name, figure, 1)] for name in runs]
            if task == "step":
                for row in rows:
                    shares = shares_of_sgemm(results, row[0], point)
                    row.append(f"{statistics.median(shares):.2f}" if shares else "-")
            head = ["system", "median", "min", "max", "ratio"] + ["of sgemm"] * (task == "step")
            print_table(f"{title}: {point}", head, rows)


def print_report(results: dict, aims: list[Aim], runner: Runner, problems: list[str]) -> None:
    print_experiments(results)
    print_points(results)
    for task, title, figure, digits in (
        ("import", "Import alone, seconds", seconds_of, 3),
        ("sgemm", "Product of two 2048 by 2048 matrices, GFLOP/s", lambda run: run["gflops"], 0),
    ):
        runs = results.get(task, {})
        rows = [[name, *columns_of(runs, name, figure, digits)[:3]] for name in runs]
        print_table(title, ["", "median", "min", "max"], rows)
    head = ["row", "measured", "rounds", "target", "reached"]
    print_table("Aims", head, [aim.cells() for aim in aims])
    runner.print_absences()
    for problem in problems:
        print(f"not as it should be: {problem}")


# Picture

BLUE, GREY = "#0072B2", "#A6A6A6"


def draw(results: dict, path: Path) -> None:
    """Draw a panel of bars for each task that was measured, two abreast."""
    from matplotlib.figure import Figure

    panels = [
        ("experiment", "The whole experiment, seconds", seconds_of),
        ("step", "One training step of the article's network, µs", microseconds_at(ARTICLE)),
        ("experiment", "Peak memory of the experiment, MB", lambda run: run["peak_memory_mb"]),
        ("predict", "Prediction of one row, µs", microseconds_at(ROW)),
        ("finetune", "Fine-tuning alone, seconds", seconds_of),
    ]
    panels = [panel for panel in panels if results.get(panel[0])]
    if not panels:
        return
    pairs = [panels[i : i + 2] for i in range(0, len(panels), 2)]
    heights = [max(len(results[task]) for task, *_ in pair) + 1 for pair in pairs]
    figure = Figure(figsize=(13, 0.36 * sum(heights) + 0.3), layout="constrained")
    axes = figure.subplots(len(pairs), 2, height_ratios=heights, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for row, pair, height in zip(axes, pairs, heights, strict=True):
        for ax, (task, title, value_of) in zip(row, pair, strict=False):
            draw_bars(ax, results[task], label_of(task), title, value_of)
            ax.set_ylim(height - 1.5, -0.5)  # bars of one thickness
    figure.savefig(path, dpi=150)


def label_of(task: str) -> Callable[[str], str]:
    """Return what names a system in a picture: how it runs arms matters where there are arms."""
    systems = {system.name: system for system in SYSTEMS}

    def label(name: str) -> str:
        system = systems[name]
        arms = f", arms {system.arms}" if system.arms and task == "experiment" else ""
        return system.title + arms

    return label


def draw_bars(ax, runs: dict, label: Callable, title: str, value_of: Callable) -> None:
    """One bar per system, ours first, the others by size; behind each its value and ratio."""
    medians = {name: statistics.median(map(value_of, own)) for name, own in runs.items()}
    names = sorted(medians, key=lambda name: (name != OURS.name, medians[name]))
    colours = [BLUE if name == OURS.name else GREY for name in names]
    bars = ax.barh(list(map(label, names)), [medians[name] for name in names], color=colours)
    captions = []
    for name in names:
        value = f" {medians[name]:,.{0 if medians[name] >= 100 else 1}f}"
        to_ours = ratios(runs, name, value_of)
        known = to_ours and name != OURS.name
        behind = f"   {statistics.median(to_ours):.1f} x" if known else ""
        captions.append(value + behind)
    ax.bar_label(bars, captions, fontsize=9)
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold")
    ax.set_xlim(0, 1.3 * max(medians.values()))
    ax.set_axis_on()
    ax.tick_params(axis="y", length=0, labelsize=9)
    ax.set_xticks([])
    ax.spines[:].set_visible(False)


# The command


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--tasks", default=",".join(TASKS), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pretrain-steps", type=int, default=FULL_PRETRAINING)
    parser.add_argument("--finetune-steps", type=int, default=FULL_FINETUNING)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; then one more")
    options = parser.parse_args()
    if options.short:
        vars(options).update(rounds=1, pretrain_steps=100, finetune_steps=100)
    options.tasks = options.tasks.split(",")
    if unknown := set(options.tasks) - TASKS.keys():
        parser.error(f"--tasks: no such task: {', '.join(sorted(unknown))}")
    if options.rounds < 1:
        parser.error(f"--rounds: at least 1, not {options.rounds}")
    for name in ("pretrain_steps", "finetune_steps"):
        if getattr(options, name) < 100 or getattr(options, name) % 100:
            parser.error(
                f"--{name.replace('_', '-')}: a multiple of 100, as there is an "
                "evaluation every 100 steps"
            )
    return options


def main() -> int:
    options = parse()
    runner = Runner(options)
    results = measure(runner, options)
    aims = list_aims(results, runner.machine.get("isa") == "avx512")
    problems = check_learning(results, options) + check_predictions(results.get("predict", {}))
    print_report(results, aims, runner, problems)
    if options.json:
        report = {
            "machine": runner.machine,
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "settings": {
                name: getattr(options, name)
                for name in ("rounds", "pretrain_steps", "finetune_steps", "seed", "tasks")
            },
            "aims": [
                dataclasses.asdict(aim) | {"measured": aim.measured, "reached": aim.reached}
                for aim in aims
            ],
            "load_average": runner.loads,
            "missing": runner.missing,
            "left_out": runner.left_out,
            "failed": runner.failed,
            "problems": problems,
            "results": results,
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.plot:
        draw(results, options.plot)
    return 1 if problems or runner.failed else 0


if __name__ == "__main__":
    run_command(main)
