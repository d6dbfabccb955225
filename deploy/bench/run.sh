#!/usr/bin/env bash
# Measures Triad beside etcd and ZooKeeper with the peers' harness, alternately and in one go, and
# prints the table of ratios. README.md says what is needed.
#
#     deploy/bench/run.sh PEERS_DIR              everything
#     QUICK=1 deploy/bench/run.sh PEERS_DIR      each workload once and shortly
#     ONLY="core failover" deploy/bench/run.sh PEERS_DIR
#
# SCRATCH: where the harness is copied to and the data are written; on the disk to be measured.
# TRIAD_BIN: the program to measure; without it a release build of this tree.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
tree="$(cd "$here/../.." && pwd)"
[ $# = 1 ] && [ -f "$1/gen/src/backend.rs" ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
peers="$(cd "$1" && pwd)"
scratch="${SCRATCH:-${TMPDIR:-/tmp}/triad-peers}"
mkdir -p "$scratch" && scratch="$(cd "$scratch" && pwd)"

if [ -z "${TRIAD_BIN:-}" ]; then
    (cd "$tree" && cargo build --release -p triad)
    TRIAD_BIN="$(cd "${CARGO_TARGET_DIR:-$tree/target}" && pwd)/release/triad"
fi
export TRIAD_BIN
# The harness looks for its generator where cargo puts it by default.
unset CARGO_TARGET_DIR RESUME
# An error is one line, and not its way through the runtime.
export RUST_BACKTRACE=0

# Anew each time, but for what was downloaded and built.
for entry in gen/src gen/proto gen/Cargo.toml gen/build.rs bench.py cluster.py env.sh setup.sh; do
    rm -rf "${scratch:?}/$entry"
    mkdir -p "$(dirname "$scratch/$entry")"
    cp -rp "$peers/$entry" "$scratch/$entry"
done
chmod -R u+w "$scratch"/{gen/src,gen/proto,gen/Cargo.toml,gen/build.rs,*.py,*.sh}
python3 "$here/plug_in.py" "$scratch" "$tree"
cp "$here/triad.py" "$here/compare.py" "$scratch"

cd "$scratch"
if [ -d opt/etcd351 ]; then
    # shellcheck source=/dev/null
    (. ./env.sh && cd gen && cargo build --release)
else
    bash ./setup.sh
fi
mkdir -p results
raw="$scratch/results/compare-$(date -u +%Y%m%dT%H%M%S).jsonl"
python3 compare.py "$raw"
echo
echo "Every result: $raw"
