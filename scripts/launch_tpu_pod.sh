#!/usr/bin/env bash
# Starts one vidlm or dualenc command on every host of a Cloud TPU pod slice.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: scripts/launch_tpu_pod.sh --name=POD --zone=ZONE [OPTION]... -- COMMAND...

Runs COMMAND with --multihost on all hosts of the slice, in the checkout there.
Give COMMAND as you would type it in a shell of your own:

  scripts/launch_tpu_pod.sh --name=pod --zone=us-west4-a -- \
    vidlm train --gin_file=configs/vidlm/recipes/adapt_visual.gin \
    --gin.MODEL_DIR='"gs://bucket/visual"'

  --name=POD       name of the TPU VM slice
  --zone=ZONE      its zone
  --project=ID     Google Cloud project, if not gcloud's own
  --dir=DIR        the checkout on the hosts, holding .venv (default: vidlm)
  --detach         go on after this shell ends; output to DIR/launch.log
  --dry_run        print the command that would run, and stop
USAGE
}

fail() {
  echo "launch_tpu_pod.sh: $1 (--help shows the usage)" >&2
  exit 2
}

name='' zone='' project='' dir=vidlm detach='' dry_run=''
while (($#)); do
  case $1 in
    --name=*) name=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --project=*) project=${1#*=} ;;
    --dir=*) dir=${1#*=} ;;
    --detach) detach=1 ;;
    --dry_run) dry_run=1 ;;
    --help | -h) usage; exit ;;
    --) shift; break ;;
    *) fail "unknown option $1" ;;
  esac
  shift
done
[[ -n $name ]] || fail '--name=POD is missing'
[[ -n $zone ]] || fail '--zone=ZONE is missing'
(($#)) || fail 'no command after --'

# %q: gcloud hands the hosts one string, which their shells split again.
printf -v command '%q ' "$@" --multihost
# `activate` finds the commands of .venv without touching their own quoting.
printf -v remote 'cd %q && . .venv/bin/activate && ' "$dir"
if [[ -n $detach ]]; then
  # In braces, or the rest of the line would keep the connection open.
  remote+="{ nohup $command>launch.log 2>&1 </dev/null & }"
else
  remote+="exec ${command% }"
fi

run=(gcloud compute tpus tpu-vm ssh "$name" "--zone=$zone" --worker=all)
[[ -z $project ]] || run+=("--project=$project")
run+=("--command=$remote")

if [[ -n $dry_run ]]; then
  printf -v line '%q ' "${run[@]}"
  echo "${line% }"
else
  exec "${run[@]}"
fi
