"""The page for people who come from Captum or Interpreto: each line of ours runs, and no name of
theirs is left out."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import captum.attr
import captum.concept
import captum.influence
import captum.metrics
import captum.robust
import numpy as np
import pytest
import torch
from docs_pages import CHECKOUT, blocks

from harness import plugins
from harness.classifiers.huggingface import HuggingFace
from harness.explainers.explanation import Explanation
from harness.explainers.models.generation import LanguageModel

sys.path += [str(CHECKOUT / "tests" / name) for name in ("classifiers", "explainers")]
from classification_checkpoints import TEXTS, make
from test_generation import network

PAGE = CHECKOUT / "docs" / "how-to" / "coming-from-captum-or-interpreto.md"
PARTS = [part.partition("\n") for part in PAGE.read_text("utf-8").split("\n## ")[1:]]
AREAS = {name: text for name, _, text in PARTS}
TABLES = [name for name, text in AREAS.items() if "\n| --- |" in text]
NEEDS = {"Concepts": "harness.explainers.concepts", "Lenses": "harness.explainers.lenses"}

# The public names of interpreto 0.5.2: of the package and of those that its documentation names.
INTERPRETO = """
GradientShap IntegratedGradients KernelShap Lime Occlusion Saliency SmoothGrad Sobol SquareGrad VarGrad
Granularity GranularityAggregationStrategy InferenceModes AttributionOutput Insertion Deletion
AllLayersSplitter ModelWithSplitPoints SplitterForClassification SplitterForGeneration
LogitLens TunedLens AttributionVisualization plot_attributions plot_concepts plot_lens get_version
BatchTopKSAEConcepts Cockatiel ConceptAutoEncoderExplainer ConceptEncoderExplainer ConvexNMFConcepts
CosineCentroidProbe DiagonalMahalanobisCentroidProbe DictionaryLearningConcepts DotProductCentroidProbe
ICAConcepts JumpReLUSAEConcepts KMeansConcepts LLMLabels LinearRegressionProbe LinearSVMProbe
LogisticRegressionProbe MeansDiffProbe MpSAEConcepts NeuronsAsConcepts NMFConcepts PCAConcepts ProbeExplainer
SAELossClasses SemiNMFConcepts SparsePCAConcepts SqL2CentroidProbe SVDConcepts SVDDCentroidProbe TopKInputs
TopKSAEConcepts VanillaSAEConcepts MSELoss DeadNeuronsReanimationLoss DictionaryLearningExplainer
SkLearnWrapperExplainer Standardization Whitening bce_bias fpr_bias lda_shared_var_bias midpoint_bias
prevalence_bias extract_ngrams ConceptMatchingAlgorithm ConSim Stability ReconstructionError MSE FID
ReconstructionSpaces Sparsity SparsityRatio LLMInterface OpenAILLM BaseSplitter SAEExplainer DistanceFunctions
Perturbator EmbeddingsPerturbator IdsPerturbator GaussianNoisePerturbator GradientShapPerturbator
LinearInterpolationPerturbator OcclusionPerturbator RandomMaskedTokenPerturbator ShapTokenPerturbator
SobolTokenPerturbator InsertionPerturbator DeletionPerturbator
"""
NAMES = {
    "captum.attr": captum.attr.__all__,
    "captum.metrics": captum.metrics.__all__,
    "captum.concept": captum.concept.__all__,
    "captum.influence": captum.influence.__all__,
    "captum.robust": captum.robust.__all__,
    "interpreto": re.findall(r"\w+", INTERPRETO),
}


def rows(area: str) -> Iterator[tuple[str, str]]:
    """What they call, and what we do, of each row of an area's table."""
    for line in AREAS[area].splitlines():
        cells = line.strip().strip("|").split(" | ")
        if line.startswith("| ") and cells[0].strip() not in ("there", "---"):
            assert len(cells) == 3, line
            yield cells[0].strip(), cells[1].strip()


