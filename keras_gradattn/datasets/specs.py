"""The data sets as plain data: splits, sizes, pixel statistics, augmentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from keras_gradattn.datasets._names import suggestion
from keras_gradattn.datasets.image_files import Reading
from keras_gradattn.datasets.levels import EIGHT_BITS, Levels
from keras_gradattn.datasets.med_mnist.facts import FACTS

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class Augmentation:
    """One entry of an augmentation table: a name and its options, as plain data.

    Operations and their options, with defaults:

    * `"flip"`: `probability=0.5`
    * `"crop"`: `padding=4` (pixels)
    * `"rotation"`: `degrees=10`
    * `"translation"`: `fraction=0.1` (of the image's side)
    * `"brightness"`, `"contrast"`: `amount=0.1`
    * `"color_jitter"`: `brightness=0`, `contrast=0`, `saturation=0`, `hue=0`
    * `"random_resized_crop"`: `scale=(0.8, 1)`, `ratio=(3/4, 4/3)`, `attempts=10`
    * `"random_erasing"`: `probability=0.25`, `scale=(0.02, 1/3)`, `ratio=(0.3, 10/3)`
    * `"random_augment"`: `operations=2`, `magnitude=9`
    * `"mixup"`: `alpha=0.2`, `probability=1`; `"cutmix"`: `alpha=1`, `probability=1`

    Args:
        name: One of these operations.
        **options: Options of that operation, such as `degrees=10`.

    Example:

    >>> Augmentation("rotation", degrees=10)
    Augmentation('rotation', degrees=10)
    """

    __slots__ = ("name", "options")

    name: str
    options: Mapping[str, Any]

    def __init__(self, name: str, **options: Any):
        object.__setattr__(self, "name", name)
        # JSON has lists only: both ways of writing an entry are the same entry.
        options = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in options.items()
        }
        object.__setattr__(self, "options", MappingProxyType(options))

    def __setattr__(self, attribute: str, value: Any) -> None:
        raise AttributeError(f"Augmentation is read-only. Received: {attribute}=")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Augmentation) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.name, tuple(sorted(self.options.items()))))

    def __repr__(self) -> str:
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"Augmentation({self.name!r}{options})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _augmentation_from_dict, (self.to_dict(),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Augmentation:
        return self

    def to_dict(self) -> dict[str, Any]:
        """The entry as a dictionary that JSON can hold."""
        return {"name": self.name, **self.options}


def _augmentation_from_dict(entry: Mapping[str, Any]) -> Augmentation:
    return Augmentation(**entry)


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a data set is read from.

    Args:
        tfds: Name for `tfds.builder`, with the configuration if it has several.
        splits: TFDS split of each of ours (train, validation, test).
        merge: TFDS splits that are merged and then divided at random
            70/15/15; takes the place of `splits`.
        npz: MedMNIST file that is read directly when the folder has it.
        md5: MD5 sum that this file must have; None takes any.
        group: Column that a group-wise split can use.

    Example:

    >>> keras_gradattn.datasets.spec("pad_ufes_20").source.group
    'patient_id'
    """

    tfds: str | None = None
    splits: Mapping[str, str] | None = None
    merge: tuple[str, ...] = ()
    npz: str | None = None
    md5: str | None = None
    group: str | None = None


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """What one data set is, and what the published protocol does with it.

    Args:
        name: Key in `SPECS`.
        title: Name for tables and pictures.
        num_classes: Number of classes.
        class_names: Their names, in label order.
        image_size: Side of the network's square input in pixels.
        channels: Channels of the network's input (grey is repeated to 3 where
            the source has one channel and this is 3).
        mean: Mean of each channel, in units of 0 to 1.
        std: Standard deviation of each channel, in units of 0 to 1.
        split_sizes: Images in `train`, `validation` and `test`.
        batch_size: Batch size of the published protocol.
        augmentation: Training augmentation of the published protocol, in order.
        source: Where the images come from.
        citation: Whom to cite.
        how_to_get: The one command or page that gets the data.
        source_channels: Channels of the stored images.
        multi_label: Whether an image has any number of labels.
        resize: How images of another shape become square: `"stretch"`, `"crop"`
            or `"pad"`.
        levels: Stored levels that become 0 and 255, of images with more than 8
            bits.
        deep: Whether images have more than 8 bits and are float32.

    Example:

    >>> digits = keras_gradattn.datasets.spec("digits")
    >>> digits.input_shape, digits.num_classes
    ((8, 8, 1), 10)
    """

    name: str
    title: str
    num_classes: int
    class_names: tuple[str, ...]
    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split_sizes: Mapping[str, int]
    batch_size: int
    augmentation: tuple[Augmentation, ...]
    source: Source
    citation: str
    how_to_get: str
    source_channels: int
    multi_label: bool = False
    resize: str = "stretch"
    levels: Levels = EIGHT_BITS
    deep: bool = False

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one network input, (height, width, channels)."""
        return (self.image_size, self.image_size, self.channels)

    @property
    def reading(self) -> Reading:
        """How image files become pixels, for `ImageFiles`."""
        return Reading(
            self.image_size,
            self.source_channels,
            self.resize,
            self.levels,
            self.deep,
        )

    def to_dict(self) -> dict[str, Any]:
        """The description as a dictionary that JSON can hold."""
        fields = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        source = {
            field.name: getattr(self.source, field.name)
            for field in dataclasses.fields(self.source)
        }
        if source["splits"] is not None:
            source["splits"] = dict(source["splits"])
        return fields | {
            "split_sizes": dict(self.split_sizes),
            "augmentation": [entry.to_dict() for entry in self.augmentation],
            "source": source,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> DatasetSpec:
        """The description that `to_dict` gave, through JSON or not.

        Args:
            content: The dictionary.

        Returns:
            An equal `DatasetSpec`.

        Example:

        >>> DatasetSpec.from_dict(spec("digits").to_dict()) == spec("digits")
        True
        """
        fields = dict(content)
        source = dict(fields["source"])
        source["merge"] = tuple(source["merge"])
        if source["splits"] is not None:
            source["splits"] = MappingProxyType(dict(source["splits"]))
        for name in ("class_names", "mean", "std", "levels"):
            fields[name] = tuple(fields[name])
        return cls(
            **fields
            | {
                "split_sizes": MappingProxyType(dict(fields["split_sizes"])),
                "augmentation": tuple(
                    _augmentation_from_dict(entry) for entry in fields["augmentation"]
                ),
                "source": Source(**source),
            }
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # A read-only mapping cannot be pickled.
        return DatasetSpec.from_dict, (self.to_dict(),)


def _sizes(train: int, validation: int, test: int) -> Mapping[str, int]:
    return MappingProxyType({"train": train, "validation": validation, "test": test})


_AS_GIVEN = MappingProxyType({name: name for name in ("train", "validation", "test")})

_MED_MNIST_AUGMENTATION = (
    Augmentation("rotation", degrees=10),
    Augmentation("flip"),
    Augmentation("brightness", amount=0.1),
    Augmentation("contrast", amount=0.1),
)

_MED_MNIST_CITATION = (
    "Yang et al. (2023), MedMNIST v2: a large-scale lightweight benchmark for 2D and "
    "3D biomedical image classification. Scientific Data 10, 41"
)


def _prepare(name: str) -> str:
    return f"python -m keras_gradattn.datasets.prepare {name}"


_ALL = (
    DatasetSpec(
        name="tiny_imagenet",
        title="Tiny ImageNet",
        num_classes=200,
        class_names=tuple(f"class {index}" for index in range(200)),
        image_size=64,
        channels=3,
        source_channels=3,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        split_sizes=_sizes(77_000, 16_500, 16_500),
        batch_size=128,
        augmentation=(),
        source=Source(
            tfds="tiny_imagenet",
            merge=("train", "validation"),
        ),
        citation="Le and Yang (2015), Tiny ImageNet visual recognition challenge",
        how_to_get=_prepare("tiny_imagenet"),
    ),
    DatasetSpec(
        name="cifar10",
        title="CIFAR-10",
        num_classes=10,
        class_names=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        image_size=32,
        channels=3,
        source_channels=3,
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
        split_sizes=_sizes(42_000, 9_000, 9_000),
        batch_size=128,
        augmentation=(Augmentation("flip"), Augmentation("crop", padding=4)),
        source=Source(tfds="cifar10", merge=("train", "test")),
        citation=(
            "Krizhevsky (2009), Learning multiple layers of features from tiny images"
        ),
        how_to_get=_prepare("cifar10"),
    ),
    DatasetSpec(
        name="svhn",
        title="SVHN",
        num_classes=10,
        class_names=tuple(str(digit) for digit in range(10)),
        image_size=32,
        channels=3,
        source_channels=3,
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
        split_sizes=_sizes(441_294, 94_563, 94_563),
        batch_size=128,
        augmentation=(),
        source=Source(tfds="svhn_cropped", merge=("train", "test", "extra")),
        citation=(
            "Netzer et al. (2011), Reading digits in natural images with unsupervised "
            "feature learning"
        ),
        how_to_get=_prepare("svhn"),
    ),
    DatasetSpec(
        name="fashion_mnist",
        title="Fashion-MNIST",
        num_classes=10,
        class_names=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        image_size=28,
        channels=1,
        source_channels=1,
        mean=(0.2860,),
        std=(0.3530,),
        split_sizes=_sizes(49_000, 10_500, 10_500),
        batch_size=128,
        augmentation=(
            Augmentation("flip"),
            Augmentation("rotation", degrees=10),
            Augmentation("translation", fraction=0.1),
        ),
        source=Source(tfds="fashion_mnist", merge=("train", "test")),
        citation=(
            "Xiao et al. (2017), Fashion-MNIST: a novel image dataset for benchmarking "
            "machine learning algorithms. arXiv:1708.07747"
        ),
        how_to_get=_prepare("fashion_mnist"),
    ),
    DatasetSpec(
        name="tissuemnist",
        title="TissueMNIST",
        num_classes=8,
        class_names=FACTS["tissuemnist"].class_names,
        image_size=64,
        channels=3,
        source_channels=1,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        split_sizes=_sizes(165_466, 23_640, 47_280),
        batch_size=128,
        augmentation=_MED_MNIST_AUGMENTATION,
        source=Source(
            tfds="med_mnist/tissuemnist_28",
            splits=_AS_GIVEN,
            npz="tissuemnist.npz",
            md5=FACTS["tissuemnist"].md5[28],
        ),
        citation=_MED_MNIST_CITATION,
        how_to_get=_prepare("tissuemnist"),
    ),
    DatasetSpec(
        name="bloodmnist",
        title="BloodMNIST",
        num_classes=8,
        class_names=FACTS["bloodmnist"].class_names,
        image_size=64,
        channels=3,
        source_channels=3,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        split_sizes=_sizes(11_959, 1_712, 3_421),
        batch_size=128,
        augmentation=_MED_MNIST_AUGMENTATION,
        source=Source(
            tfds="med_mnist/bloodmnist_28",
            splits=_AS_GIVEN,
            npz="bloodmnist.npz",
            md5=FACTS["bloodmnist"].md5[28],
        ),
        citation=_MED_MNIST_CITATION,
        how_to_get=_prepare("bloodmnist"),
    ),
    DatasetSpec(
        name="pbc28",
        title="PBC-28",
        num_classes=8,
        class_names=FACTS["bloodmnist"].class_names,
        image_size=64,
        channels=3,
        source_channels=3,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        split_sizes=_sizes(11_965, 1_708, 3_419),
        batch_size=128,
        augmentation=_MED_MNIST_AUGMENTATION,
        source=Source(splits=_AS_GIVEN, npz="bloodmnist.npz"),
        citation=(
            "Acevedo et al. (2020), A dataset of microscopic peripheral blood cell "
            "images for development of automatic recognition systems. Data in Brief 30"
        ),
        how_to_get=(
            "https://doi.org/10.17632/snkd93bnjr.1, photographs cut to the middle "
            "200 pixels and resized to 28, in the MedMNIST layout as bloodmnist.npz"
        ),
    ),
    DatasetSpec(
        name="pcam",
        title="PCam",
        num_classes=2,
        class_names=("normal", "tumor"),
        image_size=96,
        channels=3,
        source_channels=3,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        split_sizes=_sizes(262_144, 32_768, 32_768),
        batch_size=128,
        augmentation=(),
        source=Source(tfds="patch_camelyon", splits=_AS_GIVEN),
        citation=(
            "Veeling et al. (2018), Rotation equivariant CNNs for digital pathology. "
            "arXiv:1806.03962"
        ),
        how_to_get=_prepare("pcam"),
    ),
    DatasetSpec(
        name="pad_ufes_20",
        title="PAD-UFES-20",
        num_classes=6,
        class_names=("ACK", "BCC", "MEL", "NEV", "SCC", "SEK"),
        image_size=224,
        channels=3,
        source_channels=3,
        mean=_IMAGENET_MEAN,
        std=_IMAGENET_STD,
        split_sizes=_sizes(1_608, 344, 346),
        batch_size=64,
        augmentation=(
            Augmentation("flip"),
            Augmentation("rotation", degrees=10),
            Augmentation(
                "color_jitter", brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1
            ),
            Augmentation("random_resized_crop", scale=(0.8, 1.0)),
        ),
        source=Source(
            tfds="pad_ufes_20",
            merge=("train",),
            group="patient_id",
        ),
        citation=(
            "Pacheco et al. (2020), PAD-UFES-20: a skin lesion dataset composed of "
            "patient data and clinical images collected from smartphones. Data in "
            "Brief 32"
        ),
        how_to_get=(
            "https://data.mendeley.com/datasets/zr7vgbcyr2/1; then "
            + _prepare("pad_ufes_20 --manual-dir <that folder>")
        ),
    ),
    DatasetSpec(
        name="digits",
        title="Digits",
        num_classes=10,
        class_names=tuple(str(digit) for digit in range(10)),
        image_size=8,
        channels=1,
        source_channels=1,
        mean=(0.3053,),
        std=(0.3760,),
        split_sizes=_sizes(1_257, 269, 271),
        batch_size=64,
        augmentation=(Augmentation("translation", fraction=0.1),),
        source=Source(merge=("train",)),
        citation=(
            "Alpaydin and Kaynak (1998), Optical recognition of handwritten digits"
        ),
        how_to_get="pip install scikit-learn",
    ),
)

SPECS: dict[str, DatasetSpec] = {entry.name: entry for entry in _ALL}


def spec(name: str) -> DatasetSpec:
    """The data set called `name`.

    Args:
        name: Key in `SPECS`.

    Returns:
        Its `DatasetSpec`.

    Raises:
        ValueError: If there is no such data set; the message names the nearest.

    Example:

    >>> spec("cifar10").split_sizes["train"]
    42000
    """
    if name in SPECS:
        return SPECS[name]
    raise ValueError(
        f"There is no such data set.{suggestion(name, SPECS)} "
        f"Known: {', '.join(SPECS)}. Received: name={name!r}"
    )
