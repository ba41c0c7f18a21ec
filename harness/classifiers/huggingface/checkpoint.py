"""The reading of a classification checkpoint: what it classifies, its network, its classes.

The configuration decides what is read and how the classes are called; the weights decide how many
outputs there are. Errors begin with the classifier's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from harness.backends.checkpoint import Checkpoint, said
from harness.classifiers.distribution import check_classes, same_classes
from harness.records import HarnessError


def read_config(checkpoint: Checkpoint, multi_label: bool, name: str) -> Any:
    """The configuration, whose `id2label` has whole numbers for keys, in any order.

    Raises `HarnessError` where it was not trained to classify, or not in the way that is asked for.
    """
    config = checkpoint.config
    first = min(config.id2label, default=0)
    if first < 0:
        raise HarnessError(f"the configuration of {name} names an output {first} in id2label")
    if config.problem_type == "regression":
        raise HarnessError(f"{name} was trained for regression: it says a number and no class")
    if config.problem_type == "multi_label_classification" and not (
        multi_label or len(config.id2label) == 1
    ):
        raise HarnessError(
            f"{name} was trained to give several labels at once, so its outputs are no "
            "distribution; set multi_label: true to have each by itself"
        )
    return config


def reads_what(config: Any, name: str) -> Literal["text", "image"]:
    """What a checkpoint classifies, by its architecture; without one, by its model type."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as IMAGE_TYPES,
    )
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as TEXT_TYPES,
    )

    architecture = (config.architectures or [""])[0]
    text = "ForSequenceClassification" in architecture
    image = "ForImageClassification" in architecture
    if not architecture:
        text, image = config.model_type in TEXT_TYPES, config.model_type in IMAGE_TYPES
    if text == image:
        raise HarnessError(
            f"{name} is a {architecture or config.model_type}, which is no sequence or image "
            "classifier; name a checkpoint that was trained to classify"
        )
    return "text" if text else "image"


def load_network(
    checkpoint: Checkpoint, config: Any, reads: str, dtype: Any, name: str
) -> tuple[Any, tuple[str, ...], list[str]]:
    """The network in evaluation mode, the names of its outputs, and what is to be noted.

    `id2label` may leave outputs without a name, between its names or behind them: the weights
    tell how many outputs there are.
    """
    named = dict(config.id2label)
    outputs = max(named, default=0) + 1
    network, loading = _loaded(checkpoint, config, reads, dtype, outputs, name)
    found = {
        there[0]
        for _, there, here in loading["mismatched_keys"]
        if there and here and here[0] == outputs and there[1:] == here[1:]
    }
    if len(found) == 1 and outputs < min(found):
        outputs = found.pop()
        network, loading = _loaded(checkpoint, config, reads, dtype, outputs, name)
    if loading["mismatched_keys"]:
        key, there, here = min(loading["mismatched_keys"], key=str)
        raise HarnessError(
            f"the weights of {name} do not fit its configuration, which names {outputs} outputs: "
            f"{key} has the shape {_shape(there)} instead of {_shape(here)}"
        )
    lacking, unused = sorted(loading["missing_keys"]), sorted(loading["unexpected_keys"])
    if lacking:
        raise HarnessError(
            f"the weights of {name} lack {len(lacking)} tensors of its architecture, {lacking[0]} "
            "among them; the predictions would be noise"
        )
    notes = []
    nameless = [f"LABEL_{number}" for number in range(outputs) if number not in named]
    if nameless and any(named[number] != f"LABEL_{number}" for number in named):
        notes.append(
            f"{name} has {outputs} outputs, of which its id2label names {len(named)}; the others "
            f"are called {', '.join(nameless)}"
        )
    if unused:
        notes.append(
            f"{name}: {len(unused)} tensors of the weights have no place in its architecture, "
            f"{unused[0]} among them"
        )
    if reads == "text" and config.get_text_config().pad_token_id is None:
        # GPT-like classifiers answer from the last token that is no padding and refuse a batch
        # without such a token. No batch here is padded, so none of its ids may count as padding.
        network.config.get_text_config().pad_token_id = -1
    names = tuple(str(named.get(number, f"LABEL_{number}")) for number in range(outputs))
    return network.eval(), names, notes


def _loaded(
    checkpoint: Checkpoint, config: Any, reads: str, dtype: Any, outputs: int, name: str
) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

    auto: Any = (
        AutoModelForSequenceClassification if reads == "text" else AutoModelForImageClassification
    )
    config.id2label = {number: f"LABEL_{number}" for number in range(outputs)}
    try:
        return auto.from_pretrained(  # type: ignore[no-any-return]
            checkpoint.folder,
            config=config,
            dtype=getattr(torch, dtype) if isinstance(dtype, str) else dtype,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # these are looked at by the caller
            output_loading_info=True,
        )
    except Exception as error:  # a cut-off file, an unknown architecture, a missing package
        raise HarnessError(f"{name} cannot be loaded: {said(error)}") from error


def name_classes(own: tuple[str, ...], given: Sequence[str] | None, name: str) -> tuple[str, ...]:
    """The names of the classes in the order of the outputs; of a single output, no and yes."""
    if len(own) == 1:
        if given is None or len(given) != 2:
            raise HarnessError(
                f"{name} has a single output; if it is the log-odds of the second of two classes, "
                "name both as 'classes'"
            )
        return check_classes(given, name)
    generic = own == tuple(f"LABEL_{number}" for number in range(len(own)))
    if given is None or not generic or set(given) == set(own):
        return same_classes(own, given, name)
    if len(given) != len(own):
        raise HarnessError(f"{name} has {len(own)} outputs, but {len(given)} classes are given")
    return check_classes(given, name)


def _shape(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
