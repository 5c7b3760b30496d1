"""Loops that somebody wrote by hand."""

import keras
import numpy as np
import pytest

from keras_gradattn.gradients.gradient_norms import GradientNorms
from tests.gradients.conftest import cross_entropy


def batches(data, size=8):
    x, y = data
    for start in range(0, len(x), size):
        yield (
            keras.ops.convert_to_tensor(x[start : start + size]),
            keras.ops.convert_to_tensor(y[start : start + size]),
        )


def small():
    keras.utils.set_random_seed(2)
    inputs = keras.Input((8,))
    x = keras.layers.Dense(6, activation="tanh", name="first")(inputs)
    return keras.Model(inputs, keras.layers.Dense(4, name="last")(x))


def expected_norms_of(gradients, data, rate):
    """Plain gradient descent, written out."""
    model, norms = small(), []
    for x, y in batches(data):
        values = [keras.ops.convert_to_numpy(g) for g in gradients(model, x, y)]
        norms.append([np.linalg.norm(v.astype("float64")) for v in values])
        for variable, value in zip(model.trainable_variables, values, strict=True):
            variable.assign(variable.numpy() - rate * value)
    return np.array(norms)


@pytest.fixture(scope="module")
def expected(gradients, data):
    return expected_norms_of(gradients, data, 0.1)


def check(norms, expected):
    np.testing.assert_allclose(norms.record.norm, expected, rtol=1e-4, atol=1e-7)


def test_train_on_batch(data, expected):
    model, norms = small(), GradientNorms("variable")
    model.compile(keras.optimizers.SGD(0.1), cross_entropy)
    with norms.watching(model):
        for x, y in batches(data):
            model.train_on_batch(x, y)
    check(norms, expected)
    assert "apply" not in vars(model.optimizer)
    assert "gradient_norms_installation" not in vars(model)


def test_keras_optimizer(data, expected, gradients, backend):
    model, norms = small(), GradientNorms("variable", detail_every=2)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    with norms.watching(model, optimizer) as watch:
        for x, y in batches(data):
            values = gradients(model, x, y)
            if backend == "torch":
                import torch

                with torch.no_grad():
                    optimizer.apply(list(values), model.trainable_variables)
            else:
                optimizer.apply(list(values), model.trainable_variables)
        logs = watch.end_epoch()
    check(norms, expected)
    assert norms.record.step.tolist() == list(range(5))
    np.testing.assert_allclose(
        logs["gradient_norm"], np.sqrt(np.square(expected).sum(1)).mean(), rtol=1e-4
    )
    assert "apply" not in vars(optimizer)
    if backend != "jax":
        ratio = norms.record.detail["update_norm"] / norms.record.detail["norm"]
        np.testing.assert_allclose(ratio, 0.1, rtol=1e-3)


@pytest.mark.backends("jax")
@pytest.mark.parametrize("how", ["stateless_apply", "step"])
def test_compiled_jax_step(data, expected, how):
    import jax

    model, norms = small(), GradientNorms("variable")
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    trainable = [v.value for v in model.trainable_variables]
    state = [v.value for v in optimizer.variables]

    def loss(trainable, x, y):
        return cross_entropy(y, model.stateless_call(trainable, [], x)[0])

    with norms.watching(
        model, optimizer if how == "stateless_apply" else None
    ) as watch:

        @jax.jit
        def step(trainable, state, x, y):
            gradients = jax.grad(loss)(trainable, x, y)
            if how == "step":
                watch.step(gradients)
            return optimizer.stateless_apply(state, gradients, trainable)

        for x, y in batches(data):
            trainable, state = step(trainable, state, x, y)
    check(norms, expected)


@pytest.mark.backends("jax")
def test_optax(data, expected):
    import jax
    import optax

    model, norms = small(), GradientNorms("variable")
    trainable = [v.value for v in model.trainable_variables]
    optimizer = optax.sgd(0.1)
    state = optimizer.init(trainable)

    def loss(trainable, x, y):
        return cross_entropy(y, model.stateless_call(trainable, [], x)[0])

    with norms.watching(model) as watch:

        @jax.jit
        def step(trainable, state, x, y):
            gradients = jax.grad(loss)(trainable, x, y)
            watch.step(gradients)
            updates, state = optimizer.update(gradients, state, trainable)
            return optax.apply_updates(trainable, updates), state

        for x, y in batches(data):
            trainable, state = step(trainable, state, x, y)
    check(norms, expected)


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("compiled", [False, True])
def test_tape(data, expected, compiled):
    import tensorflow as tf

    model, norms = small(), GradientNorms("variable", check_every=2)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = cross_entropy(y, model(x, training=True))
        values = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(values, model.trainable_variables, strict=True))

    with norms.watching(model, optimizer):
        run = tf.function(step, reduce_retracing=True) if compiled else step
        for x, y in batches(data):
            run(x, y)
    check(norms, expected)


