"""What is wrong with a training: checks before it, symptoms during it, findings."""

from keras_gradattn.diagnosis.check import check
from keras_gradattn.diagnosis.finding import Curve, Evidence, Finding, Findings
from keras_gradattn.diagnosis.symptoms import SYMPTOMS, Symptom
from keras_gradattn.diagnosis.thresholds import THRESHOLDS, Threshold
from keras_gradattn.diagnosis.training_diagnosis import TrainingDiagnosis

__all__ = [
    "SYMPTOMS",
    "THRESHOLDS",
    "Curve",
    "Evidence",
    "Finding",
    "Findings",
    "Symptom",
    "Threshold",
    "TrainingDiagnosis",
    "check",
]
