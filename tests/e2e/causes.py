"""Causes of death, and how to bring each about: what `windlass why` is held against.

`FROM_THE_MANUALS` was written from the manuals of ECS and of container engines alone, before anybody
looked at what the verb says.
"""

from dataclasses import dataclass, field

from windlass import FOREVER, busybox

STOPPED, UNHEALTHY, NOT_PLACED, REFUSED = "stopped", "unhealthy", "not placed", "refused"
STUBBORN = "trap '' TERM; echo not now; while :; do sleep 0.1; done"
NEVER = {"command": ["CMD-SHELL", "echo not listening yet; exit 1"]}


@dataclass
class Case:
    kind: str
    # What the first sentence must hold: who, what, and the number or the name that matters.
    words: list
    containers: list
    members: dict = field(default_factory=dict)
    end: str = STOPPED
    # What is done to it once it runs: a method of `Doings`.
    act: str | None = None
    # Members of RunTask.
    run: dict = field(default_factory=dict)
    # What the whole answer must not hold.
    never: list = field(default_factory=list)


def case(kind, words, *containers, end=STOPPED, act=None, run=None, never=(), **members):
    return Case(kind, words, list(containers), members, end, act, run or {}, list(never))


def probe(command=NEVER["command"], **members):
    return {"command": command, "interval": 5, "timeout": 2, "retries": 1} | members


def after(name, condition):
    return [{"containerName": name, "condition": condition}]


def program(kind, words, path, **members):
    """A file of `programs` is what runs; it lies in a folder of the machine."""
    where = [{"sourceVolume": "files", "containerPath": "/x", "readOnly": True}]
    return case(
        kind,
        words,
        busybox(command=[path], mountPoints=where, **members),
        volumes=[{"name": "files", "host": {"sourcePath": "{files}"}}],
    )


def image(kind, words, name, **how):
    return case(kind, ["main", *words], busybox("true", image=name), **how)


HOG = "tail /dev/zero"