@pytest.mark.backends("torch")
def test_torch_optimizer(data, expected):
    import torch

    model, norms = small(), GradientNorms("variable", detail_every=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with norms.watching(model, optimizer):
        for x, y in batches(data):
            optimizer.zero_grad()
            cross_entropy(y, model(x, training=True)).backward()
            optimizer.step()
    check(norms, expected)
    ratio = norms.record.detail["update_norm"] / norms.record.detail["norm"]
    np.testing.assert_allclose(ratio, 0.1, rtol=1e-3)
    optimizer.step()
    assert len(norms.record) == 5


@pytest.mark.backends("torch")
def test_step_by_hand_on_pytorch(data, expected):
    import torch

    model, norms = small(), GradientNorms("variable")
    with norms.watching(model) as watch:
        for x, y in batches(data):
            model.zero_grad()
            cross_entropy(y, model(x, training=True)).backward()
            watch.step()
            with torch.no_grad():
                for variable in model.trainable_variables:
                    variable.value.sub_(0.1 * variable.value.grad)
    check(norms, expected)


def test_two_optimizers_have_a_record_each(data, gradients, backend):
    first, second = small(), small()
    recorders = [GradientNorms(), GradientNorms()]
    optimizers = [keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.2)]
    x, y = next(batches(data))
    with (
        recorders[0].watching(first, optimizers[0]) as one,
        recorders[1].watching(second, optimizers[1]) as two,
    ):
        for _ in range(3):
            one.step(list(gradients(first, x, y)))
        two.step(list(gradients(second, x, y)))
    assert [len(r.record) for r in recorders] == [3, 1]


def test_silence_says_what_to_write(data):
    model, norms = small(), GradientNorms()
    with (
        pytest.warns(RuntimeWarning, match=r"SGD was watched.*watch\.step"),
        norms.watching(model, keras.optimizers.SGD(0.1)),
    ):
        pass


def test_wrong_number_of_gradients():
    model, norms = small(), GradientNorms()
    with (
        pytest.raises(ValueError, match="1 gradients for 4 variables"),
        norms.watching(model) as watch,
    ):
        watch.step([keras.ops.zeros((2,))])


def test_other_optimizers_are_told_what_to_do():
    model, norms = small(), GradientNorms()
    with (
        pytest.raises(ValueError, match=r"watch\.step\(gradients\)"),
        norms.watching(model, object()),
    ):
        pass


def gan(backend):
    class Gan(keras.Model):
        """Two networks, two optimizers, one of them twice a step."""

        def __init__(self):
            super().__init__()
            self.generator = keras.Sequential(
                [keras.Input((3,)), keras.layers.Dense(2, name="make")]
            )
            self.critic = keras.Sequential(
                [keras.Input((2,)), keras.layers.Dense(1, name="judge")]
            )
            self.built = True

        def compile(self, g_optimizer, c_optimizer):
            super().compile()
            self.g_optimizer = g_optimizer
            self.c_optimizer = c_optimizer

        def call(self, x):
            return self.critic(self.generator(x))

        def update(self, model, optimizer, sign, x):
            variables = model.trainable_variables
            if backend == "torch":
                import torch

                self.zero_grad()
                loss = sign * keras.ops.mean(self(x))
                loss.backward()
                with torch.no_grad():
                    optimizer.apply([v.value.grad for v in variables], variables)
                return loss.detach()
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = sign * keras.ops.mean(self(x))
            optimizer.apply(tape.gradient(loss, variables), variables)
            return loss

        def train_step(self, data):
            x = keras.tree.flatten(data)[0]
            for _ in range(2):
                self.update(self.critic, self.c_optimizer, 1.0, x)
            return {"loss": self.update(self.generator, self.g_optimizer, -1.0, x)}

    keras.utils.set_random_seed(1)
    return Gan()


@pytest.mark.backends("tensorflow", "torch")
def test_gan_has_one_record_per_optimizer(backend):
    model = gan(backend)
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
    x = np.random.default_rng(0).normal(size=(24, 3)).astype("float32")
    makes = GradientNorms(optimizer="g_optimizer", log_prefix="make")
    judges = GradientNorms(optimizer="c_optimizer", log_prefix="judge", every=2)
    for _ in range(2):
        history = model.fit(x, batch_size=8, verbose=0, callbacks=[makes, judges])
    assert len(makes.record) == 6
    assert len(judges.record) == 6  # every second of twelve
    assert all("make" in group for group in makes.record.groups)
    assert all("judge" in group for group in judges.record.groups)
    assert {"make", "judge"} < set(history.history)
    # The critic is a mean of a linear map: its bias has a gradient of one.
    assert (judges.record.global_norm >= 1).all()


