"""Sets up a hermetic JAX on eight virtual CPU devices for every test."""

import os

os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = (
    os.environ.get('XLA_FLAGS', '')
    + ' --xla_force_host_platform_device_count=8'
)
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ['HF_HUB_OFFLINE'] = '1'
os.environ['TFDS_DISABLE_GCS'] = '1'
