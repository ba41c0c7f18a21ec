"""Sparse autoencoders, trained on batches of rows: the same seed gives the same numbers.

Rows are centred and brought to a mean square of 1 a number for training, so that learning rates and
penalties mean the same for every layer; this is folded into what is kept. Directions have length 1
while they are trained. Units that stay silent are set anew on rows that are told worst (Bricken et
al. 2023, "Neuron resampling"): in trials on planted directions the auxiliary loss of Gao et al.
2024 left more of them dead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.concepts.rows import Rows, rows_of
from harness.explainers.concepts.spaces.linear import check_rows
from harness.explainers.concepts.spaces.sparse import SparseSpace, largest, pursuit
from harness.explainers.engine import Progress
from harness.records import HarnessError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[np.float64]

_BANDWIDTH = 0.1  # of thresholds' gradients, in units of rows of mean square 1; chosen by trial
_THRESHOLD = math.log(0.5)  # at the start; chosen by trial
_RESAMPLINGS = 8  # in a training, evenly; none in the last quarter, so that units can settle
_DECAY = 0.2  # the last share of steps, over which the learning rate falls to zero


@dataclass(frozen=True)
class Recipe:
    """How long and how fast is trained. `patience` is the number of rows after which a unit that
    never fired is dead."""

    epochs: int = 20
    batch: int = 512
    learning_rate: float = 2e-3
    seed: int = 0
    patience: int = 20_000


def vanilla(
    rows: Any,
    concepts: int,
    penalty: float = 0.1,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> SparseSpace:
    """Codes kept sparse by `penalty` times their sum (L1). Source: Bricken et al. 2023, "Towards
    monosemanticity: decomposing language models with dictionary learning"."""
    return _trained("vanilla", rows, concepts, {"penalty": penalty}, recipe, progress)