@pytest.mark.backends("tensorflow", "torch")
def test_gan_without_a_named_optimizer_is_told_of_them(backend):
    model = gan(backend)
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1))
    with pytest.warns(RuntimeWarning, match="optimizer='c_optimizer'"):
        model.fit(np.ones((8, 3)), verbose=0, callbacks=[GradientNorms()])


def descend(model, values, rate=0.1):
    for variable, value in zip(model.trainable_variables, values, strict=True):
        variable.assign(variable - rate * keras.ops.stop_gradient(value))


def doubled(data):
    return tuple(np.concatenate([part, part]) for part in data)


def test_steps_by_hand_are_counted_and_read(data, gradients, backend):
    expected = expected_norms_of(gradients, doubled(data), 0.1)
    model = small()
    norms = GradientNorms("variable", capacity=4, detail_every=3)
    with norms.watching(model) as watch:
        for x, y in batches(doubled(data)):
            values = list(gradients(model, x, y))
            watch.step(values)
            descend(model, values)
        if backend != "jax":
            assert len(norms.record) == 8
    check(norms, expected)
    record = norms.record
    assert record.step.tolist() == list(range(10))
    assert record.lost == 0
    assert record.detail["step"].tolist() == [0, 3, 6, 9]
    if backend != "jax":
        ratio = record.detail["update_norm"] / record.detail["norm"]
        np.testing.assert_allclose(ratio, 0.1, rtol=1e-3)
    assert len(record.to_dataframe()) == 10 * 4
    assert record.phases[0].optimizer == ""
    assert "NoneType" not in norms.report()


def test_a_step_by_hand_that_failed_has_no_update(data, gradients, backend):
    model, norms = small(), GradientNorms("variable")
    values = list(gradients(model, *next(batches(data))))

    def interrupted():
        with norms.watching(model) as watch:
            watch.step(values)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(norms.record) == 1
    assert np.isnan(norms.record.detail["update_norm"]).all()


def compiled_loop(backend, model, watch):
    """A compiled step of plain gradient descent that tells the watch of it."""
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function(reduce_retracing=True)
        def step(x, y):
            variables = model.trainable_variables
            with tf.GradientTape() as tape:
                loss = cross_entropy(y, model(x, training=True))
            values = tape.gradient(loss, variables)
            watch.step(values)
            descend(model, values)

        return step

    import jax

    def loss(trainable, x, y):
        return cross_entropy(y, model.stateless_call(trainable, [], x)[0])

    @jax.jit
    def update(trainable, x, y):
        values = jax.grad(loss)(trainable, x, y)
        watch.step(values)
        return [t - 0.1 * g for t, g in zip(trainable, values, strict=True)]

    trainable = [v.value for v in model.trainable_variables]

    def step(x, y):
        trainable[:] = update(trainable, x, y)

    return step


@pytest.mark.backends("jax", "tensorflow")
def test_compiled_steps_are_counted_and_have_details(data, gradients, backend):
    x, y = doubled(data)
    x[:, :2] = 0  # a quarter of the first kernel's gradient
    expected = expected_norms_of(gradients, (x, y), 0.1)
    model = small()
    norms = GradientNorms("variable", capacity=5, detail_every=3, histograms=True)
    with norms.watching(model) as watch:
        step = compiled_loop(backend, model, watch)
        for i, batch in enumerate(batches((x, y))):
            step(*batch)
            if i % 5 == 4:
                watch.end_epoch()
    check(norms, expected)
    record = norms.record
    assert record.step.tolist() == list(range(10))
    assert record.epoch.tolist() == [0] * 5 + [1] * 5
    assert record.detail["step"].tolist() == [0, 3, 6, 9]
    np.testing.assert_allclose(record.detail["zero_share"][:, 0], 0.25)
    assert record.histograms.sum(axis=-1).tolist() == [[48, 6, 24, 4]] * 4


