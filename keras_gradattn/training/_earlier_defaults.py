"""Results of earlier formats, as they would be asked for today.

A result names the arguments that its network was given. Where a default has changed
since, the same arguments mean another network.
"""

import inspect
from typing import Any

from keras_gradattn import models
from keras_gradattn.training._building import MODELS

# Format of the results that are written now.
FORMAT = 2
# Arguments by which weights of pathways start near a residual network's.
RESIDUAL_START = {"normalized": False, "older_weight": 0.05}
# Arguments whose defaults are others since format 2, and what these were.
_EARLIER: dict[str, dict[str, Any]] = {"gradattn_pathways": RESIDUAL_START}


def in_todays_terms(experiment: dict[str, Any]) -> dict[str, Any]:
    """A result whose `model_options` are those that today give its network.

    Args:
        experiment: Content of a result's JSON, of any format.

    Returns:
        A copy of it: where a default has changed, options that differ from today's are
        named and those that equal it are not, so that one network has one description.
    """
    configuration = experiment["configuration"]
    name = configuration["model"]
    earlier = _EARLIER.get(name)
    if earlier is None:
        return experiment
    today = inspect.signature(getattr(models, MODELS[name])).parameters
    given = configuration["model_options"]
    if experiment["format"] < FORMAT:
        given = earlier | given
    options = {
        key: value
        for key, value in given.items()
        if key not in earlier or value != today[key].default
    }
    return experiment | {"configuration": configuration | {"model_options": options}}
