"""One seed of the miniature's tables, and what all seeds share.

Each is a `demo.Demo` with other stages: models, captions and scores lie in its
folder as the demo's do, and what is there is not made again.
"""

import dataclasses
import functools
import os
import pathlib
from typing import Any

from vidlm.core import files, launch
from vidlm.miniature import demo, demo_scores
from vidlm.miniature import table_runs as runs
from vidlm.miniature import table_specs as specs

SHARED = ('data', 'image_vlm')


class Shared(demo.Demo):
  """The drawn world and the image VLM, which all seeds start from."""

  def run(self) -> None:
    """Makes what is not there yet."""
    self.timed('draw and read', self.prepare)
    self.timed('stage 0', lambda: self.train('image_vlm', None))
    self.timed('instructions', self.instruct)
    self.timed('halves of the web clips', self.halve_web_clips)
    self.timed('other instructions', self.other_instructions)

  def world(self) -> Any:
    """Makes the demo's world with two sets of web clips."""
    world = super().world()
    return dataclasses.replace(world, web_clips=2 * world.web_clips)

  def halve_web_clips(self) -> None:
    """Makes web_a and web_b, clip sets of half of the web clips each."""
    from vidlm.data.prepare import annotations, pipeline
    from vidlm.data.video import sampling

    videos = self.output / 'data/videos'
    entries = annotations.read_annotations(
      str(videos / 'web_clips.jsonl'), str(videos), {'caption': 'captions'}
    )
    entries = [dataclasses.replace(entry, split='train') for entry in entries]
    half = len(entries) // 2
    for name, part in (('web_a', entries[:half]), ('web_b', entries[half:])):
      pipeline.prepare_clips(
        part,
        str(self.output / 'data' / name),
        sampling=sampling.Sampling(size=None),
        layout=pipeline.Layout(name, f'Miniature: {name}.'),
        # Drawn again means read again; else this does nothing.
        work=pipeline.Work(workers=2, overwrite=True),
      )

  def other_instructions(self) -> None:
    """Makes conversations about stills, long answers about narratives."""
    from vidlm.data.prepare import pipeline
    from vidlm.data.sets import build
    from vidlm.data.video import sampling
    from vidlm.miniature.world import conversations

    data = self.output / 'data'
    folder = data / 'conversations'
    for name, videos, write in (
      (
        'llava',
        folder / 'images',
        lambda: conversations.write_llava(_stills(data), folder),
      ),
      (
        'video_chatgpt',
        data / 'videos/narratives',
        lambda: conversations.write_video_chatgpt(_narratives(data), folder),
      ),
    ):
      if (data / name / 'summary.json').exists():
        continue
      build.prepare_set(
        name,
        annotations=[write()],
        videos=str(videos),
        output=str(data / name),
        sampling=sampling.Sampling(size=None),
        work=pipeline.Work(workers=2, overwrite=True),
      )


def _stills(data: pathlib.Path) -> list[tuple[str, bytes, str]]:
  """Returns (id, JPEG, caption) of the stills with conversations."""
  from vidlm.data.store import clip_reader, records
  from vidlm.miniature.world import conversations

  reader = clip_reader.open_clips(str(data / 'image_text'), 'train')
  number = min(conversations.IMAGES, len(reader))
  frames = [
    records.encoded_frames(record)[0]
    for record in reader.read(list(range(number)))
  ]
  texts = [texts[0] for texts in list(reader.texts())[:number]]
  ids = list(reader.clip_ids())[:number]
  return list(zip(ids, frames, texts, strict=True))


def _narratives(data: pathlib.Path) -> list[tuple[str, str]]:
  from vidlm.data.store import clip_reader

  reader = clip_reader.open_clips(str(data / 'narratives'), 'train')
  return [
    (clip_id, texts[0])
    for clip_id, texts in zip(reader.clip_ids(), reader.texts(), strict=True)
  ]


