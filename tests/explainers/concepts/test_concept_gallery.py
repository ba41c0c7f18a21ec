"""A gallery shows each concept where it is strongest."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.classifiers.mobilecoatnet import MobileCoAtNet
from harness.explainers.concepts.activations import collect
from harness.explainers.concepts.figures import concept_gallery
from harness.explainers.concepts.meaning import top_samples
from harness.explainers.concepts.spaces.fit import fit
from harness.records import HarnessError, Part, Sample
from harness.sources.octa import Octa


def test_patches_are_cut_out_of_their_images(tmp_path: Path) -> None:
    samples = list(Octa("fast", samples=3, size=128).samples())
    patches = collect(MobileCoAtNet("builtin:octa"), samples, "stage2", "patch", tmp_path)
    space = fit("pca", patches, concepts=3)
    chosen = space.names[1]
    figure = concept_gallery(
        space, patches, samples, concepts=[chosen], labels={chosen: "dark <areas>"},
        scores={chosen: ("AUC", 0.9)}, count=2,
    )  # fmt: skip
    ET.fromstring(figure.svg)
    assert "dark &lt;areas&gt;" in figure.svg
    assert "AUC" in figure.svg
    pictures = re.findall(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)", figure.svg)
    assert len(pictures) == 2
    (first, _) = top_samples(space, patches, 2)[1]
    image = next(s for s in samples if s.id == first.sample)
    whole = np.asarray(Image.open(io.BytesIO(image.media[0].read())).convert("L"))
    assert first.unit.box is not None
    top, left, height, width = first.unit.box
    # the crop holds the patch and its surroundings, so its range covers that of the patch
    crop = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0]))).convert("L"))
    size = patches.units()[-1][1].box
    assert size is not None
    side = whole.shape[0] / (size[0] + size[2])
    patch = whole[round(top * side) : round((top + height) * side), round(left * side) : round((left + width) * side)]  # fmt: skip
    assert abs(int(crop.max()) - int(patch.max())) < 80


def test_texts_are_quoted_with_the_unit_and_strange_names_are_refused(
    bert: Path, tmp_path: Path
) -> None:
    from harness.classifiers.huggingface import HuggingFace

    samples = [
        Sample("a", (Part("the patient has pain after meals"),)),
        Sample("b", (Part("no fever today"),)),
    ]
    layer = "bert.encoder.layer.0"
    words = collect(HuggingFace(str(bert)), samples, layer, "word", tmp_path)
    space = fit("pca", words, concepts=2)
    figure = concept_gallery(space, words, samples)
    said = re.sub(r"<[^>]+>", " ", figure.page)
    for example in top_samples(space, words, 1)[0]:
        assert example.unit.text.strip() in said
    with pytest.raises(HarnessError, match="no concept 'pca 9'"):
        concept_gallery(space, words, samples, concepts=["pca 9"])
    with pytest.raises(HarnessError, match="not among the samples"):
        concept_gallery(space, words, samples[:1])
