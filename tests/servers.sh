# Other servers than the machine's own, and other versions of them. Sourced after tests/services.sh.
#
# A server is unpacked from the archive of the distribution that has it, its signatures checked, and runs in a chroot: nothing is
# installed on this machine. Debian's archive is the one of this machine's apt; Ubuntu's is beside it, or where
# $RELVEC_UBUNTU_ARCHIVE says. Everything stands in $RELVEC_VERSIONS or target/versions, and is used again.

# Name, archive, suite, package with the server.
servers='
mysql-8.0.19 ubuntu focal mysql-server-core-8.0
mysql-8.0.28 ubuntu jammy mysql-server-core-8.0
mysql-8.0.36 ubuntu noble mysql-server-core-8.0
mysql-9 debian sid mysql-server-core
mariadb-10.6 ubuntu jammy mariadb-server-core-10.6
mariadb-11.8 debian trixie mariadb-server-core
postgres-12 ubuntu focal postgresql-12
postgres-13 debian bullseye postgresql-13
postgres-14 ubuntu jammy postgresql-14
postgres-15 debian bookworm postgresql-15
postgres-16 ubuntu noble postgresql-16
postgres-17 debian trixie postgresql-17
postgres-18 debian sid postgresql-18
'
# What the packages want, and a server that is started by hand does not.
not_needed='adduser debconf debianutils dpkg init-system-helpers install-info locales lsb-base mariadb-common mysql-common netbase
  perl perl-base postgresql-common sensible-utils ssl-cert sysvinit-utils tar ucf'

server_names() { awk 'NF { print $1 }' <<<"$servers"; }

# Gives the address of an archive.
archive() { # debian|ubuntu
  local debian
  # apt names what it has read, so it has to read once.
  debian=$(debian_archive) || { apt-get update -qq && debian=$(debian_archive); } || fail "apt on this machine knows no archive of Debian"
  case "$1" in
    debian) echo "$debian" ;;
    ubuntu) echo "${RELVEC_UBUNTU_ARCHIVE:-${debian%debian/}ubuntu/}" ;;
  esac
}

