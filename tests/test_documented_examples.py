"""Every example in a public docstring and in the README runs as it stands."""

import doctest
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_gradattn
from keras_gradattn import datasets
from tests.api import documented_names
from tests.studies.made_up_results import write_result

# What the examples call is tested on every backend where it belongs.
pytestmark = [pytest.mark.any_backend, pytest.mark.slow]
README = Path(__file__).parents[1] / "README.md"
FENCE = re.compile(r"```python\n(.*?)```", re.DOTALL)


DOCUMENTED = {
    name: thing
    for name, thing in documented_names().items()
    if ">>>" in (thing.__doc__ or "") or "```python" in (thing.__doc__ or "")
}


# Run by nobody here, for what they need; still read by the compiler.
NEED_MORE = {
    "from_tfds": "a download",
    "head_layout": "two devices",
    "ImageFiles": "a data set's own reading, which `from_folder` shows",
    **dict.fromkeys(
        ("predict", "Predictions", "save_model", "load_model", "SavedModel"),
        "a trained and saved model; see test_prediction",
    ),
    **dict.fromkeys(("sweep", "Trial"), "processes of their own; see test_sweep"),
    **dict.fromkeys(
        ("CSVWriter", "MLflowWriter", "TensorBoardWriter", "WandbWriter"),
        "another library; see gradients/test_writers",
    ),
    "GradientNorms.watching": "a loop that is the backend's own; see test_loops",
}


def make_photographs(folder):
    """Two classes of small pictures, and a table of them with their patients."""
    from PIL import Image

    lines = ["img_id,diagnostic,patient_id"]
    for label in ("cat", "dog"):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(12):
            pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), "uint8")
            for path in (folder / "photos" / label, folder):
                Image.fromarray(pixels).save(path / f"{label}{number}.png")
            lines.append(f"{label}{number}.png,{label},{number // 2}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What examples take for granted: the usual imports, a network and some data."""
    monkeypatch.chdir(tmp_path)
    make_photographs(tmp_path)
    write_result(tmp_path / "results")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(32, 8, 8, 1)).astype("float32"), np.arange(32) % 4
    model = keras_gradattn.GradAttnV2(
        4, (8, 8, 1), stage_filters=(4, 4), stage_blocks=(1, 1), width=8, num_heads=2
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    norms = keras_gradattn.GradientNorms()
    model.fit(x, y, epochs=1, verbose=0, callbacks=[norms])
    public = {name: getattr(datasets, name) for name in datasets.__all__}
    return {
        **public,
        "datasets": datasets,
        "GradientNorms": keras_gradattn.GradientNorms,
        "norms": norms,
        **{"norms_plain": norms, "norms_residual": norms},
        "keras": keras,
        "np": np,
        "keras_gradattn": keras_gradattn,
        "kg": keras_gradattn,
        "model": model,
        **{"x": x, "y": y, "x_test": x, "y_test": y, "images": x, "labels": y},
    }


@pytest.fixture
def readme_names(names):
    """The same with images of three channels, large enough for a full network."""
    images = np.random.default_rng(1).normal(size=(16, 32, 32, 3)).astype("float32")
    return names | {"images": images, "labels": np.arange(16) % 10}


def test_code_of_the_readme(readme_names):
    """Its blocks run one after the other, as a reader would type them."""
    for code in FENCE.findall(README.read_text("utf-8")):
        exec(compile(code, "README.md", "exec"), readme_names)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_example_of_a_docstring(name, names):
    thing = DOCUMENTED[name]
    module = importlib.import_module(thing.__module__)
    scope = {**vars(module), **names}
    text = inspect.getdoc(thing)
    for code in FENCE.findall(text):
        compiled = compile(textwrap.dedent(code), name, "exec")
        if name not in NEED_MORE:
            exec(compiled, scope)
    examples = doctest.DocTestParser().get_doctest(text, scope, name, None, 0)
    failures = []
    runner = doctest.DocTestRunner(
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS, verbose=False
    )
    runner.run(examples, out=failures.append)
    assert not failures, "".join(failures)
