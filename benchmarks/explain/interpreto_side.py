"""What interpreto does, run by interpreto's own Python: `interpreto_side.py TASK FOLDER`.

FOLDER holds task.json (checkpoint, texts, settings) and gets answer.json: rows of the network's
forward passes, tokens and how many of them are padding, seconds, values by text, and the peak of
the process in KiB.
"""

import json
import re
import sys
import time
from pathlib import Path

import interpreto
import torch
from interpreto import Granularity
from interpreto.attributions import InferenceModes
from transformers import AutoModelForSequenceClassification, AutoTokenizer

task, folder = sys.argv[1], Path(sys.argv[2])
asked = json.loads((folder / "task.json").read_text())
torch.set_num_threads(asked["threads"])
torch.manual_seed(0)
model = AutoModelForSequenceClassification.from_pretrained(asked["checkpoint"])
tokenizer = AutoTokenizer.from_pretrained(asked["checkpoint"])
count = {"rows": 0, "tokens": 0, "padding": 0}


def counted(_, __, given):
    mask = given["attention_mask"]
    count["rows"] += mask.shape[0]
    count["tokens"] += mask.numel()
    count["padding"] += int((mask == 0).sum())


model.register_forward_pre_hook(counted, with_kwargs=True)
common = {
    "batch_size": asked["batch"],
    "granularity": Granularity.WORD,
    "inference_mode": InferenceModes.LOGITS,
}
explainers = {
    "sobol": lambda: interpreto.Sobol(
        model, tokenizer, sobol_indices_order=interpreto.Sobol.sobol_indices_orders.TOTAL_ORDER,
        n_token_perturbations=asked["amount"], **common,
    ),
    "kernel_shap": lambda: interpreto.KernelShap(
        model, tokenizer, n_perturbations=asked["amount"], **common
    ),
    "integrated_gradients": lambda: interpreto.IntegratedGradients(
        model, tokenizer, n_perturbations=asked["amount"], **common
    ),
}  # fmt: skip
explainer = explainers[task]()
start, values = time.process_time(), []
for text in asked["texts"]:
    (found,) = explainer(text, targets=torch.tensor([0]))
    values.append(found.attributions[0].tolist())
answer = {
    **count,
    "seconds": time.process_time() - start,
    "values": values,
    # Not getrusage, whose peak a process inherits from the one that started it.
    "peak": int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]),
}
(folder / "answer.json").write_text(json.dumps(answer))
