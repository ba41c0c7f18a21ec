"""Kernel SHAP on the texts by ours or by Captum: prints the process's peak in KiB.

python memory.py ours|captum CHECKPOINT EVALUATIONS TOKENS THREADS
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import checkpoints

who, checkpoint = sys.argv[1], Path(sys.argv[2])
evaluations, tokens, threads = map(int, sys.argv[3:])

import torch  # noqa: E402  after the arguments are known to be right

torch.set_num_threads(threads)
if who == "ours":
    import harness
    from harness.classifiers.huggingface import HuggingFace

    classifier = HuggingFace(str(checkpoint))
    for text in (checkpoints.texts()[0], checkpoints.texts()[-1]):
        budget = max(evaluations, len(text.split()) + 2)
        harness.explain(classifier, [text], "kernel_shap", budget=budget, batch_tokens=tokens)
else:
    import transformers
    from captum.attr import KernelShap

    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)

    def logits(ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            found: torch.Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        return found

    for text in (checkpoints.texts()[0], checkpoints.texts()[-1]):
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        masked = ids.clone()
        masked[:, 1:-1] = tokenizer.mask_token_id
        KernelShap(logits).attribute(
            ids, masked, target=0, n_samples=max(evaluations, len(text.split()) + 2),
            perturbations_per_eval=max(1, tokens // ids.shape[1]),
        )  # fmt: skip
# Not getrusage, whose peak a process inherits from the one that started it.
peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
print(json.dumps({"peak": int(peak[1]) if peak else 0}))
