"""What a recipe costs, before it runs: parameters, FLOPs, bytes, hours.

Everything but `bytes_per_chip` is arithmetic on shapes. FLOPs are the
objective's own count, global and without rematerialisation, because
`cost_analysis` counts the body of a scan once.
"""

import argparse
import collections
import math
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from vidlm.core import files
from vidlm.training import (
  hardware,
  microbatches,
  optim,
  plan_report,
  step,
  topology,
)
from vidlm.training import objective as objective_lib
from vidlm.training import recipe as recipe_lib

# Chip-hours are stated at this share of the peak. Published: 27.9 to 36.8 % for
# T5 XL, 49.7 % for a 7B decoder (MaxText).
UTILISATION = 0.5
DEFAULT_CHIP = 'v5e'


def plan(
  recipe: recipe_lib.Recipe, slice_: hardware.Topology | None = None
) -> dict[str, Any]:
  """Counts what a recipe needs; nothing is compiled or allocated.

  Args:
    recipe: What would be trained.
    slice_: What it is meant for, or None.

  Returns:
    parameters {one count a first name, total, trainable}, batch_size,
    num_microbatches, train_steps, flops_per_step (with what microbatches
    repeat), repeated_flops_per_step, flops, bytes {trained, frozen, optimizer,
    accumulators, total}, chip, chips, peak_flops, utilisation, chip_hours and
    hours.

  Raises:
    ValueError: If SCHEDULE doesn't fit the parameters, or microbatches don't
      fit the batch.
  """
  shapes = recipe.shapes()
  optimizer = recipe.make_optimizer()
  chip = slice_.chip if slice_ else hardware.CHIPS[DEFAULT_CHIP]
  how = recipe.loop
  peak = chip.peak_flops if slice_ else how.peak_flops or chip.peak_flops
  parts = microbatches.checked(
    how.num_microbatches,
    recipe.objective,
    how.batch_size,
    max(recipe.mesh.data, 1),
  )
  given = how.batch_size, optimizer.is_trained
  repeated = 0.0
  objective = recipe.objective
  if parts > 1 and isinstance(objective, objective_lib.Splittable):
    repeated = objective.repeated_flops(*given)
  per_step = recipe.objective.flops_per_step(*given) + repeated
  chips = slice_.chips if slice_ else _mesh_size(recipe.mesh)
  chip_hours = per_step * how.train_steps / (peak * UTILISATION) / 3600
  return {
    'parameters': count_parameters(shapes, optimizer.trained),
    'batch_size': how.batch_size,
    'num_microbatches': parts,
    'train_steps': how.train_steps,
    'flops_per_step': per_step,
    'repeated_flops_per_step': repeated,
    'flops': per_step * how.train_steps,
    'bytes': count_bytes(shapes, optimizer, how.frozen_dtype, parts > 1),
    'chip': slice_.chip.name if slice_ else '/'.join(_of_peak(peak)) or None,
    'chips': chips,
    'peak_flops': peak,
    'utilisation': UTILISATION,
    'chip_hours': chip_hours,
    'hours': chip_hours / chips,
  }


def count_parameters(
  shapes: Mapping[str, jax.ShapeDtypeStruct], trained: Sequence[str]
) -> dict[str, int]:
  """Counts parameters by the first part of their names, and as a whole."""
  sizes = {name: math.prod(leaf.shape) for name, leaf in shapes.items()}
  groups: dict[str, int] = collections.defaultdict(int)
  for name, size in sizes.items():
    groups[name.split('/', 1)[0]] += size
  return {
    **groups,
    'total': sum(sizes.values()),
    'trainable': sum(sizes[name] for name in trained),
  }


