#!/usr/bin/env bash
# Makes what is handed out: a Debian package and a tarball of the static executable, with checksums.
#
#   scripts/package.sh [EXECUTABLE [OUTDIR]]
#
# Without an executable the optimised one is built. OUTDIR is dist/ in the repository by default.
# The same executable and commit give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."

exe=${1:-}
out=${2:-dist}
scripts/packages.sh dpkg
if [ -z "$exe" ]; then
    cargo build --release --package windlass
    exe=$(scripts/target-dir.sh)/release/windlass
fi
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# Members carry the time of the commit, not of the build.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
out=$(realpath "$out")

documents() {
    install -D -m 644 -t "$1" README.md LICENSE
    (cd docs && find . -name '*.md' -exec install -D -m 644 {} "$1/docs/{}" \;)
    install -D -m 644 -t "$1/examples" examples/*
}

completions() {
    mkdir -p "$1/bash-completion/completions" "$1/zsh/vendor-completions" "$1/fish/vendor_completions.d"
    "$exe" completion bash >"$1/bash-completion/completions/windlass"
    "$exe" completion zsh >"$1/zsh/vendor-completions/_windlass"
    "$exe" completion fish >"$1/fish/vendor_completions.d/windlass.fish"
}

debian_package() {
    local root=$work/deb
    install -D -m 755 "$exe" "$root/usr/bin/windlass"
    install -D -m 644 packaging/windlass.service "$root/lib/systemd/system/windlass.service"
    install -D -m 644 packaging/default "$root/etc/default/windlass"
    documents "$root/usr/share/doc/windlass"
    mv "$root/usr/share/doc/windlass/LICENSE" "$root/usr/share/doc/windlass/copyright"
    completions "$root/usr/share"
    mkdir -p "$root/DEBIAN"
    sed -e "s/@VERSION@/$version/" -e "s/@SIZE@/$(du -ks "$root" | cut -f1)/" \
        packaging/debian/control.in >"$root/DEBIAN/control"
    install -m 644 packaging/debian/conffiles "$root/DEBIAN/conffiles"
    install -m 755 packaging/debian/{postinst,prerm,postrm} "$root/DEBIAN"
    dpkg-deb --root-owner-group --build "$root" "$out/windlass_${version}_amd64.deb" >/dev/null
}

tarball() {
    local name=windlass-$version-x86_64-linux
    install -D -m 755 "$exe" "$work/$name/windlass"
    install -m 644 packaging/windlass.service "$work/$name"
    documents "$work/$name"
    tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
        --directory "$work" "$name" | gzip -n >"$out/$name.tar.gz"
}

debian_package
tarball
cd "$out"
files=("windlass_${version}_amd64.deb" "windlass-$version-x86_64-linux.tar.gz")
sha256sum "${files[@]}" >SHA256SUMS
for file in "${files[@]}"; do
    echo "$out/$file: $(du -h "$file" | cut -f1)" >&2
done
