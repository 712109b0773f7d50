# SPDX-License-Identifier: BSD-3-Clause
"""Find the ten digits without a label, by deep embedded clustering, beside k-means.

A tenth of the rows is set aside, to see that new rows find their cluster. Draws clusters.png.
"""

import numpy as np
from matplotlib.image import imsave
from sae_fast.sklearn import DeepEmbeddedClustering
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16, y, test_size=0.1, random_state=0)


def accuracy(labels, y):
    """Share of the rows that are right when each cluster stands for the class that fits best."""
    table = np.zeros((10, 10), int)
    np.add.at(table, (labels, y), 1)
    return table[linear_sum_assignment(-table)].sum() / len(y)


plain = KMeans(10, n_init=20, random_state=0).fit(x_train)
print(f"k-means of the pixels: {accuracy(plain.labels_, y_train):.3f}")

dec = DeepEmbeddedClustering(
    10,
    units=(500, 10),
    standardize=False,
    steps=0,  # all layers are trained at once, and slowly
    tune_epochs=150,
    tune_learning_rate=1e-4,
    random_state=0,
)
dec.fit(x_train)
print(f"k-means of the codes: {accuracy(dec.start_labels_, y_train):.3f}")
print(f"deep embedded clustering: {accuracy(dec.labels_, y_train):.3f}", end="")
print(f" after {dec.n_iter_} renewals, new rows {accuracy(dec.predict(x_test), y_test):.3f}")

# a row of the picture for each cluster: the ten digits that belong to it most
most = np.argsort(-dec.transform(x_train), axis=0)[:10].T
images = np.pad(x_train[most].reshape(10, 10, 8, 8), ((0, 0), (0, 0), (2, 2), (1, 1)))
pixels = images.transpose(0, 2, 1, 3).reshape(120, 100)
imsave("clusters.png", np.kron(pixels, np.ones((7, 7))), cmap="gray_r")
