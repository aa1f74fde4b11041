#!/usr/bin/env bash
# start.sh DIR NODES CPUS MEM_MB GPUS: a throw-away Slurm cluster on this machine, all of it below DIR (absent or empty).
#
# Every node is a slurmd in its own PID, mount and UTS namespace, with a host name, /etc/hosts and /etc/slurm of its
# own: ending its one `unshare` process switches the machine off, with everything that runs on it. Needs root and the
# packages slurmctld slurmd slurm-client munge; needs no systemd and no network but 127.0.0.0/8. stop.sh DIR ends it.
set -euo pipefail
DIR=$1 NODES=$2 CPUS=$3 MEM=$4 GPUS=$5
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$DIR"/{etc,log,pid,munge,state,spool,dev}
DIR=$(cd "$DIR" && pwd)
chmod 755 "$DIR"
trap 'rc=$?; if [ $rc -ne 0 ]; then tail -n 15 "$DIR"/log/*.log >&2 || true; bash "$HERE/stop.sh" "$DIR" >&2 || true; fi' EXIT
CTL=$(hostname -s)

# Free ports of our own: slurmctld, and one for each slurmd.
mapfile -t PORT < <(python3 - $((NODES + 1)) <<'PY'
import socket, sys
sockets = [socket.socket() for _ in range(int(sys.argv[1]))]
[s.bind(("127.0.0.1", 0)) for s in sockets]
[print(s.getsockname()[1]) for s in sockets]
PY
)

start() { # start NAME COMMAND...: in the background, in a session of its own; its id is noted
  local name=$1
  shift
  setsid "$@" >"$DIR/log/$name.out.log" 2>&1 </dev/null &
  echo $! >"$DIR/pid/$name"
}
until_ok() { # until_ok SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "start.sh: no $what in time" >&2; return 1; }
    sleep 0.1
  done
}

(umask 077; head -c 1024 /dev/urandom >"$DIR/munge/munge.key")
chmod 711 "$DIR/munge"
start munged munged --foreground --force --num-threads=10 --key-file="$DIR/munge/munge.key" \
  --socket="$DIR/munge/sock" --pid-file="$DIR/munge/pid" --seed-file="$DIR/munge/seed" --log-file="$DIR/log/munged.log"
until_ok 60 munged test -S "$DIR/munge/sock"

# OverTimeLimit: where a machine is slow, a job of one minute still gets to its first step.
# cred_expire: a job whose node was lost is not held back for two minutes. The timeouts see a lost node within seconds.
cat >"$DIR/etc/slurm.conf" <<CONF
ClusterName=testcluster
SlurmctldHost=$CTL(127.0.0.1)
SlurmctldPort=${PORT[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$DIR/munge/sock,cred_expire=5
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool/%n
SlurmctldPidFile=$DIR/pid/.slurmctld
SlurmdPidFile=$DIR/pid/.slurmd.%n
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdLogFile=$DIR/log/%n.log
MailProg=/bin/true
ReturnToService=2
EnforcePartLimits=ALL
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
MpiDefault=none
SwitchType=switch/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_min_interval=100000
SlurmdTimeout=12
SlurmctldTimeout=30
KillWait=2
UnkillableStepTimeout=30
OverTimeLimit=5
InactiveLimit=0
Waittime=0
MinJobAge=300
AccountingStorageType=accounting_storage/none
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
CONF
# Faked GPUs must be device nodes, or CUDA_VISIBLE_DEVICES is not set.
for ((g = 0; g < GPUS; g++)); do mknod "$DIR/dev/nvidia$g" c 1 3; done
echo "NodeName=node[1-$NODES] Name=gpu Type=faked File=$DIR/dev/nvidia[0-$((GPUS - 1))]" >"$DIR/etc/gres.conf"
echo "127.0.0.1 localhost $CTL" >"$DIR/etc/hosts"
for ((i = 1; i <= NODES; i++)); do
  echo "127.0.0.$((10 + i)) node$i" >>"$DIR/etc/hosts"
  echo "NodeName=node$i NodeHostname=node$i NodeAddr=127.0.0.$((10 + i)) Port=${PORT[$i]} CPUS=$CPUS" \
    "RealMemory=$MEM Gres=gpu:faked:$GPUS State=UNKNOWN" >>"$DIR/etc/slurm.conf"
  mkdir -p "$DIR/spool/node$i"
done
echo "PartitionName=main Nodes=node[1-$NODES] Default=YES MaxTime=2-0 DefaultTime=10 State=UP" >>"$DIR/etc/slurm.conf"
# Its jobs send those of the other partition back to the queue.
echo "PartitionName=urgent Nodes=node[1-$NODES] PriorityTier=10 DefaultTime=10 State=UP" >>"$DIR/etc/slurm.conf"

export SLURM_CONF=$DIR/etc/slurm.conf
start slurmctld slurmctld -D -c
until_ok 60 slurmctld scontrol ping
for ((i = 1; i <= NODES; i++)); do bash "$HERE/node.sh" up "$DIR" node$i; done
idle() { [ "$(sinfo -h -N -t idle -o %n | sort -u | wc -l)" -eq "$NODES" ]; }
until_ok 90 "$NODES idle nodes" idle
