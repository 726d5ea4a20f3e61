#!/usr/bin/env bash
# Debian packages that the tests need; run by .ci/run first. Without them those tests skip, saying why.
set -euo pipefail
missing=()
command -v git >/dev/null || missing+=(git)
[ -n "$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null)" ] || missing+=(postgresql)
# Containers of one's own images: an engine, a registry, and the command that builds and pushes.
command -v podman >/dev/null || missing+=(podman runc netavark aardvark-dns iptables uidmap)
command -v docker-registry >/dev/null || missing+=(docker-registry)
command -v docker >/dev/null || missing+=(docker.io)
command -v mpirun >/dev/null || missing+=(openmpi-bin)
# Pages are tested in a real browser.
command -v chromium >/dev/null || missing+=(chromium)
# The types of the pages' scripts, and an auditor of their accessibility; see tests/portal/test_types.py and
# tests/real/test_portal_access.py.
command -v npm >/dev/null || missing+=(npm)
if [ "${#missing[@]}" -gt 0 ] && [ "$(id -u)" = 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
modules=.cache/node_modules
if command -v npm >/dev/null && { [ ! -x $modules/.bin/tsc ] || [ ! -e $modules/axe-core/axe.min.js ]; }; then
  npm install --silent --no-audit --no-fund --prefix .cache typescript@5.9.3 axe-core@4.11.0 ||
    echo "typescript and axe-core could not be installed: tests of pages will say so" >&2
fi
