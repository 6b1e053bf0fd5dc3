#!/usr/bin/env bash
# Installs what `make chaos` needs beside the servers of the tests: a library that lies to a process about the time.
set -euo pipefail

for library in /usr/lib/*/faketime/libfaketime.so.1; do
  if [[ -e $library ]]; then exit 0; fi
done
if [[ $EUID -ne 0 ]]; then
  echo "chaos: as root, run: apt-get install --no-install-recommends faketime" >&2
  exit 1
fi
echo "chaos: installing faketime"
export DEBIAN_FRONTEND=noninteractive
apt-get -q -y -o DPkg::Lock::Timeout=300 update >/dev/null
apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends faketime >/dev/null
