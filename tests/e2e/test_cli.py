"""What all client verbs have in common: versions, completion, wrong input, output."""

import re
import subprocess

from cli import NOBODY
from windlass import busybox


def test_version(cli, windlass):
    said = cli("version")
    assert re.search(rf"^endpoint +{windlass.url}$", said, re.M)
    answer = cli("version", "-o", "json").json()
    assert answer["server"]["pid"] == windlass.process.pid
    assert answer["client"]["version"] == answer["server"]["version"]
    nowhere = cli.environment(AWS_ENDPOINT_URL="http://127.0.0.1:1")
    assert cli("version", "-o", "json", env=nowhere).json()["server"] is None
    assert cli("--version").startswith("windlass ")


def test_help_of_a_verb(cli):
    assert cli("help", "run") == cli("run", "--help")
    assert cli("help") == cli("--help")
    said = cli("regster", "web.json", code=64).err
    assert "'register'" in said and "similar" in said
    assert "windlass images rm" in cli("rm", "web", code=64).err


def test_completion(cli):
    script = cli("completion", "bash")
    done = subprocess.run(
        ["bash", "-c", 'eval "$1"; COMP_WORDS=(windlass imag); COMP_CWORD=1; '
         '_windlass windlass imag windlass; echo "${COMPREPLY[@]}"', "bash", script],
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["images"], done.stderr
    for shell in ("zsh", "fish"):
        assert "import-rootfs" in cli("completion", shell)


def test_no_server_and_wrong_keys(cli):
    nowhere = cli.environment(AWS_ENDPOINT_URL="http://127.0.0.1:1")
    path, family = cli.definition(busybox("exit 0"))
    for words in (["ps"], ["run", path], ["logs", "ab"], ["images"], ["backup", "b"], ["wait", "a", "running"]):
        said = cli(*words, code=69, env=nowhere)
        assert "windlass up" in said.err, words
    assert cli("ps", "--data", cli.folder / "none", code=69).err
    wrong = cli.environment(AWS_SECRET_ACCESS_KEY="x")
    assert cli("ps", code=4, env=wrong).err
    unknown = cli.environment(AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE")
    assert "windlass env" in cli("ps", code=4, env=unknown).err
    for words in (["ps", "--nothing"], ["run"], ["nodes", "add"], ["logs", "a", "--tail", "x"], []):
        assert cli(*words, code=64).err


def test_hints_are_for_people(cli):
    """On a terminal a verb says what may come next; in a pipe it does not."""
    path, family = cli.definition(busybox("exit 0"))
    assert cli("register", path).err == ""
    words = " ".join([*NOBODY, str(cli.executable), "register", str(path)])
    done = subprocess.run(
        ["script", "-qec", words, "/dev/null"], env=cli.environment(), capture_output=True,
        text=True, stdin=subprocess.DEVNULL,
    )
    assert f"next: `windlass run {family}:2`" in done.stdout
