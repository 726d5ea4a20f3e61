#!/usr/bin/env bash
# The environments of the foreign clients that tests/clients runs, from requirements/clients-*.lock, into a cache of
# this user; see scripts/clients.py. `.ci/run` starts it beside the tests.
cd "$(dirname "$0")/.." && exec "${PYTHON:-python3}" -m scripts.clients install "$@"