def code_of(cell: str) -> str | None:
    """The line to be run; `None` where the cell says why there is none."""
    found = re.fullmatch(r"`([^`]+)`", cell)
    return found[1] if found else None


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts that this checkout declares, whatever an older installation does."""
    groups = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"][
        "entry-points"
    ]

    def registered(kind: str) -> dict[str, EntryPoint]:
        group = f"harness.{kind}"
        return {name: EntryPoint(name, value, group) for name, value in groups[group].items()}

    monkeypatch.setattr(plugins, "registered", registered)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make("bert", tmp_path_factory.mktemp("bert"))[0]


def judge(texts: list[str]) -> list[list[float]]:
    shares = [0.1 + 0.3 * ("pain" in text) + 0.4 * ("evening" in text) for text in texts]
    return [[1 - share, share] for share in shares]


def look(images: list[Any]) -> list[list[float]]:
    shares = [float(image[..., 0].mean()) / 255 for image in images]
    return [[1 - share, share] for share in shares]


class Cnn(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU()
        self.head = torch.nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.conv(images)).mean(dim=(2, 3)))


class TokenNet(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb, self.head = torch.nn.Embedding(9, 5), torch.nn.Linear(5, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.emb(ids)).mean(dim=1))


@pytest.fixture
def names(folder: Path, tmp_path: Path) -> dict[str, Any]:
    """What the lines of the page speak of."""
    torch.manual_seed(3)
    module, tokenizer = network("llama")
    draws = np.random.default_rng(5)
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU(), torch.nn.Linear(8, 8, bias=False),
        torch.nn.ReLU(), torch.nn.Linear(8, 3, bias=False),
    )  # fmt: skip
    for part in net:  # so that no row of ReLU is dead at the sample
        if isinstance(part, torch.nn.Linear):
            torch.nn.init.normal_(part.weight, 0.2, 0.5)
    return {
        "net": net,
        "x": torch.rand(3, 4) + 0.5,
        "cnn": Cnn(),
        "image": torch.rand(1, 3, 8, 8),
        "token_net": TokenNet(),
        "ids": torch.tensor([[1, 2, 3], [4, 5, 6]]),
        "judge": judge,
        "texts": [TEXTS[0], TEXTS[8], TEXTS[4]],
        "look": look,
        "picture": draws.integers(0, 256, (8, 12, 3), dtype=np.uint8),
        "regions": np.repeat([[0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]], 8, axis=0),
        "folder": str(folder),
        "classifier": HuggingFace(str(folder)),
        "lm": LanguageModel(module, tokenizer, max_new_tokens=3),
        "prompt": "the scan shows no lesion",
        "out": tmp_path,
    }


def run(line: str, names: dict[str, Any]) -> Any:
    """The statements of a line; what the last of them says, where it is an expression."""
    *statements, last = ast.parse(line).body
    exec(compile(ast.Module(statements, []), line, "exec"), names)
    if not isinstance(last, ast.Expr):
        exec(compile(ast.Module([last], []), line, "exec"), names)
        return names
    return eval(compile(ast.Expression(last.value), line, "eval"), names)


@pytest.mark.parametrize("area", TABLES)
@pytest.mark.usefixtures("declared")
def test_every_line_of_ours_runs(area: str, names: dict[str, Any]) -> None:
    if area in NEEDS and importlib.util.find_spec(NEEDS[area]) is None:
        pytest.skip(f"{NEEDS[area]} is not there")
    (imports,) = [block for block in blocks(PAGE) if block.mark == "file names.py"]
    exec(imports.text, names)
    if area in NEEDS:
        own = [b for b in blocks(PAGE) if b.mark == f"file {area.lower()}.py"]
        exec(own[0].text, names)
    failures, ran = [], 0
    for theirs, ours in rows(area):
        line = code_of(ours)
        if line is None:
            continue
        try:
            found = run(line, names)
        except Exception as error:
            failures.append(f"{theirs}\n  {line}\n  {type(error).__name__}: {error}")
            continue
        ran += 1
        if isinstance(found, Explanation):
            numbers = [value for one in found for value in one.values if value is not None]
            if not numbers or not np.isfinite(numbers).all():
                failures.append(f"{theirs}\n  {line}\n  gave {numbers}")
    assert not failures, "\n\n".join(failures)
    assert ran > 2


def line_of(theirs: str) -> str:
    """Our line in the row that begins so."""
    every = [row for area in TABLES for row in rows(area) if row[0].startswith(theirs)]
    found = code_of(every[0][1])
    assert found is not None
    return found


def values(explanation: Any) -> np.ndarray[Any, Any]:
    return np.array([one.values for one in explanation], dtype=float)


@pytest.mark.usefixtures("declared")
def test_lines_that_stand_for_captums_calls_have_their_numbers(names: dict[str, Any]) -> None:
    (imports,) = [block for block in blocks(PAGE) if block.mark == "file names.py"]
    exec(imports.text, names)
    net, x, cnn, image = (names[name] for name in ("net", "x", "cnn", "image"))
    zero, top = torch.zeros_like(x), net(x).argmax(dim=1)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(7))
    api = captum.attr
    wanted = {
        "`IntegratedGradients`, `n_steps=50": api.IntegratedGradients(net).attribute(x, zero, top),
        "`Saliency`": api.Saliency(net).attribute(x.clone().requires_grad_(), top),
        "Captum `InputXGradient`": api.InputXGradient(net).attribute(
            x.clone().requires_grad_(), top
        ),
        "Captum `DeepLift`": api.DeepLift(net).attribute(x, zero, top),
        "Captum `LRP`": api.LRP(net).attribute(x, 1),
        "Captum `FeatureAblation`": api.FeatureAblation(net).attribute(x, zero, top),
        "Captum `ShapleyValues`": api.ShapleyValues(net).attribute(x, zero, top),
        "Captum `LayerDeepLift`": api.LayerDeepLift(net, net[1]).attribute(x, zero, top),
        "Captum `LayerLRP`": api.LayerLRP(net, net[0]).attribute(x, 1),
        "Captum `LayerFeatureAblation`": api.LayerFeatureAblation(net, net[1]).attribute(
            x, target=top
        ),
        "Captum `NeuronGuidedBackprop`": torch.cat([
            api.NeuronGuidedBackprop(net, net[2]).attribute(x, 5)[:, None],
            api.NeuronDeconvolution(net, net[2]).attribute(x, 5)[:, None],
        ], 1).flatten(0, 1),
        "Captum `NeuronConductance`": api.NeuronConductance(net, net[1]).attribute(
            x, 5, zero, top, method="gausslegendre"
        ),
        "Captum `GuidedGradCam`": api.GuidedGradCam(cnn, cnn.act)
        .attribute(image, int(cnn(image).argmax()))
        .sum(dim=1)
        .flatten(),
        "Captum `FeaturePermutation`": api.FeaturePermutation(
            net, lambda given, mask: torch.where(mask, given[order], given)
        ).attribute(x, top),
    }  # fmt: skip
    names["torch"] = SimpleNamespace(**{**vars(torch), "randperm": lambda _: order})
    for theirs, numbers in wanted.items():
        found = run(line_of(theirs), names)
        found = values(found) if isinstance(found, Explanation) else found
        np.testing.assert_allclose(
            np.ravel(found), numbers.detach().numpy().ravel(), atol=1e-5, err_msg=theirs
        )


@pytest.mark.parametrize("area", TABLES)
def test_a_row_has_a_line_or_says_why_there_is_none(area: str) -> None:
    for theirs, ours in rows(area):
        assert code_of(ours) or ours.startswith(("Not here, because ", "In a suite, ")), theirs


def test_the_page_explains_exactly_the_names_that_its_lines_have(names: dict[str, Any]) -> None:
    told = PAGE.read_text("utf-8").partition("The lines speak of")[2].partition("<!--")[0]
    listed = [re.findall(r"`(\w+)`", line.partition(":")[0]) for line in told.split("\n- ")[1:]]
    assert sorted(itertools.chain(*listed)) == sorted(names)


@pytest.mark.parametrize("package", NAMES)
def test_no_public_name_of_theirs_is_left_out(package: str) -> None:
    words = set(re.findall(r"\w+", PAGE.read_text("utf-8")))
    assert sorted(set(NAMES[package]) - words) == []
