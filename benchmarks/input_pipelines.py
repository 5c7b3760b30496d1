"""Images per second and core that each data set's training pipeline delivers.

python benchmarks/input_pipelines.py          (under a minute; random pixels)
"""

import time

import numpy as np

from keras_gradattn.datasets import SPECS, Split, batches


def rate(name: str, count: int = 2048) -> float:
    """Images per second of one core, training batches of the published protocol."""
    spec = SPECS[name]
    count = count if spec.image_size < 200 else 256
    shape = (count, spec.image_size, spec.image_size, spec.source_channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype="uint8")
    labels = (np.arange(count) % spec.num_classes).astype("int32")
    split = Split("train", images, labels, np.arange(count))
    data = batches(split, spec, training=True, engine="pydataset", workers=0)
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        for index in range(len(data)):
            data[index]
        best = min(best, time.process_time() - start)
    return count / best


for name, spec in SPECS.items():
    size = f"{spec.image_size} x {spec.image_size} x {spec.channels}"
    print(f"{spec.title:16} {size:14} {rate(name):10,.0f} images/s and core")
