"""Attributions by what a named module of the network says: Grad-CAM, layers, single neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.attributions.modules import first_tensor, left_alone, named, network_of
from harness.explainers.gradients import Descended
from harness.explainers.inside import Inside
from harness.explainers.models.networks import refuse_underivable
from harness.explainers.models.reading import ArrayPart
from harness.explainers.targets import Neuron
from harness.records import HarnessError

if TYPE_CHECKING:
    from torch import Tensor


class GradCam:
    """Where in an image the channels of a layer speak for a target: values per pixel, none below 0.

    Channels of the layer's output are weighed by their mean gradient, summed, cut at 0, and
    enlarged bilinearly to the pixels. In units of output; they sum to nothing in particular.
    `layer` is the name of a module whose output is n x channels x height x width, or n x tokens x
    width with one token a patch, class token first or absent. Without it, the module that ends last
    of those with a grid of channels. One row.

    Source: Selvaraju, Cogswell, Das, Vedantam, Parikh and Batra 2017, "Grad-CAM: Visual
    Explanations from Deep Networks via Gradient-based Localization", equations 1 and 2. Raises
    `HarnessError` for what is no image, for a layer without such a grid, and for one on whose grid
    no target depends.
    """

    reduce = "sum"
    deterministic = True

    def __init__(self, layer: str | None = None) -> None:
        self.settings: Mapping[str, Any] = {"layer": layer}

    def attribute(self, inside: Inside) -> Descended:
        """Values of targets x pixels."""
        import torch

        what, layer = "Grad-CAM", self.settings["layer"]
        rows, columns = picture_size(inside, what)
        layer = _last_grid(inside, what) if layer is None else layer
        said, gradients = layer_and_gradients(inside, layer, what)
        where = f"{what}: module '{layer}' of {inside.model.name}"
        acts = _grid(said, rows, columns, where)
        slopes = [_grid(gradient, rows, columns, where) for gradient in gradients]
        if not any(slope.any() for slope in slopes):
            raise HarnessError(f"{where} has no influence on the target; name an earlier one")
        maps = []
        for slope in slopes:
            seen = torch.einsum("k,khw->hw", slope.mean(dim=(1, 2)), acts).clamp(min=0)
            maps.append(_enlarged(seen, rows, columns).flatten())
        return Descended(torch.stack(maps), notes=(f"Grad-CAM at module '{layer}'",))


class LayerGradientXActivation:
    """What a layer says of each feature, times its gradient: signed, in units of the output.

    `layer` is the name of a module whose output is n x features x width, as that of a block of a
    text model. Values sum to nothing in particular. One row; as Captum's
    `LayerGradientXActivation`. Raises `HarnessError` for a layer with another output.
    """

    reduce = "sum"
    deterministic = True

    def __init__(self, layer: str) -> None:
        self.settings: Mapping[str, Any] = {"layer": layer}

    def attribute(self, inside: Inside) -> Descended:
        """Values of targets x features x width."""
        what, layer = "layer gradient x activation", self.settings["layer"]
        said, gradients = layer_and_gradients(inside, layer, what)
        check_rows(inside, said, layer, what)
        return Descended(gradients[:, 0].double() * said[0].double())


class LayerIntegratedGradients:
    """Integrated gradients by what a layer says, from the empty sample to the full one: signed, in
    units of the output.

    `layer` is the name of a module whose output is n x features x width, `steps` the number of
    Gauss-Legendre nodes and of rows. Values sum to the full value less the empty one where nothing
    passes the layer by; a residual stream passes a layer inside a block by. By Captum's
    `LayerIntegratedGradients` (Sundararajan, Taly and Yan 2017). Raises `HarnessError` for a layer
    with another output.
    """

    reduce = "sum"
    deterministic = True

    def __init__(self, layer: str, steps: int = 50) -> None:
        fields.whole("explainer 'layer_integrated_gradients'", 1, steps=steps)
        self.settings: Mapping[str, Any] = {"layer": layer, "steps": steps}

    def attribute(self, inside: Inside) -> Descended:
        """Values of targets x features x width."""
        import torch
        from captum.attr import LayerIntegratedGradients as OfCaptum

        what, layer = "layer integrated gradients", self.settings["layer"]
        said, _ = layer_and_gradients(inside, layer, what)
        check_rows(inside, said, layer, what)
        slope, module = inside.slope, named(inside, layer, what)
        found = []
        with left_alone(network_of(inside, what)):
            for target in range(inside.weights.shape[1]):
                values = OfCaptum(inside.network(), module).attribute(
                    slope.x[None],
                    baselines=slope.empty[None],
                    target=target,
                    n_steps=self.settings["steps"],
                    method="gausslegendre",
                    internal_batch_size=rows_at_once(inside),
                )
                found.append(first_tensor(values)[0].detach().double())
        return Descended(torch.stack(found))


class NeuronGradient:
    """The gradient of one neuron by each feature, at the sample: signed, the same for every target.

    `layer` is the name of a module and `neuron` the neuron's place in its output, behind the axis
    of rows: a number, or one number an axis (token and unit; channel, row and column). In units of
    the neuron per unit of a feature. One row; as Captum's `NeuronGradient`. Raises `HarnessError`
    for a place that there is not.
    """

    reduce = "l2"
    deterministic = True

    def __init__(self, layer: str, neuron: int | Sequence[int]) -> None:
        several = tuple(neuron) if isinstance(neuron, (list, tuple)) else (neuron,)
        for place in several:
            fields.whole("explainer 'neuron_gradient'", 0, neuron=place)
        self.settings: Mapping[str, Any] = {"layer": layer, "neuron": list(several)}

    def attribute(self, inside: Inside) -> Descended:
        """Values of targets x features x ...."""
        import torch

        what, place = "the gradient of a neuron", tuple(self.settings["neuron"])
        layer = self.settings["layer"]
        points = inside.slope.x.detach()[None].requires_grad_(True)
        said, _ = said_at(inside, points, layer, what)
        where = f"{what}: module '{layer}' of {inside.model.name}"
        one = Neuron(layer, place).of(said, where)[0]
        if not said.requires_grad:
            raise HarnessError(f"{where} does not depend on the features")
        (gradient,) = torch.autograd.grad(one, points, allow_unused=True)
        values = torch.zeros_like(points) if gradient is None else gradient
        return Descended(values.double().repeat(inside.weights.shape[1], *[1] * (points.ndim - 1)))


def picture_size(inside: Inside, what: str) -> tuple[int, int]:
    """Height and width of the picture that the features are. Raises `HarnessError` for others."""
    parts = inside.reading.parts
    if len(parts) != 1 or not isinstance(parts[0], ArrayPart) or parts[0].array.ndim != 3:
        raise HarnessError(
            f"{what} is for a single image, and sample '{inside.reading.sample}' is none"
        )
    height, width = parts[0].array.shape[:2]
    return height, width


def patches(tokens: int, rows: int, columns: int) -> tuple[int, int, int] | None:
    """The grid of patches that so many tokens of an image are, and how many tokens (0 or 1) stand
    before them; `None` where they are no grid of square patches."""
    for before in (0, 1):
        for height in range(1, tokens - before + 1):
            width = (tokens - before) // height
            if height * width == tokens - before and height * columns == width * rows:
                return height, width, before
    return None


def _grid(said: Tensor, rows: int, columns: int, where: str) -> Tensor:
    """Channels x height x width of what a layer says of one image, in 64 bits."""
    if said.ndim == 4:
        return said[0].double()
    found = patches(said.shape[1], rows, columns) if said.ndim == 3 else None
    if found is None:
        shape = " x ".join(map(str, said.shape))
        raise HarnessError(f"{where} says {shape} numbers, which are no grid on the image")
    height, width, before = found
    return said[0, before:].double().T.reshape(-1, height, width)


def _enlarged(seen: Tensor, rows: int, columns: int) -> Tensor:
    import torch

    return torch.nn.functional.interpolate(
        seen[None, None], (rows, columns), mode="bilinear", align_corners=False
    )[0, 0]


def _last_grid(inside: Inside, what: str) -> str:
    """The name of the module that ends last of those whose output is a grid of channels."""
    import torch

    ended: list[tuple[str, Tensor]] = []

    def note(name: str) -> Any:
        return lambda _, __, output: ended.append((name, first_tensor(output)))

    module = network_of(inside, what)
    hooks = [part.register_forward_hook(note(name)) for name, part in module.named_modules()]
    try:
        with torch.no_grad():
            inside.network()(inside.slope.x[None])
    finally:
        for hook in hooks:
            hook.remove()
    shapes = [(name, () if said is None else tuple(said.shape)) for name, said in ended]
    grids = [
        place
        for place, (name, shape) in enumerate(shapes)
        if name and len(shape) == 4 and shape[2] * shape[3] > 1
    ]
    if not grids or any(len(shape) == 3 for _, shape in shapes[grids[-1] :]):
        raise HarnessError(
            f"{what}: {inside.model.name} does not end in a grid of channels; name a layer whose "
            "output has one token a patch"
        )
    return shapes[grids[-1]][0]


def layer_and_gradients(
    inside: Inside, layer: str, what: str, point: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What a layer says of the sample (or at a point), 1 x ..., and each target's gradient by it,
    targets x 1 x ...."""
    import torch

    point = inside.slope.x if point is None else point
    points = point.detach()[None].requires_grad_(True)
    said, values = said_at(inside, points, layer, what)
    if not said.requires_grad:
        raise HarnessError(
            f"{what}: module '{layer}' of {inside.model.name} does not depend on the features"
        )
    gradients = [
        torch.autograd.grad(value, said, retain_graph=True, allow_unused=True)[0]
        for value in values
    ]
    filled = [torch.zeros_like(said) if one is None else one for one in gradients]
    return said.detach(), torch.stack(filled)


