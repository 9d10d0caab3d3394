#!/usr/bin/env bash
# Every check and test, in the order in which they fail fastest. Needs root: containers are real.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*" >&2; }

step "packages and tools"
scripts/packages.sh apache2-utils binutils build-essential busybox-static ca-certificates cpio curl \
    docker-registry dpkg e2fsprogs iproute2 nftables openssl procps python3-venv runc skopeo tmux util-linux
scripts/botocore.sh >/dev/null
scripts/sample-images.sh >/dev/null

step "format"
cargo fmt --all -- --check

step "rules of the tree"
cargo xtask tidy

step "lints"
cargo clippy --workspace --all-targets --quiet -- -D warnings

step "tests"
cargo test --workspace --quiet

step "the product, from the outside"
cargo build --package windlass --package windlass-sdk-check --quiet
built=$(scripts/target-dir.sh)/debug
WINDLASS_SDK_CHECK=$built/windlass-sdk-check scripts/e2e.sh "$built/windlass"

step "the runtime on cgroup v2 alone, in a virtual machine"
scripts/test-v2.sh
