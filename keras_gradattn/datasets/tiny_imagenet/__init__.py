"""TFDS builder for Tiny ImageNet."""
