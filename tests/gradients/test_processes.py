"""Several processes: the norm of the averaged gradient, once, as one process has it."""

import csv
import json
import os
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.gradients.conftest import cross_entropy

COMMON = """
import json, os, sys
rank, ports, path = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
import numpy as np

def data():
    random = np.random.default_rng(0)
    x = random.normal(size=(24, 6)).astype("float32")
    return x, random.integers(0, 3, 24).astype("int32")

def mine():
    # The first half of each batch of eight is the first process's.
    x, y = data()
    rows = [i for i in range(24) if (i % 8) // 4 == rank]
    return x[rows], y[rows]

def make(keras):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)),
        keras.layers.Dense(5, activation="tanh", name="first"),
        keras.layers.Dense(3, name="last")])
    random = np.random.default_rng(1)
    model.set_weights([0.5 * random.normal(size=w.shape) for w in model.get_weights()])
    return model

def save(norms):
    record = norms.record
    np.savez(f"{path}-{rank}.npz", norm=record.norm, step=record.step,
             update=record.detail["update_norm"], lost=record.lost)
"""

JAX = """
import jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"127.0.0.1:{ports[0]}", 2, rank)
import keras
from keras_gradattn.gradients import GradientNorms
from keras_gradattn.gradients.writers import CSVWriter
assert jax.process_count() == 2
keras.distribution.set_distribution(
    keras.distribution.DataParallel(auto_shard_dataset=False))
model = make(keras)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.SGD(0.1), loss)
norms = GradientNorms("variable", writers=[CSVWriter(f"{path}-{rank}.csv")])
model.fit(*mine(), batch_size=4, shuffle=False, verbose=0, callbacks=[norms])
save(norms)
"""

TENSORFLOW = """
os.environ["TF_CONFIG"] = json.dumps({
    "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
    "task": {"type": "worker", "index": rank}})
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
import keras
from keras_gradattn.gradients import GradientNorms
from keras_gradattn.gradients.writers import CSVWriter
assert strategy.num_replicas_in_sync == 2
dataset = tf.data.Dataset.from_tensor_slices(data()).batch(8)
options = tf.data.Options()
options.experimental_distribute.auto_shard_policy = (
    tf.data.experimental.AutoShardPolicy.DATA)
with strategy.scope():
    model = make(keras)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

# Keras' own `fit` does not take the batches of this strategy.
@tf.function
def step(x, y):
    def on_replica(x, y):
        with tf.GradientTape() as tape:
            losses = keras.losses.sparse_categorical_crossentropy(
                y, model(x), from_logits=True)
            loss = tf.reduce_sum(losses) / 8
        values = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(values, model.trainable_variables))
    strategy.run(on_replica, args=(x, y))

norms = GradientNorms("variable", writers=[CSVWriter(f"{path}-{rank}.csv")])
with norms.watching(model, optimizer):
    for x, y in strategy.experimental_distribute_dataset(
            dataset.with_options(options)):
        step(x, y)
save(norms)
"""

TORCH = """
import torch
os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank),
               "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(ports[0])}
torch.distributed.init_process_group("gloo")
import keras
from keras_gradattn.gradients import GradientNorms
from keras_gradattn.gradients.writers import CSVWriter
model = make(keras)
parallel = torch.nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.SGD(parallel.parameters(), lr=0.1)
norms = GradientNorms("variable", writers=[CSVWriter(f"{path}-{rank}.csv")])
x, y = (torch.from_numpy(array) for array in mine())
with norms.watching(model, optimizer):
    for start in range(0, 12, 4):
        optimizer.zero_grad()
        outputs = parallel(x[start:start + 4])
        loss = torch.nn.functional.cross_entropy(outputs, y[start:start + 4].long())
        loss.backward()
        optimizer.step()
save(norms)
torch.distributed.destroy_process_group()
"""

SCRIPTS = {"jax": JAX, "tensorflow": TENSORFLOW, "torch": TORCH}


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def one_process(gradients):
    """Plain gradient descent on the whole batches, by the backend's differentiation."""
    namespace = {"sys": sys}
    source = COMMON.replace("rank, ports, path = ", "#")
    exec(source, namespace)
    model, (x, y) = namespace["make"](keras), namespace["data"]()
    norms = []
    for start in range(0, 24, 8):
        batch = (
            keras.ops.convert_to_tensor(array[start : start + 8]) for array in (x, y)
        )
        values = [
            keras.ops.convert_to_numpy(g)
            for g in gradients(model, *batch, cross_entropy)
        ]
        norms.append([np.linalg.norm(v.astype("float64")) for v in values])
        for variable, value in zip(model.trainable_variables, values, strict=True):
            variable.assign(variable.numpy() - 0.1 * value)
    return np.array(norms)


@pytest.mark.slow
def test_two_processes_measure_what_one_does(backend, gradients, tmp_path):
    ports, path = free_ports(2), os.fspath(tmp_path / "norms")
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    # A compiled program holds the process that it was compiled for.
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    processes = [
        subprocess.Popen(
            [
                sys.executable, "-c", COMMON + SCRIPTS[backend],
                str(rank), json.dumps(ports), path,
            ],
            env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=400)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output[-3000:]
    expected = one_process(gradients)
    with open(f"{path}-0.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["step"] for line in lines] == ["0", "1", "2"]
    columns = [name for name in lines[0] if name.startswith("gradients/norm/")]
    written = [[float(line[name]) for name in columns] for line in lines]
    np.testing.assert_allclose(written, expected, rtol=1e-4)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "norms-0.csv", "norms-0.npz", "norms-1.npz",
    ]  # fmt: skip
    for rank in range(2):
        with np.load(f"{path}-{rank}.npz") as found:
            np.testing.assert_allclose(found["norm"], expected, rtol=1e-4)
            assert found["step"].tolist() == [0, 1, 2]
            assert found["lost"] == 0
            if backend != "tensorflow":  # a compiled loop, see `watching`
                updates = 0.1 * expected[0]
                np.testing.assert_allclose(found["update"][0], updates, rtol=1e-3)
