#!/usr/bin/env bash
# Runs the tests that need a real kernel on a machine whose only cgroup hierarchy is v2:
#
#   scripts/test-v2.sh [SUITE]...        (default: every suite)
#
# Most users' machines are such machines, while the one that builds this may have both versions of
# cgroups, where v1 is taken. So a virtual machine with Debian 12's kernel is booted, emulated and
# without a disk: nothing of the host is used but its processors, and no hardware help is needed.
# The suites are listed in `suites` below; tests/v2 holds what runs inside.
#
# Needs root (to install packages) and Debian 12. Kernel and modules are fetched once to .cache/v2
# and never installed. With everything cached a run takes about two minutes on two processors, most
# of them emulation. Ends with 1 when a suite failed, and with 2 when the machine did not come up or
# not to an end; the console's text is in .cache/v2/console.log.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/.." && pwd)
cache=$root/.cache/v2

kernel_package=linux-image-cloud-amd64
# Long for a busy machine; a boot takes some ten seconds.
boot_seconds=${WINDLASS_V2_BOOT_SECONDS:-120}
total_seconds=${WINDLASS_V2_SECONDS:-900}
memory_mib=2048

say() { printf 'test-v2: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 2; }

main() {
    [ "$(uname -m)" = x86_64 ] || die "boots an amd64 machine, so the tests must be built on one"
    mkdir -p "$cache"
    exec 9>"$cache/.lock"
    flock 9
    work=$(mktemp -d "$cache/.run.XXXXXX")
    trap stop EXIT
    choose_suites "$@"
    install_tools
    fetch_kernel
    pack_kernel
    build_tests
    pack_machine
    boot
}

# --- what the host needs -----------------------------------------------------------------------

install_tools() {
    local missing=() pair
    for pair in qemu-system-x86_64:qemu-system-x86 cpio:cpio depmod:kmod strip:binutils \
        busybox:busybox-static ip:iproute2 nft:nftables unshare:util-linux python3:python3 \
        runc:runc; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || die "these packages are missing: ${missing[*]}"
    say "installing ${missing[*]}"
    apt_get install -y --no-install-recommends "${missing[@]}"
}

# Quiet unless it fails; with fresh lists when the old ones point at versions that are gone.
apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >"$work/apt.log" 2>&1 9>&- && return 0
    apt-get -qq update >"$work/apt.log" 2>&1 9>&- || { cat "$work/apt.log" >&2; die "apt-get update failed"; }
    DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >"$work/apt.log" 2>&1 9>&- \
        || { cat "$work/apt.log" >&2; die "apt-get $1 failed"; }
}

