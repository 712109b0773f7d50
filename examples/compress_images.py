# SPDX-License-Identifier: BSD-3-Clause
"""Compress images of 784 pixels to 30 numbers, and look at what is left of them.

Draws them to reconstructions.png, or to the file that is named on the command line.
"""

import sys

import sae_fast

path = sys.argv[1] if len(sys.argv) > 1 else "reconstructions.png"
data = sae_fast.datasets.load_strokes(n_train=5000, n_test=1000)

single = sae_fast.Autoencoder(784, 30, seed=0)
single.fit(data.x_train, steps=2000)
stack = sae_fast.StackedAutoencoder([784, 200, 30], seed=0)
stack.pretrain(data.x_train, steps=2000)

print(f"784 numbers become {stack.encode(data.x_test).shape[1]}")
for name, model in (("784-30", single), ("784-200-30", stack)):
    print(f"{name}: mean squared error {model.reconstruction_error(data.x_test):.4f} a pixel")

axes = sae_fast.plot.plot_reconstructions(
    data.x_test,
    {"784-30": single.reconstruct(data.x_test), "784-200-30": stack.reconstruct(data.x_test)},
    data.image_shape,
)
axes.figure.savefig(path)
print(f"see {path}")
