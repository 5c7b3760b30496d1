"""Checks before training: a fault is named, and its healthy sibling left alone."""

import warnings

import keras
import numpy as np
import pytest

import keras_gradattn as kg
from keras_gradattn.diagnosis import subject
from keras_gradattn.diagnosis.subject import data_of

L = keras.layers
N = 120
_random = np.random.default_rng(0)
X = _random.normal(size=(N, 8)).astype("float32")
CODED = np.concatenate([np.arange(N)[:, None] % 4, X[:, 1:]], 1).astype("float32")
WEIGHTS = _random.normal(size=(8, 3))
Y = (X @ WEIGHTS).argmax(1)
NUMBERS = (X @ WEIGHTS)[:, 0].astype("float32")
ONE_HOT = np.eye(3, dtype="float32")[Y]
SEQUENCES = _random.normal(size=(40, 5, 3)).astype("float32")
TOKENS = _random.integers(1, 9, size=(40, 6))
TOKENS[:, 4:] = 0
SHORT = SEQUENCES * (np.arange(5) < 3)[:, None]
BINARY = (SEQUENCES[:, 0, 0] > 0).astype("int32")
SPARSE = "sparse_categorical_crossentropy"


class _Function(L.Layer):
    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self._function = function

    def call(self, x):
        return self._function(x)


class _Subclassed(keras.Model):
    """Makes two layers, and may forget one, or the mode."""

    def __init__(self, calls_second=True, hands_on=True, builds_second=True, norm=None):
        super().__init__()
        self.first = L.Dense(6, activation="relu")
        self.second = L.Dense(6, activation="relu")
        if builds_second:
            self.second.build((None, 6))
        self.dropout = L.Dropout(0.5)
        self.answer = L.Dense(3, activation="softmax")
        self.norm = L.BatchNormalization() if norm else None
        self._calls_second, self._hands_on = calls_second, hands_on
        self._mode = {"always": True, "never": False}.get(norm)

    def call(self, x, training=None):
        x = self.first(x)
        if self._calls_second:
            x = self.second(x)
        if self.norm is not None:
            mode = training if self._mode is None else self._mode
            x = self.norm(x, training=mode)
        x = self.dropout(x, training=training if self._hands_on else False)
        return self.answer(x)


class _Reader(keras.Model):
    """Looks tokens up."""

    def __init__(self, rows):
        super().__init__()
        self.table = L.Embedding(rows, 4)
        self.answer = L.Dense(1, activation="sigmoid")

    def call(self, tokens):
        return self.answer(keras.ops.mean(self.table(tokens), axis=1))


class _Coded(keras.Model):
    """The first column is a category, and numbers are cast to look it up."""

    def __init__(self):
        super().__init__()
        self.table = L.Embedding(4, 8)
        self.answer = L.Dense(3, activation="softmax")

    def call(self, x):
        kind = self.table(keras.ops.cast(x[:, 0], "int32"))
        return self.answer(keras.ops.concatenate([kind, x[:, 1:]], axis=1))


class Batches(keras.utils.PyDataset):
    """Batches of 8, in their order."""

    def __init__(self, x, y):
        super().__init__()
        self._x, self._y = x, y

    def __len__(self):
        return len(self._x) // 8

    def __getitem__(self, index):
        rows = slice(8 * index, 8 * index + 8)
        return self._x[rows], self._y[rows]


def dense(activation="softmax", units=3, **hidden):
    hidden = {"activation": "relu", **hidden}
    return [L.Dense(8, **hidden), L.Dense(units, activation=activation)]


def pooled():
    return [L.GlobalAveragePooling1D(), L.Dense(1, activation="sigmoid")]


def words():
    return [L.Embedding(9, 4), *pooled()]


def model_of(layers, loss, optimizer="adam", shape=(8,), **compiled):
    model = layers
    if isinstance(layers, list):
        model = keras.Sequential([keras.Input(shape), *layers])
    model.compile(optimizer, loss, **compiled)
    return model