FROM_THE_MANUALS = [
    case("exit code", ["main", "exit code 3"], busybox("echo no DB_URL; exit 3")),
    case(
        "exit code",
        ["sidecar", "exit code 42"],
        busybox(FOREVER, name="web"),
        busybox("sleep 0.5; exit 42", name="sidecar"),
    ),
    program("signal", ["main", "SIGSEGV"], "/x/segv"),
    case("signal", ["main", "SIGKILL"], busybox(FOREVER), act="kill"),
    case("memory: container", ["main", "memory", "16 MiB"], busybox(command=HOG.split(), memory=16)),
    case(
        "memory: task",
        ["main", "memory", "task", "24 MiB"],
        busybox(command=HOG.split(), memory=None, memoryReservation=8),
        memory="24",
    ),
    case(
        "memory: child",
        ["main", "exit code 5", "memory"],
        busybox(f"{HOG}; echo it was killed; exit 5", memory=16),
    ),
    case(
        "stopTimeout",
        ["main", "stopTimeout", "2 s", "SIGKILL"],
        busybox(STUBBORN),
        act="stop",
    ),
    case(
        "health",
        ["web", "unhealthy", "not listening yet"],
        busybox(FOREVER, name="web", healthCheck=probe()),
        end=UNHEALTHY,
    ),
    case(
        "dependency: failed",
        ["app", "migrate", "exit code 4", "no such table"],
        busybox(FOREVER, name="app", dependsOn=after("migrate", "SUCCESS")),
        busybox("echo no such table; exit 4", name="migrate", essential=False),
    ),
    case(
        "dependency: never healthy",
        ["app", "db", "healthy"],
        busybox(FOREVER, name="app", dependsOn=after("db", "HEALTHY")),
        busybox(FOREVER, name="db", healthCheck=probe(), startTimeout=8),
    ),
    case(
        "dependency: circular",
        ["left", "right", "circle"],
        busybox(FOREVER, name="left", dependsOn=after("right", "START")),
        busybox(FOREVER, name="right", dependsOn=after("left", "START")),
        end=REFUSED,
    ),
    image("image: name", ["{registry}/none/such", "not"], "{registry}/none/such:1"),
    image("image: tag", ["{registry}/app", "tag", "lates"], "{registry}/app:lates"),
    image("image: sign-in", ["{registry}/private", "sign in", "windlass login"], "{registry}/private:1"),
    image("image: platform", ["{registry}/app:arm", "linux/arm64", "amd64"], "{registry}/app:arm"),
    image("image: registry down", ["localhost:1", "registry", "reached"], "localhost:1/app:1"),
    case("program: missing", ["main", "gunicorn", "PATH"], busybox(command=["gunicorn", "app"])),
    case("program: not executable", ["/etc/passwd", "executable"], busybox(command=["/etc/passwd"])),
    program("program: architecture", ["/x/arm", "aarch64", "x86_64"], "/x/arm"),
    program("program: no #!", ["/x/plain", "#!"], "/x/plain"),
    program("program: CRLF", ["/x/crlf", "line ends", "Windows"], "/x/crlf"),
    case("user", ["main", "user", "nobody-knows"], busybox("true", user="nobody-knows")),
    case(
        "working directory",
        ["main", "working directory", "/etc/passwd"],
        busybox("true", workingDirectory="/etc/passwd"),
    ),
    case(
        "volume",
        ["main", "volume", "/etc", "plain"],
        busybox("true", mountPoints=[{"sourceVolume": "v", "containerPath": "/etc"}]),
        volumes=[{"name": "v", "host": {"sourcePath": "{files}/plain"}}],
    ),
    case(
        "port",
        ["port", "{task port}"],
        busybox("true", portMappings=[{"containerPort": 80, "hostPort": "{task port}"}]),
        end=NOT_PLACED,
    ),
    case("cpu", ["cpu", "1024000"], busybox("true", cpu=1024000), end=NOT_PLACED),
    case("memory", ["memory", "9000000 MiB"], busybox("true", memory=9000000), end=NOT_PLACED),
    case(
        "attribute",
        ["attribute", "windlass.test.gpu"],
        busybox("true"),
        end=NOT_PLACED,
        placementConstraints=[
            {"type": "memberOf", "expression": "attribute:windlass.test.gpu exists"}
        ],
    ),
    case(
        "constraint",
        ["constraint", "attribute:ecs.os-type == windows"],
        busybox("true"),
        end=NOT_PLACED,
        run={
            "placementConstraints": [
                {"type": "memberOf", "expression": "attribute:ecs.os-type == windows"}
            ]
        },
    ),
    case(
        "read-only root",
        ["main", "exit code 1", "read-only"],
        busybox("touch /var/app.pid", readonlyRootFilesystem=True),
    ),
    case(
        "read-only root",
        ["main", "exit code 7", "read-only"],
        busybox("echo x > /data || exit 7", readonlyRootFilesystem=True),
    ),
]

