#!/usr/bin/env bash
# Builds the sample images from Debian packages, without any image registry:
#
#   scripts/sample-images.sh [OUTDIR]        (default: .cache/images in the repository)
#
# writes OCI archives to OUTDIR: nginx.tar, redis.tar and busybox.tar. The demo, the tests and the
# benchmarks load them with `windlass images load`. The work is cached: an archive is built again
# only when this script or its packer changed. Needs root and Debian 12; installs
# python3 by itself when it is missing. Takes some ten seconds, most of them for fetching.
#
# Nothing of a package runs while an image is built: files are unpacked and pruned, no maintainer
# script is executed. That is why the few things those scripts would do are spelled out below.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-$here/../.cache/images}
packer=$here/pack-image.py

say() { printf 'sample-images: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

main() {
    [ "$(id -u)" = 0 ] || die "must run as root, because the images hold files of several owners"
    [ "$(uname -m)" = x86_64 ] || die "builds amd64 images on an amd64 machine only"
    mkdir -p "$out"
    out=$(cd "$out" && pwd)
    # Two runs at once (a test beside a demo) share the cache: the second waits and finds it full.
    exec 9>"$out/.lock"
    flock 9
    recipe=$(cat "${BASH_SOURCE[0]}" "$packer" | sha256sum | cut -d' ' -f1)
    need_images=()
    for image in busybox nginx redis; do
        if [ -s "$out/$image.tar" ] && [ "$(cat "$out/.$image.recipe" 2>/dev/null)" = "$recipe" ]; then
            say "$image.tar is up to date"
        else
            need_images+=("$image")
        fi
    done
    [ ${#need_images[@]} -gt 0 ] || return 0

    work=$(mktemp -d "$out/.build.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    prepare_host
    fetch busybox busybox-static
    unpack busybox
    for image in "${need_images[@]}"; do
        SECONDS=0
        "build_$image"
        # A newer version fetched later must not be unpacked beside this one.
        rm -rf "${out:?}/.debs/$image"
        # Written only now, so that a run that was cut off is done again.
        printf '%s\n' "$recipe" >"$out/.$image.recipe"
        say "$image.tar: $(du -k "$out/$image.tar" | cut -f1) KiB in ${SECONDS} s"
    done
}

# --- the images --------------------------------------------------------------------------------

build_busybox() {
    skeleton "$work/root-busybox"
    pack busybox --name docker.io/library/busybox:latest --name docker.io/library/busybox:1.35 \
        --cmd sh
}

build_nginx() {
    fetch nginx nginx
    unpack nginx
    local root=$work/root-nginx
    skeleton "$root"
    # The default site lives in sites-enabled, a link that a maintainer script makes.
    rm -rf "$root"/etc/nginx/sites-* "$root/usr/share/nginx/modules"
    mkdir -p "$root/etc/nginx/conf.d"
    cat >"$root/etc/nginx/conf.d/default.conf" <<'CONF'
server {
    listen 80 default_server;
    server_name _;
    root /usr/share/nginx/html;
    index index.html;
    location / {
        try_files $uri $uri/ =404;
    }
}
CONF
    mkdir -p "$root/var/log/nginx" "$root/var/lib/nginx"
    ln -sfn /dev/stdout "$root/var/log/nginx/access.log"
    ln -sfn /dev/stderr "$root/var/log/nginx/error.log"
    chroot "$root" /usr/sbin/nginx -v 2>&1 | grep -q nginx/1.22 || die "the unpacked nginx does not run"
    pack nginx --name docker.io/library/nginx:latest --name docker.io/library/nginx:1.22 \
        --cmd nginx --cmd=-g --cmd 'daemon off;' --expose 80/tcp --stop-signal SIGQUIT
}

build_redis() {
    fetch redis redis-server
    unpack redis
    local root=$work/root-redis
    skeleton "$root"
    printf 'redis:x:999:999::/data:/usr/sbin/nologin\n' >>"$root/etc/passwd"
    printf 'redis:x:999:\n' >>"$root/etc/group"
    mkdir -p "$root/data"
    chown 999:999 "$root/data"
    chroot "$root" /usr/bin/redis-server --version | grep -q v=7 || die "the unpacked redis does not run"
    # Protected mode refuses every client that is not on loopback: inside a container, all of them.
    pack redis --name docker.io/library/redis:latest --name docker.io/library/redis:7 \
        --cmd redis-server --cmd=--protected-mode --cmd no --expose 6379/tcp --volume /data --workdir /data
}

# --- packages ----------------------------------------------------------------------------------

# Own state and cache folders: the whole dependency closure is fetched whatever this machine has
# installed, and the machine's own apt is left as it is.
apt_closure() {
    local debs=$1
    shift
    : >"$out/.apt-status"
    mkdir -p "$debs/partial" "$out/.apt-cache"
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
        -o Dir::State::status="$out/.apt-status" -o Dir::Cache="$out/.apt-cache" \
        -o Dir::Cache::archives="$debs" -o APT::Sandbox::User=root \
        -o APT::Install-Recommends=false -o Debug::NoLocking=true -o Acquire::Retries=3 \
        install --download-only "$@" 9>&- >"$work/apt.log" 2>&1
}

fetch() {
    local image=$1
    shift
    local debs=$out/.debs/$image
    say "$image: fetching $* and what it depends on"
    if ! apt_closure "$debs" "$@"; then
        # The lists are missing (a fresh machine) or older than the mirror.
        say "refreshing the package lists"
        rm -rf "$debs"
        apt-get -qq update 9>&- >"$work/apt.log" 2>&1 || { cat "$work/apt.log" >&2; die "apt-get update failed"; }
        apt_closure "$debs" "$@" || { cat "$work/apt.log" >&2; die "cannot fetch the packages of $image"; }
    fi
}

# Wanted only by maintainer scripts and by configuration at install time.
not_needed='^(base-files|debconf|perl-base|dpkg|tar|install-info|lsb-base|sysvinit-utils|init-system-helpers|adduser|passwd|login|iproute2|libpam.*|ucf|sensible-utils|procps|libdb5.*|libsemanage.*|libsepol.*|media-types|libelf1|libbpf1|libmnl0|libxtables12|libtirpc.*|libgssapi-krb5-2|libkrb5.*|libk5crypto3|libcom-err2|libkeyutils1|libnsl2|libcap2-bin|libaudit.*|libcap-ng0|coreutils|gcc-12-base)_'

unpack() {
    local image=$1 root=$work/root-$1 deb
    say "$image: unpacking"
    mkdir -p "$root"/usr/{bin,sbin,lib,lib64}
    for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$root/$dir"; done
    for deb in "$out/.debs/$image"/*.deb; do
        [[ $(basename "$deb") =~ $not_needed ]] && continue
        dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink -C "$root"
    done
    (cd "$root/usr/share" 2>/dev/null && rm -rf doc doc-base man locale info lintian bash-completion \
        perl perl5 zoneinfo menu bug common-licenses initramfs-tools) || true
    rm -rf "$root"/usr/lib/x86_64-linux-gnu/{gconv,perl*,audit} "$root"/lib/systemd "$root"/etc/{init.d,cron*,ufw,logrotate.d,default}
}

# What every root file system needs, whatever is in it: users, a shell, the library cache.
skeleton() {
    local root=$1 applet
    mkdir -p "$root"/{dev,proc,sys,run,tmp,root,etc,usr/bin,var/log,var/tmp,var/lib,var/cache,home}
    chmod 1777 "$root/tmp" "$root/var/tmp"
    chmod 700 "$root/root"
    [ -e "$root/var/run" ] || ln -s /run "$root/var/run"
    cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
PASSWD
    cat >"$root/etc/group" <<'GROUP'
root:x:0:
daemon:x:1:
bin:x:2:
tty:x:5:
www-data:x:33:
nogroup:x:65534:
GROUP
    printf 'hosts: files dns\npasswd: files\ngroup: files\n' >"$root/etc/nsswitch.conf"
    # The static busybox brings a shell and the everyday commands; real programs keep their place.
    if [ "$root" != "$work/root-busybox" ]; then
        cp "$work/root-busybox/usr/bin/busybox" "$root/usr/bin/busybox"
    fi
    "$root/usr/bin/busybox" --list | while read -r applet; do
        [ -e "$root/usr/bin/$applet" ] || [ -e "$root/usr/sbin/$applet" ] \
            || ln -s busybox "$root/usr/bin/$applet"
    done
    ldconfig -r "$root" 2>/dev/null || true
    rm -rf "$root/var/cache/ldconfig"
}

pack() {
    local image=$1
    shift
    say "$image: packing"
    python3 "$packer" "$work/root-$image" "$out/$image.tar" "$@"
}

prepare_host() {
    local missing=()
    python3 -c 'import tarfile, gzip, hashlib, json, argparse' 2>/dev/null || missing+=(python3)
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing ${missing[*]}"
    if ! DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "${missing[@]}" 9>&- >"$work/apt.log" 2>&1; then
        apt-get -qq update 9>&- >"$work/apt.log" 2>&1
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "${missing[@]}" 9>&- >"$work/apt.log" 2>&1 \
            || { cat "$work/apt.log" >&2; die "cannot install ${missing[*]}"; }
    fi
}

main
