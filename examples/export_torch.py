# SPDX-License-Identifier: BSD-3-Clause
"""Pretrain here, go on in PyTorch, and come back."""

import sae_fast
import torch

data = sae_fast.datasets.load_strokes(n_train=2000, n_test=400)
net = sae_fast.StackedAutoencoder([784, 100, 20], n_classes=10, seed=0)
net.pretrain(data.x_train, steps=500)

module = net.to_torch(part="classifier")  # Linear and ReLU, and a Softmax on top
x, y = torch.from_numpy(data.x_train), torch.from_numpy(data.y_train)
torch.manual_seed(0)
optimizer = torch.optim.Adam(module.parameters())
for _ in range(30):
    for batch in torch.randperm(len(x)).split(100):
        loss = torch.nn.functional.nll_loss(module(x[batch]).clamp_min(1e-10).log(), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

again = sae_fast.StackedAutoencoder.from_torch(module)
with torch.no_grad():
    classes = module(torch.from_numpy(data.x_test)).argmax(dim=1).numpy()
print(f"accuracy in PyTorch: {(classes == data.y_test).mean():.3f}")
_, accuracy = again.evaluate(data.x_test, data.y_test)
print(f"accuracy of the same weights here: {accuracy:.3f}")
