"""Everything that can be found: names, what they mean, where the rule is from.

A finding's severity is the one that its rule gives; the one here is the usual one.
`rank` puts causes before what they cause: among findings of one severity the smaller
number comes first.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Symptom:
    """One kind of finding.

    Attributes:
        name: Its name.
        when: `"before"` (from data, model and compile), `"probe"` (a batch run through
            the network, every state restored) or `"during"` (from what was recorded).
        meaning: One sentence.
        source: Where the rule is from.
        rank: Causes have small numbers, what follows from them large ones.
        causes: Likely causes, the likeliest first, with a line of Keras code each.

    Example:

    >>> from keras_gradattn.diagnosis import SYMPTOMS
    >>> SYMPTOMS["dead_units"].when
    'during'
    """

    name: str
    when: str
    meaning: str
    source: str
    rank: int
    causes: tuple[tuple[str, str], ...]


_TAXONOMY = "Humbatova et al. (2020), Taxonomy of Real Faults in Deep Learning Systems"
_AUTOTRAINER = "Zhang et al. (2021), AUTOTRAINER"
_DEEPDIAGNOSIS = "Wardat et al. (2022), DeepDiagnosis"
_UMLAUT = "Schoop et al. (2021), UMLAUT"
_SAGEMAKER = "Amazon SageMaker Debugger, built-in rules"
_TORCHTEST = "torchtest2"
_OWN = "this package"

_ALL = (
    # Data.
    Symptom(
        "nan_in_data", "before", "Inputs or labels hold NaN or infinity.",
        f"{_UMLAUT}; {_TAXONOMY}, training data", 10,
        (
            ("missing values were not filled", "x = np.nan_to_num(x)"),
            ("a column was divided by a spread of zero",
             "x = (x - x.mean(0)) / (x.std(0) + 1e-7)"),
        ),
    ),
    Symptom(
        "labels_out_of_range", "before",
        "Labels are not among the classes that the output has.",
        f"{_TAXONOMY}, wrong labels and wrong output layer", 11,
        (
            ("the output has too few units",
             "keras.layers.Dense(y.max() + 1, activation='softmax')"),
            ("classes are counted from 1", "y = y - 1"),
        ),
    ),
    Symptom(
        "label_encoding", "before",
        "Labels are class numbers where the loss takes one-hot rows, or the reverse.",
        f"{_TAXONOMY}, loss function", 12,
        (
            ("class numbers with a loss for one-hot rows",
             "model.compile(..., loss='sparse_categorical_crossentropy')"),
            ("one-hot rows with a loss for class numbers",
             "model.compile(..., loss='categorical_crossentropy')"),
        ),
    ),
    Symptom(
        "label_shape", "before",
        "Labels and outputs have shapes that differ and broadcast against each other.",
        f"{_TAXONOMY}, tensor shapes", 13,
        (
            ("labels are (n,) and outputs (n, 1), or the reverse",
             "y = y.reshape(-1, 1)"),
        ),
    ),
    Symptom(
        "label_type", "before", "Labels are of a type that the loss does not take.",
        f"{_TAXONOMY}, label type", 13,
        (("labels are words or objects", "y = np.unique(y, return_inverse=True)[1]"),),
    ),
    Symptom(
        "class_missing", "before",
        "The output has classes that occur in no label.",
        f"{_TAXONOMY}, unbalanced data", 29,
        (
            ("data were cut after sorting by class",
             "order = np.random.permutation(len(x)); x, y = x[order], y[order]"),
            ("the output has too many units",
             "keras.layers.Dense(len(np.unique(y)), activation='softmax')"),
        ),
    ),
    Symptom(
        "class_imbalance", "before",
        "Some classes have far more rows than others.",
        f"{_SAGEMAKER}, class imbalance; {_TAXONOMY}, unbalanced data", 28,
        (
            ("training rows were not drawn as the others were",
             "y_train, y_test = train_test_split(y, stratify=y)"),
            ("some classes are rare", "model.fit(x, y, class_weight=weights)"),
        ),
    ),
    Symptom(
        "input_scale", "before",
        "Inputs are far from zero mean and unit spread.",
        f"{_UMLAUT}; {_TAXONOMY}, missing normalisation", 20,
        (
            ("pixels were not scaled", "x = x.astype('float32') / 255"),
            ("columns have units of their own",
             "layer = keras.layers.Normalization(); layer.adapt(x)"),
        ),
    ),
    Symptom(
        "tokens_out_of_range", "before",
        "Tokens are not among the rows of the table of embeddings.",
        f"torch-audit, TA305; {_TAXONOMY}, training data", 11,
        (
            ("the vocabulary is larger than the table",
             "keras.layers.Embedding(x.max() + 1, n)"),
            ("unknown words have a negative number", "x = np.maximum(x, 0)"),
        ),
    ),
    Symptom(
        "target_scale", "before",
        "Targets of a regression are far from zero mean and unit spread.",
        f"{_TAXONOMY}, missing normalisation", 26,
        (("targets were not scaled", "y = (y - y.mean()) / y.std()"),),
    ),
    Symptom(
        "constant_inputs", "before", "Most of the inputs never change.",
        f"{_TAXONOMY}, training data", 24,
        (("columns without information were kept", "x = x[:, x.std(0) > 0]"),),
    ),
    Symptom(
        "duplicated_inputs", "before", "Columns of the inputs are equal to others.",
        f"{_TAXONOMY}, training data", 70,
        (("columns were joined twice",
          "_, keep = np.unique(x, axis=1, return_index=True); "
          "x = x[:, np.sort(keep)]"),),
    ),
    Symptom(
        "sorted_labels", "before",
        "Labels come in long runs of one class and are not shuffled.",
        f"{_TAXONOMY}, shuffling", 20,
        (("`fit` was told not to shuffle", "model.fit(x, y, shuffle=True)"),),
    ),
    Symptom(
        "validation_leakage", "before",
        "Samples of the validation data are equal to training samples.",
        f"{_UMLAUT}, overlap of training and test data", 30,
        (
            ("data were augmented or repeated before they were split",
             "x, keep = np.unique(x, axis=0, return_index=True); y = y[keep]"),
            ("validation data are the training data",
             "model.fit(x, y, validation_split=0.2)"),
        ),
    ),
    # Loss and output.
    Symptom(
        "probabilities_as_logits", "before",
        "The loss takes logits, and the output layer gives probabilities.",
        f"{_UMLAUT}; {_TAXONOMY}, activation and loss", 14,
        (
            ("softmax or sigmoid is applied twice",
             "keras.losses.SparseCategoricalCrossentropy(from_logits=False)"),
        ),
    ),
    Symptom(
        "logits_as_probabilities", "before",
        "The loss takes probabilities, and the output layer gives other numbers.",
        f"{_UMLAUT}; {_TAXONOMY}, missing softmax", 14,
        (
            ("the output layer has no activation",
             "keras.layers.Dense(num_classes, activation='softmax')"),
            ("the loss was not told of logits",
             "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"),
        ),
    ),
    Symptom(
        "softmax_on_one_unit", "before",
        "Softmax over one unit is 1 whatever the weights are.",
        f"{_TAXONOMY}, output layer", 13,
        (("two classes need sigmoid", "keras.layers.Dense(1, activation='sigmoid')"),),
    ),
    Symptom(
        "bounded_output", "before",
        "The output's activation cannot reach the targets.",
        f"{_TAXONOMY}, activation of the output; {_DEEPDIAGNOSIS}", 14,
        (
            ("a regression ends in an activation", "keras.layers.Dense(1)"),
            ("targets were not scaled to the output's range",
             "y = (y - y.min()) / (y.max() - y.min())"),
        ),
    ),
    Symptom(
        "loss_unfit_for_labels", "before",
        "The loss is made for other labels or outputs than these.",
        f"{_TAXONOMY}, loss function", 15,
        (
            ("one class of several, with a loss for two",
             "model.compile(..., loss='sparse_categorical_crossentropy')"),
            ("a loss for numbers is used for classes",
             "model.compile(..., loss='sparse_categorical_crossentropy')"),
            ("a loss for classes is used for numbers",
             "model.compile(..., loss='mean_squared_error')"),
        ),
    ),
    Symptom(
        "metric_unfit_for_labels", "before",
        "The metric is made for other labels or outputs than these.",
        f"{_UMLAUT}; {_TAXONOMY}, wrong metric", 65,
        (("accuracy of numbers means nothing",
          "model.compile(..., metrics=['mean_absolute_error'])"),),
    ),
    Symptom(
        "initial_loss", "probe",
        "The loss before training is far above that of guessing.",
        "Karpathy (2019), A Recipe for Training Neural Networks", 35,
        (
            ("inputs or initial weights are too large",
             "layer = keras.layers.Normalization(); layer.adapt(x)"),
            ("the output layer begins with large weights",
             "keras.layers.Dense(n, kernel_initializer='glorot_uniform')"),
        ),
    ),
    # Architecture.
    Symptom(
        "no_activation", "before",
        "Layers follow each other without an activation: together they are one.",
        f"{_UMLAUT}, missing activation functions", 22,
        (("the activation was left out", "keras.layers.Dense(n, activation='relu')"),),
    ),
    Symptom(
        "limited_logits", "before",
        "An activation before softmax or sigmoid limits how sure an answer can be.",
        f"{_UMLAUT}, activation before softmax", 15,
        (("the last layer before it has an activation",
          "keras.layers.Dense(num_classes)"),),
    ),
    Symptom(
        "bottleneck", "before",
        "A hidden layer of one unit is the only path through the network.",
        _OWN, 25,
        (("a hidden layer has one unit", "keras.layers.Dense(32, activation='relu')"),),
    ),
    Symptom(
        "symmetric_weights", "before",
        "A layer's units begin with equal weights, and stay equal.",
        f"{_TAXONOMY}, weights initialisation; {_SAGEMAKER}, poor initialization", 16,
        (("weights begin at zero or a constant",
          "keras.layers.Dense(n, kernel_initializer='glorot_uniform')"),),
    ),
    Symptom(
        "large_initial_weights", "before",
        "A layer's weights begin far larger than its inputs allow.",
        f"{_SAGEMAKER}, poor initialization; He et al. (2015)", 17,
        (("the initializer's spread is too large",
          "keras.layers.Dense(n, kernel_initializer='he_normal')"),),
    ),
    Symptom(
        "small_initial_weights", "before",
        "A layer's weights begin far smaller than its inputs need.",
        f"{_SAGEMAKER}, poor initialization; He et al. (2015)", 18,
        (("the initializer's spread is too small",
          "keras.layers.Dense(n, kernel_initializer='he_normal')"),),
    ),
    Symptom(
        "batch_norm_of_one", "before",
        "BatchNorm sees one value per channel, and makes it zero.",
        f"{_OWN}; Ioffe & Szegedy (2015)", 19,
        (("the batch has one sample", "model.fit(x, y, batch_size=32)"),
         ("small batches are normalised", "keras.layers.GroupNormalization(groups=1)")),
    ),
    Symptom(
        "dropout_before_output", "before",
        "Dropout stands behind the last layer with weights.",
        f"{_UMLAUT}, dropout", 24,
        (("dropout was put behind the output",
          "keras.Sequential([..., keras.layers.Dropout(r), keras.layers.Dense(n)])"),),
    ),
    Symptom(
        "strong_dropout", "before",
        "Dropout removes nearly everything.",
        f"{_UMLAUT}, high dropout rate", 28,
        (("the rate is the share that is removed", "keras.layers.Dropout(0.3)"),),
    ),
    Symptom(
        "strong_regularization", "before",
        "The penalty on weights outweighs the loss.",
        f"{_TAXONOMY}, regularisation", 27,
        (("the penalty's factor is too large",
          "keras.regularizers.L2(1e-4)"),),
    ),
    # Optimizer.
    Symptom(
        "learning_rate_too_high", "before",
        "The learning rate is far above what this optimizer is used with.",
        f"{_UMLAUT}; {_TAXONOMY}, learning rate; {_DEEPDIAGNOSIS}", 21,
        (("the rate is too high", "model.optimizer.learning_rate = 1e-3"),),
    ),
    Symptom(
        "learning_rate_too_low", "before",
        "The learning rate is far below what this optimizer is used with.",
        f"{_UMLAUT}; {_TAXONOMY}, learning rate; {_DEEPDIAGNOSIS}", 21,
        (("the rate is too low", "model.optimizer.learning_rate = 1e-3"),),
    ),
    Symptom(
        "nothing_trainable", "before",
        "No layer is trainable.",
        f"{_OWN}; {_TAXONOMY}, training process", 9,
        (("every layer was frozen", "layer.trainable = True  # then compile again"),),
    ),
    Symptom(
        "frozen_random_weights", "before",
        "Frozen layers hold weights that look as if they were just drawn.",
        f"{_OWN}; {_TAXONOMY}, wrong pre-trained weights", 23,
        (("a layer was frozen that was never trained",
          "layer.trainable = True  # then compile again"),
         ("pre-trained weights were not loaded",
          "model.load_weights('pretrained.weights.h5')")),
    ),
    Symptom(
        "samples_mixed", "probe",
        "A sample's output depends on other samples of the batch.",
        f"{_TORCHTEST}; Karpathy (2019)", 12,
        (("an axis is reshaped, transposed or summed over the batch",
          "keras.ops.reshape(x, (keras.ops.shape(x)[0], -1))"),
         ("softmax or attention runs over the batch's axis",
          "keras.layers.Softmax(axis=-1)")),
    ),
    Symptom(
        "time_and_batch_swapped", "probe",
        "Later samples depend on earlier ones: the batch is read as time.",
        f"{_TORCHTEST}; {_TAXONOMY}, tensor shapes", 11,
        (("the first two axes are exchanged", "x = keras.ops.swapaxes(x, 0, 1)"),),
    ),
    Symptom(
        "unused_input", "probe", "An input, or a column of one, changes no output.",
        _TORCHTEST, 17,
        (("the input is not connected",
          "x = keras.layers.Concatenate()([first, second])"),),
    ),
    Symptom(
        "ignored_mask", "probe", "Padding changes the output although it is masked.",
        _OWN, 29,
        (("a layer drops the mask",
          "keras.layers.LSTM(n)(x, mask=embedding.compute_mask(tokens))"),),
    ),
    Symptom(
        "uncalled_layer", "probe", "A layer was made and is never called.",
        f"{_TORCHTEST}; {_OWN}", 31,
        (("`call` leaves the layer out", "x = self.layer(x)"),),
    ),
    Symptom(
        "unreached_variables", "probe", "The loss does not reach trainable weights.",
        f"{_TORCHTEST}; {_OWN}", 16,
        (("the graph is cut", "x = x  # without keras.ops.stop_gradient(x)"),
         ("the layer's output is not used", "x = x + self.layer(x)")),
    ),
    Symptom(
        "training_flag_lost", "probe",
        "Outputs are the same in training and inference despite dropout or BatchNorm.",
        _OWN, 29,
        (("`training` is not handed on", "x = self.dropout(x, training=training)"),
         ("the layer is called with training=False",
          "x = batch_norm(x)  # without training=False")),
    ),
    Symptom(
        "training_always", "probe",
        "Dropout or BatchNorm stay in training mode in inference.",
        f"{_TORCHTEST}, eval determinism", 29,
        (("the layer is called with training=True",
          "x = self.norm(x, training=training)"),),
    ),
    # During training.
    Symptom(
        "non_finite", "during", "The loss or a gradient is NaN or infinite.",
        f"{_AUTOTRAINER}; {_DEEPDIAGNOSIS}; {_SAGEMAKER}", 40,
        (("the learning rate is too high", "keras.optimizers.Adam(1e-3)"),
         ("a logarithm or quotient meets zero",
          "keras.ops.log(keras.ops.maximum(x, keras.config.epsilon()))"),
         ("gradients explode", "keras.optimizers.Adam(clipnorm=1.0)")),
    ),
    Symptom(
        "loss_scale_collapse", "during",
        "The loss scale of float16 fell until gradients are lost.",
        f"{_OWN}; Micikevicius et al. (2018)", 39,
        (("gradients overflow float16",
          "keras.config.set_dtype_policy('mixed_bfloat16')"),),
    ),
    Symptom(
        "diverging_loss", "during", "The loss grows and stays above where it began.",
        f"{_DEEPDIAGNOSIS}; {_SAGEMAKER}, loss not decreasing", 45,
        (("the learning rate is too high", "keras.optimizers.Adam(1e-3)"),
         ("the loss has the wrong sign", "loss = -objective")),
    ),
    Symptom(
        "exploding_gradients", "during",
        "Gradients grow by powers of ten.",
        f"{_AUTOTRAINER}; {_SAGEMAKER}", 43,
        (("the learning rate is too high", "keras.optimizers.Adam(1e-3)"),
         ("depth or time multiplies gradients", "keras.optimizers.Adam(clipnorm=1.0)"),
         ("weights begin too large", "kernel_initializer='he_normal'")),
    ),
    Symptom(
        "vanishing_gradients", "during",
        "Gradients shrink by powers of ten from the output to the first layers.",
        f"{_AUTOTRAINER}; {_SAGEMAKER}; Glorot & Bengio (2010)", 44,
        (("sigmoid or tanh in many layers", "activation='relu'"),
         ("no path around the layers", "x = keras.layers.Add()([x, block(x)])"),
         ("signals shrink with depth", "keras.layers.BatchNormalization()")),
    ),
    Symptom(
        "dead_units", "during", "ReLU units give zero for every sample.",
        f"{_AUTOTRAINER}; {_SAGEMAKER}, dead ReLU", 41,
        (("the learning rate is too high", "keras.optimizers.Adam(1e-3)"),
         ("biases or weights begin too low", "activation='leaky_relu'")),
    ),
    Symptom(
        "saturated_units", "during",
        "Sigmoid or tanh units stand at the ends of their range.",
        f"{_SAGEMAKER}, saturated activation; {_DEEPDIAGNOSIS}", 42,
        (("inputs are not scaled",
          "layer = keras.layers.Normalization(); layer.adapt(x)"),
         ("weights are too large", "kernel_initializer='glorot_uniform'"),
         ("the activation saturates", "activation='relu'")),
    ),
    Symptom(
        "unchanged_weights", "during", "Weights do not change although they may.",
        f"{_DEEPDIAGNOSIS}; {_SAGEMAKER}; torchtest", 46,
        (("the learning rate is zero or vanishes", "keras.optimizers.Adam(1e-3)"),
         ("no gradient arrives", "layer.trainable = True  # then compile again")),
    ),
    Symptom(
        "updates_too_small", "during",
        "Each update changes weights by far less than a thousandth.",
        "Karpathy (2016), CS231n, ratio of updates to weights", 47,
        (("the learning rate is too low", "keras.optimizers.Adam(1e-3)"),),
    ),
    Symptom(
        "updates_too_large", "during",
        "Each update changes weights by far more than a thousandth.",
        f"Karpathy (2016), CS231n, ratio of updates to weights; {_SAGEMAKER}", 47,
        (("the learning rate is too high", "keras.optimizers.Adam(1e-4)"),),
    ),
    Symptom(
        "clipped_every_step", "during",
        "Nearly every gradient is clipped to a small part of itself.",
        _OWN, 36,
        (("the limit is too low", "keras.optimizers.Adam(clipnorm=1.0)"),
         ("gradients are too large for it",
          "layer = keras.layers.Normalization(); layer.adapt(x)")),
    ),
    Symptom(
        "decay_kills_kernels", "during",
        "Weights of layers shrink towards zero, and their gradients with them.",
        f"{_OWN}, its study of coupled decay; Loshchilov & Hutter (2019)", 38,
        (("decay outweighs the gradient", "keras.optimizers.AdamW(weight_decay=1e-4)"),
         ("the penalty is too strong", "keras.regularizers.L2(1e-5)")),
    ),
    Symptom(
        "constant_predictor", "during",
        "The loss stalls where a constant answer would be.",
        f"{_OWN}; Karpathy (2019)", 50,
        (("no gradient arrives at most layers", "activation='relu'"),
         ("inputs do not tell labels apart", "model.fit(x[:32], y[:32], epochs=200)"),
         ("the learning rate is out of order", "keras.optimizers.Adam(1e-3)")),
    ),
    Symptom(
        "majority_class", "during",
        "The accuracy stands at the share of the most frequent class.",
        f"{_OWN}; {_SAGEMAKER}, class imbalance", 51,
        (("the network answers one class", "model.fit(x, y, class_weight=weights)"),),
    ),
    Symptom(
        "oscillating_loss", "during", "The loss jumps up and down without falling.",
        f"{_AUTOTRAINER}, oscillating loss", 52,
        (("the learning rate is too high", "keras.optimizers.Adam(1e-4)"),
         ("batches are too small", "model.fit(x, y, batch_size=64)")),
    ),
    Symptom(
        "slow_convergence", "during", "The loss falls, but far too slowly.",
        f"{_AUTOTRAINER}, slow convergence", 53,
        (("the learning rate is too low", "keras.optimizers.Adam(1e-3)"),),
    ),
    Symptom(
        "batch_norm_drift", "during",
        "BatchNorm's statistics in inference are not those of training.",
        f"{_OWN}; Ioffe & Szegedy (2015)", 37,
        (("too few steps for the momentum",
          "keras.layers.BatchNormalization(momentum=0.9)"),
         ("batches are too small or differ", "keras.layers.GroupNormalization()")),
    ),
    Symptom(
        "overfitting", "during",
        "The validation loss rises while the training loss falls.",
        f"{_SAGEMAKER}, overfit; {_UMLAUT}", 56,
        (("training goes on too long",
          "keras.callbacks.EarlyStopping(restore_best_weights=True)"),
         ("the network is too large for the data", "keras.layers.Dropout(0.3)"),
         ("data are few", "keras.layers.RandomFlip('horizontal')")),
    ),
    Symptom(
        "underfitting", "during",
        "Training ends far from a fit, while gradients and updates are in order.",
        f"{_SAGEMAKER}, loss not decreasing; {_UMLAUT}", 57,
        (("training is too short", "model.fit(x, y, epochs=50)"),
         ("the network is too small", "keras.layers.Dense(128, activation='relu')")),
    ),
    Symptom(
        "plateau", "during", "The loss fell, and has stood still for long.",
        f"{_SAGEMAKER}, plateau", 59,
        (("the learning rate is too high for the last part",
          "keras.callbacks.ReduceLROnPlateau()"),),
    ),
    Symptom(
        "departs_from_reference", "during",
        "Norms are far from those of the healthy run that was given.",
        "Jiang et al. (2025), TrainCheck", 54,
        (("something differs from the healthy run",
          "kg.compare_gradients({'good': good, 'now': doctor.record})"),),
    ),
    Symptom(
        "not_enough_seen", "during",
        "There were too few steps to judge.",
        _OWN, 90,
        (("training was short", "model.fit(x, y, epochs=10)"),),
    ),
)  # fmt: skip

SYMPTOMS = {symptom.name: symptom for symptom in _ALL}
