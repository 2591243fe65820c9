#!/usr/bin/env bash
# Figure 5: how retrieval grows with the number of captioned clips.
source "$(dirname "${BASH_SOURCE[0]}")/reproduce_common.sh"
usage='Usage: scripts/reproduce_figure_5.sh [OPTION]...

Figure 5: MSR-VTT R@1 of dual encoders trained on 1, 10, 30 and 100 % of
VideoCC, with alt-text, captions of the image VLM, and distilled captions. Clip
sets: videocc; msrvtt_1ka. The captions are those of reproduce_table_4.sh. Ends
in a table and a plot, RUNS/tables/figure_5.html.'
parse_flags "$@"
clip=${clip:-$runs/clip_l14}

for percent in 1 10 30 100; do
  clips=$((71000 * percent))
  # 20 epochs of batches of 1,024; a warm-up that ends within them.
  steps=$((clips * 20 / 1024))
  size=(--gin.NUM_CLIPS="$clips" --gin.TRAIN_STEPS="$steps")
  if [ "$steps" -lt 5000 ]; then
    size+=(--gin.optim.warmup_cosine.warmup_steps=$((steps / 10)))
  fi
  for source in alt_text image distilled; do
    row="${source}_$percent"
    case $source in
      alt_text) captions='' ;;
      image) captions='videocc_frames' ;;
      distilled) captions='videocc_plus' ;;
    esac
    train dualenc dualenc_l14 "$runs/figure_5/$row" "$clip" \
      "--gin.CAPTIONS='$captions'" "${size[@]}"
    score dualenc figure_5 "$row" msrvtt_1ka "$runs/figure_5/$row" msrvtt_1ka
  done
done
table figure_5
