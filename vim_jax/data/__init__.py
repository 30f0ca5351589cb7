"""Reading images bit for bit from wherever they lie, and writing them again.

Importing this package imports neither TensorFlow Datasets nor scikit-image nor
scikit-learn; the functions that need one import it.
"""

from vim_jax.data.arrays import LabelledImages as LabelledImages
from vim_jax.data.arrays import TrainTest as TrainTest
from vim_jax.data.arrays import train_test_arrays as train_test_arrays
from vim_jax.data.batches import mix_array as mix_array
from vim_jax.data.decode import SUFFIXES as SUFFIXES
from vim_jax.data.decode import Decoded as Decoded
from vim_jax.data.decode import decode as decode
from vim_jax.data.decode import decode_bytes as decode_bytes
from vim_jax.data.embedded import embedded as embedded
from vim_jax.data.encode import as_mode as as_mode
from vim_jax.data.encode import encode as encode
from vim_jax.data.encode import mode_of as mode_of
from vim_jax.data.errors import DataError as DataError
from vim_jax.data.example import Example as Example
from vim_jax.data.example import LazySource as LazySource
from vim_jax.data.example import Source as Source
from vim_jax.data.image_folder import collisions as collisions
from vim_jax.data.image_folder import folder as folder
from vim_jax.data.image_folder import output_name as output_name
from vim_jax.data.sources import open_source as open_source
from vim_jax.data.tfds_source import split_names as split_names
from vim_jax.data.tfds_source import tfds as tfds
from vim_jax.data.tfds_writer import TfdsWriter as TfdsWriter
from vim_jax.data.writers import write_atomically as write_atomically
