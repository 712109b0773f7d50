# SPDX-License-Identifier: BSD-3-Clause
"""The model in scikit-learn, which has no autoencoder: regressions of x on x, weights by hand."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils import shuffle

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16, y, random_state=0)

encoders, h = [], x_train
for units in (32, 16):
    autoencoder = MLPRegressor(
        hidden_layer_sizes=(units,),
        batch_size=100,
        max_iter=75,
        n_iter_no_change=75,
        alpha=0,
        random_state=0,
    )
    autoencoder.fit(h, h)
    w, b = autoencoder.coefs_[0], autoencoder.intercepts_[0]
    encoders.append((w, b))
    h = np.maximum(h @ w + b, 0)

net = MLPClassifier((32, 16), batch_size=100, alpha=0, random_state=0)
net.partial_fit(x_train[:100], y_train[:100], classes=range(10))  # makes the arrays to fill
for layer, (w, b) in enumerate(encoders):
    net.coefs_[layer][:], net.intercepts_[layer][:] = w, b
for epoch in range(150):
    net.partial_fit(*shuffle(x_train, y_train, random_state=epoch))

codes = x_test
for w, b in zip(net.coefs_[:2], net.intercepts_[:2], strict=True):
    codes = np.maximum(codes @ w + b, 0)
probabilities = net.predict_proba(x_test)

print("parameters:", sum(p.size for p in [*net.coefs_, *net.intercepts_]))
print("codes:", codes.shape)
print("probabilities:", probabilities.shape)
print(f"accuracy: {(probabilities.argmax(axis=1) == y_test).mean():.3f}")