@pytest.mark.backends("tensorflow")
def test_a_compiled_loop_of_a_watched_optimizer_has_details(data, expected):
    import tensorflow as tf

    model, norms = small(), GradientNorms("variable", detail_every=2)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)

    @tf.function(reduce_retracing=True)
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = cross_entropy(y, model(x, training=True))
        values = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(values, model.trainable_variables)

    with norms.watching(model, optimizer):
        for x, y in batches(data):
            step(x, y)
    check(norms, expected)
    assert norms.record.detail["step"].tolist() == [0, 2, 4]
    assert (norms.record.detail["zero_share"] == 0).all()


@pytest.mark.backends("tensorflow")
def test_a_compiled_loop_says_why_it_lost_rows(data):
    model, norms = small(), GradientNorms("variable", capacity=2)

    def loop():
        with norms.watching(model) as watch:
            step = compiled_loop("tensorflow", model, watch)
            for batch in batches(data):
                step(*batch)

    with pytest.warns(RuntimeWarning, match=r"3 steps .* Call `watch\.end_epoch\(\)`"):
        loop()
    assert norms.record.step.tolist() == [3, 4]
    assert norms.record.lost == 3


@pytest.mark.backends("torch")
@pytest.mark.parametrize("kind", ["SGD", "LBFGS"])
def test_a_closure_is_refused(data, kind):
    import torch

    model, norms = small(), GradientNorms("variable")
    optimizer = getattr(torch.optim, kind)(model.parameters(), lr=0.1)

    def closure():
        raise AssertionError("called")

    with (
        pytest.raises(ValueError, match=rf"watch\.step.*Received: {kind}"),
        norms.watching(model, optimizer),
    ):
        optimizer.step(closure)


@pytest.mark.backends("torch")
def test_a_closure_can_step_by_hand(data, expected):
    import torch

    model, norms = small(), GradientNorms("variable")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with norms.watching(model) as watch:
        for x, y in batches(data):

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = cross_entropy(y, model(x, training=True))
                loss.backward()
                watch.step()
                return loss

            optimizer.step(closure)
    check(norms, expected)


@pytest.mark.backends("torch")
def test_only_what_the_optimizer_updates_is_measured(data, expected):
    import torch

    model, norms = small(), GradientNorms("variable")
    last = model.get_layer("last").parameters()
    optimizer = torch.optim.SGD(last, lr=0.1)
    with norms.watching(model, optimizer):
        for x, y in batches(data):
            optimizer.zero_grad()
            cross_entropy(y, model(x, training=True)).backward()
            optimizer.step()
    measured = norms.record.measured
    assert measured.tolist() == [[False, False, True, True]] * 5
    np.testing.assert_allclose(norms.record.norm[0, 2:], expected[0, 2:], rtol=1e-4)


@pytest.mark.backends("torch")
def test_steps_by_hand_inside_of_a_compiled_function(data, expected):
    import torch

    model, norms = small(), GradientNorms("variable")
    with norms.watching(model) as watch:

        @torch.compile(backend="eager")
        def update():
            watch.step()
            with torch.no_grad():
                for variable in model.trainable_variables:
                    variable.value.sub_(0.1 * variable.value.grad)

        for x, y in batches(data):
            model.zero_grad()
            cross_entropy(y, model(x, training=True)).backward()
            update()
    check(norms, expected)
    assert norms.record.step.tolist() == list(range(5))


@pytest.mark.backends("jax")
def test_on_jax_a_gan_is_told_what_does_work(gradients, data):
    import jax

    class Gan(keras.Model):
        """Its critic is trained by an optimizer that is not the model's."""

        def __init__(self):
            super().__init__()
            self.critic = small()
            self.c_optimizer = keras.optimizers.SGD(0.1)
            self.watch = None
            self.built = True

        def call(self, x):
            return self.critic(x)

        def train_step(self, state, data):
            def loss(trainable):
                return cross_entropy(y, self.stateless_call(trainable, [], x)[0])

            trainable, *rest = state
            x, y = data[0], data[1]
            value, gradients = jax.value_and_grad(loss)(trainable)
            if self.watch is not None:
                self.watch.step(gradients)
            trainable = [t - 0.1 * g for t, g in zip(trainable, gradients, strict=True)]
            return {"loss": value}, (trainable, *rest)

    arguments = {"batch_size": 8, "shuffle": False, "verbose": 0}
    model = Gan()
    model.compile("sgd")
    advice = r"other optimizers, such as 'c_optimizer': call `watch\.step\(gradients\)`"
    with pytest.warns(RuntimeWarning, match=advice):
        model.fit(*data, callbacks=[GradientNorms()], **arguments)
    model, norms = Gan(), GradientNorms("variable")
    model.compile("sgd")
    with norms.watching(model.critic) as model.watch:
        model.fit(*data, **arguments)
    check(norms, expected_norms_of(gradients, data, 0.1))
