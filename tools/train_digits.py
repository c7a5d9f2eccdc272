"""Train ``tiny_digits`` in NumPy on the digits that scikit-learn ships, and keep a part for tests.

Called by tools/export_tiny.py; needs scikit-learn for the data::

    pip install scikit-learn onnx onnxruntime numpy
"""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from optimizer.zoo_digits import digits_pictures

TEST_FILE = Path(__file__).parent.parent / "optimizer" / "zoo_data" / "digits_test.xz"
TEST_COUNT = 360
EPOCHS = 80
BATCH = 32
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 1e-3
SEED = 1

Floats = npt.NDArray[np.floating[Any]]
Parameters = dict[str, Floats]


def train(model: onnx.ModelProto) -> npt.NDArray[np.int8]:
    """Put trained weights into the model, write the test file, and return the training pictures."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels, labels = data.images.astype(np.int8)[:, np.newaxis], data.target.astype(np.int8)
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(pixels))
    kept, used = order[:TEST_COUNT], order[TEST_COUNT:]
    rows = np.concatenate([pixels[kept].reshape(TEST_COUNT, -1), labels[kept, np.newaxis]], axis=1)
    TEST_FILE.write_bytes(lzma.compress(rows.tobytes(), preset=9 | lzma.PRESET_EXTREME))
    weights = {t.name: t for t in model.graph.initializer}
    parameters = initial({name: tuple(t.dims) for name, t in weights.items()}, rng)
    fit(parameters, digits_pictures(pixels[used]).astype(np.float64), labels[used], rng)
    for name, values in parameters.items():
        # Half precision is enough, and half as long in the file.
        weights[name].CopyFrom(numpy_helper.from_array(values.astype(np.float16).astype(np.float32), name))
    found = forward(parameters, digits_pictures(pixels[kept]))[-1].argmax(axis=1)
    print(f"tiny_digits: {(found == labels[kept]).mean():.4f} of {TEST_COUNT} held-out digits")
    return pixels[used]


def initial(shapes: dict[str, tuple[int, ...]], rng: np.random.Generator) -> Parameters:
    return {
        name: rng.standard_normal(dims) * np.sqrt(2 / np.prod(dims[1:])) if len(dims) > 1 else np.zeros(dims)
        for name, dims in shapes.items()
    }


def fit(parameters: Parameters, x: Floats, labels: npt.NDArray[np.int8], rng: np.random.Generator) -> None:
    """Adam with a learning rate that falls to zero along a cosine."""
    moments = {name: (np.zeros_like(p), np.zeros_like(p)) for name, p in parameters.items()}
    steps = EPOCHS * (len(x) // BATCH)
    step = 0
    for _ in range(EPOCHS):
        order = rng.permutation(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            part = order[start : start + BATCH]
            gradients = backward(parameters, shifted(x[part], rng), labels[part])
            rate = LEARNING_RATE * (1 + np.cos(np.pi * step / steps)) / 2
            step += 1
            for name, gradient in gradients.items():
                first, second = moments[name]
                first += 0.1 * (gradient - first)
                second += 0.001 * (gradient**2 - second)
                update = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
                parameters[name] -= rate * (update + WEIGHT_DECAY * parameters[name])


def shifted(x: Floats, rng: np.random.Generator) -> Floats:
    """Every picture moved by up to one pixel."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    corners = rng.choice(3, size=(len(x), 2), p=[0.15, 0.7, 0.15])
    return np.stack([p[:, i : i + 8, j : j + 8] for p, (i, j) in zip(padded, corners, strict=True)])


def forward(parameters: Parameters, x: Floats) -> list[Any]:
    """What the backward pass needs of each layer; the scores come last."""
    kept: list[Any] = []
    for layer in ("conv1", "conv2"):
        columns = patches(x)
        kernel = parameters[f"{layer}.weight"]
        y = np.einsum("nkhw,ok->nohw", columns, kernel.reshape(len(kernel), -1), optimize=True)
        y += parameters[f"{layer}.bias"][:, np.newaxis, np.newaxis]
        x = np.maximum(y, 0).reshape(*y.shape[:2], y.shape[2] // 2, 2, y.shape[3] // 2, 2).max(axis=(3, 5))
        kept += [columns, y, x]
    features = x.reshape(len(x), -1)
    return [*kept, features, features @ parameters["classifier.weight"].T + parameters["classifier.bias"]]


def backward(parameters: Parameters, x: Floats, labels: npt.NDArray[np.int8]) -> Parameters:
    """Gradients of the mean cross entropy."""
    *kept, features, scores = forward(parameters, x)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    slope = odds / odds.sum(axis=1, keepdims=True)
    slope[np.arange(len(x)), labels] -= 1
    slope /= len(x)
    gradients = {"classifier.weight": slope.T @ features, "classifier.bias": slope.sum(axis=0)}
    slope = slope @ parameters["classifier.weight"]
    for layer in ("conv2", "conv1"):
        pooled, y, columns = kept.pop(), kept.pop(), kept.pop()
        slope = slope.reshape(pooled.shape).repeat(2, axis=2).repeat(2, axis=3)
        slope = slope * ((y > 0) & (y == pooled.repeat(2, axis=2).repeat(2, axis=3)))
        kernel = parameters[f"{layer}.weight"]
        rows = np.einsum("nohw,nkhw->ok", slope, columns, optimize=True)
        gradients[f"{layer}.weight"], gradients[f"{layer}.bias"] = rows.reshape(kernel.shape), slope.sum(axis=(0, 2, 3))
        slope = unpatched(np.einsum("nohw,ok->nkhw", slope, kernel.reshape(len(kernel), -1), optimize=True))
    return gradients


def patches(x: Floats) -> Floats:
    """The 3 x 3 surroundings of every pixel: [n, channels * 9, height, width]."""
    count, channels, height, width = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    around = [padded[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.stack(around, axis=2).reshape(count, channels * 9, height, width)


def unpatched(columns: Floats) -> Floats:
    """The adjoint of ``patches``."""
    count, rows, height, width = columns.shape
    parts = columns.reshape(count, rows // 9, 9, height, width)
    padded = np.zeros((count, rows // 9, height + 2, width + 2))
    for at in range(9):
        i, j = divmod(at, 3)
        padded[:, :, i : i + height, j : j + width] += parts[:, :, at]
    return padded[:, :, 1:-1, 1:-1]
