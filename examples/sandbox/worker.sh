#!/bin/sh
# Runs worker.ts in bubblewrap, which takes everything from it but what it needs to run and the bus.
#
#   examples/sandbox/worker.sh BUS_DIRECTORY [NAME...]
#
# BUS_DIRECTORY holds bus.sock. Must run as the worker's user, not as root: in a sandbox of root's
# the worker would be root to the bus and to the files that it is given.
set -eu
if [ "$(id -u)" -eq 0 ]; then
  echo "worker.sh: must not run as root" >&2
  exit 1
fi
bus=$1
shift
root=$(dirname -- "$(readlink -f -- "$0")")/../..
bun=$(readlink -f -- "$root/node_modules/.bin/bun")
msgpackr=$(readlink -f -- "$root/node_modules/msgpackr")

# From the end to the front: what runs, behind it a root that cannot be written any more, and before
# these the C library, file by file.
set -- --remount-ro / -- /app/bun --no-env-file --no-install /app/examples/sandbox/worker.ts "$@"
for library in $(ldd "$bun" | grep -o '/[^ ]*'); do
  set -- --ro-bind "$library" "$library" "$@"
done

# env -i: what stands in our environment could be read there, in /proc/1/environ.
# /dev/null and --new-session: it cannot type into a terminal. --proc: Bun looks up its stack there.
# The directory of the socket, not the socket: a broker that is started anew makes a new one.
exec env -i PATH="$PATH" bwrap --unshare-all --die-with-parent --new-session --cap-drop ALL \
  --uid 1000 --gid 1000 --proc /proc --chdir / --setenv SEQBUS_SOCKET /bus/bus.sock \
  --ro-bind "$bus" /bus \
  --ro-bind "$bun" /app/bun \
  --ro-bind "$root/src" /app/src \
  --ro-bind "$root/examples/sandbox/worker.ts" /app/examples/sandbox/worker.ts \
  --ro-bind "$msgpackr" /app/node_modules/msgpackr \
  "$@" </dev/null
