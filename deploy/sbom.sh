#!/usr/bin/env bash
# Writes what the programs are made of, as CycloneDX 1.5: target/sbom/NAME.cdx.json. Needs
# cargo-cyclonedx (tests/setup.sh).
set -euo pipefail
cd "$(dirname "$0")/.."

out="${CARGO_TARGET_DIR:-target}/sbom"
mkdir -p "$out"
trap 'find crates tests -name "*.cdx.json" -delete' EXIT
cargo cyclonedx --quiet --format json --spec-version 1.5 --describe binaries --no-build-deps
find crates -name '*_bin.cdx.json' | while read -r file; do
    name="$(basename "$file" _bin.cdx.json)"
    # The paths of this machine are nobody's business.
    sed -e "s#path+file://$PWD/#path+file:///#g" "$file" >"$out/$name.cdx.json"
    echo "$out/$name.cdx.json: $(grep -c '"purl"' "$out/$name.cdx.json") components"
done
