#!/usr/bin/env bash
# Builds the optimised executable and installs it: PREFIX=/usr/local by default.
#
# Behind sudo it is built by the user who called sudo, with the cargo of that user: root's PATH seldom
# has one, and the target folder stays the user's own.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${PREFIX:-/usr/local}
target=$prefix/bin/windlass

build() {
    local cargo home
    if [ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
        home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
        cargo=$home/.cargo/bin/cargo
        [ -x "$cargo" ] || cargo=$(command -v cargo || true)
        [ -n "$cargo" ] || missing "$home/.cargo/bin"
        # A login shell: its profile may say more that cargo needs.
        runuser --login "$SUDO_USER" --command \
            "cd $(printf %q "$PWD") && $(printf %q "$cargo") build --release --package windlass"
        return
    fi
    cargo=$(command -v cargo || true)
    [ -n "$cargo" ] || cargo=${HOME:-/root}/.cargo/bin/cargo
    [ -x "$cargo" ] || missing "${HOME:-/root}/.cargo/bin"
    "$cargo" build --release --package windlass
}

missing() {
    echo "install: there is no cargo in PATH nor in $1: install Rust," >&2
    echo "install: or build as the user who has it and then run sudo make install" >&2
    exit 1
}

build
if ! install -D -m 755 "$(scripts/target-dir.sh)/release/windlass" "$target"; then
    echo "install: cannot write $target: use sudo make install, or PREFIX=\$HOME/.local make install" >&2
    exit 1
fi
echo "installed $target; begin with: sudo windlass up" >&2
