"""A healthy network of KerasHub: nothing is told above a note."""

import keras
import numpy as np
import pytest

import keras_gradattn as kg


@pytest.fixture(scope="module")
def sentences():
    """Of 4 to 8 tokens; those that begin with a small one are of class 0."""
    random = np.random.default_rng(0)
    tokens = random.integers(1, 20, size=(96, 8))
    kept = np.arange(8) < random.integers(4, 9, size=(96, 1))
    x = {
        "token_ids": np.where(kept, tokens, 0),
        "segment_ids": np.zeros((96, 8), "int32"),
        "padding_mask": kept.astype("int32"),
    }
    return x, (tokens[:, 0] > 9).astype("int32")


@pytest.fixture
def classifier():
    import keras_hub

    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=20,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=8,
    )
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=2)
    model.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


@pytest.mark.slow
def test_a_healthy_classifier_of_keras_hub(classifier, sentences):
    found = kg.check(classifier, *sentences)
    assert found.at_least("warning") == []
    assert found.not_seen == ()

    doctor = kg.TrainingDiagnosis("ignore", every=4, data=sentences)
    classifier.fit(*sentences, batch_size=8, epochs=2, verbose=0, callbacks=[doctor])

    assert doctor.findings.at_least("warning") == []
    seen = doctor.seen()
    assert (seen.steps, len(seen.norm)) == (24, 24)
    assert len(seen.layers.names) > 10
