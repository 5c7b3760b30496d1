"""Takes recorded rows, step by step, to the tools where people look."""

from keras_gradattn.gradients.writers.csv import CSVWriter
from keras_gradattn.gradients.writers.mlflow import MLflowWriter
from keras_gradattn.gradients.writers.tensorboard import TensorBoardWriter
from keras_gradattn.gradients.writers.wandb import WandbWriter
from keras_gradattn.gradients.writers.writer import Writer

__all__ = [
    "CSVWriter",
    "MLflowWriter",
    "TensorBoardWriter",
    "WandbWriter",
    "Writer",
]

_BY_NAME: dict[str, type[CSVWriter | MLflowWriter | TensorBoardWriter | WandbWriter]]
_BY_NAME = {
    "csv": CSVWriter,
    "mlflow": MLflowWriter,
    "tensorboard": TensorBoardWriter,
    "wandb": WandbWriter,
}


def as_writer(value: str | Writer) -> Writer:
    """A writer, or one with its defaults by name.

    Args:
        value: A writer, or `"csv"`, `"mlflow"`, `"tensorboard"` or `"wandb"`.

    Returns:
        The writer.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(value, str) and value in _BY_NAME:
        return _BY_NAME[value]()
    if isinstance(value, Writer):
        return value
    raise ValueError(
        "`writers` takes writers (objects with `open`, `write` and `close`) or some "
        f"of {tuple(_BY_NAME)}. Received: {value!r}"
    )
