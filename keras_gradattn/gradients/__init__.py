"""What happens to the gradient: recorder, layer-output taps, analysis, pictures."""

from keras_gradattn.gradients.analysis import GradientFlow, analyze_gradient_flow
from keras_gradattn.gradients.compare import GradientComparison, compare_gradients
from keras_gradattn.gradients.published import PublishedAnalysis, published_analysis
from keras_gradattn.gradients.record import GradientRecord
from keras_gradattn.gradients.recorder import GradientNorms
from keras_gradattn.gradients.taps import with_output_taps

__all__ = [
    "GradientComparison",
    "GradientFlow",
    "GradientNorms",
    "GradientRecord",
    "PublishedAnalysis",
    "analyze_gradient_flow",
    "compare_gradients",
    "published_analysis",
    "with_output_taps",
]
