# SPDX-License-Identifier: BSD-3-Clause
"""Export a classifier to an ONNX file and run it with onnxruntime, without sae_fast."""

import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import sae_fast

data = sae_fast.datasets.load_strokes(n_train=2000, n_test=400)
net = sae_fast.StackedAutoencoder([784, 100, 20], n_classes=10, seed=0)
net.pretrain(data.x_train, steps=200)
net.finetune(data.x_train, data.y_train, steps=1000)

with tempfile.TemporaryDirectory() as folder:
    path = net.export_onnx(Path(folder) / "net.onnx", part="classifier")
    print(f"{path.name}: {path.stat().st_size} bytes")
    session = onnxruntime.InferenceSession(path)
(probabilities,) = session.run(["probabilities"], {"x": data.x_test})
difference = np.abs(probabilities - net.predict_proba(data.x_test)).max()
print(f"largest difference of a probability: {difference:.0e}")
print(f"below 1e-5: {difference < 1e-5}")
