"""Volumes: folders of the host, of the task, and named ones that outlive it."""

from windlass import busybox, container, told, unique

MOUNT = [{"sourceVolume": "v", "containerPath": "/v"}]


def test_a_folder_of_the_host(windlass, tasks, tmp_path):
    (tmp_path / "in").write_text("from the host\n")
    task = tasks.start(
        busybox("cat /v/in; echo from the task > /v/out", mountPoints=MOUNT),
        volumes=[{"name": "v", "host": {"sourcePath": str(tmp_path)}}],
    )
    record = tasks.stopped(task)
    assert windlass.text(task) == "from the host", told(record)
    assert (tmp_path / "out").read_text() == "from the task\n"


def test_a_folder_that_the_host_does_not_have_is_made(tasks, tmp_path):
    path = tmp_path / "not" / "there"
    task = tasks.start(
        busybox("echo x > /v/x", mountPoints=MOUNT),
        volumes=[{"name": "v", "host": {"sourcePath": str(path)}}],
    )
    record = tasks.stopped(task)
    assert (path / "x").exists(), told(record)


def test_one_file_of_the_host(windlass, tasks, tmp_path):
    path = tmp_path / "file"
    path.write_text("one file\n")
    task = tasks.start(
        busybox("cat /etc/one", mountPoints=[{"sourceVolume": "v", "containerPath": "/etc/one"}]),
        volumes=[{"name": "v", "host": {"sourcePath": str(path)}}],
    )
    record = tasks.stopped(task)
    assert windlass.text(task) == "one file", told(record)


def test_read_only(windlass, tasks, tmp_path):
    task = tasks.start(
        busybox("touch /v/x 2>/dev/null || echo refused", mountPoints=[MOUNT[0] | {"readOnly": True}]),
        volumes=[{"name": "v", "host": {"sourcePath": str(tmp_path)}}],
    )
    tasks.stopped(task)
    assert windlass.text(task) == "refused" and not (tmp_path / "x").exists()


def test_scratch_is_shared_within_a_task_alone(windlass, tasks):
    name = tasks.register(
        busybox("echo $$ > /v/one; ls /v", name="one", memory=8, essential=False, mountPoints=MOUNT),
        busybox(
            "cat /v/one >/dev/null && ls /v; touch /v/two",
            mountPoints=MOUNT,
            dependsOn=[{"containerName": "one", "condition": "SUCCESS"}],
        ),
        volumes=[{"name": "v"}],
    )
    for _ in range(2):
        task = tasks.run(name)
        record = tasks.stopped(task)
        assert [t for _, _, t in windlass.logs(task)] == ["one", "one"], told(record)


def test_named_volumes_outlive_their_tasks(windlass, tasks):
    shared = {"scope": "shared", "autoprovision": True, "driver": "local"}
    volumes = [{"name": unique("kept"), "dockerVolumeConfiguration": shared}]
    mount = [{"sourceVolume": volumes[0]["name"], "containerPath": "/v"}]
    script = "cat /v/count 2>/dev/null; echo once >> /v/count"
    name = tasks.register(busybox(script, mountPoints=mount), volumes=volumes)
    counts = []
    for _ in range(3):
        task = tasks.run(name)
        record = tasks.stopped(task)
        assert container(record, "main")["exitCode"] == 0, told(record)
        counts.append(windlass.text(task).count("once"))
    assert counts == [0, 1, 2]


def test_volumes_from_a_sibling(windlass, tasks):
    task = tasks.start(
        busybox("echo kept > /v/x", name="owner", memory=8, essential=False, mountPoints=MOUNT),
        busybox(
            "cat /v/x",
            volumesFrom=[{"sourceContainer": "owner", "readOnly": True}],
            dependsOn=[{"containerName": "owner", "condition": "SUCCESS"}],
        ),
        volumes=[{"name": "v"}],
    )
    record = tasks.stopped(task)
    assert windlass.text(task, "main") == "kept", told(record)


def test_a_new_volume_has_the_owner_of_the_folder_it_covers(windlass, tasks):
    """So that a program that is not root can write there: redis's image gives it /data."""
    script = "stat -c %u:%g /data; touch /data/x && echo written"
    task = tasks.start(
        {
            "name": "main",
            "image": "redis",
            "memory": 32,
            "user": "999:999",
            "command": ["sh", "-c", script],
            "mountPoints": [{"sourceVolume": "v", "containerPath": "/data"}],
        },
        volumes=[{"name": "v", "dockerVolumeConfiguration": {"scope": "task"}}],
    )
    record = tasks.stopped(task)
    assert windlass.text(task).split() == ["999:999", "written"], told(record)


def test_an_empty_volume_gets_what_it_covers(windlass, tasks):
    """nginx finds its configuration though a volume lies over it; what a task wrote stays."""
    look = "ls /etc/nginx/nginx.conf /etc/nginx/own; echo > /etc/nginx/own; rm /etc/nginx/nginx.conf"
    definition = {
        "name": "main",
        "image": "nginx",
        "memory": 32,
        "command": ["sh", "-c", look],
        "mountPoints": [{"sourceVolume": "conf", "containerPath": "/etc/nginx"}],
    }
    scope = {"scope": "shared", "autoprovision": True}
    volume = {"name": unique("conf"), "dockerVolumeConfiguration": scope}
    definition["mountPoints"][0]["sourceVolume"] = volume["name"]
    name = tasks.register(definition, volumes=[volume])
    for kept in ("/etc/nginx/nginx.conf", "/etc/nginx/own"):
        task = tasks.run(name)
        record = tasks.stopped(task)
        lines = [text for _, stream, text in windlass.logs(task) if stream == "stdout"]
        assert lines == [kept], told(record)


def test_volumes_that_an_image_wants(windlass, tasks):
    """redis's image has one at /data: the container's own, and a sibling may take it along."""
    script = "stat -c %u:%g /data; grep -c ' /data ' /proc/self/mountinfo; echo kept > /data/x"
    task = tasks.start(
        {
            "name": "owner",
            "image": "redis",
            "memory": 32,
            "essential": False,
            "command": ["sh", "-c", script],
        },
        busybox(
            "cat /data/x",
            volumesFrom=[{"sourceContainer": "owner"}],
            dependsOn=[{"containerName": "owner", "condition": "COMPLETE"}],
        ),
    )
    record = tasks.stopped(task)
    assert windlass.text(task, "owner").split() == ["999:999", "1"], told(record)
    assert windlass.text(task, "main") == "kept", told(record)


def test_writes_stay_out_of_the_image(windlass, tasks):
    name = tasks.register(busybox("ls /; touch /written"))
    for _ in range(2):
        task = tasks.run(name)
        tasks.stopped(task)
        assert "written" not in windlass.text(task)
