#!/usr/bin/env bash
# Installs the peers that `make bench` measures beside, and nothing that is already there. None of them is a server.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

wanted=()
[[ -e /usr/bin/mpop ]] || wanted+=(mpop)
[[ -e /usr/bin/fetchmail ]] || wanted+=(fetchmail)
[[ -e /usr/bin/getmail ]] || wanted+=(getmail6)
python3 -c 'import ensurepip, venv' 2>/dev/null || wanted+=(python3-venv)
if [[ ${#wanted[@]} -gt 0 ]]; then
  if [[ $EUID -ne 0 ]]; then
    echo "bench: as root, run: apt-get install --no-install-recommends ${wanted[*]}" >&2
    exit 1
  fi
  echo "bench: installing ${wanted[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q -y -o DPkg::Lock::Timeout=300 update >/dev/null
  # fetchmail's own service stays off: Debian starts it only where /etc/default/fetchmail says so.
  apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${wanted[@]}" >/dev/null
fi

# The job engines come from PyPI, pinned, into a place of the benchmark's own.
python=$here/../../target/bench/python
if ! cmp -s "$here/requirements.txt" "$python/fetched"; then
  echo "bench: fetching $(tr '\n' ' ' <"$here/requirements.txt")"
  rm -rf "$python"
  mkdir -p "$(dirname "$python")"
  python3 -m venv "$python"
  "$python/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
  cp "$here/requirements.txt" "$python/fetched"
fi
