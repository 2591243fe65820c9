"""The 25 faults: what is injected, what must hold, and where it is tested.

The tests of this folder bear a row's number in their names (`test_07_...`).
Further tests of a row lie beside what they test, and are named here: `make
test-faults` runs both, and prints the table.

As a program it prints the further tests, as pytest wants them.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
  """A fault.

  Attributes:
    number: In the table, from 1 on.
    injected: What goes wrong.
    promised: What must hold all the same.
    elsewhere: Further tests of it, as `file::function`.
    open: What isn't there yet; the row is printed as open.
  """

  number: int
  injected: str
  promised: str
  elsewhere: tuple[str, ...] = ()
  open: str = ''


_CAPTION = 'tests/captions/test_caption.py'
_VERIFY = 'tests/captions/test_caption_verify.py'
_MODEL = 'tests/captions/test_vlm_captioner.py'
_SAVED = 'tests/training/test_checkpoints.py'
_LOOP = 'tests/training/test_loop.py'
_TWO = 'tests/commands/test_two_processes.py'
_FEED = 'tests/data/feed/test_batches.py'
_FILES = 'tests/core/test_files.py'
_DECODING = 'tests/data/video/test_decoding.py'
_POOL = 'tests/data/video/test_decode_pool.py'
_PREPARE = 'tests/data/prepare/test_pipeline.py'
_CLIENT = 'tests/instruct/test_client.py'

ROWS = (
  Row(
    1,
    'kill -9 of the captioner at 50 seeded moments, between write, fsync, '
    'rename and manifest too',
    'the final set is that of an undisturbed run to the byte; each clip once',
    (f'{_FILES}::test_killed_at_any_moment_a_file_is_one_or_the_other',),
  ),
  Row(
    2,
    'two workers at one shard; one stopped before its commit, woken after the '
    "other's",
    'one file; equal rows are fine, other rows stop the run and name both',
    open='equal rows hold; other rows are not compared until shards are '
    'committed by create-if-absent',
  ),
  Row(
    3,
    'kill -9 while a checkpoint is saved',
    'goes on from the newest that is whole; nothing half is taken or left',
    (
      f'{_SAVED}::test_leftovers_of_a_killed_save_are_ignored',
      f'{_LOOP}::test_resume_after_kill_9_is_exact',
    ),
  ),
  Row(
    4,
    'the newest checkpoint cut, or a byte of it flipped',
    'noticed; the one before is taken, and said so',
    (
      f'{_SAVED}::test_a_damaged_newest_falls_back_and_says_so',
      f'{_SAVED}::test_every_single_flipped_byte_is_harmless_or_noticed',
      f'{_SAVED}::test_load_params_falls_back_too_and_says_so',
    ),
  ),
  Row(
    5,
    'the last save fails while the run closes',
    'the exit status is not 0, and no such checkpoint is there',
  ),
  Row(
    6,
    'training stops at any step and goes on',
    'the losses are those of a run without a stop, to the bit',
    (
      f'{_LOOP}::test_resume_after_an_exception_is_exact',
      f'{_FEED}::test_a_resumed_feed_goes_on_where_it_was',
    ),
  ),
  Row(
    7,
    'goes on with other devices, processes or workers',
    'the same examples in the same global order',
    (
      f'{_LOOP}::test_resume_on_another_number_of_devices',
      f'{_SAVED}::test_restore_onto_other_devices',
      f'{_FEED}::test_processes_make_the_same_global_batches',
    ),
  ),
  Row(
    8,
    'SIGTERM',
    'a checkpoint of that step within the grace period, exit status 143',
    (
      f'{_LOOP}::test_sigterm_in_process_goes_on_exactly',
      f'{_TWO}::test_sigterm_to_one_process_stops_both_and_nothing_is_lost',
    ),
  ),
  Row(
    9,
    'the disk is full while a shard, a log or a checkpoint is written',
    'no damaged file under a final name, one clear line, goes on after',
    (
      f'{_FILES}::test_a_full_disk_is_one_line',
      'tests/data/store/test_clips.py::test_a_full_disk_is_an_error',
      f'{_CAPTION}::test_full_disk',
    ),
  ),
  Row(
    10,
    'the output can not be written, or vanishes',
    'fails at once; nothing is dropped in silence',
    (
      f'{_FILES}::test_where_nothing_can_be_written',
      'tests/data/store/test_caption_sets.py'
      '::test_vanished_folder_fails_at_once',
    ),
  ),
  Row(
    11,
    'videos cut, flipped, empty, random, without picture, without a rate, of '
    'changing rate, turned, with times below 0, of one frame',
    'a row with a reason or the right frames; the others as without them; '
    'ok + failed = given',
    (
      f'{_PREPARE}::test_bad_files_become_rows_with_reasons',
      f'{_POOL}::test_hostile_files_leave_others_alone',
      f'{_DECODING}::test_hostile_files',
      f'{_DECODING}::test_rotation',
    ),
  ),
  Row(
    12,
    'huge frames, endless frames, playlists, links out, ../ in a tar',
    'refused within limits of memory and time; nothing outside is read or '
    'written',
    (
      f'{_DECODING}::test_size_bomb_takes_little_memory',
      f'{_DECODING}::test_frame_rate_bomb',
      'tests/data/sets/test_packs.py::test_webdataset',
    ),
  ),
  Row(
    13,
    'a decoding worker crashes, or never ends',
    'it is started anew, the clip is marked, the run goes on',
    (
      f'{_POOL}::test_a_dying_worker_costs_one_clip',
      f'{_POOL}::test_a_hanging_worker_is_stopped',
      f'{_POOL}::test_cpu_time_is_limited',
      f'{_POOL}::test_memory_is_limited',
    ),
  ),
  Row(
    14,
    '10,000 clips in one run',
    'memory stays within 5 %, open files as they were',
    (f'{_DECODING}::test_neither_memory_nor_descriptors_leak',),
  ),
  Row(
    15,
    'a shard, a clip id or an input file given twice',
    'one output, or an error that names it; the counts add up',
    (
      f'{_VERIFY}::test_duplicate_clip',
      'tests/captions/test_caption_folder.py::test_duplicate_ids_are_refused',
    ),
  ),
  Row(
    16,
    'an input file replaced under its name between two runs',
    'captioned again, or refused',
    (
      f'{_CAPTION}::test_replaced_input_is_done_again',
      'tests/captions/test_caption_folder.py'
      '::test_replaced_video_is_captioned_again',
      f'{_PREPARE}::test_again_is_nothing_and_otherwise_is_refused',
    ),
  ),
  Row(
    17,
    'another prompt, model or number of samples with the same output',
    'refused, with what differs',
    (
      f'{_CAPTION}::test_other_settings_are_refused',
      f'{_CAPTION}::test_late_process_of_another_set_is_stopped',
    ),
  ),
  Row(
    18,
    'a loss or gradient that is NaN or infinite',
    'the run stops, and no such state is ever saved',
    (f'{_LOOP}::test_nan_stops_and_is_never_saved',),
  ),
  Row(
    19,
    'a language model server with 429, 500, silence, half an answer, none, '
    'another shape, a refusal, endless thought',
    'bounded retries with jitter, quarantine, nothing paid twice',
    (
      f'{_CLIENT}::test_passing_trouble_is_retried',
      f'{_CLIENT}::test_retries_are_bounded',
      f'{_CLIENT}::test_run_through_all_troubles_pays_once',
    ),
  ),
  Row(
    20,
    'the clock jumps by an hour; folders list in another order',
    'nothing depends on either',
  ),
  Row(
    21,
    'one process is late, or dies',
    'the one that is missing is named; nobody waits for ever',
    (f'{_CAPTION}::test_silent_process_is_named',),
  ),
  Row(
    22,
    'shards of uneven size over processes',
    'the same number of steps everywhere, each example once',
    (
      'tests/data/feed/test_validation.py'
      '::test_every_example_once_in_as_many_batches_everywhere',
    ),
  ),
  Row(
    23,
    'the same seed with other neighbours, processes or workers',
    "each clip's captions are the same",
    (
      f'{_MODEL}::test_neighbours_and_place_in_the_batch_do_not_matter',
      f'{_MODEL}::test_number_of_devices_does_not_matter',
      f'{_CAPTION}::test_captions_do_not_depend_on_order',
    ),
  ),
  Row(
    24,
    'a damaged row group of Parquet, or member of a tar',
    '`--verify` names file and row, `--repair` does that file again and no '
    'other',
    (
      f'{_VERIFY}::test_damaged_file_is_named_and_repaired',
      'tests/commands/test_caption.py'
      '::test_repair_does_the_damaged_file_again_and_no_other',
      'tests/data/sets/test_packs.py::test_a_damaged_tar_gives_what_it_has',
    ),
  ),
  Row(
    25,
    'predictions with ids missing, beyond the set, or twice',
    'no score; the ids are said',
    ('tests/evals/test_protocols.py::test_a_key_twice_in_json_is_seen',),
  ),
)


if __name__ == '__main__':
  print(*(name for row in ROWS for name in row.elsewhere))
