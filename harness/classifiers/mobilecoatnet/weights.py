"""The weights file: safetensors that know their classes, size and normalisation.

Matrices and filters are stored in 16-bit floating point, which halves the file; norms, shifts and
running statistics stay in 32 bits. Everything needed to use the file is in its header.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from harness.classifiers.distribution import check_classes
from harness.identity import sha256
from harness.records import HarnessError

if TYPE_CHECKING:
    from harness.classifiers.mobilecoatnet.model import MobileCoAtNetModule

FILE = "mobilecoatnet.safetensors"
"""What built-in weights are called in their folder of `harness/assets`."""

BUILTIN = "builtin:"

_HEADER = "mobilecoatnet"
_HIGHEST = 65504.0  # of 16-bit floating point


@dataclass(frozen=True)
class Configuration:
    """What the header says: `mean` and `std` are one a channel, of values in [0, 1]."""

    classes: tuple[str, ...]
    size: str
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def build(configuration: Configuration) -> MobileCoAtNetModule:
    """The network that fits the configuration, its weights drawn from torch's stream."""
    from harness.classifiers.mobilecoatnet.model import SIZES, MobileCoAtNetModule

    if configuration.size not in SIZES:
        raise HarnessError(
            f"mobilecoatnet: there is no size '{configuration.size}'; sizes are {', '.join(SIZES)}"
        )
    size = SIZES[configuration.size]
    return MobileCoAtNetModule(size, len(configuration.classes), configuration.image_size)


def locate(weights: str) -> Path:
    """The file that `weights` names: a path, or `builtin:NAME`.

    Raises `HarnessError` where there is none.
    """
    if not weights.startswith(BUILTIN):
        if not Path(weights).is_file():
            raise HarnessError(
                f"mobilecoatnet: there is no weights file {weights}; make it with "
                "'harness train SUITE', or use weights 'builtin:octa'"
            )
        return Path(weights)
    assets = Path(str(resources.files("harness"))) / "assets"
    known = sorted(file.parent.name for file in assets.glob(f"*/{FILE}"))
    name = weights.removeprefix(BUILTIN)
    if name not in known:
        raise HarnessError(
            f"mobilecoatnet: there are no built-in weights '{weights}'; known are "
            f"{', '.join(BUILTIN + each for each in known)}"
        )
    return assets / name / FILE


def save(path: Path, module: MobileCoAtNetModule, configuration: Configuration) -> str:
    """Writes the file and returns its SHA-256; the same weights give the same bytes."""
    import torch
    from safetensors.torch import save as serialised

    tensors = {}
    for name, value in module.state_dict().items():
        value = value.detach().to("cpu", memory_format=torch.contiguous_format)
        tensors[name] = value.clamp(-_HIGHEST, _HIGHEST).half() if value.ndim > 1 else value
    # One entry: the order of several would differ from process to process.
    written = serialised(tensors, {_HEADER: json.dumps(asdict(configuration), ensure_ascii=True)})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(written)
    return sha256(written)


def load(path: Path) -> tuple[MobileCoAtNetModule, Configuration, str]:
    """The network in evaluation mode and 32 bits, its configuration, and the file's SHA-256.

    Raises `HarnessError` for a file that is no safetensors, or holds another network.
    """
    import torch
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load as deserialised

    data = path.read_bytes()
    try:
        with safe_open(path, "pt") as opened:
            header = (opened.metadata() or {}).get(_HEADER)
        tensors = deserialised(data)
    except SafetensorError as error:
        raise HarnessError(f"{path} is no readable safetensors file: {error}") from error
    if header is None:
        raise HarnessError(
            f"{path} holds no MobileCoAtNet: its header lacks '{_HEADER}'; make weights with "
            "'harness train SUITE'"
        )
    configuration = _configuration(header, path)
    with torch.device("meta"):  # the weights are about to be read, so none need be drawn
        module = build(configuration)
    try:
        module.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, assign=True
        )
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise HarnessError(
            f"{path} does not hold the MobileCoAtNet that its header names: {reason[:200]}"
        ) from error
    return module.eval(), configuration, sha256(data)


def _configuration(header: str, path: Path) -> Configuration:
    try:
        found = json.loads(header)
        return Configuration(
            check_classes(found["classes"], str(path)),
            str(found["size"]),
            int(found["image_size"]),
            tuple(float(value) for value in found["mean"]),
            tuple(float(value) for value in found["std"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise HarnessError(
            f"the header of {path} is damaged ({type(error).__name__}: {error}); make the weights "
            "anew with 'harness train SUITE'"
        ) from error
