#!/usr/bin/env bash
# Table 4: sources of captions, by a B/16 dual encoder trained on each.
source "$(dirname "${BASH_SOURCE[0]}")/reproduce_common.sh"
usage='Usage: scripts/reproduce_table_4.sh [OPTION]...

Table 4: MSR-VTT retrieval of B/16 dual encoders trained on alt-text, captions
of single frames, those summarized by a language model, and captions of the
adapted VLM, one or several a clip. Clip sets: videocc; msrvtt_1ka. RUNS/visual
and RUNS/language come from reproduce_table_3.sh.'
parse_flags "$@"
need_llm
clip=${clip:-$runs/clip_b16}

train_and_score() {
  local row=$1 captions=$2
  train dualenc dualenc_b16 "$runs/table_4/$row" "$clip" \
    "--gin.CAPTIONS='$captions'"
  score dualenc table_4 "$row" msrvtt_1ka "$runs/table_4/$row" msrvtt_1ka
}

train_and_score alt_text ''
caption "$image" videocc videocc_frames --framewise --num_frames=8
train_and_score frames videocc_frames
step vidlm instruct summarize "--captions=$data/videocc_frames" \
  "--output=$data/videocc_summaries" "--base_url=$llm_url" \
  "--model=$llm_model"
train_and_score frames_llm videocc_summaries
caption "$runs/visual" videocc videocc_visual_1 --num_samples=1
train_and_score visual videocc_visual_1
caption "$runs/visual" videocc videocc_visual
train_and_score visual_multi videocc_visual
caption "$runs/language" videocc videocc_plus
train_and_score adapted_multi videocc_plus
table table_4
