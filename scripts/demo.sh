#!/usr/bin/env bash
# Shows Windlass at work: builds it, starts it, runs the sample of examples/ through `windlass`, the
# unmodified `aws` CLI and boto3, leaves the web server running, and says what to try next.
#
#   scripts/demo.sh [EXECUTABLE]        (with an executable nothing is installed and built)
#
# It may be run again at any time, also after Ctrl-C at any point and while the server of an earlier
# run, or of an earlier build, still serves.
set -euo pipefail
cd "$(dirname "$0")/.."

data=${WINDLASS_DEMO_DATA:-$PWD/.cache/demo}

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }
fail() { echo "demo: $*" >&2; exit 1; }

interrupted() {
    trap - INT TERM
    printf '\ndemo: interrupted; what it started runs on.\n' >&2
    printf '  make demo    begins again\n  %s down --data %s    stops everything\n' "${exe:-windlass}" "$data" >&2
    exit 130
}
trap interrupted INT TERM

# The first port from $1 on at which nothing listens.
free_port() {
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}

# The pid of the server that serves the data folder; nothing when none does.
server() {
    windlass version --data "$data" --output json 2>/dev/null \
        | python3 -c 'import json, sys; print((json.load(sys.stdin)["server"] or {}).get("pid", ""))'
}

start_server() {
    local pid tries port
    pid=$(server)
    if [ -n "$pid" ] && ! cmp -s "$exe" "/proc/$pid/exe"; then
        step "An earlier build serves: its successor takes over, and tasks run on meanwhile"
        show kill "$pid"
        while [ -d "/proc/$pid" ]; do sleep 0.1; done
        pid=
    fi
    # One that was started by a run that was interrupted may not serve yet: then this one is refused.
    for tries in 3 2 1 0; do
        [ -z "$pid" ] || return 0
        port=$(free_port 7737)
        if show windlass up --data "$data" --listen "${WINDLASS_DEMO_LISTEN:-127.0.0.1:$port}" --detach; then
            return 0
        fi
        [ "$tries" = 0 ] || sleep 2
        pid=$(server)
    done
    [ -n "$pid" ] || fail "the server does not start; $data/up.log says why"
}

# Asks all tasks of earlier runs to stop, and waits: only then are their ports free.
stop_all() {
    local task
    for task in $(aws ecs list-tasks --query 'taskArns[]' --output text); do
        [ "$task" = None ] || windlass stop "$task" >/dev/null
    done
    windlass ps --all --output json | python3 -c '
import json, sys
for task in json.load(sys.stdin)["tasks"]:
    if task["lastStatus"] != "STOPPED":
        print(task["taskArn"])' | while read -r task; do
        windlass wait "$task" stopped
    done
}

# What was just started may not listen yet: that refuses a connection, or ends it.
get() { show curl -sS --retry 10 --retry-all-errors --retry-delay 1 "$1"; }

[ "$(id -u)" = 0 ] || fail "containers need root: run it with sudo make demo"

if [ $# -eq 0 ]; then
    step "What it needs"
    scripts/packages.sh build-essential ca-certificates curl python3-venv
    scripts/sample-images.sh
    scripts/botocore.sh >/dev/null
    step "Build"
    cargo build --package windlass
    exe=$(scripts/target-dir.sh)/debug/windlass
else
    exe=$(realpath "$1")
fi
bin=$(dirname "$exe")
PATH=$bin:$PWD/.venv/bin:$PATH

step "Start Windlass"
start_server
eval "$(windlass env --data "$data")"
for image in nginx redis busybox; do
    show windlass images load ".cache/images/$image.tar"
done
stop_all

step "A web server and a database, as a task in bridge mode"
web=examples/web-bridge.json
port=$(free_port 8088)
if [ "$port" != 8088 ]; then
    echo "(port 8088 is in use: the web server gets $port)"
    web=$data/web-bridge.json
    sed "s/8088/$port/" examples/web-bridge.json >"$web"
fi
show windlass register "$web"
show windlass register "$web"
show windlass run web --detach | tee "$data/demo-task"
task=$(tail -n 1 "$data/demo-task")
show windlass wait "$task" running
get "http://localhost:$port/"
show windlass ps
show windlass logs "$task"
show windlass stop "$task" --reason "the demo goes on"
show windlass wait "$task" stopped
show windlass why "$task"

step "The same in awsvpc mode on FARGATE, through the aws CLI"
show aws ecs register-task-definition --cli-input-json file://examples/web-awsvpc.json \
    --query 'taskDefinition.taskDefinitionArn'
task=$(aws ecs run-task --task-definition web-awsvpc --launch-type FARGATE \
    --network-configuration 'awsvpcConfiguration={subnets=[subnet-demo]}' \
    --query 'tasks[0].taskArn' --output text)
[ "$task" != None ] || fail "the task was not placed: windlass nodes --data $data shows what is left"
show aws ecs wait tasks-running --tasks "$task"
address=$(aws ecs describe-tasks --tasks "$task" --output text \
    --query 'tasks[0].containers[0].networkInterfaces[0].privateIpv4Address')
get "http://$address/"
show aws ecs stop-task --task "$task" --query 'task.[desiredStatus,stopCode]' --output text
show aws ecs wait tasks-stopped --tasks "$task"
show aws ecs describe-tasks --tasks "$task" --output table \
    --query 'tasks[0].{status:lastStatus,code:stopCode,why:stoppedReason,exits:join(`,`,containers[].to_string(exitCode))}'

step "Batch tasks: one computes, one fails with 3"
show windlass run examples/primes.json
status=0
show windlass run examples/fails.json || status=$?
[ "$status" = 3 ] || fail "expected exit code 3, got $status"
echo "(exit code $status, as the container's)"

step "And from boto3"
python3 - <<'PY'
import boto3
ecs = boto3.client("ecs")
task = ecs.run_task(taskDefinition="primes")["tasks"][0]["taskArn"]
ecs.get_waiter("tasks_stopped").wait(tasks=[task], WaiterConfig={"Delay": 1})
task = ecs.describe_tasks(tasks=[task])["tasks"][0]
print(task["lastStatus"], task["stopCode"], "exit code", task["containers"][0]["exitCode"])
PY

step "It serves"
task=$(windlass run web --detach)
windlass wait "$task" running
get "http://localhost:$port/"
short=${task:0:8}
cat <<END

Try next:
  export PATH=$bin:$PWD/.venv/bin:\$PATH
  eval "\$(windlass env --data $data)"
  windlass ps
  windlass logs -f $short
  windlass history $short
  aws ecs describe-tasks --tasks $task
  kill -9 $(server)    # the web server keeps serving
  windlass up --data $data --detach    # and is found again
  windlass down --data $data    # stops everything and leaves nothing
END
