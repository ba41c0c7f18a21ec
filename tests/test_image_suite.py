"""The pipeline knows no modality: pictures go through the same stages as texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_suite import changed, write

import harness
from harness.export import cells_table
from harness.records import HarnessError
from harness.store import Store

EYES = '''
from harness.records import Capabilities, Generation

class Sees:
    """Says how many pictures it was shown, and their first bytes."""

    capabilities = Capabilities(images=True)

    def __init__(self, model): ...

    async def generate(self, request):
        media = [part.media for message in request.messages for part in message.parts if part.media]
        kinds = [m.read()[1:4].decode() for m in media]
        return Generation(f"{len(media)} pictures {kinds} " + request.messages[-1].text)


class Blind(Sees):
    capabilities = Capabilities(images=False)


def brightness(pictures):
    light = [float(p.mean()) / 255 for p in pictures]
    return [[1 - x, x] for x in light]
'''

FAMILY = """family: small
question: What is shown?
aspects: [causes]
user: |
  {{ input }}
  The classifier says {{ label }}.
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    for label, light in (("dark", 20), ("light", 230)):
        folder = tmp_path / "pictures" / label
        folder.mkdir(parents=True)
        for i in range(3):
            pixels = np.full((16, 16, 3), light + i, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"p{i}.png")
    text = changed(
        source={"kind": "image_folder", "path": "./pictures"},
        classifier={
            "kind": "callable",
            "function": "./eyes.py:brightness",
            "classes": ["dark", "light"],
        },
        families=[{"family": "small", "variants": ["base", "blind"], "gold": None}],
        models=[{"name": n, "backend": f"./eyes.py:{n.capitalize()}"} for n in ("sees", "blind")],
        arms=["predicted"],
        repeats=1,
        scorers=["label"],
        controls="none",
    )
    blind = "variant: blind\nof: base\naxis: media\npreserves_meaning: false\nuser: 'Said: {{ label }}.'\n"
    path = write(tmp_path, text, **{"eyes.py": EYES, "prompts__small__family.yaml": FAMILY})
    for old in ("reworded", "pressure", "json"):
        (tmp_path / "prompts" / "small" / f"{old}.yaml").unlink()
    (tmp_path / "prompts" / "small" / "blind.yaml").write_text(blind)
    return path


def test_pictures_reach_the_model_that_takes_them_and_no_other(suite: Path) -> None:
    result = harness.run(suite, out=suite.parent / "run")
    with Store.read(suite.parent / "run") as store:
        cells = cells_table(store).set_index("cell")
    assert set(cells["told"]) == {"dark", "light"}
    shown = cells[(cells["model"] == "sees") & (cells["variant"] == "base")]
    assert len(shown) == 6
    assert all(text.startswith("1 pictures ['PNG']") for text in shown["text"])
    assert set(cells[cells["model"] == "blind"]["variant"]) == {"blind"}
    left_out = next(m for m in result.results.models if m.name == "blind").not_planned
    assert left_out == {"it takes no images, and the variant shows one": 6}
    assert "data:image/" in result.report.read_text()


def test_an_optional_picture_is_left_out_for_a_model_that_takes_none(suite: Path) -> None:
    family = suite.parent / "prompts" / "small" / "family.yaml"
    family.write_text(FAMILY + "media: optional\n")
    harness.run(suite, out=suite.parent / "run")
    with Store.read(suite.parent / "run") as store:
        cells = cells_table(store)
    blind = cells[(cells["model"] == "blind") & (cells["variant"] == "base")]
    assert all(text.startswith("0 pictures []") for text in blind["text"])


def test_a_path_that_names_the_label_never_reaches_a_prompt(suite: Path) -> None:
    (suite.parent / "pictures" / "dark").rename(suite.parent / "pictures" / "zz-secret")
    harness.run(suite, out=suite.parent / "run", settings=["label_map={zz-secret: dark}"])
    with Store.read(suite.parent / "run") as store:
        for key in set(cells_table(store)["request"]):
            request, _ = store.request(key)
            assert "secret" not in " ".join(message.text for message in request.messages)


def test_a_corrupt_picture_is_named_before_anything_is_sent(suite: Path) -> None:
    picture = suite.parent / "pictures" / "dark" / "p1.png"
    picture.write_bytes(picture.read_bytes()[:40])
    with pytest.raises(HarnessError, match=r"p1\.png"):
        harness.run(suite, out=suite.parent / "run")
    assert not (suite.parent / "run").exists()