def count_bytes(
  shapes: Mapping[str, jax.ShapeDtypeStruct],
  optimizer: optim.Optimizer,
  frozen_dtype: str,
  accumulates: bool,
) -> dict[str, int]:
  """Counts the bytes that all chips hold throughout a step, each leaf once.

  Args:
    shapes: {name: shape} of all parameters.
    optimizer: What trains.
    frozen_dtype: What frozen parameters are kept in.
    accumulates: Whether gradients are summed over microbatches.

  Returns:
    Bytes of the train state {trained, frozen, optimizer}, of accumulators in
    float32, and their total.
  """
  float32 = {
    name: jax.ShapeDtypeStruct(shapes[name].shape, jnp.float32)
    for name in optimizer.trained
  }
  state = jax.tree.leaves(jax.eval_shape(optimizer.tx.init, float32))
  width = jnp.dtype(frozen_dtype).itemsize
  trained = sum(4 * leaf.size for leaf in float32.values())
  parts = {
    'trained': trained,
    'frozen': sum(
      width * math.prod(shapes[name].shape) for name in optimizer.frozen
    ),
    'optimizer': sum(leaf.size * leaf.dtype.itemsize for leaf in state),
    'accumulators': trained if accumulates else 0,
  }
  return parts | {'total': sum(parts.values())}


def _of_peak(peak_flops: float) -> list[str]:
  """Names what has this peak; an H100 and an H200 share theirs."""
  return [
    chip.name
    for chip in hardware.CHIPS.values()
    if chip.peak_flops == peak_flops
  ]


def _mesh_size(mesh: recipe_lib.Mesh) -> int:
  """Chips a recipe's mesh asks for; -1 leaves the number to the machine."""
  return mesh.data * mesh.model if mesh.data > 0 else mesh.model


def run(
  program: str, args: argparse.Namespace, recipe: recipe_lib.Recipe
) -> dict[str, Any]:
  """`vidlm plan` and `dualenc plan`, after their gin files were parsed.

  Args:
    program: 'vidlm' or 'dualenc'.
    args: Flags: topology, json, and the gin flags of `launch.add_flags`.
    recipe: What the gin files describe.

  Returns:
    The report, which was also printed, and written to `args.json`. In a child
    that compiles, only the bytes of one chip.

  Raises:
    ValueError: If the recipe doesn't fit the topology.
  """
  if not args.topology:
    return _publish(plan(recipe), args.json)
  slice_ = hardware.parse_topology(args.topology)
  if topology.in_child():
    compiled = compile_train_step(recipe, topology.devices(slice_))
    values = topology.memory(compiled)
    topology.report(values)
    return values
  result = plan(recipe, slice_)
  used = topology.run_in_child(child_command(program, args), slice_)
  result |= {
    'topology': slice_.name,
    'mesh': {
      'data': slice_.chips // recipe.mesh.model,
      'model': recipe.mesh.model,
    },
    'bytes_per_chip': used['total'],
    'bytes_per_chip_parts': used,
    'fits': used['total'] <= slice_.chip.memory,
  }
  return _publish(result, args.json)


def child_command(program: str, args: argparse.Namespace) -> list[str]:
  """Builds the command line that parses the same recipe in another process."""
  return [
    sys.executable,
    '-m',
    program,
    'plan',
    f'--topology={args.topology}',
    *(f'--gin_file={file}' for file in args.gin_file),
    *(f'--gin_bindings={binding}' for binding in args.gin_bindings),
    f'--gin_search_paths={args.gin_search_paths}',
  ]


def compile_train_step(
  recipe: recipe_lib.Recipe, devices: Sequence[Any]
) -> jax.stages.Compiled:
  """Compiles the step that training would run, for devices that may not exist.

  Args:
    recipe: What would be trained.
    devices: One mesh of them.

  Returns:
    The compiled step.
  """
  partitioner = recipe.mesh.partitioner(devices)
  built = step.build_train_step(
    recipe.objective,
    recipe.make_optimizer(),
    partitioner,
    recipe.loop.batch_size,
    recipe.loop.frozen_dtype,
    recipe.loop.num_microbatches,
  )
  with partitioner.activate():
    return built.compile()


def _publish(report: dict[str, Any], json_file: str | None) -> dict[str, Any]:
  sys.stdout.write(plan_report.render(report))
  if json_file:
    files.make_folder(os.path.dirname(json_file) or '.')
    files.write_json(json_file, report)
  return report
