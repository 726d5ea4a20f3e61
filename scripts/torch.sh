#!/usr/bin/env bash
# PyTorch, when it is missing: the CPU build where one is at hand. It is no part of the lock because
# its plain name brings several GB of CUDA on Linux. LOOPWRIGHT_TORCH=no leaves it out;
# LOOPWRIGHT_TORCH_INDEX names an index of CPU builds.
set -euo pipefail
venv="${VENV:-.venv}"
[ "${LOOPWRIGHT_TORCH:-yes}" = no ] && exit 0
if "$venv/bin/python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)'; then
  exit 0
fi
index=()
[ -n "${LOOPWRIGHT_TORCH_INDEX:-}" ] && index=(--index-url "$LOOPWRIGHT_TORCH_INDEX")
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${index[@]}" 'torch==2.13.0'
