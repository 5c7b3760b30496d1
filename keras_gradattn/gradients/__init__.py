"""What happens to the gradient: recorder, layer-output taps, analysis, pictures."""

from keras_gradattn.gradients.comparison import GradientComparison, compare_gradients
from keras_gradattn.gradients.gradient_flow import GradientFlow, analyze_gradient_flow
from keras_gradattn.gradients.gradient_norms import GradientNorms
from keras_gradattn.gradients.gradient_record import GradientRecord
from keras_gradattn.gradients.output_taps import with_output_taps

__all__ = [
    "GradientComparison",
    "GradientFlow",
    "GradientNorms",
    "GradientRecord",
    "analyze_gradient_flow",
    "compare_gradients",
    "with_output_taps",
]
