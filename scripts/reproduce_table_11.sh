#!/usr/bin/env bash
# Table 11: human captions of S-MiT against distilled ones.
source "$(dirname "${BASH_SOURCE[0]}")/reproduce_common.sh"
usage='Usage: scripts/reproduce_table_11.sh [OPTION]...

Table 11: table 2 once more, beside an L/14 dual encoder trained on the human
captions of S-MiT. Clip sets: smit; msrvtt_1ka, vatex_1.5k, kinetics600. The
other rows are those of reproduce_table_2.sh.'
parse_flags "$@"
clip=${clip:-$runs/clip_l14}

# 481,094 clips x 20 epochs / 1,024.
train dualenc dualenc_l14 "$runs/table_11/smit" "$clip" \
  "--gin.CLIPS='smit'" --gin.TRAIN_STEPS=9400
zero_shot table_11 smit "$runs/table_11/smit"
for row in videocc_plus internvid_plus both_plus; do
  zero_shot table_11 "$row" "$runs/table_2/$row"
done
table table_11
