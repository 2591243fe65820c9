#!/usr/bin/env bash
# Table 6: what instruction data does to language adaptation.
source "$(dirname "${BASH_SOURCE[0]}")/reproduce_common.sh"
usage='Usage: scripts/reproduce_table_6.sh [OPTION]...

Table 6: captions and NExT-OE answers after language adaptation on several sets
of instructions. Clip sets: llava, activitynet_instruct (of "vidlm prepare
video_chatgpt"), vidln, vidln_instructions, smit; msrvtt, activitynet, next_oe.
RUNS/visual comes from reproduce_table_3.sh.'
parse_flags "$@"

answer_all() {
  local row=$1 model=$2
  score vidlm table_6 "$row" msrvtt_captions "$model" msrvtt --num_frames=8
  score vidlm table_6 "$row" activitynet_captions_segments "$model" \
    activitynet --num_frames=8
  score vidlm table_6 "$row" next_oe "$model" next_oe --num_frames=8
}

# train_and_score ROW [GIN_BINDING]...
train_and_score() {
  local row=$1 binding
  local flags=()
  shift
  for binding; do
    flags+=("--gin_bindings=$binding")
  done
  train vidlm adapt_language "$runs/table_6/$row" "$runs/visual" \
    ${flags[@]+"${flags[@]}"}
  answer_all "$row" "$runs/table_6/$row"
}

answer_all none "$image"
for clips in llava activitynet_instruct; do
  train_and_score "$clips" 'MIXTURE_OR_TASK=@reasoning/tasks.ClipTask()' \
    "reasoning/tasks.ClipTask.clips='$clips'" \
    'reasoning/tasks.ClipTask.texts=None' 'reasoning/tasks.ClipTask.kinds=()'
done
train_and_score reasoning 'MIXTURE_OR_TASK=@reasoning/tasks.ClipTask()'
train_and_score reasoning_smit 'tasks.ClipMixture.tasks=[(@reasoning/tasks.ClipTask(), 0.41), (@smit/tasks.ClipTask(), 0.59)]'
train_and_score reasoning_smit_short
table table_6
