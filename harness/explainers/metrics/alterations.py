"""What a method is made to explain again under: another seed, noise, other weights, another target.

Alterations are values, so that metrics which ask for the same one share what it costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from harness.explainers.block import Block
from harness.explainers.engine import Engine
from harness.explainers.models.model import Differentiable
from harness.explainers.models.moved import Noisy, Shifted
from harness.explainers.results import Subject
from harness.explainers.targets import Targets
from harness.identity import draw

if TYPE_CHECKING:
    from torch import Tensor


class Alteration(Protocol):
    """Something that is altered while a method explains again; hashable."""

    def refused(self, block: Block) -> str:
        """Why it cannot be done for these samples; empty where it can."""
        ...

    def under(self, block: Block) -> AbstractContextManager[Block]:
        """The same samples with it; the model is left as it was."""
        ...

    def idle(self, method: Any) -> bool:
        """Whether a method is known to say the same under it."""
        ...

    def moved(self, block: Block, subject: Subject) -> float:
        """How far the input of a subject (of the altered block) was moved: the length of the
        difference over that of the input itself."""
        ...


class _Any:
    """An alteration that can be done to any sample, and changes what methods say."""

    def refused(self, block: Block) -> str:  # noqa: ARG002  a method of the protocol
        return ""

    def idle(self, method: Any) -> bool:  # noqa: ARG002  of the protocol
        return False


class _Still(_Any):
    """An alteration that leaves the input where it is."""

    def moved(self, block: Block, subject: Subject) -> float:  # noqa: ARG002  of the protocol
        return 0.0


@dataclass(frozen=True)
class Reseeded(_Still):
    """The `number`-th other seed."""

    number: int

    def idle(self, method: Any) -> bool:
        """A method that draws nothing."""
        return getattr(method, "deterministic", False) is True

    def under(self, block: Block) -> AbstractContextManager[Block]:
        """Values of sets that were paid for are kept: they do not depend on the seed."""
        seed = int(draw("reseeded", block.question.seed, self.number) * 2**31)
        return nullcontext(replace(block, question=replace(block.question, seed=seed)))


@dataclass(frozen=True)
class OtherTarget(_Still):
    """Another class in the place of each target, drawn by the seed of the call."""

    def refused(self, block: Block) -> str:
        """Targets must be single classes, and there must be another one that is free of the first:
        of two classes whose outputs have one sum, what speaks for one speaks against the other by
        as much, whatever the method."""
        for subject in block.subjects:
            weights = subject.targets.weights
            if len(weights) < 2:
                return "there is no other class"
            if not ((weights == 1).sum(axis=0) == 1).all() or (weights < 0).any():
                return "the target is no single class"
            if len(weights) == 2 and _bound(block, subject):
                return (
                    "there are two classes, so the values for one are those for the other with the "
                    "sign turned, by arithmetic"
                )
        return ""

    def under(self, block: Block) -> AbstractContextManager[Block]:
        """No set is evaluated for it: every evaluation holds all classes."""
        subjects = tuple(
            self._of(subject, sample.id, block.question.seed)
            for subject, sample in zip(block.subjects, block.samples, strict=True)
        )
        return nullcontext(replace(block, subjects=subjects))

    @staticmethod
    def _of(subject: Subject, sample: str, seed: int) -> Subject:
        import numpy as np

        weights = np.zeros_like(subject.targets.weights)
        columns = len(weights)
        for number, column in enumerate(subject.targets.weights.argmax(axis=0).tolist()):
            step = 1 + int(draw("other target", seed, f"{sample}/{number}") * (columns - 1))
            weights[(column + step) % columns, number] = 1.0
        targets = Targets(subject.targets.names, weights)
        full, empty = subject.outputs @ weights
        return replace(subject, targets=targets, full=full, empty=empty)


@dataclass(frozen=True)
class Noise(_Any):
    """The `number`-th neighbour of each sample: every feature that belongs to a unit is moved by
    noise drawn evenly from [-radius, radius] times the features' range (pixels, numbers, and for
    texts the embeddings of tokens)."""

    radius: float
    number: int

    def refused(self, block: Block) -> str:
        """The features must be numbers, and removed units must keep their places."""
        return _unmovable(block)

    def under(self, block: Block) -> AbstractContextManager[Block]:
        model = Noisy(block.engine.model, self.radius, f"{block.question.seed}/{self.number}")
        return nullcontext(_read_by(model, block))

    def moved(self, block: Block, subject: Subject) -> float:
        """By the Euclidean norm over all features."""
        model: Any = block.engine.model
        noise, point = model.noise(subject.reading), model.point_before(subject.reading)
        length = float(point.double().norm())
        return float(noise.double().norm()) / length if length > 0 else 0.0


@dataclass(frozen=True)
class Shift(_Still):
    """A constant added to every feature, and a model that takes it away first: the outputs of both
    are the same. The constant is `size` times the features' range."""

    size: float

    def refused(self, block: Block) -> str:
        """The features must be numbers, and removed units must keep their places."""
        return _unmovable(block)

    def under(self, block: Block) -> AbstractContextManager[Block]:
        """No set is evaluated for it: only gradients see the constant."""
        engine = block.engine.as_of(Shifted(block.engine.model, self.size))
        return nullcontext(replace(block, engine=engine))


