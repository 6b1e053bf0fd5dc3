#!/usr/bin/env bash
# Installs what the tests, the demo and the Rust build need from Debian, and nothing that is already there.
# It never leaves a server running: the private instances of the tests are started by the tests themselves.
set -euo pipefail

wanted=()
need() { # need PACKAGES FILE…: the packages are wanted unless one of the files exists
  local packages=$1 file
  shift
  for file in "$@"; do
    if [[ -e $file ]]; then return; fi
  done
  # shellcheck disable=SC2206  # several packages in one word, meant to split
  wanted+=($packages)
}

need postgresql /usr/lib/postgresql/*/bin/postgres
need rabbitmq-server /usr/lib/rabbitmq/bin/rabbitmq-server
need redis-server /usr/bin/redis-server
need dovecot-pop3d /usr/lib/dovecot/pop3
need dovecot-imapd /usr/lib/dovecot/imap
need dovecot-lmtpd /usr/lib/dovecot/lmtp
need postfix /usr/lib/postfix/sbin/master
need ca-certificates /etc/ssl/certs/ca-certificates.crt
# A client of Exchange that nobody here wrote; it brings a Java runtime without a screen.
need davmail-server /usr/share/davmail/davmail.jar
# The linker, and the C compiler that the `ring` crate calls.
need "gcc libc6-dev" /usr/bin/cc /usr/local/bin/cc

# The token server is an npm package, fetched as package-lock.json pins it into a place of the tests' own.
need nodejs /usr/bin/node
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
tokens=$here/../../.data/token-server
modules() {
  clients
  if cmp -s "$here/token-server/package-lock.json" "$tokens/fetched"; then return; fi
  echo "setup: fetching the token server of the tests"
  mkdir -p "$tokens"
  cp "$here"/token-server/package*.json "$tokens"
  npm ci --prefix "$tokens" --ignore-scripts --no-audit --no-fund --loglevel=error
  cp "$tokens/package-lock.json" "$tokens/fetched"
}
if ! cmp -s "$here/token-server/package-lock.json" "$tokens/fetched" && ! command -v npm >/dev/null; then
  wanted+=(npm)
fi

# The clients of Exchange come from PyPI, pinned, into a place of the tests' own.
exchangelib=$here/../../.data/exchangelib
clients() {
  if cmp -s "$here/../exchange/requirements.txt" "$exchangelib/fetched"; then return; fi
  echo "setup: fetching the Exchange client of the tests"
  rm -rf "$exchangelib"
  mkdir -p "$(dirname "$exchangelib")"
  python3 -m venv "$exchangelib"
  "$exchangelib/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: \
    --requirement "$here/../exchange/requirements.txt"
  cp "$here/../exchange/requirements.txt" "$exchangelib/fetched"
}
python3 -c 'import ensurepip, venv' 2>/dev/null || wanted+=(python3-venv)

if [[ ${#wanted[@]} -eq 0 ]]; then
  modules
  exit 0
fi

if [[ $EUID -ne 0 ]]; then
  echo "setup: missing Debian packages: ${wanted[*]}" >&2
  echo "setup: run as root:  sudo $(realpath "$0")" >&2
  exit 1
fi
if [[ ! -x /usr/bin/apt-get ]]; then
  echo "setup: this is no Debian; install the counterparts of: ${wanted[*]}" >&2
  exit 1
fi

exec 9>/run/lock/lockstep-setup.lock
flock 9

# Debian starts a server when it is installed, unless this file forbids it (invoke-rc.d(8), policy-rc.d).
policy=/usr/sbin/policy-rc.d
kept=
if [[ -e $policy || -L $policy ]]; then
  kept=$policy.before-lockstep
  mv "$policy" "$kept"
fi
restore() {
  rm -f "$policy"
  if [[ -n $kept ]]; then mv "$kept" "$policy"; fi
}
trap restore EXIT
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

echo "setup: installing ${wanted[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp /tmp/lockstep-setup.XXXXXX.log)
apt() { apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" >>"$log" 2>&1; }
install() {
  if [[ " ${wanted[*]} " == *" postfix "* ]]; then
    debconf-set-selections <<<"postfix postfix/main_mailer_type select No configuration" >>"$log" 2>&1 || return
  fi
  apt update && apt install --no-install-recommends "${wanted[@]}"
}
if ! install; then
  tail -n 30 "$log" >&2
  echo "setup: the installation failed; the whole log is $log" >&2
  exit 1
fi
rm -f "$log"
modules
echo "setup: done"