# The newest kernel of this Debian, unpacked: no hook runs, and the host's boot is untouched.
fetch_kernel() {
    if [ ! -s "$cache/kernel/release" ]; then
        say "fetching the kernel"
        rm -rf "$cache/kernel"
        mkdir -p "$work/kernel"
        local package
        package=$(apt-cache depends "$kernel_package" 2>/dev/null \
            | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
        if [ -z "$package" ]; then
            apt_get update
            package=$(apt-cache depends "$kernel_package" \
                | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
        fi
        [ -n "$package" ] || die "apt knows no $kernel_package: this needs Debian's package lists"
        (cd "$work" && apt_get -o APT::Sandbox::User=root download "$package")
        dpkg-deb -x "$work/$package"_*.deb "$work/kernel"
        basename "$work"/kernel/lib/modules/* >"$work/kernel/release"
        mv "$work/kernel" "$cache/kernel"
    fi
    release=$(cat "$cache/kernel/release")
}

# The modules that containers and their networks use, with the lists by which the kernel itself
# loads them: as on a real machine, none is loaded beforehand.
pack_kernel() {
    modules=$cache/modules-$release.cpio
    [ -s "$modules" ] && [ "$modules" -nt "${BASH_SOURCE[0]}" ] && return 0
    say "packing the modules of $release"
    local from=$cache/kernel/lib/modules/$release to=$work/modules/machine/lib/modules/$release part
    mkdir -p "$to"
    cp "$from"/modules.{builtin,builtin.modinfo,order} "$to"
    for part in arch crypto lib fs/overlayfs net/{802,8021q,bridge,core,ipv4,ipv6,llc,netfilter} \
        drivers/net/{veth,dummy}.ko; do
        mkdir -p "$to/kernel/$(dirname "$part")"
        cp -r "$from/kernel/$part" "$to/kernel/$part"
    done
    depmod -b "$work/modules/machine" "$release"
    archive "$work/modules" >"$work/modules.cpio"
    mv "$work/modules.cpio" "$modules"
}

# --- the tests ---------------------------------------------------------------------------------

# Suite, package that has it, and its command line in the machine. What a suite runs from /tests is
# the test program of that name.
suites() {
    cat <<'LIST'
start_cases windlass-runtime /tests/start_cases
shim_containers windlass-runtime /tests/shim_containers --test-threads 2
network windlass-network /tests/network --test-threads 2
agent windlass-agent /tests/kernel
smoke windlass /bin/sh /smoke
LIST
}

choose_suites() {
    local name
    if [ $# = 0 ]; then
        suites >"$work/suites"
        return 0
    fi
    for name in "$@"; do
        suites | grep "^$name " >>"$work/suites" \
            || die "no suite is called $name; there are: $(suites | cut -d' ' -f1 | xargs)"
    done
}

needs() { grep -q "^[a-z_]* $1 " "$work/suites"; }

# Builds every program that runs inside, at once so that dependencies are built once, and writes
# "NAME PATH" lines to $work/programs.
build_tests() {
    local package name what=(--bins)
    while read -r package; do
        what+=(-p "$package")
    done < <(cut -d' ' -f2 "$work/suites" | sort -u)
    while read -r name; do
        what+=(--test "$name")
    done < <(test_programs)
    say "building: cargo build ${what[*]}"
    cd "$root"
    cargo build "${what[@]}" --message-format json-render-diagnostics >"$work/cargo.json" 9>&-
    python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable"):
        print(message["target"]["name"], message["executable"])
' <"$work/cargo.json" >"$work/programs"
}

test_programs() { sed -n 's|.* /tests/\([a-z_]*\).*|\1|p' "$work/suites"; }

program() {
    local path
    path=$(awk -v name="$1" '$1 == name { print $2 }' "$work/programs" | tail -n 1)
    [ -n "$path" ] || die "cargo built no $1"
    printf '%s\n' "$path"
}

# --- the machine -------------------------------------------------------------------------------

pack_machine() {
    local tree=$work/tree machine=$work/tree/machine name path pair applet
    say "packing the machine"
    mkdir -p "$tree/bin" "$machine"/{bin,sbin,dev,proc,sys,run,tmp,etc,root,var/lib,usr/bin,usr/sbin,tests,lib64}
    cp "$(command -v busybox)" "$tree/bin/busybox"
    cp "$root/tests/v2/init" "$tree/init"
    cp "$root/tests/v2/main" "$root/tests/v2/smoke" "$machine/"
    chmod +x "$tree/init" "$machine/main"
    cp "$tree/bin/busybox" "$machine/bin/busybox"
    "$machine/bin/busybox" --list | while read -r applet; do
        [ "$applet" = busybox ] || ln -s busybox "$machine/bin/$applet"
    done
    # The kernel calls this one by its path.
    # One at a time: busybox takes a module that is being loaded by another for one that is loaded.
    cat >"$machine/sbin/modprobe" <<'MODPROBE'
#!/bin/busybox sh
exec /sbin/flock /sbin/modprobe /bin/busybox modprobe "$@"
MODPROBE
    chmod 755 "$machine/sbin/modprobe"
    with_libraries "$(command -v flock)" "$machine" sbin/flock
    # Shells and tools that tests look for elsewhere, or that busybox has only in part.
    ln -s ../../bin/busybox "$machine/usr/bin/busybox"
    # Its own applets go before programs in the path.
    rm "$machine/bin/sh"
    with_libraries "$(command -v dash)" "$machine" bin/sh
    for name in ip ss nft unshare nsenter runc; do
        with_libraries "$(command -v "$name")" "$machine" "usr/sbin/$name"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$machine/etc/passwd"
    printf 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n' >"$machine/etc/group"
    printf '127.0.0.1 localhost\n' >"$machine/etc/hosts"
    printf 'windlass-v2\n' >"$machine/etc/hostname"
    chmod 1777 "$machine/tmp"

    cut -d' ' -f1,3- "$work/suites" >"$machine/suites"
    test_programs | while read -r name; do
        strip -o "$machine/tests/$name" "$(program "$name")"
    done
    # Tests know these by the paths they were built with.
    mkdir -p "$machine$root"/crates/{agent,runtime,network} "$machine$root/.cache/images"
    for pair in windlass-runtime:shim-under-test windlass-network:relay-under-test; do
        needs "${pair%%:*}" || continue
        path=$(program "${pair##*:}")
        mkdir -p "$machine$(dirname "$path")"
        strip -o "$machine$path" "$path"
    done
    if needs windlass-agent || needs windlass; then
        "$here/sample-images.sh" "$root/.cache/images" 9>&-
        cp "$root/.cache/images/busybox.tar" "$machine$root/.cache/images/"
    fi
    if needs windlass; then
        strip -o "$machine/usr/bin/windlass" "$(program windlass)"
        ln -s "$root/.cache/images" "$machine/images"
    fi
    # The kernel unpacks archives one after the other.
    { cat "$modules"; archive "$tree"; } >"$work/initramfs"
}

# Copies a program and the shared libraries it needs.
with_libraries() {
    local program=$1 machine=$2 to=$3 library
    cp "$program" "$machine/$to"
    { ldd "$program" 2>/dev/null || true; } | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$machine$(dirname "$library")"
        [ -e "$machine$library" ] || cp -L "$library" "$machine$library"
    done
}

archive() {
    (cd "$1" && find . -print0 | cpio --quiet --null --create --format newc --owner +0:+0)
}

boot() {
    local begin=$SECONDS seen=0 ready= line failed=0 ended=
    : >"$work/verdicts"
    : >"$cache/console.log"
    say "booting $release, $(du -m "$work/initramfs" | cut -f1) MiB; everything it says: $cache/console.log"
    qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -smp 2 -m "$memory_mib" \
        -nodefaults -display none -monitor none -nic none -no-reboot \
        -serial "file:$cache/console.log" -serial "file:$work/verdicts" \
        -kernel "$cache/kernel/boot/vmlinuz-$release" -initrd "$work/initramfs" \
        -append "console=ttyS0 quiet panic=-1" </dev/null >"$work/qemu.log" 2>&1 9>&- &
    machine_pid=$!
    while :; do
        # Before the verdicts are read, so that the last ones are not missed.
        kill -0 "$machine_pid" 2>/dev/null || ended=yes
        while IFS= read -r line; do
            seen=$((seen + 1))
            case $line in
                ready*) ready=yes; say "the machine is up after $((SECONDS - begin)) s, with Linux ${line#ready }" ;;
                failed*) failed=$((failed + 1)); say "$line" ;;
                *) say "$line" ;;
            esac
            case $line in end*) finished=yes ;; esac
        done < <(tail -n +$((seen + 1)) "$work/verdicts" | tr -d '\r')
        [ -z "$ended" ] || break
        [ -n "$ready" ] || [ $((SECONDS - begin)) -lt "$boot_seconds" ] || fail "the machine is not up after $boot_seconds s"
        [ $((SECONDS - begin)) -lt "$total_seconds" ] || fail "the machine has not ended after $total_seconds s"
        sleep 1
    done
    [ -n "$ready" ] || fail "the machine ended before it was up: $(cat "$work/qemu.log")"
    [ -n "${finished:-}" ] || fail "the machine ended in the middle of its suites"
    say "took $((SECONDS - begin)) s"
    [ "$failed" = 0 ] || { show_failures; say "$failed suites failed"; exit 1; }
    say "every suite passed on cgroup v2 alone"
}

show_failures() {
    grep -aE 'FAILED|panicked|^thread|^windlass' "$cache/console.log" | tail -n 40 >&2 || true
}

fail() {
    tail -n 20 "$cache/console.log" >&2
    die "$1"
}

stop() {
    if [ -n "${machine_pid:-}" ]; then
        kill "$machine_pid" 2>/dev/null || true
        wait "$machine_pid" 2>/dev/null || true
    fi
    rm -rf "$work"
}

main "$@"
