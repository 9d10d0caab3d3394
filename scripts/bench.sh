#!/usr/bin/env bash
# Measures the optimised executable, in one run: `make bench`, or beside Docker `make bench PEERS=1`.
# Needs root. ROUNDS=N changes the number of alternating rounds; arguments go to the bench, e.g.
# `scripts/bench.sh --only starts,phases`.
set -euo pipefail
cd "$(dirname "$0")/.."

arguments=()
scripts/packages.sh busybox-static iproute2
if [ -n "${PEERS:-}" ]; then
    # Its daemon is not started by the package; the bench runs one of its own.
    scripts/packages.sh docker.io
    arguments+=(--peers)
fi
scripts/sample-images.sh
# Apart, so that the bench's own needs change nothing in the executable.
cargo build --release --quiet --package windlass
cargo build --release --quiet --package windlass-bench
release=$(scripts/target-dir.sh)/release
exec "$release/windlass-bench" --executable "$release/windlass" --image .cache/images/busybox.tar \
    --rounds "${ROUNDS:-5}" "${arguments[@]}" "$@"
