"""The `octa` source: samples with evidence and gold, from drawn lesions alone."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from harness.contracts import SourceWithGold
from harness.octa.findings import findings_of, parse
from harness.octa.pathology import LABELS, LESIONS
from harness.records import HarnessError, Sample
from harness.scorers.findings import true_instances
from harness.serial import dumps, loads
from harness.sources.octa import Octa


@pytest.fixture(scope="module")
def source() -> Octa:
    return Octa(preset="fast", samples=9, seed=7, size=128, forests=3)


@pytest.fixture(scope="module")
def samples(source):
    return list(source.samples())


def _evidence(sample, name):
    return next(evidence.value for evidence in sample.evidence if evidence.name == name)


def test_it_is_a_source_with_gold(source):
    assert isinstance(source, SourceWithGold)


def test_samples_are_balanced_over_stages_and_their_cluster_is_the_forest(samples):
    assert Counter(sample.label for sample in samples) == dict.fromkeys(LABELS, 3)
    assert set(Counter(sample.cluster for sample in samples).values()) == {3}
    assert len({(sample.cluster, sample.label) for sample in samples}) == 9
    assert all(sample.cluster == sample.metadata["forest"] for sample in samples)
    assert len({sample.id for sample in samples}) == 9
    assert len({sample.media[0].sha256 for sample in samples}) == 9


def test_without_forests_given_each_sample_has_its_own():
    assert Octa(preset="fast", samples=5).forests == 5
    first = next(iter(Octa(preset="fast", samples=2, size=128).samples()))
    assert Image.open(io.BytesIO(first.media[0].read())).size == (128, 128)


def test_ids_tell_nothing_of_the_label(samples):
    assert not any(word in sample.id for sample in samples for word in ("healthy", "prolif"))


def test_masks_and_instances_agree(samples):
    for sample in samples:
        kinds = {instance["kind"] for instance in _evidence(sample, "instances")}
        for lesion in LESIONS:
            mask = np.asarray(Image.open(io.BytesIO(_evidence(sample, lesion).read())))
            assert mask.shape == (128, 128)
            assert mask.any() == (lesion in kinds)
        assert np.asarray(Image.open(io.BytesIO(_evidence(sample, "faz").read()))).any()


def test_gold_names_each_sample_and_says_what_its_instances_are(source, samples):
    records = list(source.gold())
    assert [record.sample for record in records] == [sample.id for sample in samples]
    for record, sample in zip(records, samples, strict=True):
        assert record.aspect == "findings"
        findings = parse(record.text).findings
        assert findings == findings_of(true_instances(sample))
        assert findings.stage == sample.label


def test_partners_are_of_the_same_class_and_of_another_forest(samples):
    by_id = {sample.id: sample for sample in samples}
    for sample in samples:
        partners = _evidence(sample, "same_class")
        assert partners
        for partner in partners:
            other = by_id[partner["sample"]]
            assert other.label == sample.label
            assert other.cluster != sample.cluster
            truth = findings_of(true_instances(other))
            for lesion in LESIONS:
                assert tuple(partner["sectors"][lesion]) == truth.of(lesion).sectors


def test_samples_survive_being_stored(samples):
    assert [loads(Sample, dumps(sample)) for sample in samples] == samples


def test_the_same_source_gives_the_same_samples_and_another_seed_others(samples):
    again = list(Octa(preset="fast", samples=9, seed=7, size=128, forests=3).samples())
    assert again == samples
    other = next(iter(Octa(preset="fast", samples=9, seed=8, size=128, forests=3).samples()))
    assert other.media[0] != samples[0].media[0]
    assert other.cluster not in {sample.cluster for sample in samples}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "quick"}, "there is no preset 'quick'"),
        ({"samples": 0}, "samples must be a whole number, 1 or more, not 0"),
        ({"forests": 30}, "forests must be a whole number, from 1 to 24, not 30"),
        ({"size": 512}, "size must be a whole number, from 16 to 304, not 512"),
        ({"samples": "many"}, "samples must be a whole number"),
    ],
)
def test_options_out_of_range_are_refused_in_one_sentence(options, message):
    with pytest.raises(HarnessError, match=message):
        Octa(**options)
