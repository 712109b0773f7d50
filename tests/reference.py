# SPDX-License-Identifier: BSD-3-Clause
"""The oracle: the article's formulas in float64 NumPy, one line of mathematics per line of code.

Nothing here is fast, and nothing is taken from the product. Parameters are plain dicts of arrays,
``W_enc, b_enc, W_dec, b_dec`` or ``W1, b1, ..., WL, bL``; inputs are never written to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Parameters = dict[str, Array]
LossAndGradients = tuple[float, Parameters]

CLIP = 1e-10  # lower end of the article's clip range for probabilities; the upper end is 1


def as_float64(parameters: Mapping[str, ArrayLike]) -> Parameters:
    """Copy of the parameters in float64."""
    return {name: np.array(value, dtype=np.float64) for name, value in parameters.items()}


def relu(z: Array) -> Array:
    return np.maximum(z, 0.0)


def sigmoid(z: Array) -> Array:
    return np.exp(np.minimum(z, 0.0)) / (1.0 + np.exp(-np.abs(z)))


def leaky_relu(z: Array) -> Array:
    return np.where(z > 0.0, z, 0.01 * z)


def elu(z: Array) -> Array:
    return np.where(z > 0.0, z, np.expm1(np.minimum(z, 0.0)))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def selu(z: Array) -> Array:
    return SELU_SCALE * np.where(z > 0.0, z, SELU_ALPHA * elu(z))


def softplus(z: Array) -> Array:
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))


Activation = tuple[Callable[[Array], Array], Callable[[Array], Array]]

#: What units make of their pre-activations z, and its derivative with respect to z.
ACTIVATIONS: dict[str, Activation] = {
    "linear": (lambda z: z, np.ones_like),
    "relu": (relu, lambda z: (z > 0.0).astype(np.float64)),
    "leaky_relu": (leaky_relu, lambda z: np.where(z > 0.0, 1.0, 0.01)),
    "elu": (elu, lambda z: np.exp(np.minimum(z, 0.0))),
    "selu": (
        selu,
        lambda z: SELU_SCALE * np.where(z > 0.0, 1.0, SELU_ALPHA * np.exp(np.minimum(z, 0.0))),
    ),
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * sigmoid(-z)),
    "tanh": (np.tanh, lambda z: 1.0 - np.tanh(z) ** 2),
    "softplus": (softplus, sigmoid),
    # what a unit does that its row keeps
    "top_k": (lambda z: z, lambda z: (z != 0.0).astype(np.float64)),
}


def top_k(k: int) -> Activation:
    """Keep the k largest of each row, the first of equals (Makhzani and Frey 2013)."""

    def kept(z: Array) -> Array:
        places = np.argsort(-z, axis=1, kind="stable")[:, :k]
        mask = np.zeros_like(z)
        np.put_along_axis(mask, places, 1.0, axis=1)
        return mask

    return lambda z: z * kept(z), kept


def functions(activation: str | int) -> Activation:
    """Give an activation by its name, or the k-sparse one by its k."""
    return top_k(activation) if isinstance(activation, int) else ACTIVATIONS[activation]


#: The losses of an output a and its target t, element by element, and their derivative with respect
#: to a.
VALUE_LOSSES: dict[str, tuple[Callable[[Array, Array], Array], Callable[[Array, Array], Array]]] = {
    "squared_error": (lambda a, t: (a - t) ** 2, lambda a, t: 2.0 * (a - t)),
    "binary_cross_entropy": (
        lambda a, t: -(t * np.log(a) + (1.0 - t) * np.log(1.0 - a)),
        lambda a, t: (a - t) / (a * (1.0 - a)),
    ),
    "huber": (
        lambda a, t: np.where(np.abs(a - t) <= 1.0, 0.5 * (a - t) ** 2, np.abs(a - t) - 0.5),
        lambda a, t: np.clip(a - t, -1.0, 1.0),
    ),
    "absolute_error": (lambda a, t: np.abs(a - t), lambda a, t: np.sign(a - t)),
    "poisson": (lambda a, t: a - t * np.log(a), lambda a, t: 1.0 - t / a),
}


# Autoencoder: code = relu(x W_enc + b_enc), reconstruction = code W_dec + b_dec.


def encode(parameters: Mapping[str, ArrayLike], x: ArrayLike) -> Array:
    p = as_float64(parameters)
    return relu(np.asarray(x, np.float64) @ p["W_enc"] + p["b_enc"])


def reconstruct(parameters: Mapping[str, ArrayLike], x: ArrayLike) -> Array:
    p = as_float64(parameters)
    return encode(p, x) @ p["W_dec"] + p["b_dec"]


def autoencoder_loss(
    parameters: Mapping[str, ArrayLike], x: ArrayLike, weight_decay: float = 0.0
) -> float:
    """Sum of the squared errors over all of `x`, plus the decay term (once, not per sample)."""
    p = as_float64(parameters)
    decay = 0.5 * np.sum(p["W_enc"] ** 2) + 0.5 * np.sum(p["W_dec"] ** 2)
    error = np.asarray(x, np.float64) - reconstruct(p, x)
    return float(np.sum(error**2) + weight_decay * decay)


def autoencoder_gradients(
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    weight_decay: float = 0.0,
    *,
    target: ArrayLike | None = None,
    activation: str | int = "relu",
    output: str = "linear",
    loss: str = "squared_error",
    emphasis: ArrayLike = 1.0,
) -> LossAndGradients:
    """Loss on `x` and its gradient with respect to every parameter; `target`: the clean x.

    `emphasis` (n_samples, n_features) are factors of the squared errors. Without ``W_dec`` the
    decoder is tied: W_encᵀ, a sum over both uses in the gradient.
    """
    p = as_float64(parameters)
    if "W_dec" not in p:
        return _tied(
            autoencoder_gradients, {"W_dec": "W_enc"}, p, x, weight_decay,
            target=target, activation=activation, output=output, loss=loss, emphasis=emphasis,
        )  # fmt: skip
    x = np.asarray(x, np.float64)
    target = x if target is None else np.asarray(target, np.float64)
    (f, df), (g, dg) = functions(activation), functions(output)
    z = x @ p["W_enc"] + p["b_enc"]
    code = f(z)
    z_out = code @ p["W_dec"] + p["b_dec"]
    of_values, derivative = VALUE_LOSSES[loss]
    delta_out = emphasis * derivative(g(z_out), target) * dg(z_out)
    delta = (delta_out @ p["W_dec"].T) * df(z)
    gradients = {
        "W_enc": x.T @ delta + weight_decay * p["W_enc"],
        "b_enc": delta.sum(axis=0),
        "W_dec": code.T @ delta_out + weight_decay * p["W_dec"],
        "b_dec": delta_out.sum(axis=0),
    }
    decay = 0.5 * np.sum(p["W_enc"] ** 2) + 0.5 * np.sum(p["W_dec"] ** 2)
    value = float(np.sum(emphasis * of_values(g(z_out), target)) + weight_decay * decay)
    return value, gradients


# Random draws, by Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011), and what they make of x.


def philox(counters: NDArray[np.uint32], key: int) -> NDArray[np.uint32]:
    """Blocks of four words, of counters (n, 4) and a key of 64 bits."""
    low = np.uint64(0xFFFFFFFF)
    c0, c1, c2, c3 = np.asarray(counters, np.uint64).T
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1 = (b >> np.uint64(32)) ^ c1 ^ np.uint64(k0), b & low
        c2, c3 = (a >> np.uint64(32)) ^ c3 ^ np.uint64(k1), a & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def random_groups(n: int, counter: Sequence[int], key: int) -> NDArray[np.uint32]:
    """Groups (n, 32 words) of eight blocks, words 0 and 1 of all eight before words 2 and 3."""
    counters = np.tile(np.array(counter, np.uint64), (8 * n, 1))
    counters[:, 0] += np.arange(8 * n, dtype=np.uint64)
    return philox(counters, key).reshape(n, 8, 2, 2).swapaxes(1, 2).reshape(n, 32)


CHOICE, REST_OF_CHOICE, VALUE = range(3)


def draws(key: int, what: int, shape: tuple[int, int], step: int, dtype: str) -> NDArray[np.uint32]:
    """Random bits of a type ("u1", "u4", "u8") for each column of each row of a batch at a step."""
    n_rows, n_columns = shape
    n_groups = -(-n_columns * np.dtype(dtype).itemsize // 128)
    last = step >> 32 ^ what << 24
    rows = [
        random_groups(n_groups, [0, row, step & 0xFFFFFFFF, last], key) for row in range(n_rows)
    ]
    return np.array(rows).astype("<u4").reshape(n_rows, -1).view(f"<{dtype}")[:, :n_columns]


def choose(key: int, share: float, shape: tuple[int, int], step: int) -> NDArray[np.bool_]:
    """Whether a random number below 1 is less than share: as many of eight bits as that has.

    Of 64 columns the first bits come first, then the second ones; where all eight are the same, 32
    more decide.
    """
    first, rest = divmod(share * 256, 1)
    n_bits = 8
    while not rest and n_bits > 1 and first % 2 ** (9 - n_bits) == 0:
        n_bits -= 1
    n_rows, n_columns = shape
    n_blocks = -(-n_columns // 64)
    words = draws(key, CHOICE, (n_rows, n_blocks * n_bits), step, "u8")
    bits = words.reshape(n_rows, n_blocks, n_bits, 1) >> np.arange(64, dtype=np.uint64) & 1
    values = np.zeros((n_rows, 64 * n_blocks))
    for k in range(n_bits):
        values += bits[:, :, k].reshape(n_rows, -1) * 2.0 ** (7 - k)
    byte = values[:, :n_columns]
    word = draws(key, REST_OF_CHOICE, shape, step, "u4")
    return (byte < first) | ((byte == first) & (word < int(rest * 2**32)))


def normals(words: NDArray[np.uint32]) -> Array:
    """Box and Muller's (1958) of groups (n, 32 words): lengths of sixteen, then directions."""
    length = np.sqrt(-2 * np.log(((words[:, :16] >> np.uint32(1)) + 0.5) / 2**31))
    angle = 2 * np.pi * (words[:, 16:] / 2**32)
    return np.concatenate([length * np.cos(angle), length * np.sin(angle)], axis=1)