def top_k(
    rows: Any,
    concepts: int,
    k: int,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> SparseSpace:
    """Codes of exactly `k` concepts a row, at most. Source: Gao et al. 2024, "Scaling and
    evaluating sparse autoencoders", section 2.3."""
    return _trained("top_k", rows, concepts, {"k": k}, recipe, progress)


def batch_top_k(
    rows: Any,
    concepts: int,
    k: int,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> SparseSpace:
    """Codes of `k` concepts a row on average; afterwards those above one threshold, the mean over
    batches of the smallest that was kept. Source: Bussmann, Leask and Nanda 2024, "BatchTopK sparse
    autoencoders"."""
    return _trained("batch_top_k", rows, concepts, {"k": k}, recipe, progress)


def jump_relu(
    rows: Any,
    concepts: int,
    penalty: float = 0.01,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> SparseSpace:
    """Codes above a threshold of each concept, kept sparse by `penalty` times their number (L0).
    Source: Rajamanoharan et al. 2024, "Jumping ahead: improving reconstruction fidelity with
    JumpReLU sparse autoencoders", section 3."""
    return _trained("jump_relu", rows, concepts, {"penalty": penalty}, recipe, progress)


def matching_pursuit(
    rows: Any,
    concepts: int,
    k: int,
    recipe: Recipe | None = None,
    progress: Progress | None = None,
) -> SparseSpace:
    """Codes by `k` steps of matching pursuit on directions that are trained for it."""
    return _trained("matching_pursuit", rows, concepts, {"k": k}, recipe, progress)


def _trained(
    kind: str,
    rows: Any,
    concepts: int,
    own: Mapping[str, Any],
    recipe: Recipe | None,
    progress: Progress | None,
) -> SparseSpace:
    import torch

    recipe = recipe or Recipe()
    given = rows_of(rows)
    _check(kind, given, concepts, own, recipe)
    mean, scale = _centre_and_scale(given)
    generator = torch.Generator().manual_seed(recipe.seed)
    net = _Net(kind, given.width, concepts, own, generator)
    steps = recipe.epochs * -(-len(given) // recipe.batch)
    resampling = max(1, steps // _RESAMPLINGS)
    optimiser = torch.optim.Adam(net.trained, lr=recipe.learning_rate, betas=(0.9, 0.999))
    silent = torch.zeros(concepts)
    done = 0
    for epoch in range(recipe.epochs):
        for batch in given.batches(recipe.batch, seed=recipe.seed + epoch):
            x = torch.from_numpy((batch - mean) / scale).float()
            for group in optimiser.param_groups:
                left = (steps - done) / max(1.0, _DECAY * steps)
                group["lr"] = recipe.learning_rate * min(1.0, left)
            codes, loss = net.loss(x)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            net.normalise()
            fired = (codes > 0).any(dim=0)
            silent = torch.where(fired, 0.0, silent + len(x))
            done += 1
            if done % resampling == 0 and done <= 0.75 * steps:
                net.set_anew(x, silent >= min(recipe.patience, len(given)), generator, optimiser)
            if progress is not None:
                progress(done, steps)
    threshold = _batch_threshold(net, given, mean, scale, recipe) if kind == "batch_top_k" else None
    settings = {"concepts": concepts, **own, **asdict(recipe)}
    space = SparseSpace(kind, _folded(net, mean, scale, threshold), settings)
    space.notes = (_summary(space, given),)
    return space


def _check(kind: str, rows: Rows, concepts: int, own: Mapping[str, Any], recipe: Recipe) -> None:
    check_rows(rows, concepts, kind)
    fields.whole(kind, 1, epochs=recipe.epochs, batch=recipe.batch, patience=recipe.patience)
    fields.whole(kind, 0, seed=recipe.seed)
    if "k" in own:
        fields.whole(kind, 1, k=own["k"])
        if own["k"] > concepts:
            raise HarnessError(f"{kind}: {own['k']} of {concepts} concepts a row; make k smaller")
    for name, value in {"learning_rate": recipe.learning_rate, **own}.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value < math.inf:
            raise HarnessError(f"{kind}: {name} is a number of 0 or more, not {value!r}")


def _centre_and_scale(rows: Rows) -> tuple[Array, float]:
    """The mean row, and the root of the mean square of what is left."""
    import numpy as np

    mean = np.zeros(rows.width)
    for batch in rows.batches():
        mean += batch.astype(np.float64).sum(axis=0) / len(rows)
    squares = sum(float(((batch - mean) ** 2).sum()) for batch in rows.batches())
    scale = math.sqrt(squares / (len(rows) * rows.width))
    if not math.isfinite(scale):
        raise HarnessError("the activations hold what is NaN or infinite, so nothing fits them")
    return mean, scale or 1.0


class _Net:
    """The weights, and what they cost on a batch."""

    def __init__(
        self, kind: str, width: int, concepts: int, own: Mapping[str, Any], generator: Any
    ) -> None:
        import torch

        self.kind, self.own = kind, own
        drawn = torch.randn(concepts, width, generator=generator)
        self.directions = (drawn / drawn.norm(dim=1, keepdim=True)).requires_grad_(True)
        self.encoder = self.directions.detach().clone().requires_grad_(True)
        self.bias = torch.zeros(concepts, requires_grad=True)
        self.offset = torch.zeros(width, requires_grad=True)
        self.log_threshold = torch.full((concepts,), _THRESHOLD, requires_grad=True)
        self.trained = [self.directions, self.offset]
        if kind != "matching_pursuit":
            self.trained += [self.encoder, self.bias]
        if kind == "jump_relu":
            self.trained.append(self.log_threshold)

    def before(self, x: Tensor) -> Tensor:
        """What the units are driven by."""
        found: Tensor = (x - self.offset) @ self.encoder.T + self.bias
        return found

    def codes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (rows x concepts), and what their sparsity costs a row."""
        import torch

        nothing = torch.zeros(())
        if self.kind == "matching_pursuit":
            return pursuit(x - self.offset, self.directions, self.own["k"]), nothing
        drive = self.before(x)
        if self.kind == "jump_relu":
            threshold = self.log_threshold.exp()
            codes, number = _jump()(drive, threshold)
            return codes, self.own["penalty"] * number.sum(dim=1).mean()
        codes = torch.relu(drive)
        if self.kind == "top_k":
            return largest(codes, self.own["k"]), nothing
        if self.kind == "batch_top_k":
            return largest(codes.reshape(1, -1), self.own["k"] * len(x)).view_as(codes), nothing
        return codes, self.own["penalty"] * codes.sum(dim=1).mean() / math.sqrt(x.shape[1])

    def loss(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Codes, and the mean square of what they miss with what their sparsity costs."""
        codes, cost = self.codes(x)
        missed = x - codes @ self.directions - self.offset
        return codes, (missed**2).mean() + cost

    def normalise(self) -> None:
        """Directions of length 1."""
        import torch

        with torch.no_grad():
            self.directions /= self.directions.norm(dim=1, keepdim=True).clamp(min=1e-8)

    def set_anew(self, x: Tensor, dead: Tensor, generator: Any, optimiser: Any) -> None:
        """Dead units become directions in which rows of this batch are missed, drawn by the square
        of their loss; their encoders are a fifth as long as the others'."""
        import torch

        count = int(dead.sum())
        if not count:
            return
        with torch.no_grad():
            codes, _ = self.codes(x)
            missed = x - codes @ self.directions - self.offset
            weights = (missed**2).sum(dim=1) ** 2 + 1e-12
            chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
            new = missed[chosen] / missed[chosen].norm(dim=1, keepdim=True).clamp(min=1e-8)
            length = self.encoder[~dead].norm(dim=1).mean() if bool((~dead).any()) else 1.0
            self.directions[dead] = new
            self.encoder[dead] = 0.2 * length * new
            self.bias[dead] = 0.0
            self.log_threshold[dead] = _THRESHOLD
            for one in self.trained:
                state = optimiser.state.get(one, {})
                for name in ("exp_avg", "exp_avg_sq"):
                    if name in state and one is not self.offset:
                        state[name][dead] = 0.0


def _jump() -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """What is above a threshold, and whether it is; gradients by thresholds are those of a kernel
    around it (Rajamanoharan et al. 2024, equations 11 and 12)."""
    import torch

    class Jump(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, drive: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
            context.save_for_backward(drive, threshold)
            above = (drive > threshold).to(drive)
            return drive * above, above

        @staticmethod
        def backward(context: Any, by_codes: Tensor, by_number: Tensor) -> tuple[Tensor, Tensor]:
            drive, threshold = context.saved_tensors
            above = (drive > threshold).to(drive)
            near = ((drive - threshold).abs() < _BANDWIDTH / 2).to(drive) / _BANDWIDTH
            by_threshold = -(by_codes * threshold + by_number) * near
            return by_codes * above, by_threshold.sum(dim=0)

    return Jump.apply


def _batch_threshold(net: _Net, rows: Rows, mean: Array, scale: float, recipe: Recipe) -> float:
    """The mean over batches of the smallest code that was kept."""
    import torch

    smallest = []
    with torch.no_grad():
        for batch in rows.batches(recipe.batch, seed=recipe.seed):
            codes, _ = net.codes(torch.from_numpy((batch - mean) / scale).float())
            if bool((codes > 0).any()):
                smallest.append(float(codes[codes > 0].min()))
    return sum(smallest) / max(1, len(smallest))


def _folded(
    net: _Net, mean: Array, scale: float, threshold: float | None
) -> dict[str, NDArray[Any]]:
    """The weights for rows as they are, in 64 bits. Codes stay in units of the trained ones."""
    import numpy as np

    def plain(tensor: Tensor) -> Array:
        return tensor.detach().double().numpy()

    directions, offset = plain(net.directions), plain(net.offset)
    arrays = {"directions": scale * directions, "offset": mean + scale * offset}
    if net.kind == "matching_pursuit":
        return arrays
    encoder = plain(net.encoder)
    arrays["encoder"] = encoder / scale
    arrays["bias"] = plain(net.bias) - encoder @ (offset + mean / scale)
    if net.kind == "jump_relu":
        arrays["threshold"] = np.exp(plain(net.log_threshold))
    if threshold is not None:
        arrays["threshold"] = np.array([threshold])
    return arrays


def _summary(space: SparseSpace, rows: Rows) -> str:
    """How well it tells the rows it was fitted to, how many concepts a row has, how many never
    occur."""
    import numpy as np

    missed, number = 0.0, 0.0
    fired = np.zeros(len(space.names), dtype=bool)
    for batch in rows.batches():
        codes = space.encode(batch)
        missed += float(((batch - space.decode(codes)) ** 2).sum())
        number += float((codes > 0).sum())
        fired |= (codes > 0).any(axis=0)
    mean, scale = _centre_and_scale(rows)
    total = scale**2 * len(rows) * len(mean)
    return (
        f"{space.kind}: on the rows it was fitted to R2 {1 - missed / total:.4f}, "
        f"{number / len(rows):.2f} concepts a row, {(~fired).mean():.1%} of concepts dead"
    )
