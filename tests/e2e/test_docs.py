"""What README and the pages say to type is typed, as printed, by a new user on a new machine.

A line of a ```console block that begins with `$` is a command; a line after one that ends in `\\`
belongs to it. All commands of a page run in one shell, which stops at the first that fails. What a
page shows of their output is not compared.
"""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
from windlass import ROOT

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(
    page.relative_to(ROOT)
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    if BLOCK.search(page.read_text())
)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def commands(page):
    """The commands of a page, in order."""
    found = []
    for block in BLOCK.findall(page.read_text()):
        continued = False
        for line in block.splitlines():
            if continued:
                found[-1] += "\n" + line
            elif line.startswith("$ "):
                found.append(line[2:])
            else:
                continue
            continued = line.endswith("\\")
    return found


@pytest.fixture
def machine(executable, tmp_path):
    """Runs a script where nobody has started Windlass yet: with an empty default data folder, a
    network and a home folder of its own."""
    programs = tmp_path / "bin"
    programs.mkdir()
    shutil.copy(executable, programs / "windlass")
    sudo = programs / "sudo"
    sudo.write_text('#!/bin/sh\nexec "$@"\n')
    sudo.chmod(0o755)
    data = tmp_path / "data"
    data.mkdir()
    pathlib.Path("/var/lib/windlass").mkdir(exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = kept | {
        "HOME": str(tmp_path),
        "SHELL": "/bin/bash",
        "AWS_PAGER": "",
        "PATH": f"{programs}:{ROOT}/.venv/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    isolated = f"mount --bind {data} /var/lib/windlass && ip link set lo up && exec bash -e"

    def run(script):
        # A file, because some commands read their standard input.
        path = tmp_path / "script"
        path.write_text("trap 'windlass down >/dev/null 2>&1 || true' EXIT\n" + script)
        return subprocess.run(
            ["unshare", "--mount", "--net", "sh", "-ec", f"{isolated} {path}"],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_runs_as_printed(machine, page):
    script = "\n".join(f"echo '+++' {n} >&2\n{line}" for n, line in enumerate(commands(ROOT / page)))
    done = machine(script)
    said = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert done.returncode == 0, said


def test_links_between_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in LINK.findall(page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page}: {target}"


def test_the_index_names_every_page():
    index = (ROOT / "docs/README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name
