"""What XLA asks of a GPU to compile for it without having one.

Figures: OpenXLA, `xla/backends/gpu/target_config/specs`.
"""

import dataclasses

# Alike in all of these.
_TARGET = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {shared_memory_per_core}
  shared_memory_per_block_optin: {shared_memory_per_block_optin}
  threads_per_core_limit: 2048
  core_count: {core_count}
  fpus_per_core: {fpus_per_core}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  thread_dim_limit_x: 1024
  thread_dim_limit_y: 1024
  thread_dim_limit_z: 64
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  memory_bandwidth: {memory_bandwidth}
  l2_cache_size: {l2_cache_size}
  clock_rate_ghz: {clock_rate_ghz}
  device_memory_size: {device_memory_size}
  cuda_compute_capability {{ major: {compute_capability} }}
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "{description}"
"""


@dataclasses.dataclass(frozen=True)
class _Gpu:
  """The fields in which they differ, by XLA's names."""

  description: str
  compute_capability: int
  core_count: int
  fpus_per_core: int
  clock_rate_ghz: float
  device_memory_size: int
  memory_bandwidth: int
  l2_cache_size: int
  shared_memory_per_core: int
  shared_memory_per_block_optin: int


_AMPERE = (41943040, 167936, 166912)
_HOPPER = (52428800, 233472, 232448)
_GPUS = {
  'a100': _Gpu(
    'NVIDIA A100-SXM4-80GB', 8, 108, 64, 1.41, 85100068864, 2039040000000,
    *_AMPERE,
  ),
  'h100': _Gpu(
    'NVIDIA H100 80GB HBM3', 9, 132, 128, 1.98, 84942979072, 3352320000000,
    *_HOPPER,
  ),
  'h200': _Gpu(
    'NVIDIA H200 141GB HBM3e', 9, 132, 128, 1.98, 151397597184, 4800000000000,
    *_HOPPER,
  ),
}  # fmt: skip
NAMES = tuple(_GPUS)


def target_config(name: str) -> str:
  """Describes a GPU, one of `NAMES`, as a `GpuTargetConfigProto` in text."""
  return _TARGET.format(**dataclasses.asdict(_GPUS[name]))
