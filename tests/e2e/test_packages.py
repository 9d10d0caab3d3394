"""What owners install: the Debian package, the tarball, and the service that the package brings."""

import os
import shutil
import socket
import subprocess
import tarfile

import pytest
from windlass import ROOT, Installation


@pytest.fixture(scope="module")
def packed(executable, tmp_path_factory):
    """The folder with what `make package` makes, of the executable under test."""
    out = tmp_path_factory.mktemp("dist")
    # Without its symbols, as the release is, and so a tenth of the bytes.
    stripped = tmp_path_factory.mktemp("stripped") / "windlass"
    subprocess.run(["strip", "-o", stripped, executable], check=True)
    subprocess.run([ROOT / "scripts/package.sh", stripped, out], check=True, capture_output=True)
    return out


def one(folder, pattern):
    (found,) = folder.glob(pattern)
    return found


def runs(program):
    done = subprocess.run([program, "version", "--help"], capture_output=True, text=True)
    return done.returncode == 0 and "Usage: windlass version" in done.stdout


def test_checksums_are_those_of_the_files(packed):
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=packed, capture_output=True)
    assert done.returncode == 0, done.stdout


def test_the_tarball_holds_one_folder_with_a_program_that_runs(packed, tmp_path):
    archive = one(packed, "windlass-*-x86_64-linux.tar.gz")
    with tarfile.open(archive) as members:
        owners = {(member.uid, member.gid) for member in members}
        tops = {member.name.split("/")[0] for member in members}
        members.extractall(tmp_path)
    assert owners == {(0, 0)}
    assert tops == {archive.name.removesuffix(".tar.gz")}
    folder = tmp_path / tops.pop()
    assert runs(folder / "windlass")
    for name in ("README.md", "LICENSE", "windlass.service", "docs/cli.md", "examples/primes.json"):
        assert (folder / name).is_file(), name


def test_the_debian_package_installs_upgrades_and_goes(packed, tmp_path):
    """In a root of its own, whose maintainer scripts run in it: there is no systemd in it, as in a
    container, so that the scripts must do without."""
    root = tmp_path / "root"
    for folder in ("bin", "etc", "dev", "usr/bin", "var/lib/dpkg/info", "var/lib/dpkg/updates"):
        (root / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    subprocess.run(["chroot", root, "/bin/busybox", "--install", "-s", "/bin"], check=True)
    # What the scripts call of Debian's: here it writes down how it was called.
    helper = root / "usr/bin/deb-systemd-helper"
    helper.write_text('#!/bin/sh\necho "$@" >>/calls\n')
    helper.chmod(0o755)
    (root / "dev/null").touch()
    (root / "var/lib/dpkg/status").write_text(
        "Package: init-system-helpers\nStatus: install ok installed\nVersion: 1\n"
        "Architecture: all\nMaintainer: none\nDescription: none\n"
    )

    def dpkg(*arguments):
        done = subprocess.run(
            ["dpkg", f"--root={root}", *arguments], capture_output=True, text=True,
            env=os.environ | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    package = one(packed, "windlass_*_amd64.deb")
    dpkg("--install", package)
    assert runs(root / "usr/bin/windlass")
    unit = (root / "lib/systemd/system/windlass.service").read_text()
    assert "ExecStart=/usr/bin/windlass up" in unit and "KillMode=process" in unit
    assert (root / "usr/share/bash-completion/completions/windlass").stat().st_size > 1000
    # The owner's options outlive an upgrade.
    (root / "etc/default/windlass").write_text('WINDLASS_UP="--data /srv"\n')
    dpkg("--install", package)
    assert "/srv" in (root / "etc/default/windlass").read_text()

    data = root / "var/lib/windlass"
    data.mkdir()
    dpkg("--remove", "windlass")
    assert not (root / "usr/bin/windlass").exists()
    assert "is kept" in dpkg("--purge", "windlass")
    assert data.is_dir() and not (root / "etc/default/windlass").exists()
    calls = (root / "calls").read_text()
    assert "was-enabled windlass.service" in calls and "purge windlass.service" in calls


def test_systemd_understands_the_unit(packed, tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not on this machine")
    # It looks for the program that the unit starts.
    unit = tmp_path / "windlass.service"
    text = (ROOT / "packaging/windlass.service").read_text()
    unit.write_text(text.replace("/usr/bin/windlass up", "/bin/true up"))
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_service_manager_is_told_when_it_serves_and_when_it_ends(executable, tmp_path, monkeypatch):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(40)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    installation = Installation(executable, tmp_path / "windlass")
    try:
        installation.start()
        assert manager.recv(100).split() == [b"READY=1"]
        assert installation.raw("Windlass.GetStatus", {}).status == 200
        assert installation.terminate() == 0
        assert manager.recv(100).split() == [b"STOPPING=1"]
    finally:
        installation.dispose()
        manager.close()
