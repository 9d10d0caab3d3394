#!/usr/bin/env bash
# Builds the optimised executable and installs it: PREFIX=/usr/local by default.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${PREFIX:-/usr/local}
cargo build --release --package windlass
install -D -m 755 "$(scripts/target-dir.sh)/release/windlass" "$prefix/bin/windlass"
echo "installed $prefix/bin/windlass; begin with: sudo windlass up" >&2
