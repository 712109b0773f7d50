# SPDX-License-Identifier: BSD-3-Clause
"""The article's comparison over several seeds: every final accuracy, as a Markdown table.

One run of the article says little: arms collapse, and which one ends ahead changes with the seed.
Run: python benchmarks/seeds.py --data-dir DIR [--seeds 10] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import sae_fast


def cell(result: sae_fast.ExperimentResult, arm: str) -> str:
    """One result: final accuracy in percent; of a collapsed arm also its dead top units."""
    run = result.arms[arm]
    text = f"{100 * run.final_accuracy:.2f}"
    return f"**{text}** ({run.dead_units[-1]} dead)" if result.collapse(arm) else text


def table(results: dict[int, sae_fast.ExperimentResult], arms: list[str]) -> str:
    lines = [
        "| seed | " + " | ".join(f"{arm} | step at 90 %" for arm in arms) + " |",
        "|---" * (1 + 2 * len(arms)) + "|",
    ]
    for seed, result in results.items():
        cells = [
            text
            for arm in arms
            for text in (
                cell(result, arm),
                f"{result.arms[arm].first_step_at_90 or 'never'}",
            )
        ]
        lines.append(f"| {seed} | " + " | ".join(cells) + " |")
    for arm in arms:
        others = [
            100 * result.arms[arm].final_accuracy
            for result in results.values()
            if not result.collapse(arm)
        ]
        middle = f"{statistics.median(others):.2f} %" if others else "none"
        lines.append(
            f"\n{arm}: {len(results) - len(others)} of {len(results)} collapsed; "
            f"median of the others {middle}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder of MNIST's files")
    parser.add_argument("--dataset", choices=["mnist", "strokes"], default="mnist")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--arms", default="pretrained,normal,he")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--short", action="store_true", help="only try whether it runs")
    options = parser.parse_args()
    steps = {}
    if options.short:
        options.seeds, steps = 2, {"pretrain_steps": 100, "finetune_steps": 100}
    arms = options.arms.split(",")
    data = sae_fast.datasets.load(options.dataset, options.data_dir, offline=True)
    results = {}
    for seed in range(options.seeds):
        results[seed] = sae_fast.run_experiment(
            dataset=data, arms=arms, seed=seed, quiet=True, **steps
        )
        accuracies = {arm: run.final_accuracy for arm, run in results[seed].arms.items()}
        print(f"seed {seed}: {results[seed].seconds:.1f} s, {accuracies}", flush=True)
    print(table(results, arms))
    if options.json:
        document = {seed: result.to_dict() for seed, result in results.items()}
        options.json.write_text(json.dumps(document))


if __name__ == "__main__":
    main()
