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


def train(module, steps, loss_of_batch):
    optimizer = torch.optim.Adam(module.parameters())
    step = 0
    while step < steps:
        for batch in torch.randperm(len(x_train)).split(100):
            loss = loss_of_batch(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1


encoders, h = [], x_train
for n_in, n_out in ((64, 32), (32, 16)):
    encoder = nn.Sequential(nn.Linear(n_in, n_out), nn.ReLU())
    autoencoder = nn.Sequential(encoder, nn.Linear(n_out, n_in))
    train(autoencoder, 1000, lambda batch: ((autoencoder(h[batch]) - h[batch]) ** 2).sum())
    encoders.append(encoder)
    with torch.no_grad():
        h = encoder(h)

net = nn.Sequential(*encoders, nn.Linear(16, 10))
train(net, 2000, lambda batch: nn.functional.cross_entropy(net(x_train[batch]), y_train[batch]))

with torch.no_grad():
    codes = net[:2](x_test)
    probabilities = net(x_test).softmax(dim=1)

print("parameters:", sum(p.numel() for p in net.parameters()))
print("codes:", tuple(codes.shape))
print("probabilities:", tuple(probabilities.shape))
print(f"accuracy: {(probabilities.argmax(dim=1) == y_test).double().mean():.3f}")
