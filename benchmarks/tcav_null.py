"""How often TCAV calls a concept significant that is nothing but random rows, and how often one
that the class uses. Each world is a small random network with rows of its own.

    python benchmarks/tcav_null.py [--worlds 300] [--method mean_difference]

Prints the share of null concepts with a p-value below .05 and below .01, and of planted concepts by
the size of their shift.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from harness.explainers.concepts.asked import Asked
from harness.explainers.concepts.tcav import METHODS, derivatives, tcav

_WIDTH, _ROWS, _SETS = 12, 30, 10
_SHIFTS = (0.5, 1.0, 2.0)


def world(seed: int) -> tuple[Asked, torch.Generator, torch.nn.Module]:
    """A network, 40 samples to be explained at its first layer, and what rows are drawn with."""
    draw = torch.Generator().manual_seed(seed)
    net = torch.nn.Sequential(
        torch.nn.Linear(_WIDTH, _WIDTH), torch.nn.Tanh(), torch.nn.Linear(_WIDTH, 3)
    )
    with torch.no_grad():
        for value in net.parameters():
            value.copy_(torch.randn(value.shape, generator=draw) * 0.6)
    x = torch.randn(40, _WIDTH, generator=draw)
    return Asked.of(net, x, "0", "pooled", target=0), draw, net


def rows(net: torch.nn.Module, draw: torch.Generator) -> np.ndarray:
    """What the first layer says of random samples."""
    with torch.no_grad():
        found: np.ndarray = net[0](torch.randn(_ROWS, _WIDTH, generator=draw)).numpy()
    return found


def p_values(seed: int, method: str) -> tuple[float, list[float]]:
    """Of a null concept, and of one shifted along the mean derivative by each shift."""
    asked, draw, net = world(seed)
    up = derivatives(asked)[:, 0].mean(axis=0)
    up /= np.linalg.norm(up)
    randoms = [rows(net, draw) for _ in range(_SETS)]
    concepts = {"null": rows(net, draw)}
    concepts |= {str(shift): rows(net, draw) + shift * up for shift in _SHIFTS}
    found = tcav(asked, concepts, randoms, method, "none", seed=seed)
    return found[0].p_value, [one.p_value for one in found[1:]]


def main() -> None:
    """Runs all worlds and prints the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=300)
    parser.add_argument("--method", choices=METHODS, default="mean_difference")
    given = parser.parse_args()
    found = [p_values(seed, given.method) for seed in range(given.worlds)]
    null = np.array([one for one, _ in found])
    print(f"{given.worlds} worlds, {given.method}, {_SETS} random sets of {_ROWS} rows")
    print(f"null: below .05 {(null < 0.05).mean():.3f}, below .01 {(null < 0.01).mean():.3f}")
    for place, shift in enumerate(_SHIFTS):
        power = np.mean([planted[place] < 0.05 for _, planted in found])
        print(f"planted, shifted by {shift}: below .05 {power:.3f}")


if __name__ == "__main__":
    main()
