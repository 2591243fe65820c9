"""Real pixels: a small VLM and a dual encoder from scratch on your videos.

  python -m vidlm.miniature real_pixels --videos=DIR --output=runs/real_pixels

DIR holds videos and captions.jsonl (or --captions=FILE) with the columns
clip_id, path and caption. Both models are scored on the clips they were
trained on: this shows that the path from pixels to words learns, and says
nothing about other videos. A stage that has finished is not run again.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vidlm.core import files, huge_pages, launch
from vidlm.miniature import real_pixels_report

RECIPES = 'configs/real_pixels'
CAPTIONS = tuple(
  f'captions.{suffix}' for suffix in ('jsonl', 'json', 'csv', 'tsv', 'parquet')
)
SPLIT = 'train'
BATCH_SIZE = 32  # of scoring


class RealPixels:
  """The stages in order; each knows whether it has been done."""

  def __init__(
    self,
    videos: pathlib.Path,
    output: pathlib.Path,
    captions: pathlib.Path,
    seed: int,
    scale: float,
  ):
    self.videos = videos
    self.output = output
    self.captions = captions
    self.seed = seed
    self.scale = scale
    self.clips = output / 'data/clips'
    self.vocabulary = output / 'data/vocabulary.model'
    self.scores = output / 'scores'

  def run(self) -> dict[str, Any]:
    """Runs what is left; writes and returns the report.

    Raises:
      FileExistsError: If the output is that of other videos or options.
    """
    self.claim()
    self.stage('prepare', self.vocabulary, self.prepare)
    self.read_folder()  # done before; refuses what was made of other videos
    lengths = self.text_lengths()
    # TASK_FEATURE_LENGTHS of the dual encoder is its recipe's: it may cut.
    for model, macros, score in (
      ('vlm', {'TASK_FEATURE_LENGTHS': lengths}, self.score_captions),
      ('dualenc', {}, self.score_retrieval),
    ):
      with self.recipe(model, **macros) as steps:
        checkpoint = self.output / model / f'checkpoint_{steps}'
        self.stage(f'train {model}', checkpoint, _train)
      scores = self.scores / f'{model}.json'
      self.stage(f'score {model}', scores, score)
    report = real_pixels_report.gather(
      self.output,
      {
        'command': shlex.join(['python', *sys.argv]),
        'seed': self.seed,
        'scale': self.scale,
      },
    )
    files.write_json(self.output / 'report.json', report)
    return report

  def claim(self) -> None:
    """Refuses the output of a run with another seed or scale."""
    path = self.output / 'options.json'
    options = {'seed': self.seed, 'scale': self.scale}
    if not path.exists():
      files.write_json(path, options)
    elif (before := json.loads(path.read_text())) != options:
      was = ', '.join(f'--{name}={value}' for name, value in before.items())
      raise FileExistsError(
        f'{self.output}: was made with {was}; choose another --output'
      )

  def stage(
    self, name: str, product: pathlib.Path, make: Callable[[], None]
  ) -> None:
    """Makes a product that isn't there, and notes the time on disk."""
    if product.exists():
      print(f'== {name}: done before', flush=True)
      return
    print(f'== {name}', flush=True)
    start = time.monotonic()
    try:
      make()
    finally:
      spent = self.spent()
      spent[name] = spent.get(name, 0.0) + time.monotonic() - start
      files.write_json(self.output / 'seconds.json', spent)
    print(f'== {name}: {spent[name]:.0f} s', flush=True)

  def spent(self) -> dict[str, float]:
    """Returns seconds of every stage so far, earlier starts included."""
    path = self.output / 'seconds.json'
    return json.loads(path.read_text()) if path.exists() else {}

  @contextlib.contextmanager
  def recipe(self, name: str, **macros: Any) -> Iterator[int]:
    """Yields the steps to train; a recipe with this run's paths is parsed."""
    bound = {
      'MODEL_DIR': str(self.output / name),
      'DATA_DIR': str(self.output / 'data'),
      'VOCABULARY_PATH': str(self.vocabulary),
      'RANDOM_SEED': self.seed,
      **macros,
    }
    bindings = [f'{key} = {value!r}' for key, value in bound.items()]
    with launch.isolated_gin():
      launch.parse_gin([f'{RECIPES}/{name}.gin'], bindings)
      steps = max(2, round(launch.macro('TRAIN_STEPS') * self.scale))
      launch.parse_gin([], [f'TRAIN_STEPS = {steps}'])
      yield steps

  def prepare(self) -> None:
    """Reads the folder into a clip set and makes a vocabulary of its words.

    Raises:
      ValueError: If a clip has no caption.
    """
    from vidlm.data.feed import tasks, vocabulary
    from vidlm.data.prepare import annotations

    # Before anything is written: what is put right then is no other folder.
    rows = annotations.read_annotations(str(self.captions), str(self.videos))
    bare = [row.clip_id for row in rows if not row.texts]
    if bare:
      raise ValueError(
        f'{self.captions}: {len(bare)} clips have no caption, such as '
        f'{bare[0]!r}; caption them or drop their rows'
      )
    print(self.read_folder())
    with self.recipe('vlm'):
      pieces = launch.macro('VOCABULARY_SIZE')
    vocabulary.train_sentencepiece(
      [tasks.CAPTION_PROMPT, *self.texts()],
      str(self.vocabulary),
      pieces,
      # Whole words, even those that occur once: the longest caption sets the
      # length of all targets, and so what a step costs.
      model_type='bpe',
    )

  def read_folder(self) -> Any:
    """Makes the clip set of the folder; does nothing if it is there."""
    from vidlm.data.prepare import pipeline
    from vidlm.data.video import sampling

    with self.recipe('vlm'):
      frames = launch.macro('NUM_FRAMES')
      size = launch.macro('IMAGE_SIZE')
    # As many frames as a model sees, of the size it sees: a step decodes a
    # few small images, and the processor is left to the model.
    return pipeline.prepare_folder(
      str(self.videos),
      str(self.clips),
      annotations=str(self.captions),
      sampling=sampling.Sampling(
        size=size, min_frames=frames, max_frames=frames
      ),
    )

  def texts(self) -> list[str]:
    """Returns every caption of the clip set."""
    from vidlm.data.store import clip_reader

    groups = clip_reader.open_clips(str(self.clips), SPLIT).texts()
    return [text for texts in groups for text in texts]

  def text_lengths(self) -> dict[str, int]:
    """Returns tokens that hold the prompt and the longest caption in full."""
    from vidlm.data.feed import tasks, vocabulary

    words = vocabulary.Vocabulary(str(self.vocabulary))
    return {
      'inputs': _length(words.encode(tasks.CAPTION_PROMPT)),
      'targets': max(_length(words.encode(text)) for text in self.texts()),
    }

  def score_captions(self) -> None:
    """Scores greedy captions of the training clips by CIDEr-D."""
    from vidlm import eval as eval_lib
    from vidlm.models import restored

    vlm = restored.load_vlm(str(self.output / 'vlm'))
    config = eval_lib.EvalConfig(
      str(self.clips),
      split=SPLIT,
      max_length=vlm.lengths['targets'],
      clips_per_device=BATCH_SIZE,
    )
    eval_lib.evaluate(vlm, config, str(self.scores / 'vlm.json'))

  def score_retrieval(self) -> None:
    """Scores text-to-video and video-to-text recall on the training clips."""
    from dualenc import eval as eval_lib

    config = eval_lib.EvalConfig(
      str(self.clips), split=SPLIT, clips_per_device=BATCH_SIZE
    )
    eval_lib.evaluate(
      str(self.output / 'dualenc'), config, str(self.scores / 'dualenc.json')
    )


