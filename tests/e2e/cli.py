"""The client verbs of the executable, called as users do."""

import contextlib
import json
import pathlib
import re
import shlex
import shutil
import subprocess

from windlass import PATIENCE_S, unique


class Said(str):
    """Standard output; with the exit code and standard error."""

    def __new__(cls, done):
        said = super().__new__(cls, done.stdout)
        said.code, said.err = done.returncode, done.stderr
        return said

    def json(self):
        return json.loads(self)

    def rows(self):
        """A table's rows by its headings, which are one or more words each, two spaces apart."""
        head, *lines = self.splitlines()
        starts = [match.start() for match in re.finditer(r"(?<=  )\S|^\S", head)]
        ends = [*starts[1:], None]
        names = [head[a:b].strip() for a, b in zip(starts, ends)]
        cells = ([line[a:b].strip() for a, b in zip(starts, ends)] for line in lines)
        return [dict(zip(names, row)) for row in cells]


NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


class Cli:
    """The client verbs, as a user without rights calls them who has evaluated `windlass env`."""

    def __init__(self, installation, folder):
        self.installation, self.folder = installation, pathlib.Path(folder)
        # Everybody may go there, which is not so for the folders of the tests.
        self.folder.chmod(0o755)
        self.executable = self.folder / "windlass"
        shutil.copy2(installation.executable, self.executable)

    def command(self, *arguments, root=False):
        return [*([] if root else NOBODY), str(self.executable), *map(str, arguments)]

    def environment(self, **variables):
        return self.installation.environment() | {"HOME": "/nonexistent"} | variables

    def __call__(self, *arguments, code=0, root=False, timeout=PATIENCE_S, **settings):
        """Runs one that must exit with `code`."""
        settings.setdefault("env", self.environment())
        if "input" not in settings:
            settings["stdin"] = subprocess.DEVNULL
        done = subprocess.run(
            self.command(*arguments, root=root),
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=self.folder,
            **settings,
        )
        said = Said(done)
        assert said.code == code, (arguments, said.code, said, said.err)
        return said

    def begin(self, *arguments, **settings):
        """Starts one that goes on: its process. Nothing is read ahead of what a test reads, or its
        rest would not be the whole rest."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=self.folder,
            **settings,
        )

    def file(self, name, content):
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        path.chmod(0o644)
        return path

    def definition(self, *containers, family=None, **members):
        """A file with a task definition: its path and family."""
        family = family or unique("cli")
        content = {"family": family, "containerDefinitions": list(containers)} | members
        return self.file(f"{family}.json", content), family


@contextlib.contextmanager
def terminal(command, environment, columns=80, rows=24):
    """Runs a command on a terminal of its own: yields what gives the text that it shows now."""
    name = unique("terminal")
    tmux = ["tmux", "-L", name, "-f", "/dev/null"]
    size = ["-x", str(columns), "-y", str(rows)]
    words = " ".join(shlex.quote(str(word)) for word in command)
    kept = {n: v for n, v in environment.items() if n != "TMUX"} | {"TERM": "xterm-256color"}

    def run(*words):
        done = subprocess.run([*tmux, *words], env=kept, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("new-session", "-d", *size, f"{words}; echo \"<ended with $?>\"; sleep 600")
    show = Terminal(run)
    try:
        yield show
    finally:
        subprocess.run([*tmux, "kill-server"], env=kept, capture_output=True)


class Terminal:
    def __init__(self, run):
        self._run = run

    def __call__(self, colours=False):
        """The text of the screen."""
        return self._run("capture-pane", "-p", *(["-e"] if colours else []))

    def keys(self, *keys):
        self._run("send-keys", *keys)

    def close(self):
        """As the window's button does."""
        self._run("kill-session")


def end_of(process, code, seconds=40):
    """What a process that was begun has said since, once it has ended with `code`."""
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == code, (process.returncode, out, err)
    return out.decode(), err.decode()


def waits_of(process):
    """How often the process has waited for something."""
    status = open(f"/proc/{process.pid}/status").read()
    return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status, re.M)[1])


def line_of(stream, word):
    """The next line that has the word; what comes before is left out."""
    while line := stream.readline().decode():
        if word in line:
            return line
    raise AssertionError(f"no line with {word!r}")
