#!/usr/bin/env bash
# Builds the packages of `triad` and `triad-office`: .deb with cargo-deb, .rpm with cargo-generate-rpm
# (tests/setup.sh installs both). Says where they are.
#
#     deploy/package.sh                     release programs
#     deploy/package.sh --profile debug     those of a debug build: what the tests do, in seconds
#     deploy/package.sh --no-build          as they were built before
#     deploy/package.sh --out DIR           into DIR instead of target/package
set -euo pipefail
cd "$(dirname "$0")/.."

profile=release
build=yes
target="${CARGO_TARGET_DIR:-target}"
out="$target/package"
while [ $# -gt 0 ]; do
    case $1 in
        --profile) profile=$2 && shift ;;
        --out) out=$2 && shift ;;
        --no-build) build=no ;;
        *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    esac
    shift
done
export PATH="${TRIAD_TOOLS:-$HOME/.cache/triad-tools}/bin:$PATH"
mkdir -p "$out" && out="$(cd "$out" && pwd)"
cargo_profile=$profile deb=(--compress-type xz) rpm=zstd
if [ "$profile" = debug ]; then cargo_profile=dev deb=(--fast) rpm=none; fi

if [ "$build" = yes ]; then
    cargo build --locked --profile "$cargo_profile" --package triad --package triad-office
fi

# What the program itself writes.
made="$target/$profile/package"
rm -rf "$made/man"
mkdir -p "$made/completions" "$made/man"
triad="$target/$profile/triad"
"$triad" completions bash >"$made/completions/triad"
"$triad" completions zsh >"$made/completions/_triad"
"$triad" completions fish >"$made/completions/triad.fish"
"$triad" man --out "$made/man" >/dev/null
gzip -9n "$made"/man/*.1
gzip -9nc deploy/man/triad-office.1 >"$made/triad-office.1.gz"
gzip -9nc CHANGELOG.md >"$made/changelog.gz"

for package in triad triad-office; do
    strip -o "$made/$package" "$target/$profile/$package"
    cargo deb --quiet --no-build --no-strip --no-dbgsym --compress-system "${deb[@]}" \
        --profile "$cargo_profile" --package "$package" --output "$out/"
    cargo generate-rpm --package "crates/$package" --profile "$profile" --target-dir "$target" \
        --payload-compress "$rpm" --output "$out/"
done
ls "$out"/*.deb "$out"/*.rpm
