#!/usr/bin/env bash
# Makes all of this folder, by commit 49c9bdf: in a folder that holds only
# draw.py, golden.py, make.sh and recipes/, with that commit's `vidlm` and
# `dualenc` on the PATH.
set -eu
export XLA_FLAGS=--xla_force_host_platform_device_count=1

python draw.py
vidlm prepare folder --videos=data/videos --annotations=data/captions.jsonl \
  --output=data/clips --size=32 --num_shards=1 --workers=1
vidlm train --gin_file=recipes/vlm.gin --gin.MODEL_DIR='"vlm"'
dualenc train --gin_file=recipes/dualenc.gin --gin.MODEL_DIR='"dualenc"'
mkdir dropped  # by hand: a run of a version whose `train` had one argument more
sed 's/^train_script.train.train_steps.*/&\ntrain_script.train.summary_period = 100/' \
  vlm/config.gin >dropped/config.gin
rm {vlm,dualenc}/events.out.tfevents.* data/clips/.lock

# What these runs gave then. `golden.py` gathers it in golden/.
work=$(mktemp -d)
vidlm caption --checkpoint=vlm --videos=data/videos --greedy --workers=1 \
  --output="$work/greedy"
vidlm caption --checkpoint=vlm --clip_dataset=data/clips --num_samples=4 \
  --top_p=1.0 --temperature=1.5 --seed=3 --max_length=16 \
  --output="$work/sampled"
vidlm eval --checkpoint=vlm --clip_dataset=data/clips --split=train \
  --batch_size=4 --max_length=5 --output="$work/vlm.json"
dualenc eval --checkpoint=dualenc --clip_dataset=data/clips --split=train \
  --dual_softmax=10 --output="$work/dualenc.json"
dualenc eval --checkpoint=dualenc --clip_dataset=data/clips --split=train \
  --task=classification --templates=plain --output="$work/classes.json"
vidlm convert vlm "$work/vlm_huggingface"
vidlm convert vlm "$work/vlm_checkpoint" --format=checkpoint
vidlm convert vlm:img "$work/vlm_img.npz"
vidlm convert vlm:llm "$work/vlm_llm_t5x" --format=t5x
dualenc convert dualenc "$work/dualenc_huggingface"
cp -r vlm dualenc "$work"
vidlm train --gin_file=recipes/vlm.gin --gin.MODEL_DIR="'$work/vlm'" \
  --gin.TRAIN_STEPS=68 --gin.LOG_PERIOD=1
dualenc train --gin_file=recipes/dualenc.gin --gin.MODEL_DIR="'$work/dualenc'" \
  --gin.TRAIN_STEPS=28 --gin.LOG_PERIOD=1
python golden.py "$work"
rm -r "$work"
