"""What contenders do: steps of networks, in Keras and in PyTorch, and reading."""
