"""The command `python -m harness.language_models --out harness/assets`.

Draws the training images, learns a vocabulary, trains the three models and writes each with its
card. About an hour of one CPU core.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.language_models.vision import Log, Schedule

NAMES = ("octa-text", "octa-vlm-half", "octa-vlm")
FAST_FORESTS, FULL_FORESTS, DRAWS, IMAGE_SEED = 240, 60, 20, 1001
EYE = Schedule(steps=960, batch=32, rate=1e-3)
LANGUAGE = Schedule(steps=1200, batch=32, rate=2e-3)
TEXT = Schedule(steps=600, batch=32, rate=3e-3)
VOCABULARY_EXAMPLES = 3000
EVALUATION = (60, 4)  # forests, images on each


@dataclass(frozen=True)
class Materials:
    """What all three models are made from."""

    images: Any
    family: Any
    corpus: Any
    tokenizer: Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the models named; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m harness.language_models")
    parser.add_argument("--out", type=Path, required=True, help="folder for the models' folders")
    parser.add_argument("--models", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shorten", type=int, default=1, help="divide all lengths, to try it out")
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)  # sums in another order would be another model
    started = time.monotonic()

    def log(line: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {line}", file=sys.stderr, flush=True)

    materials = prepare(options.shorten, log)
    if "octa-text" in options.models:
        make_text(materials, options.seed, options.shorten, options.out, log)
    wanted = [name for name in options.models if name != "octa-text"]
    if wanted:
        make_seeing(materials, wanted, options.seed, options.shorten, options.out, log)
    return 0


def prepare(shorten: int, log: Log) -> Materials:
    """Images, prompts and vocabulary."""
    import numpy as np

    from harness import suite
    from harness.language_models.architecture import make_tokenizer
    from harness.language_models.corpus import Corpus
    from harness.language_models.images import draw_mixed

    log("drawing images")
    images = draw_mixed(
        max(2, FAST_FORESTS // shorten), max(1, FULL_FORESTS // shorten), DRAWS, IMAGE_SEED
    )
    family = next(spec.family for spec in suite.load("octa").families if spec.family.name == "octa")
    corpus = Corpus(family, images.findings)
    tokenizer = make_tokenizer(corpus.texts(VOCABULARY_EXAMPLES, np.random.default_rng(0)))
    log(f"{len(images)} images, {len(tokenizer)} tokens in the vocabulary")
    return Materials(images, family, corpus, tokenizer)


def make_text(materials: Materials, seed: int, shorten: int, out: Path, log: Log) -> None:
    """`octa-text`: sees the label alone."""
    import torch

    from harness.language_models.architecture import make_text_model
    from harness.language_models.language import train_blind

    torch.manual_seed(seed)
    schedule = _shortened(TEXT, shorten)
    model = make_text_model(materials.tokenizer)
    train_blind(model, materials.tokenizer, materials.corpus, schedule, seed, log)
    about = (
        "A Llama that is told a label and writes a report that images with this label have. It "
        "sees no image, so its findings cannot be better than a guess."
    )
    training = f"{schedule.steps} steps of {schedule.batch} prompts, reports drawn for the label"
    _finish(materials, "octa-text", model, None, about, training, seed, out, log)


def make_seeing(
    materials: Materials, names: Sequence[str], seed: int, shorten: int, out: Path, log: Log
) -> None:
    """`octa-vlm-half` and `octa-vlm`: the beginning of the eye's training is the same for both."""
    import torch

    from harness.language_models.architecture import make_processor, make_vision_model
    from harness.language_models.language import train_seeing
    from harness.language_models.vision import EyeTraining

    torch.manual_seed(seed)
    eye = _shortened(EYE, shorten)
    language = _shortened(LANGUAGE, shorten)
    half_eye, half_language = (replace(one, steps=one.steps // 2) for one in (eye, language))
    training = EyeTraining(make_vision_model(materials.tokenizer), eye, seed)
    training.run(materials.images, eye, half_eye.decay_start, log)
    branches = {
        "octa-vlm-half": (copy.deepcopy(training), half_eye, half_language),
        "octa-vlm": (training, eye, language),
    }
    for name in names:
        branch, eye_schedule, language_schedule = branches[name]
        branch.run(materials.images, eye_schedule, eye_schedule.steps, log)
        train_seeing(
            branch.model,
            materials.tokenizer,
            materials.corpus,
            materials.images,
            language_schedule,
            seed,
            log,
        )
        about = (
            "An Idefics3 that looks at an OCT-angiography-like image and reports its stage and "
            "lesions. In training the label it was told was right, wrong or missing, and the "
            "report always that of the image."
        )
        text = (
            f"vision alone, {eye_schedule.steps} steps of {eye_schedule.batch} images with a loss "
            f"for each grid cell; then connector and language model, vision frozen, "
            f"{language_schedule.steps} steps of {language_schedule.batch} prompts"
        )
        processor = make_processor(materials.tokenizer)
        _finish(materials, name, branch.model, processor, about, text, seed, out, log)


def _finish(
    materials: Materials,
    name: str,
    model: Any,
    processor: Any | None,
    about: str,
    training: str,
    seed: int,
    out: Path,
    log: Log,
) -> None:
    """Writes the checkpoint, asks it about unseen images, and writes what came out."""
    from harness.backends.transformers import Transformers
    from harness.language_models import evaluation
    from harness.language_models.export import Card, save, write_card

    folder = out / name
    save(model, materials.tokenizer, processor, folder)
    backend = Transformers(str(folder))
    forests, each = EVALUATION
    samples = evaluation.unseen_samples(forests, each)
    arms = []
    for arm in evaluation.ARMS:
        answers = evaluation.ask(backend, materials.family, samples, arm)
        rows = evaluation.table(answers)
        rows.append(("stage named is the told label", evaluation.stage_told(answers)))
        arms.append((f"told: {arm}", rows))
    card = Card(
        name=name,
        about=about,
        data=f"{len(materials.images):,} images of {FAST_FORESTS + FULL_FORESTS} forests "
        f"(presets fast and full), seeds {IMAGE_SEED} and {IMAGE_SEED + 1}, in eight turns",
        training=training,
        seed=seed,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        arms=arms,
        evaluated_on=f"{len(samples)} images of {forests} forests never seen in training (source "
        f"octa, preset fast, seed {evaluation.UNSEEN_SEED}), variant base.",
    )
    write_card(card, folder)
    log(f"{name} is in {folder}")


def _shortened(schedule: Schedule, by: int) -> Schedule:
    return replace(schedule, steps=max(4, schedule.steps // by))


if __name__ == "__main__":
    sys.exit(main())
