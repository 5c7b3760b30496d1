"""Networks of somebody's own, named on the command line and given to `run`."""

import os
import signal

import keras

NOT_A_FUNCTION = 3


def tiny(num_classes, input_shape, filters=4):
    """Logits, and layers that say nothing of depth."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(filters, 3, activation="relu", name="body")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="top")(x))


def with_softmax():
    """Made for one data set, and ends in probabilities."""
    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(2, activation="softmax"),
        ],
        name="with_softmax",
    )


class Subclassed(keras.Model):
    """A graph that Keras does not see."""

    def __init__(self, num_classes):
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.first = keras.layers.Dense(4, activation="relu", name="first")
        self.top = keras.layers.Dense(num_classes, name="top")

    def call(self, inputs):
        return self.top(self.first(self.flatten(inputs)))


def three_classes(input_shape):
    """Another number of classes than the data has."""
    return tiny(3, input_shape)


def crashing(num_classes, input_shape):
    """Ends the process of a run that has begun; where it is only planned, it builds."""
    if os.environ.get("CRASH"):
        os.kill(os.getpid(), signal.SIGKILL)
    return tiny(num_classes, input_shape, filters=3)


def plain(num_classes, input_shape):
    """Nothing that a share of a batch would compute otherwise than all of it."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="body")(inputs)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="top")(x))
