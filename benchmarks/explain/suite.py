"""What a suite of methods and metrics costs, against a straight loop over Captum and definitions.

    OMP_NUM_THREADS=1 python benchmarks/explain/suite.py [--model distilbert] [--side loop]

The suite: kernel SHAP, LIME, leave-one-out, integrated gradients (50 nodes) and input x gradient on
32 texts of 10 to 200 words (the first words of NIH answers, lengths in equal ratios), each with
deletion, insertion, comprehensiveness, sufficiency, infidelity, sensitivity-n, tau-LOO and
monotonicity at their default settings. Unit word, removal mask, output logit of the predicted
class; kernel SHAP and LIME have max(100, 4 x words) evaluations on both sides.

The loop takes text by text: Captum's attribution, then each metric as it is defined, asking the
network for the sets it needs in batches of one length. Captum is given as many perturbations a
batch as the loop and we have, 4,096 tokens; nothing is padded on either side. The output with all
words and with none is asked for once a text. The networks have random weights and are made on the
spot. CPU time is the process's own; the share of an engine is what is outside forward and backward.

Values of methods that draw nothing, and metrics of theirs that draw nothing, are compared, so that
both sides are known to do the same work. The bar is a third of the loop's CPU time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import torch
import transformers
from captum._utils.models.linear_model import SkLearnRidge
from numpy.typing import NDArray
from scipy.stats import kendalltau

from harness.classifiers.huggingface import HuggingFace
from harness.explainers.metrics.evaluate import FAITHFULNESS, evaluate
from harness.explainers.models.choose import model_of
from harness.explainers.models.reading import Removal
from harness.explainers.units.text import Word
from harness.records import Part, Sample

hf: Any = transformers
METHODS = (
    "kernel_shap", "lime", "leave_one_out", "integrated_gradients", "input_x_gradient",
)  # fmt: skip
EXACT = ("leave_one_out", "integrated_gradients", "input_x_gradient")
DRAWN = ("infidelity", "sensitivity_n")
NODES = 50
BATCH = 4096  # tokens
STEPS, SHARES = 20, (0.01, 0.05, 0.1, 0.2, 0.5)
DRAW_SHARES, DRAWS = (0.1, 0.3, 0.5, 0.7, 0.9), 20
Floats = NDArray[np.float64]
Sets = NDArray[np.bool_]
Found = dict[tuple[str, str], Any]


# --- texts and networks -----------------------------------------------------------------------


def read_texts(data: Path, count: int, shortest: int, longest: int) -> list[str]:
    """The first words of answers, one text an answer."""
    lengths = np.geomspace(shortest, longest, count).round().astype(int)
    lines = (data / "nih_qa" / "nih_qa.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    words = iter(several for several in map(str.split, answers) if len(several) >= longest)
    return [" ".join(next(words)[:length]) for length in lengths]


def make_checkpoint(kind: str, texts: Sequence[str], folder: Path) -> None:
    """A network with random weights that tell texts apart, and a tokenizer of their words."""
    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    tokenizer = hf.BertTokenizer(vocab={piece: place for place, piece in enumerate(pieces)})
    torch.manual_seed(0)
    if kind == "bert":
        config = hf.BertConfig(
            vocab_size=len(pieces), hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
            intermediate_size=1024, num_labels=3, initializer_range=0.1,
        )  # fmt: skip
        network = hf.BertForSequenceClassification(config)
    else:
        config = hf.DistilBertConfig(vocab_size=len(pieces), num_labels=3, initializer_range=0.05)
        network = hf.DistilBertForSequenceClassification(config)
    network.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


# --- what it costs ----------------------------------------------------------------------------


@dataclass
class Cost:
    """CPU and wall seconds, CPU seconds inside the network, rows and tokens that went through."""

    cpu: float = 0.0
    wall: float = 0.0
    network: float = 0.0
    forward_rows: int = 0
    forward_tokens: int = 0
    backward_rows: int = 0

    def __str__(self) -> str:
        return (
            f"{self.cpu:8.1f} {self.wall:8.1f} {self.forward_rows:9,} {self.forward_tokens:11,} "
            f"{self.backward_rows:9,} {self.cpu - self.network:8.1f} "
            f"({1 - self.network / self.cpu:.1%})"
        )


@contextmanager
def measured(network: Any) -> Iterator[Cost]:
    """Measures what is done inside the block."""
    cost, begun = Cost(), [0.0]
    differentiate = torch.autograd.grad

    def before(_module: Any, _given: Any, named: Any) -> None:
        cost.forward_rows += len(named["input_ids"])
        cost.forward_tokens += named["input_ids"].numel()
        begun[0] = time.process_time()

    def after(_module: Any, _given: Any, named: Any, _found: Any) -> None:
        cost.network += time.process_time() - begun[0]
        if torch.is_grad_enabled():
            cost.backward_rows += len(named["input_ids"])

    def backward(*given: Any, **named: Any) -> Any:
        start = time.process_time()
        found = differentiate(*given, **named)
        cost.network += time.process_time() - start
        return found

    handles = [
        network.register_forward_pre_hook(before, with_kwargs=True),
        network.register_forward_hook(after, with_kwargs=True),
    ]
    torch.autograd.grad = backward
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        yield cost
    finally:
        cost.cpu, cost.wall = time.process_time() - cpu, time.perf_counter() - wall
        torch.autograd.grad = differentiate
        for handle in handles:
            handle.remove()


# --- the straight loop ------------------------------------------------------------------------


class Loop:
    """Captum's attributions and the metrics' definitions, for one text at a time."""

    def __init__(self, network: Any, ids: Sequence[int], owner: Any, mask: int) -> None:
        """`ids` with a special token at both ends, `owner` the word of each of the others."""
        self.network, self.mask = network, mask
        self.ends = ids[0], ids[-1]
        self.ids = torch.tensor(ids[1:-1])[None]
        self.owner = torch.as_tensor(owner[1:-1])[None]
        self.words = int(self.owner.max()) + 1
        self.rows = max(1, BATCH // len(ids))
        self.budget = max(100, 4 * self.words)
        self.rng = np.random.default_rng(0)
        both = self._logits(self._ids(np.array([[True] * self.words, [False] * self.words])))
        self.target = int(both[0].argmax())
        self.full, self.empty = both[:, self.target].tolist()
        self.scale = max(abs(self.full - self.empty), 0.01 * float(both.max() - both.min())) or 1.0

    def forward(self, ids: Any) -> Any:
        """Logits of ids without the special tokens, which are put around them."""
        first, last = (torch.full((len(ids), 1), end) for end in self.ends)
        whole = torch.cat([first, ids, last], dim=1)
        return self.network(input_ids=whole, attention_mask=torch.ones_like(whole)).logits

    def _ids(self, sets: Sets) -> Any:
        kept = torch.from_numpy(sets)[:, self.owner[0]]
        return torch.where(kept, self.ids, self.mask)

    def _logits(self, ids: Any) -> Floats:
        with torch.no_grad():
            several = [self.forward(batch) for batch in ids.split(self.rows)]
        found: Floats = torch.cat(several).double().numpy()
        return found

    def outputs(self, sets: Sets) -> Floats:
        """The target's logit with only these words kept, in batches."""
        return self._logits(self._ids(sets))[:, self.target]

    # Attributions ---------------------------------------------------------------------------

    def attribution(self, method: str) -> Floats:
        """One value a word."""
        found: Floats = getattr(self, method)().astype(np.float64)
        return found

    def _perturbing(self, method: Any, **more: Any) -> Floats:
        said = method.attribute(
            self.ids, baselines=self.mask, target=self.target, feature_mask=self.owner,
            perturbations_per_eval=self.rows, **more,
        )  # fmt: skip
        values = np.zeros(self.words)
        values[self.owner[0].numpy()] = said[0].detach().numpy()
        return values

    def kernel_shap(self) -> Floats:
        torch.manual_seed(0)
        return self._perturbing(captum.attr.KernelShap(self.forward), n_samples=self.budget)

    def lime(self) -> Floats:
        torch.manual_seed(0)
        method = captum.attr.Lime(self.forward, SkLearnRidge(alpha=1e-3), _similarity)
        return self._perturbing(method, n_samples=self.budget)

    def leave_one_out(self) -> Floats:
        return self._perturbing(captum.attr.FeatureAblation(self.forward))

    def integrated_gradients(self) -> Floats:
        method = captum.attr.LayerIntegratedGradients(self.forward, self._embeddings())
        return self._summed(
            method.attribute(
                self.ids, torch.full_like(self.ids, self.mask), self.target, n_steps=NODES,
                method="gausslegendre", internal_batch_size=self.rows,
            )
        )  # fmt: skip

    def input_x_gradient(self) -> Floats:
        method = captum.attr.LayerGradientXActivation(self.forward, self._embeddings())
        return self._summed(method.attribute(self.ids, self.target))

    def _embeddings(self) -> Any:
        return self.network.get_input_embeddings()

    def _summed(self, said: Any) -> Floats:
        tokens = said[0, 1:-1].sum(dim=-1).detach().double().numpy()
        return np.bincount(self.owner[0].numpy(), tokens, self.words)

    # Metrics --------------------------------------------------------------------------------

    def metric(self, name: str, values: Floats) -> float:
        """By its definition."""
        found: Callable[[Floats], float] = getattr(self, name)
        return float(found(values))

    def _top(self, values: Floats, counts: Any) -> Sets:
        ranks = np.empty(self.words, dtype=int)
        ranks[np.argsort(-values, kind="stable")] = np.arange(self.words)
        top: Sets = ranks[None] < np.asarray(counts)[:, None]
        return top

    def _counts(self) -> Any:
        steps = min(STEPS, self.words)
        return np.round(np.arange(steps + 1) * self.words / steps).astype(int)

    def _area(self, sets: Sets) -> float:
        heights = (self.outputs(sets) - self.empty) / self.scale
        return float(np.trapezoid(heights, self._counts() / self.words))

    def deletion(self, values: Floats) -> float:
        return self._area(~self._top(values, self._counts()))

    def insertion(self, values: Floats) -> float:
        return self._area(self._top(values, self._counts()))

    def _rationales(self, values: Floats) -> Sets:
        return self._top(values, np.ceil(np.array(SHARES) * self.words - 1e-9).astype(int))

    def comprehensiveness(self, values: Floats) -> float:
        return float((self.full - self.outputs(~self._rationales(values))).mean() / self.scale)

    def sufficiency(self, values: Floats) -> float:
        return float((self.full - self.outputs(self._rationales(values))).mean() / self.scale)

    def _drawn(self) -> list[Sets]:
        sizes = np.round(np.array(DRAW_SHARES) * self.words).astype(int).clip(1, self.words - 1)
        found = []
        for size in np.unique(sizes):
            order = self.rng.random((DRAWS, self.words)).argsort(axis=1)
            found.append(order < size)
        return found

    def infidelity(self, values: Floats) -> float:
        removed = np.concatenate(self._drawn())
        falls, said = self.full - self.outputs(~removed), removed @ values
        factor = said @ falls / (said @ said) if said.any() else 0.0
        return float(((factor * said - falls) ** 2).mean() / (falls**2).mean())

    def sensitivity_n(self, values: Floats) -> float:
        drawn = self._drawn()
        falls = self.full - self.outputs(~np.concatenate(drawn))
        each = zip(drawn, np.split(falls, len(drawn)), strict=True)
        return float(np.mean([np.corrcoef(sets @ values, fall)[0, 1] for sets, fall in each]))

    def tau_loo(self, values: Floats) -> float:
        falls = self.full - self.outputs(~np.eye(self.words, dtype=bool))
        return float(kendalltau(values, falls).statistic)

    def monotonicity(self, values: Floats) -> float:
        added = ~self._top(values, self._counts()[::-1])
        moved, said = np.diff(self.outputs(added)), np.diff(added @ values)
        return float((np.sign(said) * moved >= -1e-6 * max(abs(self.full), self.scale)).mean())


