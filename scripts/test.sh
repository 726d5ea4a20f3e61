#!/usr/bin/env bash
# All tests: those against real servers, which mostly wait, beside the others, which compute. Each half is one
# run of pytest; what the first one said is shown when the second is over, and the closing lines come last.
set -uo pipefail
bin=${BIN:-.venv/bin}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$bin/pytest" -p no:cacheprovider tests/real >"$log" 2>&1 &
real=$!
# The others give way: tests against real servers await what happens in time.
nice -n 15 "$bin/pytest" --ignore=tests/real
others=$?
wait "$real"
waited=$?
echo
echo "Tests against real servers:"
cat "$log"
exit $((others > waited ? others : waited))
