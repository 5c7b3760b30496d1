"""What happens to the gradient: recorder, layer-output taps, analysis, pictures."""
