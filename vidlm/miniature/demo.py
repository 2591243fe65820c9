"""The whole recipe in miniature, from drawn videos to scores and a page.

  python -m vidlm.miniature demo --output=runs/demo [--videos=DIR]

Every stage is what its command does (`vidlm train`, `vidlm caption`,
`dualenc train` ...) with a recipe of configs/miniature, called in one process
so that nothing is compiled twice. A stage that has finished is not run again:
an interrupted demo goes on from where it was.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gin

from vidlm.core import circumstances, files, huge_pages, launch
from vidlm.miniature import demo_scores

RECIPES = 'configs/miniature'
STAGES = ('image_vlm', 'visual', 'language')
# Where each stage's captions are called in the report.
SOURCES = {
  'image_vlm': 'image_vlm',
  'visual': 'visual',
  'visual+language': 'language',
}
SAMPLES = 4
SCALES = (0.125, 0.25, 0.5, 1.0)


class Demo:
  """The stages in order; each knows whether it has been done."""

  num_frames = 8  # every VLM sees all frames when it captions and answers

  def __init__(
    self, output: pathlib.Path, videos: str | None, seed: int, scale: float
  ):
    self.output = output
    self.videos = videos
    self.seed = seed
    self.scale = scale
    self.seconds = output / 'seconds.json'
    self.models: dict[str, Any] = {}

  def run(self) -> None:
    """Runs what is left, and writes the report."""
    self.timed('prepare', self.prepare)
    for stage, start in zip(STAGES, (None, *STAGES[:2]), strict=True):
      if stage == 'language':
        self.timed('instruct', self.instruct)
      self.timed(stage, lambda: self.train(stage, start))  # noqa: B023
    self.timed('caption', self.caption)
    self.timed('dual encoders', self.dual_encoders)
    self.timed('scores', self.score)
    if self.videos:
      self.timed('your videos', self.caption_videos)
    self.timed('report', self.report)
    print(
      f'report: {self.output / "report.html"}\n'
      f'figures: {self.output / "report.json"}'
    )

  @contextlib.contextmanager
  def recipe(self, name: str, **macros: Any) -> Iterator[None]:
    """Parses a recipe of the miniature with macros bound."""
    with launch.isolated_gin():
      bindings = [f'{key} = {value!r}' for key, value in macros.items()]
      launch.parse_gin([f'{RECIPES}/{name}.gin'], bindings)
      yield

  def timed(self, name: str, stage: Callable[[], Any]) -> None:
    """Runs a stage and adds the time it took to what is on disk."""
    print(f'== {name}', flush=True)
    start = time.monotonic()
    try:
      stage()
    finally:
      spent = self.spent()
      spent[name] = spent.get(name, 0.0) + time.monotonic() - start
      files.write_json(self.seconds, spent)
      print(
        f'== {name}: {spent[name]:.0f} s, in all {sum(spent.values()):.0f} s',
        flush=True,
      )

  def spent(self) -> dict[str, float]:
    """Returns seconds of every stage so far, earlier starts included."""
    if not self.seconds.exists():
      return {}
    return json.loads(self.seconds.read_text())

  def prepare(self) -> None:
    """Draws the world, reads the videos back into clip sets."""
    from vidlm.miniature.world import prepare

    prepare.prepare_miniature(
      str(self.output / 'data'), config=self.world(), seed=self.seed
    )

  def world(self) -> Any:
    """Returns sizes of the corpora, at this demo's scale."""
    from vidlm.miniature.world import config

    full = config.MiniatureConfig()
    # Numbers of 300 and more are sizes of corpora; test_retrieval's 270 stay.
    sizes: dict[str, Any] = {
      name: max(64, int(value * self.scale))
      for name, value in dataclasses.asdict(full).items()
      if isinstance(value, int) and value >= 300
    }
    return dataclasses.replace(full, **sizes) if self.scale != 1 else full

  def train(self, stage: str, start: str | None) -> None:
    """Trains one stage of the VLM."""
    self._train(
      stage,
      stage,
      INITIAL_CHECKPOINT_PATH=(str(self.output / start) if start else None),
    )

  def _train(self, recipe: str, name: str, **macros: Any) -> None:
    from vidlm import train

    model_dir = self.output / name
    data = self.output / 'data'
    with self.recipe(
      recipe,
      MODEL_DIR=str(model_dir),
      DATA_DIR=str(data),
      VOCABULARY_PATH=str(data / 'vocabulary.model'),
      RANDOM_SEED=self.seed,
      **macros,
    ):
      steps = max(4, int(launch.macro('TRAIN_STEPS') * self.scale))
      gin.bind_parameter('%TRAIN_STEPS', steps)
      if (model_dir / f'checkpoint_{steps}').exists():
        return
      if status := train.run(allow=('small_set', 'unfinished_warmup')):
        sys.exit(status)

  def instruct(self) -> None:
    """Makes questions and answers about the narratives."""
    from vidlm.instruct import calls, generate, records
    from vidlm.miniature.world import endpoint

    generate.generate(
      captions=records.read_captions(
        str(self.output / 'data/videos/narratives.jsonl')
      ),
      output=str(self.output / 'data/instructions'),
      completer=endpoint.GrammarCompleter(),
      draws=calls.Draws(seed=self.seed),
    )

  def caption(self) -> None:
    """Describes the unlabelled clips with every model."""
    from vidlm.captions import caption
    from vidlm.captions import vlm as vlm_lib

    for source, stage, frames in (
      *((source, source, self.num_frames) for source in SOURCES),
      ('single_frame', 'visual+language', 1),
    ):
      output = self.captions(source)
      if (output / 'manifest.json').exists():
        continue
      caption.caption(
        captioner=vlm_lib.of_restored(
          self.vlm(stage),
          num_samples=SAMPLES,
          num_frames=frames,
          seed=self.seed,
          clips_per_device=50,
          max_length=24,
        ),
        clip_dataset=str(self.output / 'data/web_clips'),
        output=str(output),
      )

  def captions(self, source: str) -> pathlib.Path:
    """Returns the folder of a source's pseudo-captions."""
    return self.output / 'captions' / source

  def dual_encoders(self) -> None:
    """Trains two towers on every source of captions, and the scaling curves."""
    for source, clips in self.dual_encoder_runs():
      texts = (
        '' if source == 'alt_text' else os.path.abspath(self.captions(source))
      )
      self._train(
        'dualenc',
        self.dualenc_name(source, clips),
        CAPTIONS=texts,
        NUM_CLIPS=clips,
      )

  def dual_encoder_runs(self) -> list[tuple[str, int | None]]:
    """Returns (source, clips) of every dual encoder; None for all clips."""
    runs: list[tuple[str, int | None]] = [
      (source, None) for source in ('alt_text', *SOURCES, 'single_frame')
    ]
    total = demo_scores.number_of_clips(self.output / 'data/web_clips')
    for source in ('alt_text', 'image_vlm', 'visual+language'):
      runs += [(source, int(total * scale)) for scale in SCALES[:-1]]
    return runs

  def dualenc_name(self, source: str, clips: int | None) -> str:
    """Returns the folder of one dual encoder."""
    name = f'dualenc_{source}'
    return name if clips is None else f'{name}_{clips}'

  def scaling_runs(self) -> list[tuple[str, int | None]]:
    """Returns the runs that Figure 5 shows."""
    curves = ('alt_text', 'image_vlm', 'visual+language')
    return [run for run in self.dual_encoder_runs() if run[0] in curves]

  def vlm_stages(self) -> tuple[str, ...]:
    """Returns the VLMs that are scored, as the report calls them."""
    return tuple(SOURCES)

  def caption_sources(self) -> tuple[str, ...]:
    """Returns everything that captions the web clips."""
    return ('alt_text', *SOURCES, 'single_frame')

  def vlm(self, stage: str) -> Any:
    """Returns a restored VLM, kept in memory."""
    from vidlm.models import restored

    if stage not in self.models:
      self.models[stage] = restored.load_vlm(str(self.output / SOURCES[stage]))
    return self.models[stage]

  def texts_of(self, source: str) -> dict[str, list[str]]:
    """Returns {clip id: captions} of the web clips."""
    from vidlm.data.store import caption_sets, clip_reader

    if source == 'alt_text':
      reader = clip_reader.open_clips(
        str(self.output / 'data/web_clips'), 'train'
      )
      return dict(zip(reader.clip_ids(), reader.texts(), strict=True))
    table = caption_sets.read_captions(str(self.captions(source)))
    return {row['clip_id']: row['captions'] or [] for row in table.to_pylist()}

  def score(self) -> None:
    """Scores everything; what is scored already is read back."""
    demo_scores.score(self)

  def caption_videos(self) -> None:
    """Captions the user's own folder."""
    from vidlm.captions import caption
    from vidlm.captions import vlm as vlm_lib
    from vidlm.models import restored

    vlm = restored.load_vlm(str(self.own_model()))
    caption.caption(
      captioner=vlm_lib.of_restored(
        vlm,
        num_samples=SAMPLES,
        num_frames=self.num_frames,
        seed=self.seed,
        max_length=48,
      ),
      videos=self.videos,
      output=str(self.own_captions()),
    )

  def own_captions(self) -> pathlib.Path:
    """Returns where the user's captions go: one set a folder and model."""
    what = f'{os.path.abspath(self.videos or "")}\n{self.own_model()}'
    return self.output / f'your_videos_{zlib.crc32(what.encode()):08x}'

  def own_model(self) -> pathlib.Path:
    """Returns the real-pixels model if there is one, else the miniature's."""
    real = self.output.parent / 'real_pixels' / 'vlm'
    return real if (real / 'config.gin').exists() else self.output / 'language'

  def own_model_note(self) -> str:
    """Returns what the page says about captions of the user's videos."""
    if self.own_model().name == 'language':
      return (
        'Captioned by the miniature, which has seen nothing but drawn bodies: '
        'these captions show the path, not a description.'
      )
    return f'Captioned by {self.own_model()}, trained on a captioned folder.'

  def report(self) -> None:
    """Writes report.json and report.html."""
    demo_scores.write_report(
      self,
      {
        'seed': self.seed,
        'seconds': round(sum(self.spent().values()), 1),
        'commit': circumstances.commit(),
        'stages': {k: round(v, 1) for k, v in self.spent().items()},
      },
    )


def main(argv: Sequence[str]) -> None:
  """Runs `python -m vidlm.miniature demo`."""
  parser = argparse.ArgumentParser(
    'python -m vidlm.miniature demo', description=__doc__.splitlines()[0]
  )
  parser.add_argument(
    '--output', type=pathlib.Path, default=pathlib.Path('runs/demo')
  )
  parser.add_argument('--videos', help='a folder of your own videos')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument(
    '--scale',
    type=float,
    default=1.0,
    help='of corpora and steps; below 1 only the path shows',
  )
  args = parser.parse_args(argv)
  huge_pages.restart()
  files.make_folder(args.output)
  launch.start_logging()
  launch.use_compilation_cache()
  Demo(args.output, args.videos, args.seed, args.scale).run()
