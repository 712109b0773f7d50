# SPDX-License-Identifier: BSD-3-Clause
"""The model in Keras: an autoencoder for each layer, whose encoder goes into the classifier."""

import keras
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split((x / 16).astype("float32"), y, random_state=0)
keras.utils.set_random_seed(0)

encoders, h = [], x_train
for n_in, n_out in ((64, 32), (32, 16)):
    encoder = layers.Dense(n_out, activation="relu")
    autoencoder = keras.Sequential([keras.Input((n_in,)), encoder, layers.Dense(n_in)])
    autoencoder.compile("adam", "mse")
    autoencoder.fit(h, h, batch_size=100, epochs=75, verbose=0)
    encoders.append(encoder)
    h = encoder(h).__array__()

net = keras.Sequential([keras.Input((64,)), *encoders, layers.Dense(10, activation="softmax")])
net.compile("adam", "sparse_categorical_crossentropy")
net.fit(x_train, y_train, batch_size=100, epochs=150, verbose=0)

codes = keras.Sequential([keras.Input((64,)), *encoders]).predict(x_test, verbose=0)
probabilities = net.predict(x_test, verbose=0)

print("parameters:", net.count_params())
print("codes:", codes.shape)
print("probabilities:", probabilities.shape)
print(f"accuracy: {(probabilities.argmax(axis=1) == y_test).mean():.3f}")
