"""Fitted scikit-learn text pipelines in skops files, and the making of three simple ones.

Skops files are read without pickle: a file may only hold types that skops trusts or that the suite
lists. `train` makes the text classifier and the two baselines that it must beat.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.classifiers.distribution import prediction, same_classes
from harness.classifiers.inputs import text_of
from harness.identity import digest, sha256
from harness.records import HarnessError, Prediction, Sample


class Sklearn:
    """A fitted pipeline from texts to probabilities, read from a skops file.

    The pipeline is given a list of texts and must have `predict_proba`. `classes`, where given,
    must be its own, in any order. `trusted` lists types beyond those that skops trusts.
    """

    def __init__(
        self,
        path: str,
        classes: Sequence[str] | None = None,
        trusted: Sequence[str] | None = None,
    ) -> None:
        if not Path(path).is_file():
            raise HarnessError(f"there is no skops file {path}")
        data = Path(path).read_bytes()
        self.revision = sha256(data)
        self._path = path
        self._pipeline = _load(data, path, [trusted] if isinstance(trusted, str) else trusted or ())
        if not hasattr(self._pipeline, "predict_proba"):
            raise HarnessError(
                f"{path} holds a {type(self._pipeline).__name__} without predict_proba; fit a "
                "classifier with probabilities (CalibratedClassifierCV gives any one some)"
            )
        # An unfitted pipeline has no classes_; reading it raises an AttributeError.
        own = getattr(self._pipeline, "classes_", None)
        if own is None:
            raise HarnessError(f"{path} holds a pipeline that is not fitted")
        self.classes = same_classes([str(name) for name in own], classes, path)

    @staticmethod
    def train(
        samples: Sequence[Sample],
        path: str,
        seed: int = 0,
        classes: Sequence[str] | None = None,
    ) -> str:
        """Trains the text classifier into `path`, its two baselines beside it; says so.

        For `x.skops` the baselines are `x.majority.skops` and `x.length.skops`. `classes`, where
        given, must be the labels of the samples. Raises `HarnessError` as `train` does, and for a
        sample without a label or with anything but text.
        """
        for sample in samples:
            if sample.label is None or sample.media:
                raise HarnessError(f"train: sample '{sample.id}' is no text with a label")
        texts, labels = [s.text for s in samples], [str(s.label) for s in samples]
        same_classes(sorted(set(labels)), classes, "train")
        train(texts, labels, path, seed)
        for kind in ("majority", "length"):
            train(texts, labels, Path(path).with_suffix(f".{kind}.skops"), seed, kind)
        return (
            f"trained on {len(texts)} texts of {len(set(labels))} labels: {path}, with the "
            "baselines 'majority' and 'length' beside it"
        )

    def predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        """One prediction a sample. Raises `HarnessError` for samples that are not text alone."""
        texts = [text_of(sample, self._path) for sample in samples]
        if not texts:
            return []
        try:
            rows = self._pipeline.predict_proba(texts).tolist()
        except Exception as error:  # a pipeline may hold any estimator
            raise HarnessError(
                f"{self._path} cannot classify texts: {type(error).__name__}: {error}"
            ) from error
        return [
            prediction(sample.id, row, self.classes, self._path)
            for sample, row in zip(samples, rows, strict=True)
        ]


def train(
    texts: Sequence[str],
    labels: Sequence[str],
    path: str | Path,
    seed: int = 0,
    kind: str = "tfidf",
) -> Path:
    """Fits a text classifier, writes it to `path` (`.skops`) and its card beside it (`.json`).

    `kind` is `tfidf` (words and pairs of words, logistic regression), `length` (the number of words
    alone, logistic regression: what a classifier learns without reading) or `majority` (the shares
    of the labels). The same data, seed and versions give the same bytes. Raises `HarnessError` for
    fewer than two labels, for texts and labels that do not match, and for texts without a word.
    """
    import skops.io

    if kind not in _KINDS:
        raise HarnessError(f"there is no text classifier '{kind}'; known are {', '.join(_KINDS)}")
    if len(texts) != len(labels):
        raise HarnessError(f"there are {len(texts)} texts and {len(labels)} labels to train on")
    if len(set(labels)) < 2:
        raise HarnessError("training needs texts of two labels or more")
    pipeline = _KINDS[kind](seed)
    try:
        pipeline.fit(list(texts), list(labels))
    except ValueError as error:  # texts without a single word
        raise HarnessError(f"training on these texts fails: {error}") from error
    # The vectoriser remembers where its stop words lie in memory, to check them only once.
    vars(pipeline[0]).pop("_stop_words_id", None)
    written = _stable(skops.io.dumps(pipeline))
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(written)
    card = {
        "kind": kind,
        "about": _ABOUT[kind],
        "classes": [str(name) for name in pipeline.classes_],
        "texts": {name: list(labels).count(name) for name in sorted(set(labels))},
        "data_sha256": digest([[t, str(label)] for t, label in zip(texts, labels, strict=True)]),
        "seed": seed,
        "sha256": sha256(written),
        "versions": {name: version(name) for name in ("scikit-learn", "skops", "numpy", "scipy")},
    }
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    target.with_suffix(".json").write_text(text, encoding="utf-8")
    return target


def _tfidf(seed: int) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)),
        # Balanced, because the classifier's page reports balanced accuracy. C = 10 weakens the
        # regularisation, which on unit-length rows leaves probabilities close to uniform at C = 1.
        LogisticRegression(C=10.0, class_weight="balanced", max_iter=2000, random_state=seed),
    )


def _length(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        _word_count(),
        StandardScaler(with_mean=False),
        LogisticRegression(class_weight="balanced", max_iter=2000, random_state=seed),
    )


def _majority(seed: int) -> Any:
    from sklearn.dummy import DummyClassifier
    from sklearn.pipeline import make_pipeline

    return make_pipeline(_word_count(), DummyClassifier(strategy="prior", random_state=seed))


def _word_count() -> Any:
    """All words hashed into one bucket: a count of words that skops can store without trust."""
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(n_features=1, norm=None, alternate_sign=False)


_KINDS: dict[str, Callable[[int], Any]] = {
    "tfidf": _tfidf,
    "length": _length,
    "majority": _majority,
}
_ABOUT = {
    "tfidf": "TF-IDF of words and pairs of words with balanced logistic regression",
    "length": "baseline: logistic regression on the number of words",
    "majority": "baseline: the shares of the labels in the training texts",
}


def _load(data: bytes, path: str, trusted: Sequence[str]) -> Any:
    import skops.io

    try:
        untrusted = sorted(set(skops.io.get_untrusted_types(data=data)) - set(trusted))
        if not untrusted:
            return skops.io.loads(data, trusted=list(trusted))
    except Exception as error:  # what skops raises on a damaged or foreign file is not documented
        raise HarnessError(f"{path} is no readable skops file: {error}") from error
    raise HarnessError(
        f"{path} holds types that are not trusted: {', '.join(untrusted)}; look at them and list "
        "them as 'trusted' in the suite if they may run"
    )


def _stable(data: bytes) -> bytes:
    """The same archive without clock times and memory addresses, which differ at each write."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    schema = contents.pop("schema.json").decode()
    pattern = re.compile(r'("__id__": |"file": ")([0-9]+)')
    numbers: dict[str, str] = {}
    for match in pattern.finditer(schema):
        numbers.setdefault(match[2], str(len(numbers) + 1))
    schema = pattern.sub(lambda match: match[1] + numbers[match[2]], schema)
    contents = {re.sub("^[0-9]+", lambda m: numbers[m[0]], k): v for k, v in contents.items()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted({**contents, "schema.json": schema.encode()}.items()):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
