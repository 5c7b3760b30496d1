"""One program with the three diagnoses, and what they said as plain values."""

import gc
import hashlib
import pickle
import time
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from studies.diagnosis.baselines import Baselines
from studies.diagnosis.programs import Program
from studies.diagnosis.programs.running import prepare


def run(
    program: Program, seed: int = 0, diagnosed: bool = True, keep: Path | None = None
) -> dict[str, Any]:
    """Train a program and say how it went.

    Args:
        program: What to run.
        seed: Of everything. Defaults to 0.
        diagnosed: Whether the three diagnoses watch. Defaults to `True`.
        keep: Folder for what our diagnosis saw, so that `thresholds` can judge it
            again. Kept nowhere by default.

    Returns:
        `metric`, `seconds` and, if watched, `findings` as `[name, severity,
        confidence, first step]`, `autotrainer`, `deepdiagnosis` and `raised`.
    """
    start = time.perf_counter()
    keras.backend.clear_session()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        watched = _watched(program, seed, keep) if diagnosed else None
        result = watched or _plain(program, seed)
    gc.collect()
    return result | {"seconds": round(time.perf_counter() - start, 1)}


def _plain(program: Program, seed: int) -> dict[str, Any]:
    case = prepare(program, seed)
    try:
        case.fit()
        return {"metric": _rounded(case.metric())}
    except Exception as error:
        return {"metric": None, "raised": type(error).__name__}


def _watched(program: Program, seed: int, keep: Path | None) -> dict[str, Any]:
    import keras_gradattn as kg

    case = prepare(program, seed)
    rows, training = case.rows, program.training
    doctor = kg.TrainingDiagnosis(on_finding="ignore")
    baselines = Baselines(rows.x, rows.y, training.batch_size, training.epochs)
    raised = metric = None
    try:
        case.fit([doctor, baselines])
        metric = _rounded(case.metric())
    except Exception as error:
        raised = f"{type(error).__name__}: {str(error)[:120]}"
    findings = doctor.findings
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        seen = {
            "name": program.name,
            "kind": program.kind,
            "base": program.base,
            "least": program.least,
            "metric": metric,
            "before": list(doctor._before),
            "seen": doctor.seen(),
        }
        name = hashlib.sha1(program.name.encode()).hexdigest()[:16]
        (keep / f"{name}.pickle").write_bytes(pickle.dumps(seen))
    if raised and not findings:
        # A fit that cannot begin is what `check` is for.
        findings = kg.check(
            case.model,
            rows.x,
            rows.y,
            validation_data=(rows.validation_x, rows.validation_y),
            batch_size=training.batch_size,
        )
    return {
        "metric": metric,
        "raised": raised,
        "findings": [
            [f.name, f.severity, round(f.confidence, 2), f.first_step] for f in findings
        ],
        **baselines.names(),
    }


def _rounded(value: float) -> float:
    return round(value, 3)
