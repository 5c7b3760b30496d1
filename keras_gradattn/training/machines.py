"""Processes that train together, started by each backend's own means.

PyTorch by `torchrun`, TensorFlow by `TF_CONFIG`, JAX by the variables of
`keras.distribution.initialize`. Each process runs the same command; the first one
writes what there is to write.
"""

import dataclasses
import functools
import json
import os
from typing import Any

import keras


@dataclasses.dataclass(frozen=True)
class Workers:
    """The processes of one training.

    Args:
        rank: Which one this is.
        processes: How many there are.
        devices: Devices of all together.
        strategy: TensorFlow's strategy.
    """

    rank: int
    processes: int
    devices: int
    strategy: Any = None


def workers() -> Workers | None:
    """The processes that this one was started with, joined; `None` if it is alone.

    Must be called before anything is computed, and returns when all are there.

    Raises:
        ValueError: If the environment says it half.
    """
    return {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}[
        keras.backend.backend()
    ]()


@functools.cache
def _torch() -> Workers | None:
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ["WORLD_SIZE"]) < 2:
        return None
    import atexit

    import torch
    import torch.distributed

    accelerated = torch.cuda.is_available()
    if accelerated:
        # Keras computes on the present one.
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if accelerated else "gloo")
        atexit.register(torch.distributed.destroy_process_group)
    count = torch.distributed.get_world_size()
    return Workers(torch.distributed.get_rank(), count, count)


@functools.cache
def _tensorflow() -> Workers | None:
    cluster = _cluster(os.environ.get("TF_CONFIG") or "{}")
    if sum(map(len, cluster.values())) < 2:
        return None
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    resolver = strategy.cluster_resolver
    # A chief, where there is one, comes before the workers.
    chiefs = len(cluster.get("chief", []))
    rank = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
    return Workers(
        rank,
        chiefs + len(cluster.get("worker", [])),
        strategy.num_replicas_in_sync,
        strategy,
    )


def _cluster(told: str) -> dict[str, list[str]]:
    """The addresses by kind of process, as `TF_CONFIG` has them."""
    try:
        content = json.loads(told)
        cluster: dict[str, list[str]] = content.get("cluster", {})
        if cluster:
            _ = content["task"]["type"], int(content["task"]["index"])
            _ = [address for kind in cluster.values() for address in kind]
    except (ValueError, AttributeError, KeyError, TypeError):
        raise ValueError(
            'TF_CONFIG should be JSON such as {"cluster": {"worker": ["first:29500", '
            '"second:29500"]}, "task": {"type": "worker", "index": 0}}. '
            f"Received: {told}"
        ) from None
    return cluster


_JAX = {
    "coordinator_address": "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    "num_processes": "KERAS_DISTRIBUTION_NUM_PROCESSES",
    "process_id": "KERAS_DISTRIBUTION_PROCESS_ID",
}


@functools.cache
def _jax() -> Workers | None:
    import jax

    said = {key: os.environ[name] for key, name in _JAX.items() if name in os.environ}
    if said and not jax.distributed.is_initialized():
        if missing := [name for key, name in _JAX.items() if key not in said]:
            raise ValueError(
                f"Processes of JAX need {', '.join(_JAX.values())}. "
                f"Received: {', '.join(missing)} unset"
            )
        try:
            processes, rank = int(said["num_processes"]), int(said["process_id"])
        except ValueError:
            processes, rank = 0, 0
        if not 0 <= rank < processes:
            raise ValueError(
                f"{_JAX['process_id']} should be a whole number, from 0 to one less "
                f"than {_JAX['num_processes']}. Received: {said['process_id']!r} of "
                f"{said['num_processes']!r}"
            )
        jax.distributed.initialize(
            coordinator_address=said["coordinator_address"].split(",")[0],
            num_processes=processes,
            process_id=rank,
        )
    if not jax.distributed.is_initialized() or jax.process_count() < 2:
        return None
    return Workers(jax.process_index(), jax.process_count(), len(jax.devices()))
