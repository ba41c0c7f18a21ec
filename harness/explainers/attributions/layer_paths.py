"""What a layer's numbers do on the way from the empty sample to the full one: conductance, internal
influence, gradient SHAP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness import fields
from harness.explainers.attributions.layers import (
    check_rows,
    layer_and_gradients,
    rows_at_once,
)
from harness.explainers.attributions.modules import first_tensor, left_alone, named, network_of
from harness.explainers.gradients import Descended
from harness.explainers.inside import Inside
from harness.explainers.targets import Neuron

if TYPE_CHECKING:
    from torch import Tensor

    Attribute = Callable[..., Any]


class _AlongTheWay:
    """A method of Captum at a layer whose output is n x features x width."""

    reduce = "sum"
    deterministic = True
    name: str

    def __init__(self, layer: str, steps: int = 50) -> None:
        fields.whole(f"explainer '{self.name}'", 1, steps=steps)
        self.settings: Mapping[str, Any] = {"layer": layer, "steps": steps}

    def attribute(self, inside: Inside) -> Descended:
        """Values of targets x features x width."""
        what, layer = self.name.replace("_", " "), self.settings["layer"]
        said, _ = layer_and_gradients(inside, layer, what)
        check_rows(inside, said, layer, what)
        module = named(inside, layer, what)
        return Descended(
            _each(inside, what, self._peer()(inside.network(), module).attribute, self)
        )

    def _peer(self) -> Any:
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """What Captum is told besides the sample."""
        return {"n_steps": self.settings["steps"], "method": "gausslegendre"}


class LayerConductance(_AlongTheWay):
    """How much of the change from the empty sample to the full one passes through what a layer says
    of each feature: signed, in units of the output.

    `layer` is the name of a module whose output is n x features x width, `steps` the number of
    Gauss-Legendre nodes. Values sum to the full value less the empty one where nothing passes the
    layer by. Unlike `layer_integrated_gradients`, the way is that of the input, and the layer
    follows. By Captum's `LayerConductance` (Dhamdhere, Sundararajan and Yan 2018, "How Important Is
    a Neuron?", equation 2). Raises `HarnessError` for a layer with another output.
    """

    name = "layer_conductance"

    def _peer(self) -> Any:
        from captum.attr import LayerConductance as OfCaptum

        return OfCaptum


class InternalInfluence(_AlongTheWay):
    """The mean gradient of the output by what a layer says, on the way from the empty sample to the
    full one: signed, in units of output per unit of the layer.

    `layer` and `steps` as of `layer_conductance`; values sum to nothing in particular. By Captum's
    `InternalInfluence` (Leino, Sen, Datta, Fredrikson and Li 2018, "Influence-Directed Explanations
    for Deep Convolutional Networks", equation 1). Raises `HarnessError` for a layer with another
    output.
    """

    name = "internal_influence"

    def _peer(self) -> Any:
        from captum.attr import InternalInfluence as OfCaptum

        return OfCaptum


class LayerGradientShap:
    """Gradients by what a layer says at random places of the way from the empty sample to the full
    one, times what the layer says more of the full one: signed, in units of the output.

    `layer` is the name of a module whose output is n x features x width, `draws` the number of
    places and of rows. The places are drawn in equal parts of the way, one in each, so that values
    repeat with the seed and vary less than Captum's `LayerGradientShap` without noise, which they
    follow (Lundberg and Lee 2017). Raises `HarnessError` for a layer with another output.
    """

    reduce = "sum"
    name = "layer_gradient_shap"

    def __init__(self, layer: str, draws: int = 50) -> None:
        fields.whole(f"explainer '{self.name}'", 1, draws=draws)
        self.settings: Mapping[str, Any] = {"layer": layer, "draws": draws}

    def attribute(self, inside: Inside) -> Descended:
        """Values of targets x features x width."""
        import numpy as np

        what, layer, draws = "layer gradient SHAP", self.settings["layer"], self.settings["draws"]
        x, empty = inside.slope.x, inside.slope.empty
        drawn = np.random.default_rng(inside.slope.seed).random(draws)
        total: Any = 0
        for place in ((np.arange(draws) + drawn) / draws).tolist():
            said, gradients = layer_and_gradients(inside, layer, what, empty + place * (x - empty))
            check_rows(inside, said, layer, what)
            total = total + gradients[:, 0].double()
        ends = [layer_and_gradients(inside, layer, what, point)[0] for point in (x, empty)]
        change = (ends[0] - ends[1])[0].double()
        return Descended(total / draws * change)


class NeuronConductance:
    """How much of each feature's share in the change from the empty sample to the full one passes
    through one neuron: signed, in units of the output.

    `layer` is the name of a module and `neuron` the neuron's place in its output, as of
    `neuron_gradient`; `steps` is the number of Gauss-Legendre nodes. Values of all neurons of a
    layer that nothing passes by sum to integrated gradients. By Captum's `NeuronConductance`
    (Dhamdhere, Sundararajan and Yan 2018, equation 3). Raises `HarnessError` for a place that there
    is not.
    """

    reduce = "sum"
    deterministic = True
    name = "neuron_conductance"

    def __init__(self, layer: str, neuron: int | tuple[int, ...], steps: int = 50) -> None:
        fields.whole(f"explainer '{self.name}'", 1, steps=steps)
        several = tuple(neuron) if isinstance(neuron, (list, tuple)) else (neuron,)
        self._neuron = Neuron(layer, several)
        self.settings: Mapping[str, Any] = {
            "layer": layer,
            "neuron": list(several),
            "steps": steps,
        }

    def attribute(self, inside: Inside) -> Descended:
        """Values of targets x features x ...."""
        from captum.attr import NeuronConductance as OfCaptum

        what, layer = "the conductance of a neuron", self.settings["layer"]
        said, _ = layer_and_gradients(inside, layer, what)
        self._neuron.of(said, f"{what}: module '{layer}' of {inside.model.name}")
        peer = OfCaptum(inside.network(), named(inside, layer, what))
        return Descended(_each(inside, what, peer.attribute, self))

    def options(self) -> dict[str, Any]:
        """What Captum is told besides the sample."""
        return {
            "neuron_selector": self._neuron.places,
            "n_steps": self.settings["steps"],
            "method": "gausslegendre",
        }


def _each(inside: Inside, what: str, attribute: Attribute, method: Any) -> Tensor:
    """Values of each target, one after another."""
    import torch

    slope, found = inside.slope, []
    with left_alone(network_of(inside, what)):
        for target in range(inside.weights.shape[1]):
            values = attribute(
                slope.x[None],
                baselines=slope.empty[None],
                target=target,
                internal_batch_size=rows_at_once(inside),
                **method.options(),
            )
            found.append(first_tensor(values)[0].detach().double())
    return torch.stack(found)