def _similarity(_original: Any, _perturbed: Any, kept: Any, **_: Any) -> Any:
    """The weight of our LIME: cosine distance to all words, width 0.25."""
    distance = 1 - torch.sqrt(kept.float().mean())
    return torch.exp(-((distance / 0.25) ** 2))


def loop(network: Any, model: Any, samples: Sequence[Sample]) -> tuple[Found, Found]:
    """Values and metrics by method, sample and metric."""
    from harness.explainers.division import divide

    values: Found = {}
    metrics: Found = {}
    for sample in samples:
        reading = model.read(sample, Removal())
        owner = divide(reading, [Word()], "word").unit_of
        one = Loop(network, reading.ids.tolist(), owner, reading.replacement)
        for method in METHODS:
            values[method, sample.id] = one.attribution(method)
            for name in FAITHFULNESS:
                said = one.metric(name, values[method, sample.id])
                metrics[f"{method}/{name}", sample.id] = said
    return values, metrics


def ours(classifier: Any, samples: Sequence[Sample]) -> tuple[Found, Found]:
    """The same from one call."""
    evaluation = evaluate(
        classifier, samples, list(METHODS), "word", metrics=list(FAITHFULNESS), references=(),
        batch_tokens=BATCH,
        settings={"integrated_gradients": {"steps": NODES, "nodes": "gauss_legendre"}},
    )  # fmt: skip
    values: Found = {
        (one.method, one.sample): np.array(one.values, dtype=np.float64)
        for one in evaluation.explanation
    }
    return values, {
        (f"{one.method}/{one.metric}", one.sample): one.value for one in evaluation.measurements
    }


