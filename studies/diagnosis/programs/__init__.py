"""Small programs as data: what they train on, which network, how."""

from studies.diagnosis.programs.healthy import HEALTHY
from studies.diagnosis.programs.program import Data, Network, Program, Training

__all__ = ["HEALTHY", "Data", "Network", "Program", "Training"]
