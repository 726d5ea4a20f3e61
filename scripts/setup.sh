#!/usr/bin/env bash
# Make the virtual environment from the hash-pinned lock, with bytecode: without it every Python
# process would compile its imports again.
set -euo pipefail
unset PYTHONDONTWRITEBYTECODE
python="${PYTHON:-python3}"
venv="${VENV:-.venv}"
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "Loopwright needs Python 3.11 or newer; $("$python" --version) is here. Set PYTHON=…" >&2
  exit 1
fi
if command -v uv >/dev/null 2>&1; then
  [ -d "$venv" ] || uv venv --quiet --python "$python" --seed "$venv"
  UV_COMPILE_BYTECODE=1 VIRTUAL_ENV="$venv" uv pip install --quiet --require-hashes -r requirements/dev.lock
  VIRTUAL_ENV="$venv" uv pip install --quiet --no-deps -e .
else
  [ -d "$venv" ] || "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -e .
fi
"$venv/bin/python" -m compileall -q src >/dev/null || true
VENV="$venv" bash scripts/torch.sh || echo "PyTorch is not installed; PyTorch jobs will say so. 'make torch' tries again." >&2
