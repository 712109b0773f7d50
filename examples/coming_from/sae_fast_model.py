# SPDX-License-Identifier: BSD-3-Clause
"""The model in sae_fast: 64-32-16-10 on scikit-learn's digits, pretrained and fine-tuned."""

import sae_fast
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x / 16, y, random_state=0)

net = sae_fast.StackedAutoencoder([64, 32, 16], n_classes=10, seed=0)
net.pretrain(x_train, steps=1000)
net.finetune(x_train, y_train, steps=2000, loss="cross_entropy")

codes = net.encode(x_test)
probabilities = net.predict_proba(x_test)

print("parameters:", sum(p.size for p in net.parameters.values()))
print("codes:", codes.shape)
print("probabilities:", probabilities.shape)
print(f"accuracy: {(probabilities.argmax(axis=1) == y_test).mean():.3f}")
