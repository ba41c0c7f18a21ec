"""The generator: its anatomy, its lesions, and that what it says of them is what it drew."""

from __future__ import annotations

import hashlib
import io
import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest, fisher_exact

from harness.octa.forest import LAYERS, PRESETS, grow
from harness.octa.generator import (
    OctaImage,
    draw_instances,
    forest_seed,
    generate,
    generate_dataset,
    healthy_twin,
    transform,
)
from harness.octa.geometry import FIELD_MM, SECTORS, sector_index
from harness.octa.pathology import LABELS, LESIONS, MICROANEURYSM_RADIUS_MM, bent, stage_of
from harness.octa.record import findings_of
from harness.octa.render import encode_png
from harness.records import HarnessError


@pytest.fixture(scope="module")
def images() -> list[OctaImage]:
    return list(generate_dataset(forests=9, draws_per_forest=6, seed=11, preset="fast"))


@pytest.fixture(scope="module")
def drawn() -> list[tuple[str, bool, bool]]:
    """Stage asked for, dropout and microaneurysms of 600 draws on 12 forests."""
    found = []
    for index in range(600):
        seed, draw = forest_seed(3, index % 12), index // 12
        label = LABELS[index % 3]
        instances = draw_instances(seed, "fast", label, draw)
        kinds = {instance.kind for instance in instances}
        found.append((label, "dropout" in kinds, "microaneurysm" in kinds))
    return found


@pytest.mark.parametrize("preset", PRESETS)
def test_murrays_law_holds_at_every_bifurcation(preset):
    forest = grow(5, preset)
    for layer, exponent in ((0, 2.55), (1, 2.90)):
        assert forest.murray_exponent(layer) == exponent
        children = [[] for _ in forest.parent]
        for node, parent in enumerate(forest.parent):
            if parent >= 0 and forest.layer[node] == layer:
                children[parent].append(forest.radius[node])
        forks = [index for index, radii in enumerate(children) if len(radii) == 2]
        assert len(forks) > 100
        for fork in forks:
            total = sum(radius**exponent for radius in children[fork])
            assert math.isclose(forest.radius[fork] ** exponent, total, rel_tol=1e-9)


