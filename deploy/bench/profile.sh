#!/usr/bin/env bash
# Where the leader's time goes under W2: samples it and draws a flame graph.
#
#     deploy/bench/profile.sh OUT.svg                  256 clients
#     CLIENTS=64 SECONDS_SAMPLED=20 deploy/bench/profile.sh OUT.svg
#
# TRIAD_BIN: the program to look at; without it a release build of this tree. Needs perf, and inferno
# (cargo install inferno).
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
tree="$(cd "$here/../.." && pwd)"
[ $# = 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
out=$1
clients="${CLIENTS:-256}"
sampled="${SECONDS_SAMPLED:-10}"

for tool in perf inferno-collapse-perf inferno-flamegraph; do
    command -v "$tool" >/dev/null || { echo "no $tool: install perf (linux-perf) and inferno" >&2; exit 1; }
done
if [ -z "${TRIAD_BIN:-}" ]; then
    (cd "$tree" && cargo build --release -p triad)
    TRIAD_BIN="$(cd "${CARGO_TARGET_DIR:-$tree/target}" && pwd)/release/triad"
fi

work="$(mktemp -d)"
bench=
# A bench that is interrupted leaves its nodes behind.
trap '[ -z "$bench" ] || kill "$bench" $(ps --ppid "$bench" -o pid=) 2>/dev/null || true; rm -rf "$work"' EXIT

"$TRIAD_BIN" bench --local --workload w2 --clients "$clients" --tls off \
    --warmup 10s --duration "$((sampled + 5))s" >"$work/bench.txt" 2>"$work/said.txt" &
bench=$!

# The nodes are children of the bench, and the leader is the one that works most.
nodes() { ps --ppid "$bench" -o cputimes=,pid= | sort -rn; }
waited=0
until [ "$(nodes | awk 'NR == 1 {print $1}')" -ge 3 ] 2>/dev/null; do
    kill -0 "$bench" 2>/dev/null || { cat "$work/said.txt" >&2; exit 1; }
    waited=$((waited + 1))
    [ "$waited" -lt 120 ] || { echo "no node did any work within a minute" >&2; exit 1; }
    sleep 0.5
done
leader="$(nodes | awk 'NR == 1 {print $2}')"

# By the clock of the processor: virtual machines often have no hardware counters. The stacks are
# unwound by the program's own tables, so that it need not be built for this.
perf record --quiet -e cpu-clock -F 199 --call-graph dwarf,65528 -p "$leader" \
    -o "$work/perf.data" -- sleep "$sampled"
wait "$bench" || true
bench=
cat "$work/bench.txt"

perf script --no-inline -i "$work/perf.data" 2>/dev/null | inferno-collapse-perf >"$work/folded.txt"
inferno-flamegraph --title "the leader under W2, $clients clients" --countname ns \
    --minwidth 0.3 <"$work/folded.txt" >"$out"
awk -v out="$out" '{ns += $NF} END {printf "%s: %.1f s of processor\n", out, ns / 1e9}' "$work/folded.txt"