class Seed(demo.Demo):
  """All models, captions and scores of one seed."""

  def __init__(
    self, output: pathlib.Path, shared: pathlib.Path, seed: int, scale: float
  ):
    super().__init__(output, None, seed, scale)
    self.shared = shared

  def run(self) -> None:
    """Makes what is not there yet, in the order of `table_runs`."""
    files.make_folder(self.output)
    for name in SHARED:
      link = self.output / name
      if not link.is_symlink():
        link.symlink_to(os.path.relpath(self.shared / name, self.output))
    for name, vlm in runs.VLMS.items():
      if vlm.pseudo:
        self.make_captions(vlm.pseudo)
      self.timed(f'VLM {name}', functools.partial(self.train_vlm, name, vlm))
    for name in runs.CAPTION_SETS:
      self.make_captions(name)
    for name, towers in runs.TOWERS_OF.items():
      self.timed(
        f'dual encoder {name}',
        functools.partial(self.train_towers, name, towers),
      )
    self.timed('scores', self.score)

  def train_vlm(self, name: str, vlm: runs.Vlm) -> None:
    """Trains a VLM from the one it starts from."""
    macros: dict[str, Any] = {}
    if vlm.pseudo:
      macros['PSEUDO_CLIPS'] = runs.CAPTION_SETS[vlm.pseudo].clips
      macros['PSEUDO_CAPTIONS'] = os.path.abspath(self.captions(vlm.pseudo))
    self._train(
      vlm.recipe,
      name,
      INITIAL_CHECKPOINT_PATH=str(self.output / vlm.start),
      **macros,
    )

  def make_captions(self, name: str) -> None:
    """Makes a set of captions."""
    if not (self.captions(name) / 'manifest.json').exists():
      made = runs.CAPTION_SETS[name]
      make = self._summarize if made.summary_of else self._describe
      self.timed(f'captions {name}', lambda: make(name, made))

  def _summarize(self, name: str, made: runs.Captions) -> None:
    from vidlm.instruct import summarize
    from vidlm.miniature.world import summarizer

    summarize.summarize(
      captions=str(self.captions(made.summary_of)),
      output=self.captions(name),
      completer=summarizer.GrammarSummarizer(),
      seed=self.seed,
    )

  def _describe(self, name: str, made: runs.Captions) -> None:
    from vidlm.captions import caption, framewise, vlm

    captioner: Any = vlm.of_restored(
      self.vlm(made.model),
      num_samples=made.num_samples,
      num_frames=1 if made.framewise else self.num_frames,
      seed=self.seed,
      clips_per_device=50,
      max_length=24,
    )
    if made.framewise:
      captioner = framewise.FramewiseCaptioner(captioner, self.num_frames)
    caption.caption(
      captioner=captioner,
      clip_dataset=str(self.output / 'data' / made.clips),
      output=str(self.captions(name)),
    )

  def train_towers(self, name: str, towers: runs.Towers) -> None:
    """Trains a dual encoder; all but the image one start from that."""
    macros: dict[str, Any] = {'CLIPS': towers.clips}
    for macro, captions in (
      ('CAPTIONS', towers.captions),
      ('CAPTIONS_B', towers.captions_b),
    ):
      if captions:
        macros[macro] = os.path.abspath(self.captions(captions))
    if towers.size is not None:
      macros['INITIAL_CHECKPOINT_PATH'] = str(self.image_towers())
      with self.recipe(towers.recipe):
        steps = launch.macro('TRAIN_STEPS')
      macros['TRAIN_STEPS'] = round(steps * towers.size)
    self._train(towers.recipe, self.dualenc_name(name, None), **macros)

  def image_towers(self) -> pathlib.Path:
    """Writes the image dual encoder's weights but the temporal embedding.

    It has one frame's; the paper starts that of several frames afresh.
    """
    from vidlm.core import trees
    from vidlm.interop import big_vision, leaves
    from vidlm.training import checkpoints

    path = self.output / 'dualenc_image.npz'
    if not path.exists():
      params = checkpoints.load_params(
        str(self.output / self.dualenc_name('image', None))
      )
      flat = trees.flatten(params)
      del flat['img/temporal_embedding']
      big_vision.write(
        path, {name: leaves.from_array(x) for name, x in flat.items()}
      )
    return path

  def vlm(self, stage: str) -> Any:
    """Returns a restored VLM, kept in memory."""
    from vidlm.models import restored

    if stage not in self.models:
      self.models[stage] = restored.load_vlm(str(self.output / stage))
    return self.models[stage]

  def vlm_stages(self) -> tuple[str, ...]:
    """Returns the VLMs that are scored."""
    return (*runs.SHARED, *runs.VLMS)

  def dual_encoder_runs(self) -> list[tuple[str, int | None]]:
    """Returns (name, None) of every dual encoder."""
    return [(name, None) for name in runs.TOWERS_OF]

  def score(self) -> None:
    """Scores everything; what is scored already is read back."""
    scores = self.output / 'scores'
    demo_scores.cached(
      scores / f'{self.dualenc_name("image", None)}.json', self._score_image
    )
    demo_scores.score(self)
    for row in specs.TABLES['table_4'].rows.values():
      demo_scores.cached(
        scores / f'captions.{row}.json', functools.partial(self._shares, row)
      )

  def _score_image(self) -> Any:
    """Scores as `dualenc eval --framewise --num_frames=8`."""
    from dualenc import eval as eval_lib
    from dualenc import views

    towers = eval_lib.load_towers(
      str(self.output / self.dualenc_name('image', None))
    )
    return {
      task: eval_lib.evaluate(
        towers,
        eval_lib.EvalConfig(
          str(self.output / f'data/test_{task}'),
          split='test',
          task=task,
          templates=str(self.output / 'data/class_templates.txt'),
          views=views.Views(framewise=True, num_frames=self.num_frames),
          clips_per_device=50,
        ),
      )
      for task in ('retrieval', 'classification')
    }

  def _shares(self, name: str) -> dict[str, Any]:
    """Scores what a source of captions names, against the simulator's truth."""
    from vidlm.miniature.world import corpora, grammar

    truth = corpora.read_truth(
      str(self.output / 'data/videos/web_clips.truth.jsonl')
    )
    shares = grammar.caption_shares(
      (text, truth[clip_id])
      for clip_id, group in self.texts_of(name).items()
      for text in group
    )
    return dataclasses.asdict(shares)

  def texts_of(self, source: str) -> dict[str, list[str]]:
    """Returns {clip id: captions} of the clips a dual encoder is trained on."""
    from vidlm.data.store import caption_sets, clip_reader

    towers = runs.TOWERS_OF[source]
    if not towers.captions:
      reader = clip_reader.open_clips(str(self.output / 'data' / towers.clips))
      return dict(zip(reader.clip_ids(), reader.texts(), strict=True))
    table = caption_sets.read_captions(str(self.captions(towers.captions)))
    return {row['clip_id']: row['captions'] or [] for row in table.to_pylist()}
