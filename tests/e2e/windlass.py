"""One installation of Windlass under test: its process, its clients, and what it leaves behind.

The command lines of the product stand in `Installation._up` and `Installation._down` alone.
"""

import contextlib
import fcntl
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from datetime import datetime, timezone

import boto3
from botocore.config import Config

ROOT = pathlib.Path(__file__).resolve().parents[2]
IMAGES = ROOT / ".cache" / "images"
TARGET = "AmazonEC2ContainerServiceV20141113"
SIGKILL = signal.SIGKILL
# Longest wait for something that takes a moment on an idle machine.
PATIENCE_S = 40


def wait_until(probe, what, seconds=PATIENCE_S, pause=0.05):
    """The first truthy answer of `probe`; fails naming `what` and the last answer."""
    deadline = time.monotonic() + seconds
    while True:
        last = probe()
        if last:
            return last
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s; last: {last!r}"
        time.sleep(pause)


class Lease:
    """Something of which there is one on the machine, held by a lock until released: an address
    range, a TCP port. A lock that its process loses by any end is free again."""

    def __init__(self, kind, numbers):
        for number in numbers:
            self._file = open(f"/tmp/windlass-e2e-{kind}-{number}.lock", "w")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                continue
            self.number = number
            return
        raise RuntimeError(f"no free {kind}: {numbers} are all in use")

    def release(self):
        self._file.close()


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def subnet_is_free(number):
    """What a run that was killed left behind is nobody's, and in the way."""
    addresses = subprocess.run(["ip", "-o", "address"], capture_output=True, text=True).stdout
    return f" 10.{number}." not in addresses


