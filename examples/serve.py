# SPDX-License-Identifier: BSD-3-Clause
"""Serve predictions over HTTP, one thread for each request, with the standard library alone.

POST rows as a JSON list of lists to /predict; the answer is a list of classes. The model is shared
by all threads: predictions only read it, and give the GIL up while they compute. Here the script
trains a small model, starts the service on a free port, asks it from eight threads and ends it.
"""

import json
import tempfile
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import sae_fast

MOST_BYTES = 10_000_000


class Service(ThreadingHTTPServer):
    """A server that knows its model."""

    def __init__(self, address, path):
        super().__init__(address, Handler)
        self.model = sae_fast.load(path)
        self.model.n_threads = 1  # requests already run side by side


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self):
        """Answer with classes, or with what is wrong with the rows."""
        if self.path != "/predict":
            return self.answer(404, {"error": "POST to /predict"})
        try:
            length = int(self.headers.get("Content-Length", 0))
            if not 0 < length <= MOST_BYTES:
                return self.answer(413, {"error": f"expected 1 to {MOST_BYTES} bytes"})
            x = np.array(json.loads(self.rfile.read(length)), dtype=np.float32)
            classes = self.server.model.predict(x)
        except (ValueError, TypeError, RecursionError) as error:
            # no JSON, no numbers, or a DataError, which is a ValueError
            return self.answer(400, {"error": str(error)})
        return self.answer(200, classes.tolist())

    def answer(self, status, value):
        """Send a value as JSON."""
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Keep quiet."""


def ask(url, rows):
    """Return the status and the answer to a request."""
    request = urllib.request.Request(url, json.dumps(rows).encode())
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def main():
    """Train, serve, ask, and end."""
    data = sae_fast.datasets.load_strokes(n_train=2000, n_test=400)
    net = sae_fast.StackedAutoencoder([784, 50], n_classes=10, seed=0)
    net.pretrain(data.x_train, steps=200)
    net.finetune(data.x_train, data.y_train, steps=1000)

    with tempfile.TemporaryDirectory() as folder:
        path = net.save(Path(folder) / "net.safetensors")
        service = Service(("127.0.0.1", 0), path)
    Thread(target=service.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{service.server_port}/predict"

    parts = np.split(data.x_test.round(3), 40)  # ten rows a request
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda part: ask(url, part.tolist()), parts))
    classes = np.concatenate([answer for _, answer in answers])
    right = (classes == net.predict(data.x_test.round(3))).all()
    print(f"{len(answers)} requests from 8 threads, {len(classes)} rows")
    print(f"the same classes as without the service: {right}")
    print("a wrong request:", *ask(url, [[1, 2, 3]]))
    service.shutdown()
    service.server_close()


if __name__ == "__main__":
    main()
