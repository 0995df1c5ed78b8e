"""A study as a list of runs, each once and after its parent, and how to batch them."""

import itertools
from collections import Counter

from lib.study import steps, studies
from lib.study.resolve import baseline, chain, measuring, scoring
from lib.study.run import Run
from lib.study.studies import Study

SCORES = 8  # scores that are made in one process: more start fewer processes, fewer share them out


def runs(name: str) -> list[Run]:
    """All runs of a study, in an order in which they can be made."""
    study, found = studies.load(name), {}
    for variant in (studies.Variant(set={}), *study.variants):  # the first is the study itself
        for pair, name, languages in study.students:
            if name in (variant.languages or [name]):
                for run in _of_variant(study, variant, pair.teacher, name, languages):
                    found.setdefault(run.id, run)
    return list(found.values())


def batches(name: str) -> list[list[Run]]:
    """The runs of a study in groups that are best made in one process.

    The steps of a chain form one group as long as nothing branches off. Up to SCORES scores of the
    models of one group form another, and all baselines a third.
    """
    found = runs(name)
    models = [run for run in found if steps.step(run.step).makes_model]
    children = Counter(run.parent.id for run in models if run.parent)
    groups, group_of, scored = {}, {}, Counter()
    for run in found:
        parent = run.parent
        if not steps.step(run.step).makes_model:
            models_of = group_of[parent.id] if parent else ""
            scored[models_of] += bool(parent)
            key = f"scores {(scored[models_of] - 1) // SCORES} of {models_of}"
        elif parent and parent.parent and children[parent.id] == 1:
            key = group_of[parent.id]
        else:
            key = run.id
        group_of[run.id] = key
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _of_variant(study: Study, variant: studies.Variant, teacher: str, name: str, languages: list):
    """The runs, scores and baselines of one chain; the study says what the variant does not."""
    said = {key: value for key, value in variant if value is not None}
    score, tasks = said.get("score", study.score), said.get("tasks", study.tasks)
    models = chain(study, name, teacher, variant.set, order=variant.order or ())
    score = [step for step in score if step in {run.step for run in models}]
    last = max((place for place, run in enumerate(models) if run.step in score), default=-1)
    yield from models[: last + 1] if variant.set else models
    for task, language in itertools.product(tasks if score else (), languages):
        for kind in study.baselines:
            yield baseline(study, language, task, kind, teacher, variant.set)
    for step in score:
        model = next(run for run in models if run.step == step)
        for task, language in itertools.product(tasks, languages):
            for seed in said.get("seeds", study.seeds.tasks):
                yield scoring(model, language, task, seed, variant.set)
        for kind in said.get("measure", study.measure):
            yield measuring(model, name, kind, variant.set)