@dataclass(frozen=True)
class Randomised(_Still):
    """The entries of each weight of the last `share` of the modules in another order, drawn by the
    seed of the call."""

    share: float = 1.0

    def refused(self, block: Block) -> str:
        """There must be weights."""
        module = getattr(block.engine.model, "module", None)
        if module is None or not any(True for _ in module.parameters()):
            return "the classifier has no weights that can be drawn anew"
        return ""

    @contextmanager
    def under(self, block: Block) -> Iterator[Block]:
        """Within the block the model has these weights; afterwards its own again, to the bit."""
        import torch

        model: Any = block.engine.model
        weights = _last_weights(model.module, self.share)
        kept = [weight.detach().clone() for weight in weights]
        with torch.no_grad():
            for number, weight in enumerate(weights):
                seed = int(draw("randomised", block.question.seed, number) * 2**48)
                order = torch.randperm(
                    weight.numel(), generator=torch.Generator().manual_seed(seed)
                )
                weight.copy_(weight.reshape(-1)[order.to(weight.device)].reshape(weight.shape))
        try:
            yield _read_by(model, block)
        finally:
            with torch.no_grad():
                for weight, before in zip(weights, kept, strict=True):
                    weight.copy_(before)


def _bound(block: Block, subject: Subject) -> bool:
    """Whether one of two outputs follows from the other: shares of 1, or log-odds and their
    negatives."""
    import numpy as np

    if block.question.output in ("probability", "log_probability"):
        return True
    sums = subject.outputs.sum(axis=1)
    return bool(np.abs(sums - sums[0]).max() <= 1e-6 * np.abs(subject.outputs).max())


def _last_weights(module: Any, share: float) -> list[Tensor]:
    """The weights of the last of the modules that have any of their own, in the order they are
    registered in; each once."""
    own = [list(part.parameters(recurse=False)) for part in module.modules()]
    with_weights = [weights for weights in own if weights]
    first = len(with_weights) - max(1, round(share * len(with_weights)))
    found = {id(weight): weight for weights in with_weights[first:] for weight in weights}
    return list(found.values())


def _read_by(model: Any, block: Block) -> Block:
    """The block's samples as another model reads them, with the targets they had."""
    targets: Sequence[Targets] = [subject.targets for subject in block.subjects]
    engine = Engine(model, block.engine.tokens)
    return Block.read(engine, block.samples, block.kinds, block.question, targets)


def _unmovable(block: Block) -> str:
    if not isinstance(block.engine.model, Differentiable):
        return "the classifier's features are no numbers that could be moved"
    if block.question.removal.kind == "delete":
        return "removal delete changes the number of features; use mask or a baseline"
    return ""
