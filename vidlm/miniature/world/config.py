"""Sizes and noise of the miniature; everything gin may bind."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class AltTextNoise:
  """What the web clips' alt-text is worth, fixed before anything is trained.

  The rest of the clips carry text that names no body at all.

  Attributes:
    right_body: Share of clips whose text names the clip's own bodies.
    other_clip: Share whose text was written for another clip.
    motion: Share whose text also says how the right body moves.
  """

  right_body: float = 0.5
  other_clip: float = 0.3
  motion: float = 0.1

  def __post_init__(self) -> None:
    if not 0 <= self.motion <= self.right_body:
      raise ValueError(
        f'AltTextNoise.motion {self.motion} must lie in 0 to right_body '
        f'{self.right_body}'
      )
    if not 0 <= self.other_clip <= 1 - self.right_body + 1e-9:
      raise ValueError(
        f'AltTextNoise: right_body {self.right_body} + other_clip '
        f'{self.other_clip} must not exceed 1'
      )


@dataclasses.dataclass(frozen=True)
class ShortCaptionNoise:
  """Errors of a speech recogniser; colour, shape and motion stay right.

  Attributes:
    dropped_word: Chance that a function word is missing.
    article: Chance that an article is another one.
    filler: Chance of an "um" or "there is" somewhere.
    synonym: Chance of another phrase for the motion.
    place: Chance that a body's place is said.
  """

  dropped_word: float = 0.1
  article: float = 0.1
  filler: float = 0.15
  synonym: float = 0.25
  place: float = 0.1


@dataclasses.dataclass(frozen=True)
class MiniatureConfig:
  """What `make_corpora` makes.

  Attributes:
    side: Pixels across; even.
    seconds: Length of a clip.
    video_fps: Frames per second of the mp4 files.
    qp: H.264 quantiser; lower is better.
    pixel_format: Pixel format of the mp4 files.
    two_bodies: Share of clips, and of stills, with two bodies.
    image_text: Captioned stills (the paper's WebLI).
    text_only: Lines of language data.
    short_captions: Clips with one short noisy caption each (S-MiT).
    narratives: Clips with a long one (VidLN).
    web_clips: Clips with alt-text (VideoCC).
    test_retrieval: Clips that each fit one description only.
    test_classification: Clips, as many of each motion as can be.
    test_captioning: Clips with `references` captions each.
    test_qa: Clips with `questions` questions each.
    references: Captions a clip in test_captioning.
    questions: Questions a clip in test_qa; fewer where there are no more.
    alt_text: Noise of web_clips.
    speech: Noise of short_captions.
    caption_prompt: What follows a scene told in words in text_only; the
      prompt of the caption tasks.
    question_prompt: The same for questions, with {question}.
  """

  side: int = 32
  seconds: float = 4.0
  video_fps: int = 8
  qp: int = 14
  pixel_format: str = 'yuv444p'
  two_bodies: float = 0.25
  image_text: int = 24000
  text_only: int = 20000
  short_captions: int = 4000
  narratives: int = 600
  web_clips: int = 2400
  test_retrieval: int = 270
  test_classification: int = 300
  test_captioning: int = 300
  test_qa: int = 300
  references: int = 4
  questions: int = 2
  alt_text: AltTextNoise = AltTextNoise()
  speech: ShortCaptionNoise = ShortCaptionNoise()
  caption_prompt: str = 'Generate the alt-text:'
  question_prompt: str = 'Answer in en: {question}'

  def __post_init__(self) -> None:
    if self.side % 2 or not 16 <= self.side <= 256:
      raise ValueError(
        f'MiniatureConfig.side {self.side}: H.264 needs an even number of '
        'pixels; use 32 to 64'
      )
    if self.seconds * self.video_fps < 2:
      raise ValueError('MiniatureConfig: a clip needs two frames or more')
