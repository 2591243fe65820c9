#!/usr/bin/env bash
# Table 3: the VLM before and after adaptation.
source "$(dirname "${BASH_SOURCE[0]}")/reproduce_common.sh"
usage='Usage: scripts/reproduce_table_3.sh [OPTION]...

Table 3: captions and answers of the image VLM shown 8 frames, and of the VLM
after visual and language adaptation. Clip sets: smit, vidln,
vidln_instructions (of vidlm instruct); msrvtt, msrvtt_qa, activitynet,
activitynet_qa, next_oe.'
parse_flags "$@"

answer_all() {
  local row=$1 model=$2
  score vidlm table_3 "$row" msrvtt_captions "$model" msrvtt --num_frames=8
  score vidlm table_3 "$row" msrvtt_qa "$model" msrvtt_qa --num_frames=8
  local task
  for task in activitynet_captions_segments activitynet_captions_densevid; do
    score vidlm table_3 "$row" "$task" "$model" activitynet --num_frames=8
  done
  for task in activitynet_qa next_oe; do
    score vidlm table_3 "$row" "$task" "$model" "$task" --num_frames=8
  done
}

answer_all image "$image"
train vidlm adapt_visual "$runs/visual" "$image"
train vidlm adapt_language "$runs/language" "$runs/visual"
answer_all adapted "$runs/language"
table table_3