def mask(x: Array, step: int, key: int, share: float) -> tuple[Array, NDArray[np.bool_]]:
    chosen = choose(key, share, x.shape, step)
    return np.where(chosen, 0.0, x), chosen


def add_noise(x: Array, step: int, key: int, stddev: float) -> tuple[Array, NDArray[np.bool_]]:
    n_rows, n_columns = x.shape
    words = draws(key, VALUE, (n_rows, -(-n_columns // 32) * 32), step, "u4")
    noise = normals(words.reshape(-1, 32)).reshape(n_rows, -1)[:, :n_columns]
    return x + stddev * noise, np.ones(x.shape, bool)


def add_salt_and_pepper(
    x: Array, step: int, key: int, share: float, low: float, high: float
) -> tuple[Array, NDArray[np.bool_]]:
    chosen = choose(key, share, x.shape, step)
    extreme = np.where(draws(key, VALUE, x.shape, step, "u1") < 128, low, high)
    return np.where(chosen, extreme, x), chosen


def swap(x: Array, step: int, key: int, share: float) -> tuple[Array, NDArray[np.bool_]]:
    chosen = choose(key, share, x.shape, step)
    n_rows, n_columns = x.shape
    other = draws(key, VALUE, x.shape, step, "u4") * np.uint64(n_rows - 1) >> np.uint64(32)
    row = np.arange(n_rows, dtype=np.uint64)[:, None]
    other += (other >= row) & (n_rows > 1)
    return np.where(chosen, x[other, np.arange(n_columns)], x), chosen


#: What each corruption makes of the clean rows of a batch, and which it has corrupted.
CORRUPTIONS = {
    "masking": mask,
    "gaussian": add_noise,
    "salt_and_pepper": add_salt_and_pepper,
    "swap": swap,
}


def _tied(
    gradients_of: Callable[..., LossAndGradients],
    copies: Mapping[str, str],
    p: Parameters,
    x: ArrayLike,
    weight_decay: float,
    *arguments: object,
    **options: object,
) -> LossAndGradients:
    """Gradients where some weights are the transposes of others, whose decay counts once."""
    whole = {**p, **{copy: p[source].T for copy, source in copies.items()}}
    value, gradients = gradients_of(whole, x, *arguments, **options)
    for copy, source in copies.items():
        gradients[source] = gradients[source] + gradients.pop(copy).T + weight_decay * p[source]
        value += weight_decay / 2 * np.sum(p[source] ** 2)
    return float(value), gradients


# Deep autoencoder: layers W1, b1, ..., each with its activation, the last restoring x.


def unrolled_gradients(
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    activations: Sequence[str | int],
    weight_decay: float = 0.0,
) -> LossAndGradients:
    """Loss on `x`, the sum of its squared errors and the decay term, and its gradient.

    Without the upper half's weights they are tied to those of the lower half.
    """
    p, n_layers = as_float64(parameters), len(activations)
    copies = {f"W{k}": f"W{n_layers + 1 - k}" for k in range(n_layers // 2 + 1, n_layers + 1)}
    if not copies.keys() & p.keys():
        return _tied(unrolled_gradients, copies, p, x, weight_decay, activations)
    a, z = [np.asarray(x, np.float64)], []
    for k, name in enumerate(activations, start=1):
        z.append(a[-1] @ p[f"W{k}"] + p[f"b{k}"])
        a.append(functions(name)[0](z[-1]))
    error = a[-1] - a[0]
    gradients: Parameters = {}
    upper = 2.0 * error
    for k in range(len(activations), 0, -1):
        delta = upper * functions(activations[k - 1])[1](z[k - 1])
        gradients[f"W{k}"] = a[k - 1].T @ delta + weight_decay * p[f"W{k}"]
        gradients[f"b{k}"] = delta.sum(axis=0)
        upper = delta @ p[f"W{k}"].T
    squares = sum(np.sum(p[f"W{k}"] ** 2) for k in range(1, len(activations) + 1))
    return float(np.sum(error**2) + weight_decay / 2 * squares), gradients


# Penalties of an autoencoder: what each adds to the loss of a batch, and to its gradient.


#: The second derivative of each activation with respect to z.
CURVATURES: dict[str, Callable[[Array], Array]] = {
    "linear": np.zeros_like,
    "relu": np.zeros_like,
    "leaky_relu": np.zeros_like,
    "elu": lambda z: np.where(z > 0.0, 0.0, np.exp(np.minimum(z, 0.0))),
    "selu": lambda z: SELU_SCALE * SELU_ALPHA * np.where(z > 0.0, 0.0, np.exp(np.minimum(z, 0.0))),
    "sigmoid": lambda z: sigmoid(z) * sigmoid(-z) * (sigmoid(-z) - sigmoid(z)),
    "tanh": lambda z: -2.0 * np.tanh(z) / np.cosh(z) ** 2,
    "softplus": lambda z: sigmoid(z) * sigmoid(-z),
    "top_k": np.zeros_like,
}


def l1_penalty(
    p: Parameters, x: Array, weights: Array, activation: str, strength: float
) -> LossAndGradients:
    value = strength * sum(np.sum(np.abs(p[name])) for name in ("W_enc", "W_dec"))
    return value, {name: strength * np.sign(p[name]) for name in ("W_enc", "W_dec")}


def _code(p: Parameters, x: Array, activation: str) -> tuple[Array, Array, Array]:
    """Pre-activations, the code, and its derivative by them."""
    f, df = ACTIVATIONS[activation]
    z = x @ p["W_enc"] + p["b_enc"]
    return z, f(z), df(z)


def _of_encoder(x: Array, delta: Array) -> Parameters:
    return {"W_enc": x.T @ delta, "b_enc": delta.sum(axis=0)}


def code_l1_penalty(
    p: Parameters, x: Array, weights: Array, activation: str, strength: float
) -> LossAndGradients:
    _, code, slope = _code(p, x, activation)
    delta = strength * weights * np.sign(code) * slope
    return strength * np.sum(weights * np.abs(code)), _of_encoder(x, delta)


def kl_penalty(
    p: Parameters, x: Array, weights: Array, activation: str, strength: float, target: float
) -> LossAndGradients:
    _, code, slope = _code(p, x, activation)
    n = np.sum(weights)
    mean = np.sum(weights * code, axis=0) / n
    kl = target * np.log(target / mean) + (1 - target) * np.log((1 - target) / (1 - mean))
    delta = strength * weights * ((1 - target) / (1 - mean) - target / mean) * slope
    return strength * n * np.sum(kl), _of_encoder(x, delta)


def contractive_penalty(
    p: Parameters, x: Array, weights: Array, activation: str, strength: float
) -> LossAndGradients:
    z, _, slope = _code(p, x, activation)
    norms = np.sum(p["W_enc"] ** 2, axis=0)
    delta = 2.0 * strength * weights * slope * CURVATURES[activation](z) * norms
    gradients = _of_encoder(x, delta)
    gradients["W_enc"] += 2.0 * strength * np.sum(weights * slope**2, axis=0) * p["W_enc"]
    return strength * np.sum(weights * slope**2 * norms), gradients


#: Value and gradients of each, by parameters, batch, weights of its samples (n, 1), activation, and
#: the penalty's settings.
PENALTIES: dict[str, Callable[..., LossAndGradients]] = {
    "l1": l1_penalty,
    "code_l1": code_l1_penalty,
    "kl_sparsity": kl_penalty,
    "contractive": contractive_penalty,
}


def penalized(
    plain: LossAndGradients,
    name: str,
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    activation: str,
    weights: ArrayLike | None = None,
    **settings: float,
) -> LossAndGradients:
    """Loss and gradients of a batch with a penalty on top."""
    x = np.asarray(x, np.float64)
    weights = np.ones((len(x), 1)) if weights is None else np.reshape(weights, (-1, 1))
    value, gradients = plain
    added, more = PENALTIES[name](as_float64(parameters), x, weights, activation, **settings)
    return float(value + added), {key: g + more.get(key, 0.0) for key, g in gradients.items()}


def limit_norms(w: Array, most: float) -> Array:
    """Columns of w, shortened to a norm of at most `most`."""
    return w * np.minimum(1.0, most / np.sqrt(np.sum(w**2, axis=0)))


# Network: hidden layers with an activation each, ReLU by default; softmax on top.


def forward(
    parameters: Mapping[str, ArrayLike], x: ArrayLike, hidden: Sequence[str] | None = None
) -> tuple[list[Array], Array]:
    """Activations ``[x, a_1, ..., a_{L-1}]`` and the logits of layer L."""
    p = as_float64(parameters)
    n_layers = len(p) // 2
    activations = [np.asarray(x, np.float64)]
    for k, name in enumerate(hidden or ["relu"] * (n_layers - 1), start=1):
        activations.append(ACTIVATIONS[name][0](activations[-1] @ p[f"W{k}"] + p[f"b{k}"]))
    return activations, activations[-1] @ p[f"W{n_layers}"] + p[f"b{n_layers}"]


def log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def predict_proba(parameters: Mapping[str, ArrayLike], x: ArrayLike) -> Array:
    return np.exp(log_softmax(forward(parameters, x)[1]))


def classification_loss(
    logits: Array, y: NDArray[np.integer], loss: str = "article"
) -> tuple[float, Array]:
    """Loss summed over the samples and its gradient with respect to the logits.

    "article" is ``-sum(t log(clip(p, 1e-10, 1)))``, whose gradient is zero where p of the right
    class is strictly below the clip range; "cross_entropy" is ``-sum(t log p)``.
    """
    rows = np.arange(len(y))
    log_p = log_softmax(logits)
    delta = np.exp(log_p)  # p - t
    delta[rows, y] -= 1.0
    if loss == "cross_entropy":
        return float(-np.sum(log_p[rows, y])), delta
    if loss != "article":
        raise ValueError(loss)
    p_right = np.exp(log_p[rows, y])
    delta[p_right < CLIP] = 0.0
    return float(-np.sum(np.log(np.clip(p_right, CLIP, 1.0)))), delta


def target_loss(logits: Array, y: ArrayLike, loss: str, head: str) -> tuple[float, Array]:
    """Loss of targets (n_samples, n_targets) and its gradient with respect to the logits."""
    (g, dg), (of_values, derivative) = ACTIVATIONS[head], VALUE_LOSSES[loss]
    t = np.asarray(y, np.float64).reshape(logits.shape)
    return float(np.sum(of_values(g(logits), t))), derivative(g(logits), t) * dg(logits)


def network_gradients(
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    y: ArrayLike,
    loss: str = "article",
    hidden: Sequence[str] | None = None,
    head: str = "softmax",
) -> LossAndGradients:
    """Loss on ``(x, y)`` and its gradient with respect to every parameter."""
    p = as_float64(parameters)
    activations, logits = forward(p, x, hidden)
    derivatives = [ACTIVATIONS[name][1] for name in hidden or ["relu"] * (len(activations) - 1)]
    if head == "softmax":
        value, delta = classification_loss(logits, np.asarray(y), loss)
    else:
        value, delta = target_loss(logits, y, loss, head)
    gradients: Parameters = {}
    for k in range(len(activations), 0, -1):
        gradients[f"W{k}"] = activations[k - 1].T @ delta
        gradients[f"b{k}"] = delta.sum(axis=0)
        if k > 1:
            z = activations[k - 2] @ p[f"W{k - 1}"] + p[f"b{k - 1}"]
            delta = (delta @ p[f"W{k}"].T) * derivatives[k - 2](z)
    return value, gradients


def evaluate_network(
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    y: NDArray[np.integer],
    loss: str = "article",
) -> tuple[float, float]:
    """Loss summed over the set, and the share of samples whose largest logit is the right one."""
    _, logits = forward(parameters, x)
    value, _ = classification_loss(logits, np.asarray(y), loss)
    return value, float(np.mean(logits.argmax(axis=1) == y))


# Adam, and training with it on given batches.


def adam_rule(
    g: Array,
    w: Array,
    slots: list[Array],
    t: int,
    learning_rate: float,
    form: str = "tf1",
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Array, list[Array]]:
    m, v = slots
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * g**2
    correction1, correction2 = 1.0 - beta1**t, 1.0 - beta2**t
    if form == "tf1":
        step = np.sqrt(correction2) / correction1 * m / (np.sqrt(v) + epsilon)
    elif form == "torch":
        step = m / correction1 / (np.sqrt(v) / np.sqrt(correction2) + epsilon)
    else:
        raise ValueError(form)
    return w - learning_rate * step, [m, v]


def sgd_rule(
    g: Array,
    w: Array,
    slots: list[Array],
    t: int,
    learning_rate: float,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> tuple[Array, list[Array]]:
    v = momentum * slots[0] + g
    return w - learning_rate * (g + momentum * v if nesterov else v), [v]


def adamw_rule(
    g: Array,
    w: Array,
    slots: list[Array],
    t: int,
    learning_rate: float,
    weight_decay: float = 0.01,
    is_bias: bool = False,
    **options: float,
) -> tuple[Array, list[Array]]:
    if not is_bias:
        w = w * (1.0 - learning_rate * weight_decay)
    return adam_rule(g, w, slots, t, learning_rate, "torch", **options)


def rmsprop_rule(
    g: Array,
    w: Array,
    slots: list[Array],
    t: int,
    learning_rate: float,
    alpha: float = 0.99,
    epsilon: float = 1e-8,
) -> tuple[Array, list[Array]]:
    v = alpha * slots[0] + (1.0 - alpha) * g**2
    return w - learning_rate * g / (np.sqrt(v) + epsilon), [v]


#: A step of each update rule (gradient, parameter, slots, step from 1, rate, options): the new
#: parameter and slots; how many slots it has; options that tests try.
RULES: dict[str, tuple[Callable[..., tuple[Array, list[Array]]], int, list[dict[str, object]]]] = {
    "adam": (adam_rule, 2, [{}, {"form": "torch", "beta1": 0.8, "beta2": 0.99}]),
    "adamw": (adamw_rule, 2, [{}, {"weight_decay": 3.0, "beta1": 0.8, "beta2": 0.99}]),
    "sgd": (sgd_rule, 1, [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}]),
    "rmsprop": (rmsprop_rule, 1, [{}, {"alpha": 0.8, "epsilon": 1e-3}]),
}


def optimizer_steps(
    parameters: Mapping[str, ArrayLike],
    gradients_of: Callable[[Parameters, NDArray[np.integer]], LossAndGradients],
    batches: NDArray[np.integer],
    learning_rate: float | Callable[[int], float] = 0.001,
    rule: str = "adam",
    after: Callable[[Parameters], None] | None = None,
    **options: object,
) -> Iterator[tuple[float, Parameters]]:
    """Yield the batch loss before, and a copy of the parameters after, each step.

    A learning rate may be a function of the steps taken before; `after` is called with the
    parameters, to change them, once a step has moved them.
    """
    p = as_float64(parameters)
    step, n_slots, _ = RULES[rule]
    slots = {name: [np.zeros_like(value)] * n_slots for name, value in p.items()}
    for t, batch in enumerate(np.asarray(batches), start=1):
        value, gradients = gradients_of(p, batch)
        rate = learning_rate(t - 1) if callable(learning_rate) else learning_rate
        for name, g in gradients.items():
            if rule == "adamw":
                options["is_bias"] = name.startswith("b")
            p[name], slots[name] = step(g, p[name], slots[name], t, rate, **options)
        if after is not None:
            after(p)
        yield value, dict(p)


def adam_steps(
    parameters: Mapping[str, ArrayLike],
    gradients_of: Callable[[Parameters, NDArray[np.integer]], LossAndGradients],
    batches: NDArray[np.integer],
    learning_rate: float = 0.001,
    adam: str = "tf1",
) -> Iterator[tuple[float, Parameters]]:
    """`optimizer_steps` of Adam."""
    return optimizer_steps(parameters, gradients_of, batches, learning_rate, form=adam)


def autoencoder_steps(
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    batches: NDArray[np.integer],
    learning_rate: float = 0.001,
    weight_decay: float = 0.0,
    adam: str = "tf1",
) -> Iterator[tuple[float, Parameters]]:
    """Yield (batch loss before, parameters after) each step of an autoencoder's training."""
    x = np.asarray(x)

    def gradients_of(p: Parameters, batch: NDArray[np.integer]) -> LossAndGradients:
        return autoencoder_gradients(p, x[batch], weight_decay)

    return adam_steps(parameters, gradients_of, batches, learning_rate, adam)


def network_steps(
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    y: NDArray[np.integer],
    batches: NDArray[np.integer],
    learning_rate: float = 0.001,
    loss: str = "article",
    adam: str = "tf1",
) -> Iterator[tuple[float, Parameters]]:
    """Yield (batch loss before, parameters after) each step of a network's training."""
    x, y = np.asarray(x), np.asarray(y)

    def gradients_of(p: Parameters, batch: NDArray[np.integer]) -> LossAndGradients:
        return network_gradients(p, x[batch], y[batch], loss)

    return adam_steps(parameters, gradients_of, batches, learning_rate, adam)


def run(steps: Iterator[tuple[float, Parameters]]) -> tuple[Parameters, Array]:
    """Parameters after the last step, and all batch losses."""
    losses = []
    parameters: Parameters = {}
    for value, parameters in steps:  # noqa: B007
        losses.append(value)
    return parameters, np.array(losses)


def train_autoencoder(
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    batches: NDArray[np.integer],
    learning_rate: float = 0.001,
    weight_decay: float = 0.0,
    adam: str = "tf1",
) -> tuple[Parameters, Array]:
    """Train on the given batches: (parameters after the last step, batch losses)."""
    return run(autoencoder_steps(parameters, x, batches, learning_rate, weight_decay, adam))


def train_network(
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    y: NDArray[np.integer],
    batches: NDArray[np.integer],
    learning_rate: float = 0.001,
    loss: str = "article",
    adam: str = "tf1",
) -> tuple[Parameters, Array]:
    """Train on the given batches: (parameters after the last step, batch losses)."""
    return run(network_steps(parameters, x, y, batches, learning_rate, loss, adam))


def student_t(codes: Array, centers: Array) -> Array:
    """Assignments of codes (n, d) to centers (k, d) by Student's t, one degree of freedom."""
    distances = ((codes[:, None, :] - centers) ** 2).sum(axis=2)
    near = 1 / (1 + distances)
    return near / near.sum(axis=1, keepdims=True)
