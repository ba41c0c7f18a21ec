"""Embeddings reached by a hook, with the token ids as they are.

Giving a model `inputs_embeds` instead of ids is no substitute: classifiers that answer from the
last token that is no padding look for it in the ids, and answer from another one without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.records import HarnessError

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def embedded(module: Any, points: Tensor, table: Any = None) -> Iterator[None]:
    """Within the block, the embedding table says `points` (rows x tokens x width).

    `table` is the embedding module, that of the token ids unless given. Raises `HarnessError` where
    the model did not use it, or not once.
    """
    table = module.get_input_embeddings() if table is None else table
    calls = 0

    def replace(_: Any, __: Any, found: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if found.shape != points.shape:
            # Longformer pads the text, T5 and BART embed another one for the decoder, XLNet has
            # rows and tokens the other way round.
            raise HarnessError(
                f"{type(module).__name__} embeds other tokens than the text's, or in another order "
                f"({_by(found)} numbers for {_by(points)}), so its gradients by them cannot be "
                "had; use a perturbation method, such as kernel_shap"
            )
        return points.to(found)

    # First of all hooks, so that others see what the network goes on with.
    hook = table.register_forward_hook(replace, prepend=True)
    try:
        yield
    finally:
        hook.remove()
    if calls != 1:
        raise HarnessError(
            f"{type(module).__name__} used its embeddings {calls} times in one pass, so its "
            "gradients by them cannot be had; use a perturbation method, such as kernel_shap"
        )


def _by(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
