#!/usr/bin/env bash
# Starts one vidlm or dualenc command as one process on each Slurm node.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: scripts/launch_slurm.sh --nodes=N [OPTION]... [-- SRUN_OPTION...] -- COMMAND...

Runs COMMAND under srun with one process a node, which holds all GPUs of that
node, and tells it the coordinator's address, the number of processes and its
own index. Works from a login node and inside a batch job.

  scripts/launch_slurm.sh --nodes=2 --gpus_per_node=8 -- --time=12:00:00 -- \
    vidlm train --gin_file=configs/vidlm/recipes/adapt_visual.gin \
    --gin.MODEL_DIR='"/data/runs/visual"'

  --nodes=N           nodes, and so processes
  --gpus_per_node=G   GPUs to ask for on each (default: none asked for)
  --cpus_per_task=C   cores to ask for on each (default: Slurm's)
  --port=PORT         the coordinator's (default: from the job's number)
  --dry_run           print the command that would run, and stop

Slurm sends SIGTERM two minutes before the time limit: training saves a
checkpoint and exits; the same command started again goes on from there.
USAGE
}

fail() {
  echo "launch_slurm.sh: $1 (--help shows the usage)" >&2
  exit 2
}

nodes='' gpus='' cpus='' port='' dry_run=''
while (($#)); do
  case $1 in
    --nodes=*) nodes=${1#*=} ;;
    --gpus_per_node=*) gpus=${1#*=} ;;
    --cpus_per_task=*) cpus=${1#*=} ;;
    --port=*) port=${1#*=} ;;
    --dry_run) dry_run=1 ;;
    --help | -h) usage; exit ;;
    --) shift; break ;;
    *) fail "unknown option $1" ;;
  esac
  shift
done
[[ $nodes =~ ^[1-9][0-9]*$ ]] || fail '--nodes=N is missing or no number'
[[ $port =~ ^[0-9]*$ ]] || fail "--port=$port is no number"

run=(srun "--nodes=$nodes" "--ntasks=$nodes" --ntasks-per-node=1)
[[ -z $gpus ]] || run+=("--gpus-per-node=$gpus")
[[ -z $cpus ]] || run+=("--cpus-per-task=$cpus")
# A process that died would leave the others waiting for it.
run+=(--kill-on-bad-exit=1 --signal=TERM@120)
if [[ ${1:-} == -* ]]; then
  while (($#)) && [[ $1 != -- ]]; do
    run+=("$1")
    shift
  done
  (($#)) || fail 'no command after the second --'
  shift
fi
(($#)) || fail 'no command after --'

# Expanded on the node, where Slurm has set its variables. SLURM_LOCALID is
# taken away because JAX would read it as "use this one GPU only".
# shellcheck disable=SC2016
task='host=$(scontrol show hostnames "$SLURM_STEP_NODELIST" | head -n 1)
port=${0#*:}
unset SLURM_LOCALID
exec "$@" \
  --coordinator_address="$host:${port:-$((20000 + SLURM_JOB_ID % 10000))}" \
  --process_count="$SLURM_NTASKS" --process_index="$SLURM_PROCID"'
run+=(bash -c "$task" "vidlm:$port" "$@")

if [[ -n $dry_run ]]; then
  printf -v line '%q ' "${run[@]}"
  echo "${line% }"
else
  exec "${run[@]}"
fi
