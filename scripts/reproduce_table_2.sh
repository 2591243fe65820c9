#!/usr/bin/env bash
# Table 2: dual encoders L/14 on original texts and on distilled captions.
source "$(dirname "${BASH_SOURCE[0]}")/reproduce_common.sh"
usage='Usage: scripts/reproduce_table_2.sh [OPTION]...

Table 2: zero-shot retrieval and classification of L/14 dual encoders trained on
the original texts of VideoCC and InternVid, and on distilled captions; first
the image CLIP, frame by frame. Clip sets: videocc, internvid; msrvtt_1ka,
vatex_1.5k, kinetics600. The adapted VLM of table 3 is expected in RUNS/language.'
parse_flags "$@"
clip=${clip:-$runs/clip_l14}

# train_and_score ROW CAPTIONS RECIPE [FLAG]...
train_and_score() {
  local row=$1 captions=$2 recipe=$3
  shift 3
  train dualenc "$recipe" "$runs/table_2/$row" "$clip" \
    "--gin.CAPTIONS='$captions'" "$@"
  zero_shot table_2 "$row" "$runs/table_2/$row"
}

zero_shot table_2 clip "$clip" --framewise --num_frames=8
for clips in videocc internvid; do
  caption "$runs/language" "$clips" "${clips}_plus"
done
internvid=("--gin.CLIPS='internvid'" --gin.TRAIN_STEPS=195000)
train_and_score videocc '' dualenc_l14
train_and_score videocc_plus videocc_plus dualenc_l14
train_and_score internvid '' dualenc_l14 "${internvid[@]}"
train_and_score internvid_plus internvid_plus dualenc_l14 "${internvid[@]}"
train_and_score both_plus '' dualenc_l14_both
table table_2