def findings(layers, loss=SPARSE, x=X, y=Y, optimizer="adam", compiled=None, **check):
    model = model_of(layers, loss, optimizer, x.shape[1:], **(compiled or {}))
    return kg.check(model, x, y, **check)


def severe(*args, **kwargs):
    found = findings(*args, **kwargs)
    assert not [s for s in found.not_seen if "could not be checked" in s] or found
    return set(found.at_least("warning").names)


Losses = keras.losses
CATEGORICAL = Losses.SparseCategoricalCrossentropy
Constant = keras.initializers.Constant
Optimizers = keras.optimizers
L2 = keras.regularizers.L2
_sorted = np.argsort(Y)
# Of the classes 1 and 2 two rows each, in no order.
_rows = [np.flatnonzero(kind == Y) for kind in range(3)]
_unequal = _random.permutation(np.concatenate([_rows[0], _rows[1][:2], _rows[2][:2]]))

# Per fault: its name, what makes it, and what its healthy sibling has instead.
CASES = {
    "softmax twice": (
        "probabilities_as_logits",
        lambda: severe(dense(), CATEGORICAL(from_logits=True)),
        lambda: severe(dense(None), CATEGORICAL(from_logits=True)),
    ),
    "no softmax": (
        "logits_as_probabilities",
        lambda: severe(dense(None)),
        lambda: severe(dense()),
    ),
    "softmax on one unit": (
        "softmax_on_one_unit",
        lambda: severe(dense("softmax", 1), "binary_crossentropy", y=Y > 0),
        lambda: severe(dense("sigmoid", 1), "binary_crossentropy", y=Y > 0),
    ),
    "class numbers for one-hot": (
        "label_encoding",
        lambda: severe(dense(), "categorical_crossentropy"),
        lambda: severe(dense(), "categorical_crossentropy", y=ONE_HOT),
    ),
    "one-hot for class numbers": (
        "label_encoding",
        lambda: severe(dense(), y=ONE_HOT),
        lambda: severe(dense(), y=Y[:, None]),
    ),
    "labels from 1": (
        "labels_out_of_range",
        lambda: severe(dense(), y=Y + 1),
        lambda: severe(dense(units=4), y=Y),
    ),
    "labels of -1 and 1": (
        "labels_out_of_range",
        lambda: severe(
            dense("sigmoid", 1), "binary_crossentropy", y=np.where(Y > 0, 1, -1)
        ),
        lambda: severe(dense("tanh", 1), "hinge", y=np.where(Y > 0, 1, -1)),
    ),
    "words as labels": (
        "label_type",
        lambda: severe(dense(), y=np.array(["a", "b", "c"])[Y]),
        lambda: severe(dense(), y=Y.astype("float32")),
    ),
    "labels that broadcast": (
        "label_shape",
        lambda: severe(dense(None, 3), "mse", y=NUMBERS),
        lambda: severe(dense(None, 1), "mse", y=NUMBERS),
    ),
    "a loss that broadcasts": (
        "label_shape",
        lambda: severe(
            dense(None, 1),
            lambda y, p: keras.ops.square(p - keras.ops.reshape(y, (1, -1))),
            y=NUMBERS,
        ),
        lambda: severe(
            dense(None, 1), lambda y, p: keras.ops.square(p - y), y=NUMBERS
        ),
    ),
    "sigmoid for numbers": (
        "bounded_output",
        lambda: severe(dense("sigmoid", 1), "mse", y=NUMBERS),
        lambda: severe(dense("sigmoid", 1), "mse", y=1 / (1 + np.exp(-NUMBERS))),
    ),
    "relu for numbers": (
        "bounded_output",
        lambda: severe(dense("relu", 1), "mse", y=NUMBERS),
        lambda: severe(dense("relu", 1), "mse", y=np.abs(NUMBERS)),
    ),
    "two-class loss on softmax": (
        "loss_unfit_for_labels",
        lambda: severe(dense(), "binary_crossentropy", y=ONE_HOT),
        lambda: severe(dense("sigmoid"), "binary_crossentropy", y=ONE_HOT),
    ),
    "accuracy of numbers": (
        "metric_unfit_for_labels",
        lambda: severe(
            dense(None, 1), "mse", y=NUMBERS, compiled={"metrics": ["accuracy"]}
        ),
        lambda: severe(
            dense(None, 1), "mse", y=NUMBERS, compiled={"metrics": ["mae"]}
        ),
    ),
    "NaN in the inputs": (
        "nan_in_data",
        lambda: severe(dense(), x=np.where(X > 2, np.nan, X)),
        lambda: severe(dense()),
    ),
    "pixels as they are": (
        "input_scale",
        lambda: severe(dense(), x=100 + 60 * X),
        lambda: severe([L.BatchNormalization(), *dense()], x=100 + 60 * X),
    ),
    "targets in thousands": (
        "target_scale",
        lambda: severe(dense(None, 1), "mse", y=1000 * NUMBERS),
        lambda: severe(dense(None, 1), "mse", y=10 * NUMBERS),
    ),
    "inputs that never change": (
        "constant_inputs",
        lambda: severe(dense(), x=np.ones_like(X)),
        lambda: severe(dense(), x=np.concatenate([X[:, :7], X[:, :1] * 0], 1)),
    ),
    "a class without samples": (
        "class_missing",
        lambda: severe(dense(), x=X[Y != 1], y=Y[Y != 1]),
        lambda: severe(dense(units=4)),
    ),
    "validation rows from training": (
        "validation_leakage",
        lambda: severe(dense(), x=X[:80], y=Y[:80], validation_data=(X[60:], Y[60:])),
        lambda: severe(dense(), x=X[:80], y=Y[:80], validation_data=(X[80:], Y[80:])),
    ),
    "no activation": (
        "no_activation",
        lambda: severe([L.Dense(8), L.Dropout(0.1), L.Dense(8), *dense()]),
        # A narrow layer is a factor of low rank, which is meant.
        lambda: severe([L.Dense(2), L.Dense(8, activation="relu"), *dense()]),
    ),
    "weights of zero": (
        "symmetric_weights",
        lambda: severe(dense(kernel_initializer="zeros")),
        lambda: severe(
            [L.Dense(8, "relu"), L.Dense(3, "softmax", kernel_initializer="zeros")]
        ),
    ),
    "weights of one": (
        "symmetric_weights",
        lambda: severe(dense(kernel_initializer="ones")),
        lambda: severe(dense(kernel_initializer="orthogonal")),
    ),
    "weights too large": (
        "large_initial_weights",
        lambda: severe(dense(kernel_initializer=keras.initializers.RandomNormal(0, 9))),
        lambda: severe(dense(kernel_initializer="he_normal")),
    ),
    "weights too small": (
        "small_initial_weights",
        lambda: severe(
            dense(kernel_initializer=keras.initializers.RandomNormal(0, 1e-4))
        ),
        lambda: severe(dense(kernel_initializer="lecun_normal")),
    ),
    "BatchNorm of one sample": (
        "batch_norm_of_one",
        lambda: severe([L.Dense(8), L.BatchNormalization(), *dense()], batch_size=1),
        lambda: severe([L.Dense(8), L.LayerNormalization(), *dense()], batch_size=1),
    ),
    "dropout of answers": (
        "dropout_before_output",
        lambda: severe([*dense(), L.Dropout(0.3)]),
        lambda: severe([L.Dense(8, "relu"), L.Dropout(0.3), L.Dense(3, "softmax")]),
    ),
    "dropout of nearly everything": (
        "strong_dropout",
        lambda: severe([L.Dense(8, "relu"), L.Dropout(0.95), L.Dense(3, "softmax")]),
        lambda: severe([L.Dense(8, "relu"), L.Dropout(0.5), L.Dense(3, "softmax")]),
    ),
    "a penalty above the loss": (
        "strong_regularization",
        lambda: severe(dense(kernel_regularizer=L2(30.0))),
        lambda: severe(dense(kernel_regularizer=L2(0.01))),
    ),
    "a rate too high": (
        "learning_rate_too_high",
        lambda: severe(dense(), optimizer=Optimizers.Adam(1.0)),
        lambda: severe(dense(), optimizer=Optimizers.SGD(1.0)),
    ),
    "a rate too low": (
        "learning_rate_too_low",
        lambda: severe(dense(), optimizer=Optimizers.Adam(1e-8)),
        lambda: severe(
            dense(),
            optimizer=Optimizers.Adam(
                Optimizers.schedules.CosineDecay(0.0, 100, warmup_target=1e-3,
                                                 warmup_steps=10)
            ),
        ),
    ),
    "tokens that the table has no row for": (
        "tokens_out_of_range",
        lambda: severe(words(), "binary_crossentropy", x=TOKENS - 1, y=BINARY),
        lambda: severe(words(), "binary_crossentropy", x=TOKENS, y=BINARY),
    ),
    "tokens beyond a subclass' table": (
        "tokens_out_of_range",
        lambda: severe(_Reader(8), "binary_crossentropy", x=TOKENS, y=BINARY),
        lambda: severe(_Reader(9), "binary_crossentropy", x=TOKENS, y=BINARY),
    ),
    "an activation before softmax": (
        "limited_logits",
        lambda: severe([L.Dense(3, "tanh"), L.Dropout(0.1), L.Softmax()]),
        # Some networks end in a ReLU, a mean over pixels and softmax.
        lambda: severe([L.Dense(8, "relu"), L.Dense(3), L.Softmax()]),
    ),
    "logits with an activation": (
        "limited_logits",
        lambda: severe(dense("relu"), CATEGORICAL(from_logits=True)),
        lambda: severe(dense("leaky_relu"), CATEGORICAL(from_logits=True)),
    ),
    "a first loss far above guessing": (
        "initial_loss",
        lambda: severe([L.Rescaling(900.0), L.Dense(3)], CATEGORICAL(True)),
        lambda: severe([L.Dense(3)], CATEGORICAL(True)),
    ),
    "one unit for everything": (
        "bottleneck",
        lambda: severe([L.Dense(1, "relu"), L.Dense(3, "softmax")]),
        lambda: severe([L.Dense(2, "relu"), L.Dense(3, "softmax")]),
    ),
    "one unit a time step": (
        "bottleneck",
        lambda: severe(
            [L.Flatten(), L.Dense(1, "tanh"), L.Dense(1, "sigmoid")],
            "binary_crossentropy",
            x=SEQUENCES,
            y=BINARY,
        ),
        lambda: severe(
            [L.Dense(1, "tanh"), L.Flatten(), L.Dense(1, "sigmoid")],
            "binary_crossentropy",
            x=SEQUENCES,
            y=BINARY,
        ),
    ),
    "a squared error of class numbers": (
        "loss_unfit_for_labels",
        lambda: severe(dense(None, 1), "mse", compiled={"metrics": ["accuracy"]}),
        lambda: severe(dense(None, 1), "mse"),
    ),
    "a rare class that validation has": (
        "class_imbalance",
        lambda: severe(
            dense(), x=X[_unequal], y=Y[_unequal], validation_data=(X + 1, Y)
        ),
        lambda: severe(
            dense(),
            x=X[_unequal],
            y=Y[_unequal],
            validation_data=(X[_unequal] + 1, Y[_unequal]),
        ),
    ),
    "nothing trainable": (
        "nothing_trainable",
        lambda: severe([L.Dense(3, "softmax", trainable=False)]),
        lambda: severe([L.Dense(3, "softmax")]),
    ),
    "frozen random layers": (
        "frozen_random_weights",
        lambda: severe([L.Dense(8, "relu", trainable=False), L.Dense(3, "softmax")]),
        lambda: severe(
            [
                L.Dense(8, "relu", trainable=False, bias_initializer=Constant(0.1)),
                L.Dense(3, "softmax"),
            ]
        ),
    ),
    "samples mixed": (
        "samples_mixed",
        lambda: severe(
            [_Function(lambda x: x - keras.ops.mean(x, 0, keepdims=True)), *dense()]
        ),
        lambda: severe(
            [_Function(lambda x: x - keras.ops.mean(x, 1, keepdims=True)), *dense()]
        ),
    ),
    "time and batch swapped": (
        "time_and_batch_swapped",
        lambda: severe(
            [
                _Function(lambda x: keras.ops.swapaxes(x, 0, 1)),
                L.SimpleRNN(4, return_sequences=True),
                _Function(lambda x: keras.ops.swapaxes(x, 0, 1)),
                L.GlobalAveragePooling1D(),
                L.Dense(1, activation="sigmoid"),
            ],
            "binary_crossentropy",
            x=SEQUENCES,
            y=BINARY,
        ),
        lambda: severe(
            [L.SimpleRNN(4), L.Dense(1, activation="sigmoid")],
            "binary_crossentropy",
            x=SEQUENCES,
            y=BINARY,
        ),
    ),
    "a mask that is lost": (
        "ignored_mask",
        lambda: severe(
            [
                L.Embedding(9, 4, mask_zero=True),
                _Function(lambda x: keras.ops.mean(x, axis=1)),
                L.Dense(1, activation="sigmoid"),
            ],
            "binary_crossentropy",
            x=TOKENS,
            y=BINARY,
        ),
        lambda: severe(
            [
                L.Embedding(9, 4, mask_zero=True),
                L.GlobalAveragePooling1D(),
                L.Dense(1, activation="sigmoid"),
            ],
            "binary_crossentropy",
            x=TOKENS,
            y=BINARY,
        ),
    ),
    "masked steps that count": (
        "ignored_mask",
        lambda: severe(
            [L.Masking(), L.Conv1D(4, 2), *pooled()],
            "binary_crossentropy",
            x=SHORT,
            y=BINARY,
        ),
        lambda: severe(
            [L.Masking(), L.SimpleRNN(4), L.Dense(1, "sigmoid")],
            "binary_crossentropy",
            x=SHORT,
            y=BINARY,
        ),
    ),
    "a layer that is never called": (
        "uncalled_layer",
        lambda: severe(_Subclassed(calls_second=False)),
        lambda: severe(_Subclassed()),
    ),
    "a layer without weights yet": (
        "uncalled_layer",
        lambda: severe(_Subclassed(calls_second=False, builds_second=False)),
        lambda: severe(_Subclassed(builds_second=False)),
    ),
    "a graph that is cut under a penalty": (
        "unreached_variables",
        lambda: severe(
            [
                L.Dense(8, kernel_regularizer=L2(1e-4)),
                _Function(keras.ops.stop_gradient),
                *dense(),
            ]
        ),
        lambda: severe([L.Dense(8, "relu", kernel_regularizer=L2(1e-4)), *dense()]),
    ),
    "a graph that is cut": (
        "unreached_variables",
        lambda: severe([L.Dense(8), _Function(keras.ops.stop_gradient), *dense()]),
        # Dead and zero weights stop gradients too, and are no cut.
        lambda: severe(
            [
                L.Dense(8, "relu", bias_initializer=Constant(-9.0)),
                L.Dense(3, "softmax", kernel_initializer="zeros"),
            ]
        ),
    ),
    "a mode that is not handed on": (
        "training_flag_lost",
        lambda: severe(_Subclassed(hands_on=False)),
        lambda: severe(_Subclassed()),
    ),
    "a mode that is always training": (
        "training_always",
        lambda: severe(_Subclassed(norm="always")),
        lambda: severe(_Subclassed(norm="as the model")),
    ),
    "columns that are sliced away": (
        "unused_input",
        lambda: severe([_Function(lambda x: x[:, :6]), *dense()]),
        lambda: severe([_Function(lambda x: keras.ops.flip(x, 1)), *dense()]),
    ),
    "columns that only a table looks up": (
        "unused_input",
        lambda: severe([_Function(lambda x: x[:, 1:]), *dense()], x=CODED),
        lambda: severe(_Coded(), x=CODED),
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        # Keras warns of a mask that a layer drops.
        warnings.filterwarnings("ignore", ".*does not support masking.*")
        yield


def _about_data_alone(case):
    """Whether no network is run for what the case shows."""
    return kg.diagnosis.SYMPTOMS[CASES[case][0]].when != "probe"


@pytest.mark.any_backend
@pytest.mark.parametrize("case", [c for c in CASES if _about_data_alone(c)])
def test_a_fault_is_named_and_its_sibling_left_alone(case):
    name, faulty, healthy = CASES[case]
    assert name in faulty()
    assert healthy() == set()


@pytest.mark.parametrize("case", [c for c in CASES if not _about_data_alone(c)])
def test_wiring_is_told_by_running_a_batch(case):
    name, faulty, healthy = CASES[case]
    assert name in faulty()
    assert healthy() == set()


@pytest.mark.any_backend
def test_a_linear_layer_before_a_sum_is_no_mistake():
    inputs = keras.Input((8,))
    x = L.Dense(8)(inputs)
    x = x + L.Dense(8)(L.Dense(8, "relu")(x))
    model = model_of(keras.Model(inputs, L.Dense(3, "softmax")(x)), SPARSE)
    assert kg.check(model, X, Y).at_least("warning") == []


@pytest.mark.any_backend
def test_columns_that_are_there_twice_are_a_note():
    twice = np.concatenate([X, X[:, :2]], axis=1)
    (found,) = [f for f in findings(dense(), x=twice) if f.name == "duplicated_inputs"]
    assert (found.severity, found.evidence[0].value) == ("note", 2)
    assert "duplicated_inputs" not in findings(dense()).names


@pytest.mark.any_backend
def test_an_input_of_two_that_nothing_uses():
    def two_inputs(factor):
        first, second = keras.Input((8,)), keras.Input((4,))
        merged = L.Concatenate()([first, second * factor])
        return keras.Model([first, second], L.Dense(3, "softmax")(merged))

    for factor, expected in ((0.0, {"unused_input"}), (1.0, set())):
        model = model_of(two_inputs(factor), SPARSE)
        found = kg.check(model, [X, X[:, :4] + 0.1 * X[:, 4:]], Y)
        assert set(found.at_least("warning").names) == expected


@pytest.mark.any_backend
def test_sorted_labels_count_where_nothing_shuffles():
    model = model_of(dense(), SPARSE)
    x, y = X[_sorted], Y[_sorted]

    found = kg.check(model, x, y, batch_size=8)
    assert ("sorted_labels", "note") in [(f.name, f.severity) for f in found]
    found = kg.check(model, Batches(x, y), batch_size=8)
    assert "sorted_labels" in found.at_least("warning").names
    assert "sorted_labels" not in kg.check(model, Batches(X, Y), batch_size=8).names


def test_nothing_is_changed():
    model = model_of(
        [L.Dense(8, "relu"), L.BatchNormalization(), L.Dropout(0.5), *dense()], SPARSE
    )
    model.train_on_batch(X[:8], Y[:8])
    variables = [*model.variables, *model.optimizer.variables]
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in variables]
    inputs = X.copy()

    kg.check(model, X, Y)

    after = [keras.ops.convert_to_numpy(v) for v in variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert np.array_equal(inputs, X)


@pytest.mark.any_backend
def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="not compiled"):
        kg.check(keras.Sequential([keras.Input((8,)), L.Dense(3)]), X, Y)
    with pytest.raises(ValueError, match="A generator gives each batch once"):
        kg.check(model_of(dense(), SPARSE), ((X, Y) for _ in range(2)))
    with pytest.raises(ValueError, match="empty data"):
        data_of([])


@pytest.mark.any_backend
def test_a_check_that_fails_keeps_no_other_back():
    model = model_of(dense(), SPARSE, shape=(5,))
    found = kg.check(model, np.where(X > 2, np.nan, X), Y)
    assert "nan_in_data" in found.names
    assert any("could not be checked" in sentence for sentence in found.not_seen)


@pytest.mark.any_backend
def test_two_outputs_have_their_losses_and_labels_by_name():
    inputs = keras.Input((8,))
    hidden = L.Dense(8, "relu")(inputs)
    # By the alphabet they would change places.
    value = L.Dense(1, name="value")(hidden)
    kind = L.Dense(3, "softmax", name="kind")(hidden)
    model = keras.Model(inputs, [value, kind])
    model.compile("adam", {"value": "mse", "kind": SPARSE})

    found = kg.check(model, X, {"value": NUMBERS, "kind": Y})

    assert found.at_least("warning") == []
    assert found.not_seen == ()
    wrong = kg.check(model, X, {"value": NUMBERS, "kind": Y + 1})
    (fault,) = [f for f in wrong if f.name == "labels_out_of_range"]
    assert (fault.layers, fault.evidence[0].value) == (("kind",), 3)


class _Warming(keras.optimizers.schedules.LearningRateSchedule):
    """Up from 0 and down again, as transformers are trained; at step 0 it divides."""

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        return 0.1 * keras.ops.minimum(step * 100**-1.5, keras.ops.rsqrt(step))


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("optimizer", "named"),
    [
        # One that scales the loss is judged as the one that takes the steps.
        (lambda: Optimizers.LossScaleOptimizer(Optimizers.SGD(0.5)), ()),
        (
            lambda: Optimizers.LossScaleOptimizer(Optimizers.Adam(0.5)),
            ("learning_rate_too_high",),
        ),
        # At most 0.1 / sqrt(100), at step 100.
        (lambda: Optimizers.Adam(_Warming()), ()),
        # Above 0.05 from step 31 to 3999.
        (
            lambda: Optimizers.Adam(
                Optimizers.schedules.PiecewiseConstantDecay(
                    [30, 4000], [0.0, 0.06, 0.0]
                )
            ),
            ("learning_rate_too_high",),
        ),
    ],
)
def test_the_rate_of_what_takes_the_steps(optimizer, named):
    found = findings(dense(), optimizer=optimizer())
    assert found.at_least("warning").names == named