# --- the comparison ---------------------------------------------------------------------------


def apart(a: tuple[Found, Found], b: tuple[Found, Found]) -> tuple[float, float, int]:
    """The largest difference between values over the largest value of the text, the largest between
    metrics, where nothing is drawn, and how many metrics are more than 1e-3 apart."""
    value = max(
        float(np.abs(a[0][key] - b[0][key]).max() / np.abs(b[0][key]).max())
        for key in b[0]
        if key[0] in EXACT
    )
    several = [
        abs(a[1][key] - b[1][key])
        for key in b[1]
        if key[0].split("/")[0] in EXACT and key[0].split("/")[1] not in DRAWN
    ]
    return value, max(several), sum(one > 1e-3 for one in several)


def main() -> None:
    """Print what both cost."""
    data = Path(os.environ.get("HARNESS_DATA") or Path(__file__).parents[3] / "shared" / "data")
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", choices=("bert", "distilbert"), default="bert")
    parser.add_argument("--side", choices=("both", "ours", "loop"), default="both")
    parser.add_argument("--texts", type=int, default=32)
    parser.add_argument("--words", type=int, nargs=2, default=(10, 200), metavar=("FROM", "TO"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--profile", type=Path, help="write a cProfile of our side there")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
    texts = read_texts(arguments.data, arguments.texts, *arguments.words)
    samples = [Sample(f"s{place}", (Part(text),)) for place, text in enumerate(texts)]
    with tempfile.TemporaryDirectory() as folder:
        make_checkpoint(arguments.model, texts, Path(folder))
        classifier = HuggingFace(folder, batch_tokens=BATCH)
        model = model_of(classifier, samples)
        ours(classifier, samples[:1])
        loop(classifier.module, model, samples[:1])  # both: imports, and memory that is kept
        compare(classifier, model, samples, arguments)


def compare(classifier: Any, model: Any, samples: Sequence[Sample], arguments: Any) -> None:
    """Measures one side or both."""
    print(
        f"{arguments.model}, {len(samples)} texts, {len(METHODS)} methods x {len(FAITHFULNESS)} "
        f"metrics, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    )
    head = ("CPU s", "wall s", "rows", "tokens", "with grad", "outside the network, CPU s")
    print(f"{'':6}{head[0]:>8} {head[1]:>8} {head[2]:>9} {head[3]:>11} {head[4]:>9} {head[5]}")
    results, costs = {}, {}
    sides: dict[str, Callable[[], tuple[Found, Found]]] = {
        "ours": lambda: _profiled(lambda: ours(classifier, samples), arguments.profile),
        "loop": lambda: loop(classifier.module, model, samples),
    }
    for side, run in sides.items():
        if arguments.side in ("both", side):
            with measured(classifier.module) as costs[side]:
                results[side] = run()
            print(f"{side:6}{costs[side]}", flush=True)
    if len(costs) == 2:
        a, b = costs["ours"], costs["loop"]
        print(
            f"ratio {a.cpu / b.cpu:8.3f} {a.wall / b.wall:8.3f} "
            f"{a.forward_rows / b.forward_rows:9.3f} {a.forward_tokens / b.forward_tokens:11.3f} "
            f"{a.backward_rows / b.backward_rows:9.3f}"
        )
        value, metric, count = apart(results["ours"], results["loop"])
        print(
            f"where nothing is drawn: values {value:.1e} of the largest apart, metrics {metric:.1e}"
            f" ({count} of them over 1e-3)"
        )


def _profiled(run: Callable[[], Any], path: Path | None) -> Any:
    if path is None:
        return run()
    import cProfile

    profile = cProfile.Profile()
    found = profile.runcall(run)
    profile.dump_stats(path)
    return found


if __name__ == "__main__":
    main()
