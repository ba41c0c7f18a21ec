"""Trains a suite's classifier as its `train` entry says, so that its weights need not be shipped.

The classifier's class does the work in its own `train(samples, **options)`; what is trained on
comes from the entry's own source, so no sample of the run is seen in training.
"""

from __future__ import annotations

import inspect

from harness import checks, plugins, secrets
from harness.contracts import Trainable
from harness.plugins import blamed
from harness.records import HarnessError, Sample
from harness.suite import PartSpec, Suite


def train(suite: Suite) -> str:
    """Trains and returns one sentence about what was made.

    Raises `HarnessError` where the suite trains nothing, its classifier cannot be trained, or a
    sample of the run is among those to train on.
    """
    if suite.classifier is None or suite.train is None:
        raise HarnessError(f"suite '{suite.name}' has no 'train' entry: nothing to train")
    part = plugins.load("classifiers", suite.classifier.kind, suite.folder)
    if not isinstance(part, Trainable):
        raise HarnessError(f"the classifier '{suite.classifier.kind}' cannot be trained here")
    samples = _samples(suite, suite.train.source)
    evaluated = {sample.id for sample in _samples(suite, suite.source)}
    shared = [sample.id for sample in samples if sample.id in evaluated]
    if shared:
        raise HarnessError(
            f"train: sample '{shared[0]}' and {len(shared) - 1} more are also evaluated; "
            "split the source"
        )
    options = {"seed": suite.seed, **suite.classifier.options, **suite.train.options}
    taken = inspect.signature(part.train).parameters
    unknown = sorted(set(suite.train.options) - set(taken))
    if unknown:
        raise HarnessError(
            f"train: the classifier '{suite.classifier.kind}' takes no '{unknown[0]}'; "
            f"it takes {', '.join(name for name in taken if name != 'samples')}"
        )
    # The classifier's own entry may hold fields for predicting that training has no use for.
    used = {name: value for name, value in options.items() if name in taken}
    with blamed(f"classifier '{suite.classifier.name}' failed in train"):
        return str(part.train(samples, **secrets.reveal(used)))


def _samples(suite: Suite, part: PartSpec) -> list[Sample]:
    return checks.samples_of(part.name, part.create("sources", suite.folder))
