"""What a suite of methods and metrics costs, against a straight loop over Captum and definitions.

    OMP_NUM_THREADS=1 python benchmarks/explain/suite.py [--model distilbert] [--side loop]
    OMP_NUM_THREADS=1 python benchmarks/explain/suite.py --evaluations 16 --share 0.3334

The suite: kernel SHAP, LIME, leave-one-out, integrated gradients (50 nodes) and input x gradient on
32 texts of 10 to 200 words (the first words of NIH answers, lengths in equal ratios), each with
deletion, insertion, comprehensiveness, sufficiency, infidelity, sensitivity-n, tau-LOO and
monotonicity at their default settings. Unit word, removal mask, output logit of the predicted
class; kernel SHAP and LIME have max(100, 4 x words) evaluations on both sides. `--evaluations` are
those of a word, `--share` the part of them that ours has: another benchmark here says at which part
kernel SHAP's error is Captum's.

The loop takes text by text: Captum's attribution, then each metric as it is defined, asking the
network for the sets it needs in batches of one length. Captum is given as many perturbations a
batch as the loop and we have, 1,024 tokens; nothing is padded on either side. The output with all
words and with none is asked for once a text. The networks have random weights and are made on the
spot: 4 layers of 256, or as large as DistilBERT; `tiny` counts rows and tokens quickly: the loop's
are those of any network, ours some 8 % too few, since methods agree more on it and share more. CPU
time is the process's own; what is outside the network is all that is not forward or backward.

Values of methods that draw nothing, and metrics of theirs that draw nothing, are compared, so that
both sides are known to do the same work.

The bar is a third of the loop's CPU time. At equal budgets it is missed: ours asked for .39 of the
rows and .45 of the tokens before LIME took half its sets from kernel SHAP's. Of the `tiny` network
it was .36 and .42, and is .30 and .35 since. What each asks for alone is most of what is left once
metrics share theirs, and integrated gradients cost both sides the same. At 16 evaluations a word
and a third of them for ours (`--evaluations 16 --share 0.3334`) it was .25 of the rows and .27 of
the tokens before LIME shared any. Batches of 4,096 tokens make it worse on a CPU (.53 of the time
at .46 of the tokens, 8 texts): the loop's are mostly smaller. What is outside the network is 1 to 4
% of our CPU time, so there is nothing to be won there. Texts of 10 to 20 words, where 100
evaluations are the least, take a quarter.
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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from straight_loop import BATCH, NODES, Loop

from harness.classifiers.huggingface import HuggingFace
from harness.explainers.attributions.integrated_gradients import IntegratedGradients
from harness.explainers.attributions.kernel_shap import KernelShap
from harness.explainers.attributions.lime import Lime
from harness.explainers.attributions.occlusion import LeaveOneOut
from harness.explainers.attributions.saliency import InputXGradient
from harness.explainers.division import divide
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
SIZES = {
    "bert": {
        "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
        "intermediate_size": 1024,
    },
    "tiny": {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1,
        "intermediate_size": 16,
    },
}  # fmt: skip
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
    if kind in SIZES:
        config = hf.BertConfig(
            vocab_size=len(pieces), **SIZES[kind], num_labels=3, initializer_range=0.1,
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


# --- both sides ------------------------------------------------------------------------------


def budget(words: int, evaluations: float, share: float = 1.0) -> int:
    """Sets of one text."""
    return max(words + 2, round(share * max(100, evaluations * words)))


def loop(
    network: Any, model: Any, samples: Sequence[Sample], evaluations: float
) -> tuple[Found, Found]:
    """Values and metrics by method, sample and metric."""
    values: Found = {}
    metrics: Found = {}
    for sample in samples:
        reading = model.read(sample, Removal())
        division = divide(reading, [Word()], "word")
        one = Loop(
            network, reading.ids.tolist(), division.unit_of, reading.replacement,
            budget(len(division.players), evaluations),
        )  # fmt: skip
        for method in METHODS:
            values[method, sample.id] = one.attribution(method)
            for name in FAITHFULNESS:
                said = one.metric(name, values[method, sample.id])
                metrics[f"{method}/{name}", sample.id] = said
    return values, metrics


def ours(
    classifier: Any, samples: Sequence[Sample], evaluations: float, share: float
) -> tuple[Found, Found]:
    """The same from one call."""
    methods: dict[str, Any] = {
        "kernel_shap": KernelShap(),
        "lime": Lime(),
        "leave_one_out": LeaveOneOut(),
        "integrated_gradients": IntegratedGradients(
            steps=NODES, nodes="gauss_legendre", incomplete=True
        ),
        "input_x_gradient": InputXGradient(),
    }
    for name in ("kernel_shap", "lime"):
        methods[name].budget = partial(budget, evaluations=evaluations, share=share)
    evaluation = evaluate(
        classifier, samples, methods, "word", metrics=list(FAITHFULNESS), references=(),
        batch_tokens=BATCH,
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
    parser.add_argument("--model", choices=(*SIZES, "distilbert"), default="bert")
    parser.add_argument("--side", choices=("both", "ours", "loop"), default="both")
    parser.add_argument("--texts", type=int, default=32)
    parser.add_argument("--words", type=int, nargs=2, default=(10, 200), metavar=("FROM", "TO"))
    parser.add_argument("--evaluations", type=float, default=4, help="of a word, and 100 at least")
    parser.add_argument("--share", type=float, default=1.0, help="of these, ours")
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
        ours(classifier, samples[:1], arguments.evaluations, arguments.share)
        loop(
            classifier.module, model, samples[:1], arguments.evaluations
        )  # both: imports, and memory that is kept
        compare(classifier, model, samples, arguments)


def compare(classifier: Any, model: Any, samples: Sequence[Sample], arguments: Any) -> None:
    """Measures one side or both."""
    print(
        f"{arguments.model}, {len(samples)} texts, {len(METHODS)} methods x {len(FAITHFULNESS)} "
        f"metrics, {arguments.evaluations:g} evaluations a word, ours {arguments.share:.2f} of it, "
        f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    )
    head = ("CPU s", "wall s", "rows", "tokens", "with grad", "outside the network, CPU s")
    print(f"{'':6}{head[0]:>8} {head[1]:>8} {head[2]:>9} {head[3]:>11} {head[4]:>9} {head[5]}")
    results, costs = {}, {}
    sides: dict[str, Callable[[], tuple[Found, Found]]] = {
        "ours": lambda: _profiled(
            lambda: ours(classifier, samples, arguments.evaluations, arguments.share),
            arguments.profile,
        ),
        "loop": lambda: loop(classifier.module, model, samples, arguments.evaluations),
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