@pytest.fixture
def few_rows(monkeypatch):
    """Of 120 rows 30 are looked at, and chunks have 25."""
    monkeypatch.setattr(subject, "_MOST_ROWS", 30)
    monkeypatch.setattr(subject, "_CHUNK_ELEMENTS", 200)


@pytest.mark.any_backend
def test_no_row_is_missed_where_few_are_looked_at(few_rows):
    x, y = X.copy(), Y.copy()
    x[1, 3], y[2] = np.nan, 7
    # All validation rows are training rows.
    found = findings(dense(), x=x, y=y, validation_data=(X[5:15], Y[5:15]))
    told = {f.name: f.evidence[0].value for f in found.at_least("warning")}
    assert told["nan_in_data"] == 1
    assert told["labels_out_of_range"] == 7
    assert told["validation_leakage"] == 1.0
    assert any("30 of 120 rows" in line for line in found.not_seen)

    tokens = TOKENS.copy()
    # Of these 40 number 3 is not among the 30.
    tokens[3, 0] = 12
    found = findings(words(), "binary_crossentropy", x=tokens, y=BINARY)
    assert [f.evidence[0].value for f in found.at_least("warning")] == [12]


@pytest.mark.any_backend
def test_columns_that_are_constant_in_a_part_are_a_note(few_rows):
    x = np.ones_like(X)
    x[1:3] += X[1:3]
    (found,) = [f for f in findings(dense(), x=x) if f.name == "constant_inputs"]
    assert found.severity == "note"


