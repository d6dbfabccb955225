#!/usr/bin/env bash
# Fuzzes: builds every target and runs each for some seconds, beginning with its seeds.
#
#   bash tests/fuzz/run.sh 10                    all targets, ten seconds each
#   bash tests/fuzz/run.sh 28800 ledger_history  one target, a night
#
# What it finds new is kept in the corpus below the target folder, so that the next run goes on
# from there. A crash, a run of more than ten seconds or of more than 2 GiB ends a target; its
# input is left beside the corpus, and the command that repeats it is printed.
set -euo pipefail
seconds=${1:?usage: run.sh SECONDS [TARGET...]}
shift
cd "$(dirname "$0")"

# The instrumentation is unstable in name only; nothing else here needs more than stable Rust.
export RUSTC_BOOTSTRAP=1
export PATH="${TRIAD_TOOLS:-$HOME/.cache/triad-tools}/bin:$PATH"
target_folder="${CARGO_TARGET_DIR:-../../target}/fuzz"
mkdir -p "$target_folder"
target_folder=$(realpath "$target_folder")

# Inputs that are longer reach little that is new, and are slow to mutate.
length_max=4096

if ! cargo metadata --locked --format-version 1 >/dev/null; then
    echo "fuzz: tests/fuzz/Cargo.lock lags behind; run \"cargo update --workspace\" in tests/fuzz"
    exit 1
fi
if [ $# -eq 0 ]; then
    mapfile -t targets < <(cargo fuzz list --fuzz-dir .)
else
    targets=("$@")
fi

# There is no unsafe code of ours for a sanitizer to watch, and without one it is faster.
# Overflow checks and debug assertions are on.
cargo fuzz build --fuzz-dir . --sanitizer none --codegen-units 16 --target-dir "$target_folder"
programs="$target_folder/$(rustc -vV | sed -n 's/^host: //p')/release"

dictionary() {
    case $1 in
        license_text | license_altered) echo license ;;
        license_conversion) echo conversion ;;
        options_import) echo options ;;
        *) echo "$1" ;;
    esac
}

# Runs one target; false if it failed.
run() {
    local target=$1
    local corpus="$target_folder/corpus/$target" found="$target_folder/found/$target"
    local log="$target_folder/$target.log" words="dictionaries/$(dictionary "$target").dict"
    local arguments=("-max_total_time=$seconds" -timeout=10 -rss_limit_mb=2048
        "-max_len=$length_max" -print_final_stats=1 "-artifact_prefix=$found/")
    local folders=("$corpus")
    mkdir -p "$corpus" "$found"
    [ -f "$words" ] && arguments+=("-dict=$words")
    # Where it is set, a run begins as the last one did.
    [ -n "${FUZZ_SEED:-}" ] && arguments+=("-seed=$FUZZ_SEED")
    [ -d "seeds/$target" ] && folders+=("seeds/$target")
    if "$programs/$target" "${arguments[@]}" "${folders[@]}" >"$log" 2>&1; then
        local runs reached
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        reached=$(grep -oE 'cov: [0-9]+' "$log" | tail -1 | cut -d' ' -f2)
        echo "fuzz: $target: $runs runs, $reached places reached"
        return
    fi
    local input
    input=$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)
    tail -40 "$log"
    echo "fuzz: $target FAILED. To repeat it: $programs/$target ${input:-(no input was kept; see $log)}"
    return 1
}

# As many at once as there are processors.
at_once=$(nproc)
running=0
failures=0
finish_one() {
    wait -n || failures=$((failures + 1))
    running=$((running - 1))
}
for target in "${targets[@]}"; do
    [ "$running" -lt "$at_once" ] || finish_one
    run "$target" &
    running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
    finish_one
done
if [ "$failures" -gt 0 ]; then
    echo "fuzz: $failures targets FAILED. What to do with an input is in CONTRIBUTING.md."
    exit 1
fi
