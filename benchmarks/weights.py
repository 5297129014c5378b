"""Real trained weights to measure on: a character-level transformer, trained once on this machine.

Run as `python benchmarks/weights.py`; needs the extra `compare`. It learns the source text of
Python's standard library with torch on the CPU, in about 20 minutes on two cores, and keeps
its 6.4 M float32 parameters in `benchmarks/results/transformer.npz`, which git ignores.
"""

from __future__ import annotations

import math
import sysconfig
import time
from pathlib import Path

import numpy as np

WEIGHTS = Path(__file__).parent / "results" / "transformer.npz"
WIDTH, LAYERS, HEADS, CONTEXT = 256, 8, 8, 128
STEPS, BATCH, RATE, DECAY = 1000, 16, 1e-3, 0.1
SYMBOLS = 128
"""ASCII; other characters are left out."""


def load() -> dict[str, np.ndarray]:
    """Return the trained float32 weights by name, trained now if they are not there yet."""
    if not WEIGHTS.exists():
        train()
    with np.load(WEIGHTS) as file:
        return dict(file)


def train() -> None:
    """Train the network and write its weights."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    text = torch.from_numpy(corpus())
    block = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    model = nn.ModuleDict({
        "token": nn.Embedding(SYMBOLS, WIDTH),
        "position": nn.Embedding(CONTEXT, WIDTH),
        "layers": nn.TransformerEncoder(
            block, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False
        ),
        "head": nn.Linear(WIDTH, SYMBOLS),
    })  # fmt: skip
    for name, weight in model.named_parameters():  # each of its own: copies would be duplicates
        if weight.dim() == 2:
            nn.init.normal_(weight, std=0.02 if "embed" in name else WIDTH**-0.5 / 2)
    mask = nn.Transformer.generate_square_subsequent_mask(CONTEXT)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
    started = time.perf_counter()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / 50)
            group["lr"] = RATE * warm * (0.55 + 0.45 * math.cos(math.pi * step / STEPS))
        starts = torch.randint(len(text) - CONTEXT - 1, (BATCH,))
        rows = torch.stack([text[s : s + CONTEXT + 1] for s in starts.tolist()]).long()
        hidden = model["token"](rows[:, :-1]) + model["position"].weight
        logits = model["head"](model["layers"](hidden, mask=mask, is_causal=True))
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0 or step == STEPS - 1:
            seconds = time.perf_counter() - started
            print(f"step {step}: {loss.item() / math.log(2):.3f} bits a character, {seconds:.0f} s")
    WEIGHTS.parent.mkdir(exist_ok=True)
    np.savez(WEIGHTS, **{name: w.detach().numpy() for name, w in model.named_parameters()})


def corpus() -> np.ndarray:
    """Return the ASCII characters of the standard library's modules, in order of their names."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    data = np.frombuffer(b"".join(file.read_bytes() for file in files), np.uint8)
    return data[data < SYMBOLS]


if __name__ == "__main__":
    train()