@pytest.mark.any_backend
def test_rows_are_equal_only_as_a_whole():
    images = np.zeros((40, 20, 20), "float32")
    # Between the elements that are looked at first.
    images[:, 0, 1] = np.arange(40)
    model = [L.Flatten(), L.Dense(3, "softmax")]
    labels = np.arange(40) % 3

    def share(held):
        found = findings(
            model, x=images[:30], y=labels[:30], validation_data=(held, labels[:10])
        )
        leaks = [f for f in found if f.name == "validation_leakage"]
        return leaks[0].evidence[0].value if leaks else 0

    assert share(images[30:]) == 0
    assert share(images[21:31]) == pytest.approx(0.9)
    assert share(images[21:31].astype("float64")) == pytest.approx(0.9)


class _Given:
    """A data set of these batches."""

    def __init__(self, batches):
        self._batches = batches

    def __iter__(self):
        return iter(self._batches)


@pytest.mark.any_backend
def test_batches_of_another_length_are_left_out():
    tokens = [TOKENS[:8], TOKENS[8:16, :4], TOKENS[16:24]]
    batches = [(one, BINARY[8 * i : 8 * i + 8]) for i, one in enumerate(tokens)]
    found = data_of(_Given(batches))
    np.testing.assert_array_equal(found.x, np.concatenate([tokens[0], tokens[2]]))
    np.testing.assert_array_equal(found.y, np.append(BINARY[:8], BINARY[16:24]))
    assert any("left out, 1 of them" in line for line in found.not_seen())


