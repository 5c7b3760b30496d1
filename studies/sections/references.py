"""Accuracy of networks that others trained, with whom to ask."""

REFERENCES = {
    "cifar10": "95.28, ResNet-18 with a 3x3 stem (uoguelph-mlrg/Cutout, five runs)",
    "tiny_imagenet": "61.68, ResNet-18 with a 3x3 stem, 400 epochs "
    "(Westlake-AI/openmixup)",
    "fashion_mnist": "94.9, ResNet-18 (zalandoresearch/fashion-mnist, user-submitted)",
    "svhn": "96.64 on the official test set, ResNet-18 "
    "(Lopa07/pytorch-cifar10-resnet18)",
    "bloodmnist": "97.06, ResNet-18 with ImageNet weights "
    "(sdoerrich97/rethinking-model-prototyping-MedMNISTPlus)",
    "tissuemnist": "67.36, ResNet-18 with ImageNet weights "
    "(sdoerrich97/rethinking-model-prototyping-MedMNISTPlus)",
    "pcam": "89.8, a G-DenseNet (basveeling/pcam)",
    "pad_ufes_20": ".651 balanced, ResNet-50 with ImageNet weights (Pacheco and "
    "Krohling, quoted second hand)",
}
