"""Train two small networks on scikit-learn's handwritten digits, and write them as safetensors.

    python examples/train_digits.py [folder]

writes `digits-mlp.safetensors` (64-300-100-10, fully connected) and `digits-cnn.safetensors` into
the folder, by default the one of this script. Needs torch and scikit-learn; takes a few seconds.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

import nnpack.torch
from nnpack.convert import convert

EPOCHS = 20
BATCH = 32


def mlp() -> nn.Sequential:
    """Fully connected, as in LeNet-300-100."""
    return nn.Sequential(
        nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def cnn() -> nn.Sequential:
    """Two convolutions, a pooling and two fully connected layers."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )


NETWORKS = {
    "digits-mlp": (mlp, "linear(64, 300) relu linear(300, 100) relu linear(100, 10)"),
    "digits-cnn": (
        cnn,
        "conv(1, 16, 3) relu conv(16, 32, 3) relu maxpool(2) linear(512, 128) relu linear(128, 10)",
    ),
}


def train(network: nn.Sequential, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Run Adam over the training images."""
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()


def accuracy(network: nn.Sequential, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of images whose digit is told."""
    with torch.no_grad():
        return float((network(images).argmax(1) == labels).float().mean())


def main(folder: Path) -> None:
    """Train and write each network."""
    pixels, digits = load_digits(return_X_y=True)
    images = torch.tensor(pixels / 16, dtype=torch.float32)
    labels = torch.tensor(digits)
    rows = train_test_split(range(len(labels)), test_size=0.25, random_state=0, stratify=digits)
    seen, held_out = map(torch.tensor, rows)
    for name, (make, architecture) in NETWORKS.items():
        torch.manual_seed(0)
        network = make()
        train(network, images[seen], labels[seen])
        score = accuracy(network, images[held_out], labels[held_out])
        metadata = {
            "architecture": architecture,
            "accuracy": f"{score:.4f}",
            "data": "sklearn.datasets.load_digits, pixels / 16, a quarter held out",
        }
        weights = io.BytesIO(nnpack.torch.save(network.state_dict(), metadata))
        convert(weights, folder / f"{name}.safetensors", overwrite=True)
        print(f"{name}: accuracy {score:.2%} on {len(held_out)} held-out images")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent)
