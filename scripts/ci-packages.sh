#!/usr/bin/env bash
# Debian packages that the tests need; run by .ci/run first. Without them those tests skip, saying why.
set -euo pipefail
missing=()
command -v git >/dev/null || missing+=(git)
[ -n "$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null)" ] || missing+=(postgresql)
if [ "${#missing[@]}" -gt 0 ] && [ "$(id -u)" = 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi
