"""The data folder: whose it is, what is lost with it, and how it is restored and put away."""

import json
import shutil
import subprocess

import pytest
from botocore.exceptions import ClientError
from windlass import FOREVER, Tasks, busybox, container, forever, told, unique, wait_until


def windlass_says(installation, *arguments):
    """What a verb of the executable answers: exit code and text."""
    done = subprocess.run(
        [installation.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout + done.stderr


def backup(installation, path):
    answer = installation.raw("Windlass.Backup", {})
    assert answer.status == 200, answer.body
    path.write_bytes(answer.body)
    return path


def test_a_store_that_is_gone_is_not_served_as_an_empty_one(own, tmp_path):
    file = backup(own, tmp_path / "backup")
    assert own.terminate() == 0
    own.data.joinpath("store").rename(tmp_path / "aside")
    for _ in range(2):
        code, said = own.up_again()
        assert code != 0
        assert f"the store in {own.data}/store is gone or empty" in said, said
        assert f"windlass restore BACKUP --data {own.data}`" in said, said
    code, said = windlass_says(own, "restore", file, "--data", own.data)
    assert code == 0, said
    own.start()
    assert "default" in own.ecs.list_clusters()["clusterArns"][0]


def test_a_damaged_store_says_how_to_go_on_and_can_be_put_away(own, tmp_path):
    tasks = Tasks(own)
    tasks.running(tasks.start(busybox(FOREVER)))
    file = backup(own, tmp_path / "backup")
    own.kill()
    (own.data / "store" / "watermark").write_bytes(b"not what was written")
    code, said = own.up_again()
    assert code != 0
    advice = f"move {own.data}/store aside and run `windlass restore BACKUP --data {own.data}`"
    assert advice in said, said
    said = own.down()
    assert "watermark" in said and "windlass is down" in said, said
    assert not own.leftovers()
    # The advice, followed to the letter. What it finds running is what was ended here.
    own.data.joinpath("store").rename(tmp_path / "aside")
    code, said = windlass_says(own, "restore", file, "--data", own.data)
    assert code == 0, said
    own.start()
    for task in tasks.started:
        assert tasks.stopped(task)["stopCode"] == "InfrastructureHealth"
    tasks.running(tasks.start(busybox(FOREVER)))


def test_down_works_while_something_else_has_the_address_range(own):
    tasks = Tasks(own)
    task = tasks.start(busybox("trap 'exit 0' TERM; while :; do sleep 0.1; done"))
    tasks.running(task)
    own.kill()
    link = f"other{own.id[:4]}"
    subprocess.run(["ip", "link", "add", link, "type", "veth"], check=True)
    try:
        address = own.subnet.replace("0.0/16", "5.1/24")
        subprocess.run(["ip", "address", "add", address, "dev", link], check=True)
        said = own.down()
        assert "overlaps" in said and "windlass is down" in said, said
        assert not own.leftovers()
    finally:
        subprocess.run(["ip", "link", "delete", link], check=True)
    # The state did not hear of it; still nothing is started again.
    own.start()
    record = tasks.stopped(task)
    assert record["stopCode"] == "InfrastructureHealth", told(record)


def test_an_older_backup_is_restored_beside_running_tasks(own, tmp_path):
    tasks = Tasks(own)
    mount = [{"sourceVolume": "gate", "containerPath": "/gate"}]
    volumes = [{"name": "gate", "host": {"sourcePath": str(tmp_path)}}]
    lasting = tasks.start(busybox(FOREVER))
    ending = tasks.start(
        busybox(
            "echo x >> /gate/starts; until [ -e /gate/go ]; do sleep 0.05; done",
            mountPoints=mount,
        ),
        volumes=volumes,
    )
    before = {task: tasks.running(task) for task in (lasting, ending)}
    file = backup(own, tmp_path / "backup")
    (tmp_path / "go").touch()
    tasks.stopped(ending)
    # More turns than the backup has, and a task that it does not have.
    for _ in range(30):
        tasks.register(busybox(FOREVER))
    marker = unique("stray")
    stray = tasks.start(busybox(forever(f": {marker}")))
    tasks.running(stray)
    assert own.marked(marker)
    own.kill()

    own.data.joinpath("store").rename(tmp_path / "aside")
    code, said = windlass_says(own, "restore", file, "--data", own.data)
    assert code == 0, said
    own.start()
    record = tasks.running(lasting)
    assert record["containers"][0]["runtimeId"] == before[lasting]["containers"][0]["runtimeId"]
    record = tasks.stopped(ending)
    assert record["stopCode"] == "InfrastructureHealth", told(record)
    assert (tmp_path / "starts").read_text() == "x\n", "it was started again"
    wait_until(lambda: not own.marked(marker), "the task that is not in the state ends")
    reasons = [entry.get("reason") for entry in own.history(f"task/{stray.rsplit('/', 1)[-1]}")]
    assert any("restored" in (reason or "") for reason in reasons), reasons
    (instance,) = own.ecs.describe_container_instances(
        containerInstances=own.ecs.list_container_instances()["containerInstanceArns"]
    )["containerInstances"]
    assert instance["agentConnected"]
    # Again after a start, and what is new runs.
    own.kill()
    own.start()
    new = tasks.start(busybox(FOREVER))
    tasks.running(new)
    tasks.stop(lasting)
    assert tasks.stopped(lasting)["stopCode"] == "UserInitiated"


def test_a_restored_folder_keeps_its_names(own, tmp_path):
    own.ecs.create_cluster(clusterName="kept")
    before = own._json("installation.json")
    file = backup(own, tmp_path / "backup")
    own.down()
    shutil.rmtree(own.data)
    code, said = windlass_says(own, "restore", file, "--data", own.data)
    assert code == 0, said
    own.start()
    after = own._json("installation.json")
    for name in ("id", "accountId", "region", "nodeId", "subnet"):
        assert after[name] == before[name], name
    own._ecs = None  # Its keys are new.
    assert own.arn("cluster/kept") in own.ecs.list_clusters()["clusterArns"]
    (instance,) = own.ecs.list_container_instances()["containerInstanceArns"]
    assert instance


def test_a_task_whose_record_is_damaged_ends_and_says_so(own):
    """The node cannot say what became of it, and must not start it again."""
    tasks = Tasks(own)
    task = tasks.start(busybox(FOREVER))
    tasks.running(task)
    own.kill()
    record = f"/run/windlass-{own.id}/ledger/{task.rsplit('/', 1)[-1]}"
    with open(record, "r+b") as ledger:
        ledger.truncate(7)
    own.start()
    assert tasks.stopped(task)["stopCode"] == "InfrastructureHealth"


def test_down_does_not_wait_for_a_node_that_is_gone(own, tmp_path):
    """A state of which another machine was the node: its task is nobody's to stop here."""
    tasks = Tasks(own)
    task = tasks.start(busybox(FOREVER))
    tasks.running(task)
    file = backup(own, tmp_path / "backup")
    own.down()
    identity = own.data / "installation.json"
    other = json.loads(identity.read_text()) | {"nodeId": "0" * 31 + "1"}
    own.data.joinpath("store").rename(tmp_path / "aside")
    identity.write_text(json.dumps(other))
    code, said = windlass_says(own, "restore", file, "--data", own.data)
    assert code == 0, said
    own.start()
    arns = own.ecs.list_container_instances()["containerInstanceArns"]
    found = own.ecs.describe_container_instances(containerInstances=arns)["containerInstances"]
    assert sorted(instance["agentConnected"] for instance in found) == [False, True]
    tasks.running(tasks.start(busybox(FOREVER)))
    tasks.started.clear()
    said = own.down()
    assert "stopping 1 tasks" in said and "1 tasks are on machines that are not here" in said, said


def test_the_server_may_open_as_many_files_as_the_machine_gives(own):
    limits = open(f"/proc/{own.process.pid}/limits").read()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert line.split()[3] == line.split()[4], line


def test_a_folder_of_other_things_is_refused(own, tmp_path):
    (tmp_path / "passwd").touch()
    code, said = windlass_says(own, "up", "--data", tmp_path)
    assert code != 0 and "passwd" in said, said
    assert [entry.name for entry in tmp_path.iterdir()] == ["passwd"]


def test_ending_with_nothing_running_leaves_nothing(own):
    tasks = Tasks(own)
    task = tasks.start(busybox("exit 0"))
    assert container(tasks.stopped(task), "main")["exitCode"] == 0
    assert own.terminate() == 0
    assert not own.leftovers()
    own.start()
    tasks.running(tasks.start(busybox(FOREVER)))


def test_a_start_goes_on_as_the_one_before(own, monkeypatch):
    """The address is kept; `default` is there beside the clusters that are named."""
    own.kill()
    again = [own.executable, "up", "--data", own.data, "--cluster", "one,two"]
    monkeypatch.setattr(own, "_up", lambda: again)
    own.start()
    assert json.loads((own.data / "endpoint").read_text())["url"] == own.url
    names = {arn.rsplit("/", 1)[-1] for arn in own.ecs.list_clusters()["clusterArns"]}
    assert names == {"default", "one", "two"}
    for name in names:
        assert own.ecs.list_container_instances(cluster=name)["containerInstanceArns"]
    code, said = own.up_again()
    assert code != 0 and f"at {own.url} by process {own.process.pid}" in said, said


def test_memberships_are_the_operators_to_end(own, own_cli, monkeypatch):
    """With `--join explicit` nothing joins by itself; what was removed stays so over a restart."""
    up = own.up_command()
    assert own.terminate() == 0
    monkeypatch.setattr(own, "_up", lambda: [*up, "--join", "explicit", "--cluster", "named"])
    own.start()
    own.ecs.create_cluster(clusterName="later")
    later = Tasks(own, "later")
    definition = later.register(busybox("exit 0"))

    def runs(cluster):
        try:
            return own.ecs.run_task(cluster=cluster, taskDefinition=definition)["tasks"]
        except ClientError as refused:
            text = "No Container Instances were found in your cluster."
            assert refused.response["Error"]["Message"] == text
            return []

    assert runs("named") and not runs("later")
    own_cli("nodes", "add", "--cluster", "later")
    (task,) = runs("later")
    later.stopped(task["taskArn"])
    code = "ClusterContainsContainerInstancesException"
    with pytest.raises(ClientError, match=code):
        own.ecs.delete_cluster(cluster="later")
    own_cli("nodes", "rm", "--cluster", "later")
    own.ecs.delete_cluster(cluster="later")

    own_cli("nodes", "rm", "--cluster", "named", "--force")
    monkeypatch.setattr(own, "_up", lambda: [*up, "--cluster", "named"])
    assert own.terminate() == 0
    own.start()
    assert not runs("named"), "a restart brought it back"
    own_cli("nodes", "add", "--cluster", "named")
    assert runs("named")


@pytest.mark.parametrize("first", ["--account-id", "--region"])
def test_a_first_start_that_fails_fixes_nothing(own, tmp_path, first):
    """The port is taken: what was chosen then may be chosen again."""
    chosen = {"--account-id": ("111122223333", "444455556666"), "--region": ("eu-west-1", "eu-north-1")}
    data = tmp_path / "data"
    for value in chosen[first]:
        code, said = windlass_says(own, "up", "--data", data, "--listen", own.listen, first, value)
        assert code != 0
        assert f"{own.listen} is in use by process {own.process.pid}" in said, said
