"""TFDS builder for MedMNIST."""
