#!/usr/bin/env bash
# Runs the fault suite again and again, as root; the first failure ends it, and its output is kept.
#
#     tests/faults/again.sh 20 [suite.json]
#
# TRIAD_BIN: the program to mistreat; without it the debug build that the tests make. Two of these at
# the same time, each after `unshare --mount` with a /run of its own, take half as long: a suite waits
# more than it works.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
times=$1 file=${2:-}
cd "$(dirname "$0")/../.."
export TRIAD_REQUIRE="${TRIAD_REQUIRE:-all}"
cargo build --workspace --bins
output="$(mktemp)"
passed=0 shortest=0 longest=0 scenarios=0 result=good
for n in $(seq "$times"); do
    began=$SECONDS
    if ! cargo test -p triad-tests --test faults >"$output" 2>&1; then
        result=FAILED
        echo "$n of $times FAILED: $output" >&2
        break
    fi
    took=$((SECONDS - began))
    scenarios=$(sed -n 's/^test result: ok. \([0-9]*\) passed.*/\1/p' "$output")
    passed=$n
    [ "$shortest" != 0 ] && [ "$shortest" -le "$took" ] || shortest=$took
    [ "$longest" -ge "$took" ] || longest=$took
    echo "$n of $times: $scenarios scenarios, $took s"
done
if [ -n "$file" ]; then
    cat >"$file" <<JSON
{
  "commit": "$(git rev-parse HEAD)",
  "longest_s": $longest,
  "passed_in_a_row": $passed,
  "result": "$result",
  "scenarios": $scenarios,
  "shortest_s": $shortest
}
JSON
fi
[ "$result" = good ] && rm "$output"
