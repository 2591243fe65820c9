"""What has moved: names that saved runs, recipes and scripts may still say.

One table for gin (`gin_text`) and for Python (`old_imports`). gin reads the old
names for good: every run ever saved has to load. Python reads them one version
longer, with a warning. Who moves something adds a row, and corrects the rows
that led there: no row leads to another.
"""

# Old module -> new one. The name of a module may be a package's by now.
MODULES: dict[str, str] = {
  'vidlm.core.commands': 'vidlm.core.command_line',
  'vidlm.core.best': 'vidlm.training.best',
  'vidlm.core.checkpoints': 'vidlm.training.checkpoints',
  'vidlm.core.fingerprints': 'vidlm.training.fingerprints',
  'vidlm.core.gpu_targets': 'vidlm.training.gpu_targets',
  'vidlm.core.hardware': 'vidlm.training.hardware',
  'vidlm.core.loop': 'vidlm.training.loop',
  'vidlm.core.metrics': 'vidlm.training.metrics',
  'vidlm.core.microbatches': 'vidlm.training.microbatches',
  'vidlm.core.objective': 'vidlm.training.objective',
  'vidlm.core.optim': 'vidlm.training.optim',
  'vidlm.core.optimizers': 'vidlm.training.optimizers',
  'vidlm.core.plan': 'vidlm.training.plan',
  'vidlm.core.plan_report': 'vidlm.training.plan_report',
  'vidlm.core.preemption': 'vidlm.training.preemption',
  'vidlm.core.recipe': 'vidlm.training.recipe',
  'vidlm.core.schedules': 'vidlm.training.schedules',
  'vidlm.core.scoring': 'vidlm.training.scoring',
  'vidlm.core.step': 'vidlm.training.step',
  'vidlm.core.topology': 'vidlm.training.topology',
  'vidlm.core.train_log': 'vidlm.training.train_log',
  'vidlm.core.train_state': 'vidlm.training.train_state',
  'vidlm.caption_run': 'vidlm.commands.caption',
  'vidlm.eval_run': 'vidlm.commands.eval',
  'vidlm.instruct_run': 'vidlm.commands.instruct',
  'vidlm.plan_run': 'vidlm.commands.plan',
  'vidlm.prepare_run': 'vidlm.commands.prepare',
  'vidlm.convert_run': 'vidlm.commands.convert',
  'vidlm.convert': 'vidlm.interop.convert',
  'vidlm.restored': 'vidlm.models.restored',
  'vidlm.decoding': 'vidlm.models.decoding',
  'vidlm.samplers': 'vidlm.models.samplers',
  'vidlm.data.video': 'vidlm.data.video.decoding',
  'vidlm.data.frames': 'vidlm.data.video.reader',
  'vidlm.data.sampling': 'vidlm.data.video.sampling',
  'vidlm.data.cuts': 'vidlm.data.video.cuts',
  'vidlm.data.stills': 'vidlm.data.video.stills',
  'vidlm.data.decode_worker': 'vidlm.data.video.worker',
  'vidlm.data.workers': 'vidlm.data.video.decode_pool',
  'vidlm.data.clip_lists': 'vidlm.data.video.listing',
  'vidlm.data.packed': 'vidlm.data.video.packed',
  'vidlm.data.clip_schema': 'vidlm.data.store.clip_schema',
  'vidlm.data.records': 'vidlm.data.store.records',
  'vidlm.data.clip_writer': 'vidlm.data.store.clip_writer',
  'vidlm.data.clips': 'vidlm.data.store.clip_reader',
  'vidlm.data.caption_file': 'vidlm.data.store.caption_rows',
  'vidlm.data.captions': 'vidlm.data.store.caption_sets',
  'vidlm.data.clip_frames': 'vidlm.data.store.frame_lookup',
  'vidlm.data.annotations': 'vidlm.data.prepare.annotations',
  'vidlm.data.claim': 'vidlm.data.prepare.claim',
  'vidlm.data.shard_plan': 'vidlm.data.prepare.shard_plan',
  'vidlm.data.staging': 'vidlm.data.prepare.staging',
  'vidlm.data.prepare': 'vidlm.data.prepare.pipeline',
  'vidlm.data.beam_run': 'vidlm.data.prepare.beam',
  'vidlm.data.summary': 'vidlm.data.prepare.summary',
  'vidlm.data.order': 'vidlm.data.feed.order',
  'vidlm.data.source': 'vidlm.data.feed.examples',
  'vidlm.data.tasks': 'vidlm.data.feed.tasks',
  'vidlm.data.vocabulary': 'vidlm.data.feed.vocabulary',
  'vidlm.data.feed': 'vidlm.data.feed.batches',
  'vidlm.data.features': 'vidlm.data.feed.features',
  'vidlm.data.preprocess': 'vidlm.data.feed.pixels',
  'vidlm.data.batch_frames': 'vidlm.data.feed.frame_cache',
  'vidlm.data.preprocessors': 'vidlm.data.feed.features',
  'vidlm.data.tf_feed': 'vidlm.data.feed.batches',
  'vidlm.data.seqio_source': 'vidlm.data.feed.seqio_view',
  'vidlm.data.seqio_python': 'vidlm.data.feed.seqio_vocabulary',
  'vidlm.data.seqio_tokenizer': 'vidlm.data.feed.seqio_vocabulary',
  'vidlm.data.overlap': 'vidlm.data.sets.overlap',
  'vidlm.data.tfds_builder': 'vidlm.data.sets.tfds_builder',
  'vidlm.data.paper_tasks': 'vidlm.data.sets.paper_tasks',
  'vidlm.data.gallery': 'vidlm.captions.gallery',
  'vidlm.evals.ids': 'vidlm.core.ids',
  'vidlm.captions.browse': 'vidlm.captions.table',
  'vidlm.captions.caption_set': 'vidlm.captions.outputs',
  'vidlm.miniature.config': 'vidlm.miniature.world.config',
  'vidlm.miniature.conversations': 'vidlm.miniature.world.conversations',
  'vidlm.miniature.corpora': 'vidlm.miniature.world.corpora',
  'vidlm.miniature.endpoint': 'vidlm.miniature.world.endpoint',
  'vidlm.miniature.grammar': 'vidlm.miniature.world.grammar',
  'vidlm.miniature.items': 'vidlm.miniature.world.items',
  'vidlm.miniature.language': 'vidlm.miniature.world.language',
  'vidlm.miniature.paths': 'vidlm.miniature.world.paths',
  'vidlm.miniature.physics': 'vidlm.miniature.world.physics',
  'vidlm.miniature.pool': 'vidlm.miniature.world.pool',
  'vidlm.miniature.prepare': 'vidlm.miniature.world.prepare',
  'vidlm.miniature.questions': 'vidlm.miniature.world.questions',
  'vidlm.miniature.render': 'vidlm.miniature.world.render',
  'vidlm.miniature.stills': 'vidlm.miniature.world.stills',
  'vidlm.miniature.summarizer': 'vidlm.miniature.world.summarizer',
  'vidlm.miniature.texts': 'vidlm.miniature.world.texts',
  'vidlm.miniature.vocabulary': 'vidlm.miniature.world.vocabulary',
  'vidlm.miniature.world': 'vidlm.miniature.world.scenes',
}
# Function or class in a module of today -> where it is now. For Python its old
# module says `__getattr__ = old_imports.attributes(__name__)`.
OBJECTS: dict[str, str] = {
  'vidlm.data.feed.batches.draw': 'vidlm.data.feed.order.draw',
  'vidlm.data.feed.batches.local_numbers': (
    'vidlm.data.feed.order.local_numbers'
  ),
}
# Argument of a function or class as it is called today -> the argument's new
# name, or '' for one that is gone and that a restored model can do without.
ARGUMENTS: dict[str, str] = {}


def dotted(name: str) -> str:
  """Today's name of a module, or of something in one.

  Example:
    dotted('vidlm.data.captions.read_captions') ->
      'vidlm.data.store.caption_sets.read_captions'
  """
  if name in MODULES:
    return MODULES[name]
  parent, dot, rest = name.rpartition('.')
  if parent in MODULES:
    name = f'{MODULES[parent]}{dot}{rest}'
  return OBJECTS.get(name, name)
