#!/usr/bin/env bash
# Types, layers and all tests. These run in two lanes of about the same length: in one those against real servers,
# which mostly wait; beside it the others, which compute, and after them the rest of those against real servers
# and the foreign clients, which had until then to install.
# What a run said that ends earlier is shown when all are over; the closing lines come last.
set -uo pipefail
bin=${BIN:-.venv/bin}
log=$(mktemp)
checked=$(mktemp)
trap 'rm -f "$log" "$checked"' EXIT
# Beside the tests, which leave enough room at their beginning.
{ "$bin/mypy" && "$bin/lint-imports"; } >"$checked" 2>&1 &
check=$!
later=()
for name in bad_training builtin_reviews events full_disk function_odds functions guarded kill_histories oidc \
  portal_access portal_security portal_sessions review review_rules sdk_lab; do
  later+=("tests/real/test_$name.py")
done
"$bin/pytest" -p no:cacheprovider tests/real "${later[@]/#/--ignore=}" >"$log" 2>&1 &
real=$!
# The others give way: tests against real servers await what happens in time.
nice -n 15 "$bin/pytest" --ignore=tests/real --ignore=tests/clients
others=$?
"$bin/pytest" -p no:cacheprovider "${later[@]}" tests/clients
rest=$?
wait "$real"
waited=$?
wait "$check"
types=$?
echo
cat "$checked"
echo
echo "Tests against real servers:"
cat "$log"
worst=$others
for code in "$rest" "$waited" "$types"; do
  worst=$((code > worst ? code : worst))
done
exit "$worst"
