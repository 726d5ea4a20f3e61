#!/usr/bin/env bash
# `uv pip install --system` passes over an active virtual environment, but not over one that UV_PYTHON names.
#
# Surprising: `--system` is documented as "the first Python found on the PATH", ignoring virtual environments; VIRTUAL_ENV
# and an environment first on PATH are ignored indeed, and the package would go to the machine's own Python. With
# UV_PYTHON set to an environment's interpreter the same command installs into that environment.
# Documented: UV_PYTHON as "equivalent to --python"; that it wins over --system is not said.
# A product that runs scripts written for containers (which call `uv pip install --system`) in an environment of its own
# can set UV_PYTHON, and the scripts run unchanged.
# Seen: uv 0.9.29, CPython 3.11.7.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 HOME="$folder/home" UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy
python3 -m venv "$folder/tools"
"$folder/tools/bin/python" -m pip install --quiet uv==0.9.29
uv="$folder/tools/bin/uv"
python3 -m venv "$folder/env"
index=$(python3 -m pip config get global.index-url 2>/dev/null || true)
[ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
export VIRTUAL_ENV="$folder/env" PATH="$folder/env/bin:$PATH"
plain=$("$uv" pip install --system --dry-run six==1.17.0 2>&1 || true)
echo "$plain" | head -2
[[ "$plain" != *"environment at: $folder/env"* && "$plain" != *"environment at: "*"/env"* ]]
named=$(UV_PYTHON="$folder/env/bin/python" "$uv" pip install --system six==1.17.0 2>&1)
echo "$named" | head -1 | sed "s#$folder#FOLDER#"
"$folder/env/bin/python" -c 'import six; print("installed into the environment:", six.__version__)'
