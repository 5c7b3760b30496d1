"""Augmentation of whole batches, every random choice made image by image.

Each operation is a pure function of the images and of a fixed count of uniform
random numbers for each image. The numbers come from outside, so that a batch is
a function of (seed, epoch, batch) and the same code runs on NumPy arrays in an
input pipeline and on tensors of any backend inside a compiled step.
"""

from keras_gradattn.datasets.augmentation.layer import RandomAugmentation
from keras_gradattn.datasets.augmentation.table import OPERATIONS, Augmenter, operation

__all__ = ["OPERATIONS", "Augmenter", "RandomAugmentation", "operation"]
