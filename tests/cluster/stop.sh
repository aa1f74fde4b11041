#!/usr/bin/env bash
# stop.sh DIR: end exactly the processes that start.sh noted in DIR/pid.
set -uo pipefail
DIR=$(cd "${1:?usage: stop.sh DIR}" && pwd) || exit 2
[ -d "$DIR/pid" ] && [ -d "$DIR/munge" ] || { echo "stop.sh: $DIR is no test cluster" >&2; exit 2; }
ours() { # ours NAME: its id, if that process still runs and is of this cluster
  local p
  p=$(cat "$DIR/pid/$1" 2>/dev/null) || return 1
  grep -qzF "$DIR" "/proc/$p/environ" 2>/dev/null || grep -qF "$DIR" "/proc/$p/cmdline" 2>/dev/null || return 1
  echo "$p"
}
end() { # end SIGNAL SECONDS NAME...
  local sig=$1 stop=$((SECONDS + $2)) n p
  shift 2
  for n in "$@"; do p=$(ours "$n") && kill -"$sig" "$p" 2>/dev/null; done
  for n in "$@"; do
    while p=$(ours "$n") && [ $SECONDS -lt $stop ]; do sleep 0.1; done
    p=$(ours "$n") && kill -KILL "$p" 2>/dev/null
  done
  return 0
}
cd /
# The kernel ends every process of a node's namespace with its first one.
end KILL 10 $(cd "$DIR/pid" && ls | grep -E '^node[0-9]+$')
end TERM 10 slurmctld
end TERM 5 munged
