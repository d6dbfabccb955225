#!/usr/bin/env bash
# Runs the bash script on standard input as root of a copy of this system that is forgotten
# afterwards: what it installs and removes never happened here. $1 is copied to /packages.
set -euo pipefail
if [ "${THROWAWAY:-}" != inside ]; then
    export THROWAWAY=inside
    exec unshare --mount --pid --net --fork --kill-child "$0" "$@"
fi
top=$(mktemp -d)
mount -t tmpfs tmpfs "$top"
mkdir "$top/upper" "$top/work" "$top/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$top/root"
root="$top/root"
mkdir -p "$root/proc" "$root/dev" "$root/packages"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
# A file system that is mounted below is not in the copy.
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"
cp "$1"/* "$root/packages/"
# No service starts there, whatever a package asks for.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
    bash -euo pipefail -s
