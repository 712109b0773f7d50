# SPDX-License-Identifier: BSD-3-Clause
"""A deep autoencoder, pretrained and then tuned whole (Hinton and Salakhutdinov 2006).

`python examples/deep_autoencoder.py --data-dir DIR` trains 784-1000-500-250-30 and back on MNIST's
IDX files in DIR, and the same from nothing; without DIR a small one on drawn digits, to see it run.
Draws loss.png and reconstructions.png.
"""

import argparse

import numpy as np
import sae_fast
from sklearn.decomposition import PCA

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data-dir", help="folder of MNIST's IDX files")
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()

if options.data_dir:
    data = sae_fast.datasets.load_mnist(options.data_dir)
    sizes, pretrain_epochs, epochs = [784, 1000, 500, 250, 30], 5, 15
else:
    data = sae_fast.datasets.load_strokes(n_train=2000, n_test=500)
    sizes, pretrain_epochs, epochs = [784, 80, 40, 30, 10], 20, 60

x_train, x_test = (x * np.float32(data.scale or 1) for x in (data.x_train, data.x_test))
activation = ["sigmoid"] * (len(sizes) - 2) + ["linear"]  # the code is linear
histories, rows, title = {}, {}, "-".join(map(str, sizes))
for name in ("pretrained", "from nothing"):
    net = sae_fast.StackedAutoencoder(
        sizes, activation=activation, output="sigmoid", seed=options.seed
    )
    seconds = 0.0
    if name == "pretrained":
        layers = net.pretrain(x_train, epochs=pretrain_epochs, eval_every=0)
        seconds = sum(layer.seconds for layer in layers)
    history = histories[name] = net.finetune_autoencoder(
        x_train,
        epochs=epochs,
        learning_rate=sae_fast.schedules.Cosine(1e-3),
        eval_set=x_test,
        eval_every=len(x_train) // 100,
    )
    rows[name] = net.reconstruct(x_test)
    error = 784 * net.reconstruction_error(x_test)
    print(f"{title}, {name}: squared error {error:.2f} a test image", end="")
    print(f", {seconds:.0f} s of pretraining, {history.seconds:.0f} s of tuning")

pca = PCA(sizes[-1], random_state=0).fit(x_train)
rows["PCA"] = pca.inverse_transform(pca.transform(x_test)).astype(np.float32)
error = ((rows["PCA"] - x_test) ** 2).sum(axis=1).mean()
print(f"PCA, {sizes[-1]} components: squared error {error:.2f} a test image")

sae_fast.plot.plot_history(histories).figure.savefig("loss.png")
axes = sae_fast.plot.plot_reconstructions(x_test, rows, data.image_shape)
axes.figure.savefig("reconstructions.png")