OTHERS = [
    case("exit code", ["main", "exit code 127", "no-tool"], busybox("no-tool --version")),
    program("signal", ["main", "SIGILL"], "/x/ill"),
    case(
        "memory: container",
        ["worker", "memory", "24 MiB"],
        busybox(FOREVER, name="web"),
        busybox(command=HOG.split(), name="worker", memory=24),
    ),
    case(
        "memory: task",
        ["api", "task", "memory", "32 MiB"],
        busybox(FOREVER, name="web", memory=None, memoryReservation=8),
        busybox(command=HOG.split(), name="api", memory=None, memoryReservation=8),
        memory="32",
    ),
    case(
        "memory: child",
        ["main", "exit code 0", "memory", "16 MiB"],
        busybox(f"{HOG} & wait; echo went on", memory=16),
        never=["OutOfMemoryError"],
    ),
    case(
        "stopTimeout",
        ["slow", "stopTimeout", "3 s", "SIGKILL"],
        busybox(FOREVER, name="web"),
        busybox(STUBBORN, name="slow", stopTimeout=3),
        act="stop",
    ),
    case(
        "health",
        ["web", "unhealthy"],
        busybox(FOREVER, name="web", healthCheck=probe(["CMD", "sleep", "20"])),
        end=UNHEALTHY,
    ),
    case(
        "dependency: failed",
        ["app", "setup", "no-such-setup"],
        busybox(FOREVER, name="app", dependsOn=after("setup", "COMPLETE")),
        busybox(command=["no-such-setup"], name="setup", essential=False),
    ),
    case(
        "dependency: never healthy",
        ["app", "db", "healthy", "exit code 9", "cannot bind"],
        busybox(FOREVER, name="app", dependsOn=after("db", "HEALTHY")),
        busybox(
            "sleep 1; echo cannot bind; exit 9", name="db", essential=False, healthCheck=probe()
        ),
    ),
    case(
        "dependency: circular",
        ["circle", "a, b, c"],
        busybox("true", name="a", dependsOn=after("b", "SUCCESS")),
        busybox("true", name="b", dependsOn=after("c", "START"), essential=False),
        busybox("true", name="c", dependsOn=after("a", "START"), essential=False),
        end=REFUSED,
    ),
    image("image: name", ["BusyBox", "name", "not valid"], "BusyBox:latest"),
    image("image: tag", ["{registry}/app@sha256:00", "no such"], "{registry}/app@sha256:" + "0" * 64),
    image("image: sign-in", ["{registry}/denied", "access denied"], "{registry}/denied:1"),
    image("image: platform", ["{registry}/app:far", "linux/s390x"], "{registry}/app:far"),
    image("image: registry down", ["{registry}/broken", "503"], "{registry}/broken:1"),
    case("program: missing", ["main", "/opt/run"], busybox(command=["/opt/run"])),
    program("program: not executable", ["/x/data", "not executable"], "/x/data"),
    program("program: architecture", ["/x/riscv", "riscv64", "x86_64"], "/x/riscv"),
    program("program: no #!", ["/x/text", "#!"], "/x/text"),
    program("program: CRLF", ["main", "line ends of Windows"], "/x/env"),
    case("user", ["main", "group", "no-group"], busybox("true", user="0:no-group")),
    case(
        "working directory",
        ["main", "working directory", "/etc/passwd/below"],
        busybox("true", workingDirectory="/etc/passwd/below"),
    ),
    case(
        "volume",
        ["main", "volume v", "no such volume"],
        busybox("true", mountPoints=[{"sourceVolume": "v", "containerPath": "/v"}]),
        volumes=[
            {"name": "v", "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": False}}
        ],
    ),
    case(
        "full disk",
        ["main", "exit code 1", "no space left on device"],
        busybox(
            command=["cp", "/bin/busybox", "/data/copy"],
            linuxParameters={"tmpfs": [{"containerPath": "/data", "size": 1}]},
        ),
    ),
    case(
        "port",
        ["port", "{program port}"],
        busybox("true", portMappings=[{"containerPort": 80, "hostPort": "{program port}"}]),
        end=NOT_PLACED,
    ),
    case(
        "cpu",
        ["cpu", "1536000"],
        busybox("true", cpu=512000),
        busybox("true", name="side", cpu=1024000),
        end=NOT_PLACED,
    ),
    case(
        "memory",
        ["memory", "8000000 MiB"],
        busybox("true", memory=None, memoryReservation=8000000),
        end=NOT_PLACED,
    ),
    case(
        "attribute",
        ["attribute:ecs.instance-type == p4d.24xlarge"],
        busybox("true"),
        end=NOT_PLACED,
        placementConstraints=[
            {"type": "memberOf", "expression": "attribute:ecs.instance-type == p4d.24xlarge"}
        ],
    ),
    case(
        "constraint",
        ["constraint", "distinctInstance"],
        busybox(FOREVER),
        end=NOT_PLACED,
        run={"count": 2, "placementConstraints": [{"type": "distinctInstance"}]},
    ),
]
