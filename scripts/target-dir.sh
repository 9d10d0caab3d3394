#!/usr/bin/env bash
# Prints the folder that holds debug/ and release/ of our target.
set -euo pipefail
cd "$(dirname "$0")/.."
triple=$(sed -n 's/^target = "\(.*\)"/\1/p' .cargo/config.toml)
echo "${CARGO_TARGET_DIR:-$PWD/target}/$triple"