def _train() -> None:
  """Trains what the parsed recipe says; ends the program if it was stopped."""
  from vidlm import train

  if status := train.run(allow=('small_set', 'unfinished_warmup')):
    sys.exit(status)


def _length(ids: list[int]) -> int:
  """Returns room for these and the end of sentence, in steps of eight."""
  return -(-(len(ids) + 1) // 8) * 8


def find_captions(videos: pathlib.Path) -> pathlib.Path:
  """Finds the captions file of a folder.

  Raises:
    FileNotFoundError: If there is no such folder, or no captions in it.
  """
  if not videos.is_dir():
    raise FileNotFoundError(f'--videos={videos}: no such folder')
  for name in CAPTIONS:
    if (videos / name).is_file():
      return videos / name
  raise FileNotFoundError(
    f'--videos={videos}: no captions there (looked for {", ".join(CAPTIONS)}); '
    'give --captions=FILE with the columns clip_id, path and caption'
  )


def main(argv: Sequence[str]) -> None:
  """Runs `python -m vidlm.miniature real_pixels`."""
  parser = argparse.ArgumentParser(
    'python -m vidlm.miniature real_pixels', description=__doc__.splitlines()[0]
  )
  parser.add_argument(
    '--videos', type=pathlib.Path, required=True, help='a folder of videos'
  )
  parser.add_argument(
    '--captions',
    type=pathlib.Path,
    help='.jsonl, .csv, .tsv or .parquet with clip_id, path and caption '
    '(captions.jsonl in the folder)',
  )
  parser.add_argument(
    '--output', type=pathlib.Path, default=pathlib.Path('runs/real_pixels')
  )
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument(
    '--scale',
    type=float,
    default=1.0,
    help='of the training steps; far below 1 only the path shows',
  )
  args = parser.parse_args(argv)
  huge_pages.restart()
  launch.start_logging()
  launch.use_compilation_cache()
  try:
    captions = args.captions or find_captions(args.videos)
    files.make_folder(args.output)
    report = RealPixels(
      args.videos, args.output, captions, args.seed, args.scale
    ).run()
  except (ValueError, OSError) as error:
    if os.environ.get('VIDLM_TRACEBACK'):
      raise
    raise launch.fail(error) from None
  print(real_pixels_report.summary(report))
  print(f'figures: {args.output / "report.json"}')
