#!/usr/bin/env bash
# Installs the peers that `make bench` measures beside, and nothing that is already there. None of them is a server.
set -euo pipefail

wanted=()
[[ -e /usr/bin/mpop ]] || wanted+=(mpop)
[[ -e /usr/bin/fetchmail ]] || wanted+=(fetchmail)
if [[ ${#wanted[@]} -eq 0 ]]; then exit 0; fi

if [[ $EUID -ne 0 ]]; then
  echo "bench: as root, run: apt-get install --no-install-recommends ${wanted[*]}" >&2
  exit 1
fi
echo "bench: installing ${wanted[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get -q -y -o DPkg::Lock::Timeout=300 update >/dev/null
# fetchmail's own service stays off: Debian starts it only where /etc/default/fetchmail says so.
apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${wanted[@]}" >/dev/null
