# SPDX-License-Identifier: BSD-3-Clause
"""A stacked denoising autoencoder (Vincent et al. 2010), beside the same network from nothing.

`python examples/stacked_denoising.py --data-dir DIR` trains 784-1000-1000-1000-10 on MNIST's IDX
files in DIR; without DIR a small network on drawn digits, to see it run. Draws accuracy.png.
"""

import argparse

import sae_fast

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data-dir", help="folder of MNIST's IDX files")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

if options.data_dir:
    data = sae_fast.datasets.load_mnist(options.data_dir)
    sizes, pretrain_epochs, finetune_epochs = [784, 1000, 1000, 1000], 5, 10
else:
    data = sae_fast.datasets.load_strokes(n_train=2000, n_test=500)
    sizes, pretrain_epochs, finetune_epochs = [784, 60, 60, 60], 20, 100

train, test = (data.x_train, data.y_train), (data.x_test, data.y_test)
histories, title = {}, "-".join(map(str, sizes))
for name in ("pretrained", "from nothing"):
    net = sae_fast.StackedAutoencoder(
        sizes, n_classes=10, activation="sigmoid", output="sigmoid", seed=options.seed
    )
    seconds = 0.0
    if name == "pretrained":
        layers = net.pretrain(
            data.x_train,
            epochs=pretrain_epochs,
            loss="binary_cross_entropy",
            corruption=sae_fast.corruptions.Masking(0.25),
            scale=data.scale,
            eval_every=0,
        )
        seconds = sum(layer.seconds for layer in layers)
    history = histories[name] = net.finetune(
        *train,
        epochs=finetune_epochs,
        loss="cross_entropy",
        learning_rate=sae_fast.schedules.Cosine(1e-3),
        scale=data.scale,
        eval_set=test,
        eval_every=len(data.x_train) // 100,
    )
    error = 100 * (1 - history.accuracy[-1])
    print(f"{title}, {name}: test error {error:.2f} %", end="")
    print(f", {seconds:.0f} s of pretraining, {history.seconds:.0f} s of fine-tuning")

axes = sae_fast.plot.plot_history(histories, "accuracy")
axes.figure.savefig("accuracy.png")