@pytest.mark.parametrize("preset", PRESETS)
def test_trees_are_binary_start_at_walls_and_leave_the_faz_free(preset):
    forest = grow(8, preset)
    assert np.bincount(forest.parent[forest.parent >= 0]).max() == 2
    assert (forest.parent < np.arange(len(forest.parent))).all()
    stumps = forest.position[forest.parent < 0]
    on_wall = np.isclose(stumps, 0) | np.isclose(stumps, FIELD_MM)
    assert on_wall.any(axis=1).all()
    for wall in range(4):
        axis, value = wall % 2, FIELD_MM * (wall // 2)
        assert np.isclose(stumps[:, axis], value).any()
    assert (forest.faz.signed_distance(forest.position) > 0).all()
    parents = forest.parent[forest.parent >= 0]
    steps = np.hypot(*(forest.position[forest.parent >= 0] - forest.position[parents]).T)
    assert steps.max() < max(layer.step for layer in LAYERS[preset]) + 1e-3


def test_a_full_forest_has_six_thousand_nodes_or_more_most_of_them_deep():
    for seed in range(6):
        forest = grow(seed, "full")
        assert len(forest.parent) >= 6000
        superficial, deep = np.bincount(forest.layer)
        assert deep > 2 * superficial


def test_the_faz_has_a_radius_of_about_four_tenths_of_a_millimetre(images):
    radii = {image.forest: image.faz_radius for image in images}.values()
    assert all(0.30 < radius < 0.50 for radius in radii)
    for image in images:
        area = image.masks["faz"].sum() * (FIELD_MM / image.size) ** 2
        assert math.isclose(math.sqrt(area / math.pi), image.faz_radius, rel_tol=0.02)


def test_the_faz_is_dark_and_the_vessels_are_bright(images):
    for image in images:
        dark = image.image[image.masks["faz"]]
        assert np.median(dark) < 0.5 * np.median(image.image)
        assert np.quantile(image.image, 0.95) > 3 * np.median(dark)


def test_lesion_pixels_differ_from_the_same_forest_without_lesions(images):
    for image in images:
        twin = healthy_twin(image)
        assert twin.instances == ()
        changed = image.image != twin.image
        for lesion in LESIONS:
            mask = image.masks[lesion]
            if mask.any():
                assert changed[mask].mean() > 0.85
        far = np.ones_like(changed)
        for instance in image.instances:
            y, x = np.mgrid[: image.size, : image.size] * (FIELD_MM / image.size)
            far &= np.hypot(x - instance.x, y - instance.y) > 2 * instance.radius + 0.45
        assert not changed[far].any()


def test_dropout_is_darker_and_buds_and_tufts_are_brighter_than_without_them(images):
    for image in images:
        twin = healthy_twin(image).image.astype(float)
        other = image.masks["microaneurysm"] | image.masks["neovascularisation"]
        dropout = image.masks["dropout"] & ~other
        if dropout.any():
            assert image.image[dropout].mean() < 0.8 * twin[dropout].mean()
        for lesion in ("microaneurysm", "neovascularisation"):
            mask = image.masks[lesion]
            if mask.any():
                assert image.image[mask].mean() > 1.3 * twin[mask].mean()


def test_masks_agree_with_the_instances(images):
    for image in images:
        pixel = FIELD_MM / image.size
        for lesion in LESIONS:
            own = [instance for instance in image.instances if instance.kind == lesion]
            mask = image.masks[lesion]
            assert mask.any() == bool(own)
            y, x = np.nonzero(mask)
            x, y = (x + 0.5) * pixel, (y + 0.5) * pixel
            reach = 2.0 if lesion == "dropout" else 1.0
            near = np.zeros(len(x), dtype=bool)
            for instance in own:
                distance = np.hypot(x - instance.x, y - instance.y)
                here = distance < reach * instance.radius + 2 * pixel
                assert here.any()
                near |= here
            assert near.all()


def test_microaneurysms_stay_visible_at_128_pixels():
    for draw in range(6):
        image = generate(forest_seed(2, draw), "full", "non-proliferative", draw, size=128)
        twin = healthy_twin(image)
        for instance in image.instances:
            if instance.kind == "microaneurysm":
                assert instance.radius == MICROANEURYSM_RADIUS_MM
                row, column = (int(v * 128 / FIELD_MM) for v in (instance.y, instance.x))
                window = np.s_[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
                assert image.image[window].max() > 200
                assert image.image[window].max() > np.quantile(twin.image, 0.99)


def test_the_sector_is_that_of_the_centre_seen_from_the_faz(images):
    for image in images:
        for instance in image.instances:
            dx, dy = instance.x - image.faz_centre[0], instance.y - image.faz_centre[1]
            assert instance.sector == SECTORS[sector_index(dx, dy)]


def test_sectors_run_clockwise_from_the_top():
    for index in range(8):
        turn = math.radians(45 * index)
        for off in (-0.38, 0.0, 0.38):
            assert sector_index(math.sin(turn + off), -math.cos(turn + off)) == index
    assert SECTORS[sector_index(0, -1)] == "north"
    assert SECTORS[sector_index(1, 0)] == "east"


def test_neovascularisation_never_comes_without_dropout_and_touches_its_border(images):
    tufts = 0
    for image in images:
        kinds = {instance.kind for instance in image.instances}
        if "neovascularisation" not in kinds:
            continue
        assert "dropout" in kinds
        for instance in image.instances:
            if instance.kind == "neovascularisation":
                tufts += 1
                y, x = np.nonzero(image.masks["dropout"])
                pixel = FIELD_MM / image.size
                away = np.hypot((x + 0.5) * pixel - instance.x, (y + 0.5) * pixel - instance.y)
                assert away.min() < instance.radius
    assert tufts > 10


def test_microaneurysms_sit_on_dropout_borders_or_else_within_a_millimetre_of_the_faz(images):
    for image in images:
        pixel = FIELD_MM / image.size
        y, x = np.nonzero(image.masks["dropout"])
        for instance in image.instances:
            if instance.kind != "microaneurysm":
                continue
            if len(x):
                away = np.hypot((x + 0.5) * pixel - instance.x, (y + 0.5) * pixel - instance.y)
                assert away.min() < 0.12
            else:
                centre = image.faz_centre
                assert math.hypot(instance.x - centre[0], instance.y - centre[1]) < 1.05


def test_label_and_findings_follow_from_the_instances(images):
    for image in images:
        assert image.label == stage_of(image.instances)
        assert image.findings == findings_of(image.instances)
        kinds = Counter(instance.kind for instance in image.instances)
        if image.label == "healthy":
            assert not kinds
        if image.label == "non-proliferative":
            assert kinds["dropout"] >= 1 or kinds["microaneurysm"] >= 3
            assert not kinds["neovascularisation"]


def test_a_drawn_stage_is_the_stage_asked_for():
    for index in range(60):
        label = LABELS[index % 3]
        instances = draw_instances(forest_seed(4, index % 6), "fast", label, index)
        assert stage_of(instances) == label


def _within(hits: int, total: int, expected: float) -> bool:
    interval = binomtest(hits, total).proportion_ci(0.999)
    return interval.low <= expected <= interval.high


def test_the_stage_does_not_decide_which_lesions_there_are(drawn):
    cells = Counter(drawn)
    assert cells["healthy", False, False] == 200
    for dropout, buds, share in ((True, False, 0.3), (False, True, 0.3), (True, True, 0.4)):
        assert _within(cells["non-proliferative", dropout, buds], 200, share)
    assert _within(cells["proliferative", True, True], 200, 0.5)
    assert cells["proliferative", True, True] + cells["proliferative", True, False] == 200


def test_numbers_and_places_of_dropout_do_not_depend_on_the_stage():
    counts: dict[str, Counter[int]] = {label: Counter() for label in LABELS}
    sectors: dict[str, Counter[str]] = {label: Counter() for label in LABELS}
    for index in range(400):
        label = LABELS[1 + index % 2]
        instances = draw_instances(forest_seed(6, index % 10), "fast", label, index)
        regions = [instance for instance in instances if instance.kind == "dropout"]
        if regions:
            counts[label][len(regions)] += 1
            sectors[label].update(region.sector for region in regions)
    stages = LABELS[1:]
    few = [[sum(counts[s][n] for n in pair) for pair in ((1, 2), (3, 4))] for s in stages]
    assert fisher_exact(few).pvalue > 0.001
    halves = [
        [sum(sectors[s][name] for name in half) for half in (SECTORS[:4], SECTORS[4:])]
        for s in stages
    ]
    assert fisher_exact(halves).pvalue > 0.001


def test_tortuosity_is_independent_of_the_stage():
    bends = []
    for draw in range(40):
        amplitudes = {
            generate(forest_seed(5, draw % 2), "fast", label, draw, size=16).tortuosity
            for label in (LABELS if draw < 8 else LABELS[:1])
        }
        assert len(amplitudes) == 1  # whatever the stage, the same draw bends the same
        bends.append(amplitudes.pop())
    assert _within(sum(bend > 0 for bend in bends), 40, 0.3)
    assert all(bend == 0 or 0.01 <= bend <= 0.018 for bend in bends)


def test_bending_moves_vessels_sideways_by_the_amplitude_at_most():
    forest = grow(1, "fast")
    moved = bent(forest, 0.015, np.random.default_rng(0)) - forest.position
    assert 0.005 < np.hypot(*moved.T).mean() <= np.hypot(*moved.T).max() < 0.0151
    along = forest.position - forest.position[np.maximum(forest.parent, 0)]
    inner = forest.parent >= 0
    assert np.abs((moved * along)[inner].sum(axis=1)).max() < 1e-12


def test_images_of_one_forest_share_their_vessels_and_others_do_not():
    first, second = (generate(1, "fast", "healthy", draw) for draw in (0, 1))
    stranger = generate(2, "fast", "healthy", 0)
    assert first.forest == second.forest != stranger.forest
    own = np.corrcoef(first.image.ravel(), second.image.ravel())[0, 1]
    outside = ~(first.masks["faz"] | stranger.masks["faz"])
    other = np.corrcoef(first.image[outside], stranger.image[outside])[0, 1]
    assert own > other + 0.2


def _digest(seed: int) -> str:
    image = generate(seed, "fast", "proliferative", 3, size=128)
    parts = [image.png(), *(encode_png(mask) for mask in image.masks.values())]
    return hashlib.sha256(b"".join(parts) + repr(image.instances).encode()).hexdigest()


def test_the_same_seed_gives_the_same_bytes_in_another_process():
    code = (
        "import hashlib\n"
        "from harness.octa.generator import generate\n"
        "from harness.octa.render import encode_png\n"
        "i = generate(21, 'fast', 'proliferative', 3, size=128)\n"
        "p = [i.png(), *(encode_png(m) for m in i.masks.values())]\n"
        "print(hashlib.sha256(b''.join(p) + repr(i.instances).encode()).hexdigest())\n"
    )
    for environment in ({"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}, {"PYTHONHASHSEED": "2"}):
        ran = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        assert ran.stdout.strip() == _digest(21)
    assert _digest(21) != _digest(22)


def test_workers_change_neither_order_nor_bytes():
    alone = list(generate_dataset(2, 2, seed=1, preset="fast", size=64))
    together = list(generate_dataset(2, 2, seed=1, preset="fast", size=64, workers=2))
    assert [image.png() for image in alone] == [image.png() for image in together]
    assert [image.instances for image in alone] == [image.instances for image in together]


def test_a_data_set_is_balanced_over_forests_and_shares_none_with_another(images):
    assert Counter(image.label for image in images) == dict.fromkeys(LABELS, 18)
    by_forest = Counter((image.forest, image.label) for image in images)
    assert set(by_forest.values()) == {2}
    assert not {forest_seed(1, i) for i in range(500)} & {forest_seed(2, i) for i in range(500)}


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("k", range(4))
def test_sectors_positions_and_masks_turn_along_with_the_image(images, k, flip):
    image = next(i for i in images if i.label == "proliferative" and len(i.instances) > 4)
    turned = transform(image, k, flip)
    for instance in turned.instances:
        dx, dy = instance.x - turned.faz_centre[0], instance.y - turned.faz_centre[1]
        away_from_edge = abs((math.degrees(math.atan2(dx, -dy)) + 22.5) % 45) > 1e-6
        assert not away_from_edge or instance.sector == SECTORS[sector_index(dx, dy)]
        row, column = (int(v * image.size / FIELD_MM) for v in (instance.y, instance.x))
        if instance.kind == "microaneurysm":
            assert turned.masks["microaneurysm"][row, column]
            assert turned.image[row, column] > 200
    assert transform(image.findings, k, flip) == turned.findings
    undone = transform(transform(turned, 0, flip), (k if flip else -k) % 4, False)
    assert (undone.image == image.image).all()
    assert undone.findings == image.findings


def test_png_bytes_are_read_back_by_another_library(images):
    image = images[2]
    read = np.asarray(Image.open(io.BytesIO(image.png())))
    assert (read == image.image).all()
    mask = np.asarray(Image.open(io.BytesIO(encode_png(image.masks["dropout"]))))
    assert mask.dtype == bool
    assert (mask == image.masks["dropout"]).all()


def test_one_sample_has_one_geometry_at_every_size():
    large, small = (generate(9, "fast", "proliferative", 1, size) for size in (304, 128))
    assert large.instances == small.instances
    assert small.image.shape == small.masks["faz"].shape == (128, 128)
    resized = Image.fromarray(large.image).resize((128, 128), Image.Resampling.BOX)
    assert (np.asarray(resized) == small.image).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "slow"}, "there is no OCTA preset 'slow'; presets are full and fast"),
        ({"label": "sick"}, "there is no OCTA label 'sick'"),
        ({"size": 512}, "16 to 304 pixels wide, not 512"),
    ],
)
def test_arguments_out_of_range_are_refused_in_one_sentence(arguments, message):
    with pytest.raises(HarnessError, match=message):
        generate(1, **{"preset": "fast", **arguments})
