# SPDX-License-Identifier: BSD-3-Clause
"""The model in PyTorch: the loops are yours."""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = map(
    torch.from_numpy, train_test_split((x / 16).astype("float32"), y, random_state=0)
)
torch.manual_seed(0)


def train(module, inputs, targets, loss_function, epochs):
    optimizer = torch.optim.Adam(module.parameters())
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(100):
            loss = loss_function(module(inputs[batch]), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


encoders, h = [], x_train
for n_in, n_out in ((64, 32), (32, 16)):
    encoder = nn.Sequential(nn.Linear(n_in, n_out), nn.ReLU())
    autoencoder = nn.Sequential(encoder, nn.Linear(n_out, n_in))
    train(autoencoder, h, h, nn.MSELoss(reduction="sum"), epochs=75)
    encoders.append(encoder)
    with torch.no_grad():
        h = encoder(h)

net = nn.Sequential(*encoders, nn.Linear(16, 10))
train(net, x_train, y_train, nn.CrossEntropyLoss(reduction="sum"), epochs=150)

with torch.no_grad():
    codes = net[:2](x_test)
    probabilities = net(x_test).softmax(dim=1)

print("parameters:", sum(p.numel() for p in net.parameters()))
print("codes:", tuple(codes.shape))
print("probabilities:", tuple(probabilities.shape))
print(f"accuracy: {(probabilities.argmax(dim=1) == y_test).double().mean():.3f}")
