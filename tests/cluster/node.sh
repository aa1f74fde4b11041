#!/usr/bin/env bash
# node.sh up|off DIR NODE: switch a node of the cluster in DIR on, or off with everything that runs on it.
set -euo pipefail
DIR=$(cd "$2" && pwd) NODE=$3
case $1 in
  up)
    # bash, process 1 of the namespace, collects orphans.
    SLURM_CONF=$DIR/etc/slurm.conf setsid unshare --fork --kill-child --pid --mount-proc --mount --uts \
      bash -c 'hostname "$1"; mount --bind "$2/etc/hosts" /etc/hosts; mount --bind "$2/etc" /etc/slurm
               slurmd -D -N "$1" & while :; do wait; sleep 1; done' slurm-node "$NODE" "$DIR" \
      >>"$DIR/log/$NODE.out.log" 2>&1 </dev/null &
    echo $! >"$DIR/pid/$NODE" ;;
  off) kill -KILL "$(cat "$DIR/pid/$NODE")" ;;
  *) sed -n 2p "$0" >&2; exit 2 ;;
esac