class Installation:
    """`windlass up` on a data folder of its own, with a port and an address range of its own."""

    def __init__(self, executable, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        # Its own file, so that its processes are told from everybody else's by their executable.
        self.executable = self.folder / "windlass"
        shutil.copy2(executable, self.executable)
        self._subnet = Lease("subnet", filter(subnet_is_free, range(100, 200)))
        self.subnet = f"10.{self._subnet.number}.0.0/16"
        # Below the range that the kernel hands out by itself.
        self._port = Lease("port", filter(port_is_free, range(17700, 17800)))
        self.listen = f"127.0.0.1:{self._port.number}"
        self.url = f"http://{self.listen}"
        # Further ones of `up`.
        self.options = []
        self.process = None
        self._log = None
        self._ecs = None
        # What makes the processes believe in another boot, and what holds that belief.
        self._boot = []
        self._booted = None

    # --- the commands --------------------------------------------------------------------------

    def _up(self):
        return [*self._boot, self.executable, "up", "--data", self.data, "--listen", self.listen,
                "--subnet", self.subnet, *self.options]

    def up_command(self):
        return self._up()

    def move(self):
        """Ends it and starts it at another address."""
        assert self.terminate() == 0
        old = self._port
        self._port = Lease("port", filter(port_is_free, range(self._port.number + 1, 17800)))
        old.release()
        self.listen = f"127.0.0.1:{self._port.number}"
        self.url = f"http://{self.listen}"
        self._ecs = None
        return self.start()

    def _down(self):
        return [*self._boot, self.executable, "down", "--data", self.data]

    def start(self):
        """Starts it and waits until it answers."""
        assert self.process is None, "it runs already"
        self._log = open(self.folder / "up.log", "ab")
        self.process = subprocess.Popen(
            self._up(), stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL
        )
        wait_until(self._answers, "windlass up answers")
        return self

    def _answers(self):
        assert self.process.poll() is None, f"windlass up ended: {self.log()[-2000:]}"
        if not (self.data / "credentials.json").exists():
            return False
        try:
            return self.raw("Windlass.GetStatus", {}).status == 200
        except OSError:
            return False

    def kill(self):
        """As a crash of the machine's software would: nothing gets to tidy up."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def reboot(self):
        """As the machine's: every process, mount, link, rule and cgroup is gone, and so is what lay
        on tmpfs; only the disk is as it was. The kernel's boot has another id from here on."""
        mounts = []
        # First, so that it does not see the others end.
        self.process.kill()
        self.process.wait()
        for pid in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, SIGKILL)
        self.process = None
        wait_until(lambda: not self.processes(), "the end of its processes")
        identity, run = self.id, pathlib.Path(f"/run/windlass-{self.id}")
        for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
            point = line.split()[4]
            if point.startswith((str(run), str(self.data))):
                mounts.append(point)
        for point in reversed(mounts):
            subprocess.run(["umount", "-l", point], check=True)
        shutil.rmtree(run)
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
        for name in re.findall(rf"\d+: (wl{identity}[^:@ ]*)", links):
            subprocess.run(["ip", "link", "delete", name], capture_output=True)
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
        for table in tables.splitlines():
            if f"windlass_{identity}" in table:
                subprocess.run(["nft", "delete", *table.split()], check=True)
        for folder, names, _ in os.walk("/sys/fs/cgroup", topdown=False):
            if f"/windlass-{identity}" in folder:
                os.rmdir(folder)
        assert not self.leftovers(), self.leftovers()
        boot = self.folder / "boot_id"
        boot.write_text(f"{uuid.uuid4()}\n")
        # One mount namespace for all that follows, as what it mounts there must be seen by all.
        script = f"mount --bind {boot} /proc/sys/kernel/random/boot_id; echo; exec sleep 1000"
        self._end_boot()
        self._booted = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", script], stdout=subprocess.PIPE
        )
        assert self._booted.stdout.readline() == b"\n"
        self._boot = ["nsenter", f"--mount=/proc/{self._booted.pid}/ns/mnt"]

    def _end_boot(self):
        if self._booted is not None:
            self._booted.kill()
            self._booted.communicate()

    def upgrade(self):
        """Puts a newer build in the executable's place; what runs goes on from the old one."""
        newer = self.executable.with_suffix(".new")
        newer.write_bytes(self.executable.read_bytes() + b"a newer build")
        newer.chmod(0o755)
        newer.rename(self.executable)

    def terminate(self):
        """As an operator does. Returns the exit code."""
        self.process.terminate()
        code = self.process.wait(timeout=PATIENCE_S)
        self.process = None
        return code

    def up_again(self):
        """A further `up` on the same folder: exit code and what it says."""
        done = subprocess.run(self._up(), capture_output=True, text=True, timeout=PATIENCE_S)
        return done.returncode, done.stdout + done.stderr

    def down(self):
        """`windlass down`, whether it is served or not: what it says."""
        done = subprocess.run(
            self._down(), capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stderr
        if self.process is not None:
            self.process.wait(timeout=PATIENCE_S)
            self.process = None
        return done.stderr

    def dispose(self):
        """Ends it, fails when anything is left, and gives back what it held."""
        try:
            self.down()
            left = wait_until_none(self.leftovers)
            assert not left, left
        finally:
            if self.process is not None:
                self.kill()
            self._end_boot()
            self._subnet.release()
            self._port.release()

    def log(self):
        path = self.folder / "up.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # --- what it says of itself ----------------------------------------------------------------

    def _json(self, name):
        return json.loads((self.data / name).read_text())

    @property
    def id(self):
        return self._json("installation.json")["id"]

    @property
    def account(self):
        return self._json("installation.json")["accountId"]

    @property
    def region(self):
        return self._json("installation.json")["region"]

    def keys(self):
        credentials = self._json("credentials.json")
        return credentials["accessKeyId"], credentials["secretAccessKey"]

    def arn(self, resource):
        return f"arn:aws:ecs:{self.region}:{self.account}:{resource}"

    # --- clients -------------------------------------------------------------------------------

    def client(self, service="ecs", **settings):
        access_key, secret = self.keys()
        arguments = {
            "region_name": self.region,
            "endpoint_url": self.url,
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret,
        } | settings
        arguments.setdefault("config", Config(retries={"max_attempts": 0}))
        return boto3.session.Session().client(service, **arguments)

    @property
    def ecs(self):
        if self._ecs is None:
            self._ecs = self.client()
        return self._ecs

    def environment(self):
        """What `aws` and every SDK need to be pointed here, and nothing of the caller's own."""
        access_key, secret = self.keys()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return kept | {
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_PAGER": "",
        }

    def aws(self, *arguments):
        """The unmodified `aws` CLI: exit code, standard output, standard error."""
        done = subprocess.run(
            [ROOT / ".venv/bin/aws", *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout, done.stderr

    def raw(self, target, body, **how):
        """A signed request as bytes; see `signed`."""
        access_key, secret = self.keys()
        settings = {"access_key": access_key, "secret": secret, "region": self.region} | how
        if not isinstance(body, (bytes, bytearray)):
            body = json.dumps(body).encode()
        return send(self.url, signed(self.listen, target, body, **settings), body)

    def load_image(self, archive):
        answer = self.raw("Windlass.LoadImage", pathlib.Path(archive).read_bytes())
        assert answer.status == 200, answer.body
        return answer.json()["images"]

    def logs(self, task, container=None):
        """What a task's containers wrote: (container, stream, text) in order."""
        body = {"task": task.rsplit("/", 1)[-1]}
        if container:
            body["containers"] = [container]
        answer = self.raw("Windlass.GetLogs", body)
        assert answer.status == 200, answer.body
        lines = [json.loads(line) for line in answer.body.splitlines()]
        return [(line["container"], line["stream"], line["text"]) for line in lines]

    def text(self, task, container=None):
        return "\n".join(text for _, _, text in self.logs(task, container))

    def ports_in_use(self):
        """Ports of the machine that others listen on, as its node last told."""
        answer = self.raw("Windlass.ListNodes", {})
        assert answer.status == 200, answer.body
        (node,) = answer.json()["nodes"]
        return node["portsInUse"]

    def history(self, subject):
        answer = self.raw("Windlass.DescribeHistory", {"subject": subject})
        assert answer.status == 200, answer.body
        return answer.json()["entries"]

    # --- the machine ---------------------------------------------------------------------------

    def processes(self):
        """Pids of its executable, and of everything in its cgroups."""
        own = set()
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                executable = os.readlink(entry / "exe").removesuffix(" (deleted)")
                groups = (entry / "cgroup").read_text()
            except OSError:
                continue
            if executable == str(self.executable) or f"/windlass-{self.id}" in groups:
                own.add(int(entry.name))
        return own

    def marked(self, marker):
        """Pids in its cgroups whose command line holds a text that only one test has."""
        return {pid for pid in self.processes() if marker in command(pid)}

    def leftovers(self):
        """Everything on the machine that carries its name, its data folder apart."""
        identity = self.id
        links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
        mounts = pathlib.Path("/proc/self/mountinfo").read_text()
        left = [f"link {line}" for line in links.splitlines() if f"wl{identity}" in line]
        left += [f"table {t}" for t in tables.splitlines() if f"windlass_{identity}" in t]
        left += [
            f"mount {line.split()[4]}"
            for line in mounts.splitlines()
            if f"windlass-{identity}" in line or str(self.data) in line
        ]
        left += [f"process {pid} {command(pid)}" for pid in self.processes()]
        for folder, names, _ in os.walk("/sys/fs/cgroup"):
            left += [f"cgroup {folder}/{n}" for n in names if f"windlass-{identity}" in n]
        run = pathlib.Path(f"/run/windlass-{identity}")
        if run.exists():
            left.append(f"folder {run}")
        return left


def command(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "(gone)"


def wait_until_none(probe, seconds=5):
    """The last answer of `probe`: empty as soon as it is."""
    deadline = time.monotonic() + seconds
    while (last := probe()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return last


# --- requests that no SDK would send -------------------------------------------------------------


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.json()["__type"]

    @property
    def message(self):
        return self.json()["message"]


def signed(
    host,
    target,
    body,
    access_key,
    secret,
    region,
    service="ecs",
    at=None,
    sign=True,
    headers=None,
):
    """The headers of a request signed with Signature Version 4, written from its specification."""
    at = at or datetime.now(timezone.utc)
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    day = stamp[:8]
    digest = hashlib.sha256(body).hexdigest()
    content_type = "application/x-amz-json-1.1" if service == "ecs" else FORM
    sent = {"host": host, "x-amz-date": stamp, "x-amz-content-sha256": digest}
    sent |= {"content-type": content_type}
    if target is not None:
        sent["x-amz-target"] = target
    sent |= headers or {}
    if not sign:
        return sent
    names = ";".join(sorted(sent))
    lines = "".join(f"{name}:{sent[name]}\n" for name in sorted(sent))
    canonical = f"POST\n/\n\n{lines}\n{names}\n{digest}"
    scope = f"{day}/{region}/{service}/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}"
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return sent


FORM = "application/x-www-form-urlencoded; charset=utf-8"


def send(url, headers, body, method="POST"):
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


# --- tasks ---------------------------------------------------------------------------------------


class Tasks:
    """The everyday calls of a test, on one cluster."""

    def __init__(self, installation, cluster="default"):
        self.installation, self.cluster, self.ecs = installation, cluster, installation.ecs
        self.started = []

    def register(self, *containers, family=None, **members):
        """A revision of a family named by the test; its `family:revision`."""
        family = family or unique("e2e")
        made = self.ecs.register_task_definition(
            family=family, containerDefinitions=list(containers), **members
        )["taskDefinition"]
        return f"{made['family']}:{made['revision']}"

    def run(self, definition, **members):
        """One task that must be placed: its ARN."""
        answer = self.ecs.run_task(cluster=self.cluster, taskDefinition=definition, **members)
        assert answer["failures"] == [], answer["failures"]
        arns = [task["taskArn"] for task in answer["tasks"]]
        self.started += arns
        return arns[0]

    def start(self, *containers, run=None, **members):
        return self.run(self.register(*containers, **members), **(run or {}))

    def describe(self, task, **members):
        answer = self.ecs.describe_tasks(cluster=self.cluster, tasks=[task], **members)
        assert answer["failures"] == [], answer["failures"]
        return answer["tasks"][0]

    def running(self, task, seconds=PATIENCE_S):
        """The task's record once it is RUNNING; fails at once when it stops instead."""

        def probe():
            record = self.describe(task)
            assert record["lastStatus"] != "STOPPED", told(record)
            return record["lastStatus"] == "RUNNING" and record

        return wait_until(probe, f"{task} RUNNING", seconds)

    def stopped(self, task, seconds=PATIENCE_S):
        def probe():
            record = self.describe(task)
            return record["lastStatus"] == "STOPPED" and record

        return wait_until(probe, f"{task} STOPPED", seconds)

    def stop(self, task, **members):
        return self.ecs.stop_task(cluster=self.cluster, task=task, **members)["task"]

    def finish(self):
        """Asks every task of the test to stop, so that the machine is free for the next."""
        for task in self.started:
            record = self.describe(task)
            if record["lastStatus"] != "STOPPED":
                self.stop(task)
        for task in self.started:
            self.stopped(task)


def told(record):
    """Why a task stopped, for a test's failure."""
    reasons = {c["name"]: (c.get("exitCode"), c.get("reason")) for c in record["containers"]}
    return f"{record.get('stopCode')}: {record.get('stoppedReason')}: {reasons}"


def container(record, name):
    return next(c for c in record["containers"] if c["name"] == name)


_names = iter(range(1_000_000))


def unique(prefix):
    return f"{prefix}-{os.getpid()}-{next(_names)}"


def busybox(script=None, name="main", **members):
    """A small container that runs a shell script."""
    definition = {"name": name, "image": "busybox", "memory": 32, "stopTimeout": 2}
    if script is not None:
        definition["command"] = ["sh", "-c", script]
    return definition | members


def forever(first=":"):
    """A script that does `first` and runs until it is asked to end; then it ends at once, where a
    shell in `sleep` would not, also when it is asked as soon as `first` is done."""
    return f"trap 'exit 0' TERM; {first}; while :; do sleep 1 & wait $!; done"


FOREVER = forever()


def http_get(url, seconds=10):
    with urllib.request.urlopen(url, timeout=seconds) as answer:
        return answer.status, answer.read().decode()


def http_get_soon(url):
    """Status and body of what may not listen yet, because it was just started."""

    def probe():
        try:
            return http_get(url)
        except (OSError, http.client.HTTPException):
            return None

    return wait_until(probe, f"{url} answers")
