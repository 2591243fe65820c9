#!/usr/bin/env bash
# Table 5: which part of the VLM visual adaptation should train.
source "$(dirname "${BASH_SOURCE[0]}")/reproduce_common.sh"
usage='Usage: scripts/reproduce_table_5.sh [OPTION]...

Table 5: S-MiT captions after training the language model, the visual encoder,
both, and the visual encoder with pseudo-captions of VideoCC besides. Clip
sets: smit, videocc, videocc_plus (captions of reproduce_table_2.sh).'
parse_flags "$@"

train_and_score() {
  local row=$1 recipe=$2 initial=$3
  shift 3
  train vidlm "$recipe" "$runs/table_5/$row" "$initial" "$@"
  score vidlm table_5 "$row" smit_captions "$runs/table_5/$row" smit
}

rate='@optim.warmup_rsqrt()'
train_and_score language adapt_visual "$image" \
  "--gin.SCHEDULE=[('img/.*', None), ('llm/.*', $rate)]"
train_and_score visual adapt_visual "$image"
train_and_score both adapt_visual "$image" "--gin.SCHEDULE=[('.*', $rate)]"
train_and_score visual_self self_train "$image"
table table_5