def said_at(inside: Inside, points: Tensor, layer: str, what: str) -> tuple[Tensor, Tensor]:
    """What a layer says at a point, and the targets' values there."""
    import torch

    module = named(inside, layer, what)
    outputs: list[Any] = []

    def keep(_: Any, __: Any, output: Any) -> Any:
        outputs.append(output)
        if isinstance(output, torch.Tensor):
            return output.clone()  # the next module may write into it
        return None

    hook = module.register_forward_hook(keep)
    try:
        values = inside.network()(points)[0]
    finally:
        hook.remove()
    said = first_tensor(outputs[0]) if len(outputs) == 1 else None
    if said is None:
        raise HarnessError(
            f"{what}: module '{layer}' of {inside.model.name} was used {len(outputs)} times and "
            "must be used once, and say a tensor"
        )
    refuse_underivable(values, inside.model.name)
    return said, values


def check_rows(inside: Inside, said: Tensor, layer: str, what: str) -> None:
    features = len(inside.slope.x)
    if said.ndim != 3 or said.shape[1] != features:
        raise HarnessError(
            f"{what}: module '{layer}' of {inside.model.name} says "
            f"{' x '.join(map(str, said.shape))} numbers, not one row for each of the {features} "
            "features"
        )


def rows_at_once(inside: Inside) -> int:
    """Rows under the budget of tokens; two at least, as Captum asks."""
    return max(2, inside.model.tokens // inside.model.shape(inside.reading)[1])
