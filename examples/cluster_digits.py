# SPDX-License-Identifier: BSD-3-Clause
"""Find the ten digits without a label, by deep embedded clustering, beside k-means.

A tenth of the rows is set aside, to see that new rows find their cluster. Draws clusters.png.
"""

import numpy as np
import sae_fast
from sae_fast.sklearn import DeepEmbeddedClustering
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.1, random_state=0)


def accuracy(labels, y):
    """Share of the rows that are right when each cluster stands for the class that fits best."""
    table = np.zeros((10, 10), int)
    np.add.at(table, (labels, y), 1)
    return table[linear_sum_assignment(-table)].sum() / len(y)


pixels = KMeans(10, n_init=20, random_state=0).fit(x_train)
print(f"k-means of the pixels: {accuracy(pixels.labels_, y_train):.3f}")

dec = DeepEmbeddedClustering(
    10, units=(200, 10), corruption="masking", tune_epochs=50, random_state=0
)
dec.fit(x_train)
print(f"k-means of the codes: {accuracy(dec.start_labels_, y_train):.3f}")
print(f"deep embedded clustering: {accuracy(dec.labels_, y_train):.3f}", end="")
print(f" after {dec.n_iter_} renewals, new rows {accuracy(dec.predict(x_test), y_test):.3f}")

belongs = dec.transform(x_train)
rows = {
    f"cluster {cluster}": x_train[np.argsort(-belongs[:, cluster])[:10]] for cluster in range(10)
}
first = rows.pop("cluster 0")
axes = sae_fast.plot.plot_reconstructions(first, rows, (8, 8))
axes.figure.savefig("clusters.png")
