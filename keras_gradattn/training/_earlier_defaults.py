"""Results of earlier formats, as they would be asked for today.

A result names the arguments that its network was given. Where a default has changed
since, the same arguments mean another network.
"""

import inspect
from typing import Any

from keras_gradattn import models
from keras_gradattn.training.building import MODELS

# Format of the results that are written now.
FORMAT = 2
# Defaults of a network when results of a format were written, where they have changed.
_EARLIER: dict[int, dict[str, dict[str, Any]]] = {
    1: {"gradattn_pathways": {"normalized": False, "older_weight": 0.05}}
}


def in_todays_terms(experiment: dict[str, Any]) -> dict[str, Any]:
    """A result whose `model_options` are those that today give its network.

    Args:
        experiment: Content of a result's JSON, of any format.

    Returns:
        A copy of it: options that were defaults then and are none now are named,
        those that are defaults now are not.
    """
    configuration = experiment["configuration"]
    name = configuration["model"]
    earlier = _EARLIER.get(experiment.get("format", FORMAT), {}).get(name)
    if earlier is None:
        return experiment
    today = inspect.signature(getattr(models, MODELS[name])).parameters
    given = earlier | configuration["model_options"]
    options = {
        key: value
        for key, value in given.items()
        if key not in earlier or value != today[key].default
    }
    return experiment | {"configuration": configuration | {"model_options": options}}
