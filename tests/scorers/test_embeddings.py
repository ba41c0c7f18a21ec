"""The embedder: unit vectors, the same in any batch, kept on disk, from pinned weights."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from harness.records import HarnessError
from harness.scorers import embeddings
from harness.scorers.embeddings import Embedder

TEXTS = ["Alcohol harms the liver.", "Rest.", "A long sentence " * 60, "Ünïcödé 🙂", "Rest."]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


def test_vectors_are_of_length_one_and_equal_for_equal_texts(embedder: Embedder) -> None:
    vectors = embedder(TEXTS)
    assert vectors.shape == (5, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors[1], vectors[4])


def test_no_bit_of_a_vector_depends_on_what_is_embedded_beside_it() -> None:
    texts = [
        *TEXTS,
        *(f"{'Rest, drink and wait. ' * (n % 9)}Then see doctor {n}." for n in range(60)),
    ]
    together = Embedder()(texts)
    alone = []
    for text in texts[:12]:
        embeddings._held.clear()
        alone.append(Embedder()([text])[0])
    np.testing.assert_array_equal(together[:12], alone)
    embeddings._held.clear()
    some = Embedder()
    for start in range(0, len(texts), 7):
        some.add(reversed(texts[start : start + 7]))
    np.testing.assert_array_equal(some(texts), together)


def test_two_embedders_of_one_model_embed_a_sentence_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Embedder()(["Rest and drink."])
    monkeypatch.setattr(embeddings, "_load", lambda _: pytest.fail("the model was loaded"))
    np.testing.assert_array_equal(Embedder()(["Rest and drink."]), first)


def test_vectors_are_those_of_sentence_transformers(embedder: Embedder) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(embeddings.builtin_folder()), device="cpu")
    expected = model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(embedder(TEXTS), expected, atol=1e-5)


def test_nearer_meaning_is_a_larger_cosine(embedder: Embedder) -> None:
    a, b, c = embedder(["The stomach hurts.", "There is abdominal pain.", "The bus is late."])
    assert a @ b > a @ c + 0.2


def test_no_text_gives_no_vector(embedder: Embedder) -> None:
    assert len(embedder([])) == 0


def test_a_cache_is_read_without_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Embedder(cache=tmp_path)(TEXTS)
    monkeypatch.setattr(embeddings, "_load", lambda _: pytest.fail("the model was loaded"))
    np.testing.assert_array_equal(Embedder(cache=tmp_path)(TEXTS), first)


def test_a_cache_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    seen: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(20):
                Embedder(cache=tmp_path)
        except BaseException as error:
            seen.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    writer = Embedder(cache=tmp_path)
    for number in range(10):
        writer([f"sentence {number}"])
    reader.join()
    assert not seen


def test_a_broken_shard_is_named(tmp_path: Path) -> None:
    Embedder(cache=tmp_path)(["Rest."])
    shard = next(tmp_path.rglob("*.npz"))
    shard.write_bytes(b"nonsense")
    with pytest.raises(HarnessError, match=shard.name):
        Embedder(cache=tmp_path)


def test_other_weights_under_the_same_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "BUILTIN_SHA256", "0" * 64)
    with pytest.raises(HarnessError, match="SHA-256"):
        embeddings.builtin_folder()


def test_a_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="cannot be loaded"):
        Embedder(str(tmp_path / "none"))(["Rest."])


def test_the_fingerprint_names_the_weights() -> None:
    assert Embedder().fingerprint["weights"] == embeddings.BUILTIN_SHA256