debian_archive() { apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$'; }

# Runs a command of apt on a suite.
apt_of() { # SUITE COMMAND…
  APT_CONFIG=$versions/$1/apt.conf "${@:2}"
}

# Says to a suite's apt that packages are there already.
have() { # SUITE PACKAGE…
  local package
  for package in "${@:2}"; do
    printf '%s\n' "Package: $package" 'Status: install ok installed' "Architecture: $(dpkg --print-architecture)" \
      'Multi-Arch: allowed' 'Version: 9:9999' 'Maintainer: none <none@localhost>' 'Description: none' ''
  done >>"$versions/$1/status"
}

# Makes a configuration of apt for a suite, apart from this machine's own, and reads what the suite has.
read_suite() { # ARCHIVE SUITE
  local suite=$versions/$2 components=main keys=/usr/share/keyrings/debian-archive-keyring.gpg
  [ ! -e "$suite/ready" ] || return 0
  if [ "$1" = ubuntu ]; then
    components='main universe'
    keys=$versions/keys/usr/share/keyrings/ubuntu-archive-keyring.gpg
    [ -s "$keys" ] || unpack_keys
  fi
  rm -rf "$suite"
  mkdir -p "$suite"/{etc/apt.conf.d,etc/preferences.d,state,lists/partial,cache}
  echo "deb [signed-by=$keys] $(archive "$1") $2 $components" >"$suite/etc/sources.list"
  # What is signed may be old: a mirror that stands still does no harm here.
  cat >"$suite/apt.conf" <<CONF
Dir::Etc "$suite/etc"; Dir::State "$suite/state"; Dir::State::lists "$suite/lists"; Dir::State::status "$suite/status";
Dir::Cache "$suite/cache"; APT::Install-Recommends "false"; APT::Sandbox::User "root"; Acquire::Languages "none";
Acquire::Check-Valid-Until "false";
CONF
  # shellcheck disable=SC2086 # a word a package
  have "$2" $not_needed
  apt_of "$2" apt-get update -qq || fail "$2 of $1 cannot be read from $(archive "$1"); RELVEC_UBUNTU_ARCHIVE names another archive of Ubuntu"
  touch "$suite/ready"
}

# A package of Debian has the keys that Ubuntu's archive is signed with.
unpack_keys() {
  read_suite debian trixie
  (
    cd "$versions/trixie"
    apt_of trixie apt-get download -qq ubuntu-keyring && dpkg-deb -x ubuntu-keyring_*.deb "$versions/keys"
  ) || fail "the keys of Ubuntu's archive cannot be had"
}

# Unpacks a server with the libraries that it needs, to $root.
unpack_server() { # ARCHIVE SUITE PACKAGE
  local file device wanted=("$3" dash coreutils grep sed mawk)
  [ ! -e "$root/ready" ] || return 0
  read_suite "$1" "$2"
  # The compiler of queries is larger than all the rest, and a server does without it.
  # shellcheck disable=SC2046 # a word a package
  have "$2" $(apt_of "$2" apt-cache depends --no-recommends "$3" | sed -n 's/^ *|*Depends: \(libllvm.*\)/\1/p')
  rm -rf "$root"
  mkdir -p "$root"/{packages/partial,dev,etc,tmp,usr/bin,usr/sbin,usr/lib,usr/lib64}
  for file in bin sbin lib lib64; do ln -s "usr/$file" "$root/$file"; done
  apt_of "$2" apt-get install --download-only -y -qq -o "Dir::Cache::archives=$root/packages" "${wanted[@]}" >/dev/null ||
    fail "$3 cannot be had from $2 of $1"
  for file in "$root"/packages/*.deb; do
    dpkg-deb --fsys-tarfile "$file" |
      tar -C "$root" -x --keep-directory-symlink --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*'
  done
  rm -r "$root/packages"
  for device in null:3 zero:5 random:8 urandom:9; do
    mknod -m 666 "$root/dev/${device%:*}" c 1 "${device#*:}"
  done
  chmod 1777 "$root/tmp"
  printf '%s\n' root:x:0:0::/:/bin/sh nobody:x:65534:65534::/tmp:/bin/sh >"$root/etc/passwd"
  printf '%s\n' root:x:0: nogroup:x:65534: >"$root/etc/group"
  touch "$root/ready"
}

# Starts a server without any data of before. Sets server_url, an administrator's, and server_version.
start_server() { # NAME
  local archive suite package data
  versions=${RELVEC_VERSIONS:-$PWD/target/versions}
  root=$versions/$1
  read -r _ archive suite package <<<"$(grep -F "$1 " <<<"$servers")"
  unpack_server "$archive" "$suite" "$package"
  # No function: a server that one starts would be the child of a shell, which passes no signal on.
  inside=(env TMPDIR=/tmp chroot --userspec=65534:65534 "$root")
  data=$(mktemp -d "$root/tmp/data.XXXXXX")
  server_folder=${data#"$root"}
  chown 65534:65534 "$data"
  server_password=$(new_password)
  server_port=$(free_port)
  case "$1" in
    postgres-*) start_postgres_of "$data" ;;
    mysql-*) start_mysql_of "$data" ;;
    mariadb-*) start_mariadb_of "$data" ;;
  esac || { tail -20 "$data"/*.log; fail "$1 does not start"; }
}

# Waits until the server that was started last greets whoever comes.
greets() {
  local tries
  for tries in $(seq 240); do
    kill -0 "$server_pid" 2>/dev/null || return 1
    python3 - "$server_port" <<'PYTHON' 2>/dev/null && return 0
import socket, sys
assert socket.create_connection(("127.0.0.1", int(sys.argv[1])), 1).recv(1)
PYTHON
    sleep 0.5
  done
  return 1
}

start_postgres_of() { # DATA
  local bin
  bin=$(cd "$root" && echo usr/lib/postgresql/*/bin)
  printf '%s' "$server_password" >"$1/password"
  chown 65534:65534 "$1/password"
  "${inside[@]}" "/$bin/initdb" -D "$server_folder/db" -U relvec --auth=scram-sha-256 --pwfile="$server_folder/password" -E UTF8 --locale=C \
    >"$1/initdb.log" 2>&1 || return 1
  "${inside[@]}" "/$bin/postgres" -D "$server_folder/db" -c listen_addresses=127.0.0.1 -c "port=$server_port" -c fsync=off -c max_connections=200 \
    -c "unix_socket_directories=$server_folder" -c dynamic_shared_memory_type=mmap -c jit=off >"$1/server.log" 2>&1 &
  server_pid=$!
  until grep -q 'ready to accept connections' "$1/server.log"; do
    kill -0 "$server_pid" 2>/dev/null || return 1
    sleep 0.2
  done
  server_version=$("${inside[@]}" "/$bin/postgres" --version)
  server_url=postgres://relvec:$server_password@127.0.0.1:$server_port/postgres
}

