"""Recipes: settings of the cuts that a study, a variant or an override chooses by one word."""

from collections.abc import Iterable

from lib.checks import checked
from lib.facts import fact


def by_recipe(given: dict, wanted: Iterable[str], where: str) -> dict:
    """Step -> settings: `given` without its key `recipe`, and for the steps `wanted` those of that
    entry of params/recipes.yaml, over which the given ones win.

    Raises StudyError, which begins with `where`, for settings that are no mapping.
    """
    if "recipe" not in given:
        return given
    result = {step: settings for step, settings in given.items() if step != "recipe"}
    for step, settings in fact("recipes", given["recipe"]).items():
        if step in wanted:
            own = {} if result.get(step) is None else result[step]
            result[step] = settings | checked(dict, own, f"{where}: {step}")
    return result
