# SPDX-License-Identifier: BSD-3-Clause
"""Makes the pictures of the documentation: `python docs/pictures.py --data-dir DIR`.

`DIR` holds MNIST's four IDX files. Those of the experiment are what `sae-fast run` and `sae-fast
reconstruct` draw for seed 0; the others come from the scripts in examples/. Each is reduced to 64
colours, which nobody sees, for the sake of small files.
"""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import tempfile
from pathlib import Path

import sae_fast
from PIL import Image

DOCS = Path(__file__).resolve().parent
EXAMPLES = DOCS.parent / "examples"
WIDTH = 1200  # pixels at most
MOST_BYTES = 100_000
RECIPES = {
    "stacked_denoising.py": {"accuracy": "stacked_denoising"},
    "deep_autoencoder.py": {"loss": "deep_loss", "reconstructions": "deep_reconstructions"},
}


def place(source: Path, name: str) -> None:
    """Put a picture into docs/pictures/, smaller."""
    with Image.open(source) as opened:
        image = opened.convert("RGB")
    path = DOCS / "pictures" / f"{name}.png"
    width = min(image.width, WIDTH)
    while True:
        smaller = image.resize((width, round(image.height * width / image.width)), Image.LANCZOS)
        smaller.quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size < MOST_BYTES:
            break
        width = width * 9 // 10
    print(f"{path.relative_to(DOCS.parent)}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="folder of MNIST's IDX files")
    options = parser.parse_args()
    (DOCS / "pictures").mkdir(exist_ok=True)
    settings = {"dataset": "mnist", "data_dir": options.data_dir, "quiet": True}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        run = sae_fast.run_experiment(**settings, output=out / "run")
        run.save(out / "run")
        print(run.summary())
        for name in ("accuracy", "pretraining"):
            place(out / "run" / f"{name}.png", name)
        single = sae_fast.run_reconstruction(**settings, output=out / "reconstruct")
        single.save(out / "reconstruct")
        print(single.summary())
        place(out / "reconstruct" / "reconstructions.png", "reconstruct")

        sys.argv[1:] = [str(out / "compress.png")]
        runpy.run_path(str(EXAMPLES / "compress_images.py"))
        place(out / "compress.png", "compress")

        for script, pictures in RECIPES.items():  # minutes each
            sys.argv[1:] = ["--data-dir", str(Path(options.data_dir).resolve())]
            os.chdir(out)  # where they draw
            runpy.run_path(str(EXAMPLES / script))
            os.chdir(DOCS)
            for drawn, name in pictures.items():
                place(out / f"{drawn}.png", name)

        sys.argv[1:] = []
        found = runpy.run_path(str(EXAMPLES / "detect_anomalies.py"))
        axes = sae_fast.plot.plot_scores(
            found["scores"], found["is_anomaly"], threshold=float(found["threshold"])
        )
        axes.figure.savefig(out / "anomalies.png")
        place(out / "anomalies.png", "anomalies")

        os.chdir(out)
        runpy.run_path(str(EXAMPLES / "cluster_digits.py"))
        os.chdir(DOCS)
        place(out / "clusters.png", "clusters")


if __name__ == "__main__":
    main()