# Writes what makes the administrator.
write_administrator() { # FILE
  cat >"$1" <<SQL
CREATE USER 'relvec'@'127.0.0.1' IDENTIFIED BY '$server_password';
GRANT ALL PRIVILEGES ON *.* TO 'relvec'@'127.0.0.1' WITH GRANT OPTION;
CREATE DATABASE IF NOT EXISTS test;
SQL
  server_url=mysql://relvec:$server_password@127.0.0.1:$server_port/test
}

start_mysql_of() { # DATA
  write_administrator "$1/administrator.sql"
  "${inside[@]}" /usr/sbin/mysqld --no-defaults --initialize-insecure --datadir="$server_folder/db" >"$1/install.log" 2>&1 || return 1
  "${inside[@]}" /usr/sbin/mysqld --no-defaults --datadir="$server_folder/db" --socket="$server_folder/socket" --pid-file="$server_folder/pid" \
    --mysqlx=OFF --bind-address=127.0.0.1 --port="$server_port" --skip-name-resolve --init-file="$server_folder/administrator.sql" \
    --innodb-flush-log-at-trx-commit=0 --sync-binlog=0 --max-connections=200 --secure-file-priv=NULL >"$1/server.log" 2>&1 &
  server_pid=$!
  server_version=$("${inside[@]}" /usr/sbin/mysqld --version)
  greets
}

start_mariadb_of() { # DATA
  write_administrator "$1/administrator.sql"
  # A package of the client may have what prints the configuration's defaults; there are none.
  [ -e "$root/usr/bin/my_print_defaults" ] || ln -s true "$root/usr/bin/my_print_defaults"
  # Forced, because the chroot does not know this machine by its name.
  "${inside[@]}" /usr/bin/mariadb-install-db --no-defaults --force --datadir="$server_folder/db" \
    --skip-test-db --auth-root-authentication-method=normal >"$1/install.log" 2>&1 || return 1
  "${inside[@]}" /usr/sbin/mariadbd --no-defaults --datadir="$server_folder/db" --socket="$server_folder/socket" --pid-file="$server_folder/pid" \
    --bind-address=127.0.0.1 --port="$server_port" --skip-name-resolve --init-file="$server_folder/administrator.sql" \
    --character-set-server=utf8mb4 --innodb-flush-log-at-trx-commit=0 --max-connections=200 >"$1/server.log" 2>&1 &
  server_pid=$!
  server_version=$("${inside[@]}" /usr/sbin/mariadbd --version)
  greets
}

# Ends the server that was started last, and removes its data.
stop_server() {
  [ -n "${server_pid:-}" ] || return 0
  # Its data is thrown away. PostgreSQL ends its processes on SIGQUIT, and MySQL would write a core.
  case "$server_url" in
    postgres*) kill -QUIT "$server_pid" || true ;;
    *) kill -KILL "$server_pid" || true ;;
  esac
  { wait "$server_pid" || true; } 2>/dev/null
  rm -rf "${root:?}${server_folder:?}"
  server_pid=
}
