#!/usr/bin/env bash
# Sourced by reproduce_table_*.sh and reproduce_figure_5.sh: flags and steps.
# Every step can be run again: training, captioning and the language model go
# on where they were, a score that is there is kept.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

options() {
  cat <<'OPTIONS'

  --data=DIR       clip sets made by `vidlm prepare`, named as below (data)
  --runs=DIR       models, captions and scores (runs/paper)
  --image=DIR      the image VLM to start from (RUNS/image)
  --clip=DIR       CLIP's weights converted, L/14 or B/16 (RUNS/clip_l14, _b16)
  --llm_url=URL    OpenAI-compatible endpoint, where one is needed
  --llm_model=NAME the name it knows the language model by
  --launch=PREFIX  put before training and captioning, such as
                   'scripts/launch_slurm.sh --nodes=2 --gpus_per_node=8 --'
  --miniature      the same at the demo's size on drawn videos, three seeds, all
                   tables at once: some half an hour a seed on 2 cores, resumable;
                   of the flags above it takes --runs alone (runs/tables)
  --table_only     only the table of the scores that are there
  --dry_run        print the commands, and stop
OPTIONS
}

fail() {
  echo "$(basename "$0"): $1 (--help shows the usage)" >&2
  exit 2
}

# Some scripts have no use for some of them.
# shellcheck disable=SC2034
data='data' runs='' image='' clip='' llm_url='' llm_model=''
launch=() dry_run='' table_only='' miniature=''

# Reads the flags; the script's own usage is in the variable `usage`.
parse_flags() {
  local flag
  for flag; do
    # shellcheck disable=SC2034
    case $flag in
      --data=*) data=${flag#*=} ;;
      --runs=*) runs=${flag#*=} ;;
      --image=*) image=${flag#*=} ;;
      --clip=*) clip=${flag#*=} ;;
      --llm_url=*) llm_url=${flag#*=} ;;
      --llm_model=*) llm_model=${flag#*=} ;;
      --launch=*) read -r -a launch <<<"${flag#*=}" ;;
      --miniature) miniature=1 ;;
      --table_only) table_only=1 ;;
      --dry_run) dry_run=1 ;;
      --help | -h)
        # shellcheck disable=SC2154
        echo "$usage"
        options
        exit
        ;;
      *) fail "unknown option $flag" ;;
    esac
  done
  if [[ -n $miniature ]]; then
    reproduce_miniature
    exit
  fi
  runs=${runs:-runs/paper}
  image=${image:-$runs/image}
}

# The script's table of the miniature; figure 5's curves are in the demo.
reproduce_miniature() {
  local name
  name=$(basename "$0" .sh)
  name=${name#reproduce_}
  if [[ $name == figure_5 ]]; then
    step python -m vidlm.miniature demo "--output=${runs:-runs/demo}"
    return
  fi
  runs=${runs:-runs/tables}
  step python -m vidlm.miniature tables "--output=$runs" \
    --seeds=0,1,2
  table_only='' step cat "$runs/report/$name.md"
  echo "$runs/report/$name.json and $name.html hold the same"
}

# Prints a command, and runs it unless only asked to print.
step() {
  [[ -z $table_only ]] || return 0
  local line
  printf -v line '%q ' "$@"
  echo "${line% }"
  [[ -n $dry_run ]] || "$@"
}

launched() { step ${launch[@]+"${launch[@]}"} "$@"; }

# train PROGRAM RECIPE MODEL_DIR INITIAL [FLAG]...
train() {
  local program=$1 recipe=$2 model=$3 initial=$4
  shift 4
  launched "$program" train "--gin_file=configs/$program/recipes/$recipe.gin" \
    "--gin.MODEL_DIR='$model'" "--gin.INITIAL_CHECKPOINT_PATH='$initial'" \
    "--gin.DATA_DIR='$data'" "$@"
}

# caption CHECKPOINT CLIP_SET NAME [FLAG]...
caption() {
  local checkpoint=$1 clips=$2 name=$3
  shift 3
  launched vidlm caption "--checkpoint=$checkpoint" \
    "--clip_dataset=$data/$clips" "--output=$data/$name" "$@"
}

# score PROGRAM TABLE ROW TASK CHECKPOINT CLIP_SET [FLAG]...
score() {
  local program=$1 file="$runs/scores/$2/$3.$4.json" task=$4 checkpoint=$5
  local clips=$6
  shift 6
  if [[ -e $file && -z $dry_run ]]; then
    return 0
  fi
  step "$program" eval "--task=$task" "--checkpoint=$checkpoint" \
    "--clip_dataset=$data/$clips" --allow=unavailable "--output=$file" "$@"
}

# Retrieval and classification of a dual encoder: zero_shot TABLE ROW MODEL ...
zero_shot() {
  local table=$1 row=$2 model=$3
  shift 3
  score dualenc "$table" "$row" msrvtt_1ka "$model" msrvtt_1ka "$@"
  score dualenc "$table" "$row" vatex_1.5k "$model" vatex_1.5k "$@"
  score dualenc "$table" "$row" kinetics600 "$model" kinetics600 "$@"
}

need_llm() {
  [[ -n $dry_run || -n $table_only || -n $llm_url && -n $llm_model ]] ||
    fail '--llm_url=URL and --llm_model=NAME are missing'
}

# table NAME: what the paper has, what came out, by which protocol.
table() {
  table_only='' step python "$here/scripts/paper_table.py" "--table=$1" \
    "--scores=$runs/scores/$1" "--output=$runs/tables"
}