@pytest.mark.any_backend
def test_batches_are_read_up_to_a_limit(monkeypatch):
    monkeypatch.setattr(subject, "_MOST_ELEMENTS", 100)
    # Of 64 elements each.
    found = data_of(Batches(X, Y))
    assert (found.rows, found.total, found.batch_size) == (16, None, 8)
    assert found.not_seen() == ["Data: the first 16 rows were read."]


@pytest.mark.any_backend
def test_the_size_of_batches_is_that_of_the_data_set():
    model = model_of([L.Dense(8), L.BatchNormalization(), *dense()], SPARSE)
    ones = [(X[i : i + 1], Y[i : i + 1]) for i in range(40)]
    assert "batch_norm_of_one" in kg.check(model, _Given(ones)).names
    assert "batch_norm_of_one" not in kg.check(model, Batches(X, Y)).names


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (("photos/",), "no path. Received: 'photos/'"),
        ((["good", "bad"], Y), r"give np.array\(...\)"),
        (([[1, 2], [3, 4]], [0, 1]), r"give np.array\(...\)"),
        ((X, Y.tolist()), r"give np.array\(...\)"),
    ],
)
def test_what_is_no_array_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        kg.check(model_of(dense(), SPARSE), *data)


@pytest.mark.any_backend
def test_two_outputs_of_softmax_may_have_the_loss_for_two():
    labels = np.eye(2, dtype="float32")[Y % 2]
    found = findings(dense(units=2), "binary_crossentropy", y=labels)
    assert [(f.name, f.severity) for f in found] == [("loss_unfit_for_labels", "note")]
    # It is the same loss.
    given = np.array([[0.3, 0.7]], "float32"), np.array([[0.0, 1.0]], "float32")
    two, one = Losses.binary_crossentropy, Losses.categorical_crossentropy
    assert float(two(*given[::-1])[0]) == pytest.approx(float(one(*given[::-1])[0]))
    found = findings(dense(units=2), "binary_focal_crossentropy", y=labels)
    assert found.at_least("warning").names == ("loss_unfit_for_labels",)


@pytest.mark.any_backend
def test_trained_weights_know_the_scale_of_their_inputs():
    def severity(trained):
        model = model_of(dense(), SPARSE)
        if trained:
            kernel, bias = model.layers[0].get_weights()
            model.layers[0].set_weights([4 * kernel, bias])
        found = kg.check(model, 100 + 60 * X, Y)
        return [f.severity for f in found if f.name == "input_scale"]

    assert severity(trained=False) == ["warning"]
    assert severity(trained=True) == ["note"]


class _Noisy(keras.Model):
    """Hands a mode to its layer that is not its own."""

    def __init__(self, layer, mode):
        super().__init__()
        self.noise, self.mode = layer, mode
        self.answer = L.Dense(3, activation="softmax")

    def call(self, x, training=None):
        return self.answer(self.noise(x, training=self.mode))


@pytest.mark.any_backend
@pytest.mark.parametrize("layer", [L.GaussianDropout, L.AlphaDropout])
def test_every_kind_of_dropout_has_two_modes(layer):
    for mode, name in ((False, "training_flag_lost"), (True, "training_always")):
        assert name in findings(_Noisy(layer(0.2), mode)).names
    assert findings([layer(0.2), *dense()]).at_least("warning") == []
