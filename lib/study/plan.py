"""Parameters and studies become runs: completed by the study, checked once, each after its parent.
Runs are also batched.
"""

import itertools
from collections import Counter

from lib.checks import Seed, check_choice, checked
from lib.study import limits, steps, studies
from lib.study.run import Run
from lib.study.studies import Study, Variant

SCORES = 8  # scores that are made in one process: more start fewer processes, fewer share them out


def runs(name: str) -> list[Run]:
    """All runs of a study, in an order in which they can be made."""
    study, found = studies.load(name), {}
    for variant in (Variant(set={}), *study.variants):  # the first is the study itself
        for pair, group, languages in study.students:
            if group in (variant.languages or [group]):
                for run in _of_variant(study, variant, pair.teacher, group, languages):
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


def resolve(step: str, parameters: dict) -> Run:
    """The run of `step` that these parameters ask for; what they leave out, the study says.

    Parameters: study; language, teacher, seed (0: the study's), order (of steps), overrides ({step:
    settings}); task and model_step (which model to score; the last by default) for a task or
    measure; group (of the model; by default `language` alone, else the first group with it) for a
    task; kind for a baseline. Raises StudyError for what does not exist or cannot be.
    """
    entry, study = steps.step(step), studies.load(parameters["study"])
    language, teacher = parameters.get("language"), parameters.get("teacher") or ""
    overrides = checked(dict, parameters.get("overrides") or {}, "overrides")
    if step == "pretrain":
        pair = study.pair(None, teacher)
        return chain(study, next(iter(pair.groups)), pair.teacher, overrides)[0]
    seed = checked(Seed, parameters.get("seed") or 0, "parameter seed")
    if entry.kind == "baseline":
        return baseline(study, language, parameters["task"], parameters["kind"], teacher, overrides)
    name, chain_seed = language, seed if entry.makes_model else 0
    if entry.kind == "task":
        name = parameters.get("group") or study.name_of(language, teacher)
    runs = chain(study, name, teacher, overrides, chain_seed, parameters.get("order") or ())
    wanted = step if entry.makes_model else parameters.get("model_step") or runs[-1].step
    check_choice(wanted, [run.step for run in runs], f"study {study.name!r}: step")
    model = next(run for run in runs if run.step == wanted)
    if entry.kind == "task":
        seed = seed or study.seeds.tasks[0]
        return scoring(model, language, parameters["task"], seed, overrides)
    return measuring(model, language, step, overrides) if entry.kind == "measure" else model


def chain(study: Study, language: str, teacher="", overrides=None, seed=0, order=()) -> list[Run]:
    """The runs of one compression, in order, from the teacher's pre-training to the last cut."""
    pair = study.pair(language, teacher)
    place = f"study {study.name!r}: order"
    order = checked(studies.Order, [*(order or study.order)], place)
    for step in order:
        check_choice(step, study.chain_steps, place)
    default, settings = _settings(study, pair, overrides)
    for step in overrides or ():
        if step in study.chain_steps:
            check_choice(step, order, "overrides")
    result: list[Run] = []
    about = {"study": study, "teacher": pair.teacher, "seed": study.seeds.chain}
    for number, step in enumerate(order, 1):
        way = _way(order[:number], study.order)
        result.append(_run(step, settings[step], default[step], way, **about))
        about |= {"language": language, "parent": result[-1], "seed": seed or study.seeds.chain}
    return result


def scoring(model: Run, language: str, task: str, seed: int, overrides: dict | None = None) -> Run:
    """The run that trains and scores `task` in `language` on the model that `model` makes."""
    check_choice(task, model.study.tasks, f"study {model.study.name!r}: task")
    return _of_model(model, "finetune", language, overrides, task, seed)


def measuring(model: Run, language: str, kind: str, overrides: dict | None = None) -> Run:
    """The run that measures a model on held-out text; `kind` is perplexity or lens."""
    check_choice(kind, steps.names("measure"), f"study {model.study.name!r}: measure")
    return _of_model(model, kind, language, overrides, None, model.seed)


def baseline(study: Study, language, task, kind: str, teacher="", overrides=None) -> Run:
    """The run that answers `task` without an encoder, from as many examples as models get.

    The kind `static` comes after the teacher's own run, whose vectors it takes.
    """
    check_choice(task, study.tasks, f"study {study.name!r}: task")
    check_choice(kind, steps.choices("baseline", "kind"), f"study {study.name!r}: baseline")
    name = study.name_of(language, teacher)
    default, _ = _settings(study, study.pair(study.name_of(language)), None)
    _, chosen = _settings(study, study.pair(name, teacher), overrides)
    default, settings = (
        {"kind": kind, "train_limit": of_all["finetune"][task]["train_limit"]}
        for of_all in (default, chosen)
    )
    first = chain(study, name, teacher)[0] if kind == "static" else None
    about = {"teacher": first.teacher, "parent": first} if first else {}
    return _run("baseline", settings, default, study=study, language=language, task=task, **about)


def _of_variant(study: Study, variant: Variant, teacher: str, name: str, languages: list):
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


def _of_model(model: Run, step: str, language: str, overrides, task, seed) -> Run:
    """The run of a step that scores or measures a model."""
    name = model.language or model.study.name_of(language, model.teacher)
    pair = model.study.pair(name, model.teacher)
    if task:
        check_choice(language, pair.groups[name], f"language of a model of {name}")
    both = _settings(model.study, pair, overrides)
    default, settings = (of_all[step][task] if task else of_all[step] for of_all in both)
    about = {"study": model.study, "language": language, "teacher": model.teacher, "task": task}
    return _run(step, settings, default, seed=seed, parent=model, **about)


def _run(step: str, settings: dict, default: dict, way: dict | None = None, **about) -> Run:
    """A run that can be; it names the settings that are not the default ones, as `step.name`."""
    parent = about.get("parent")
    changed = (parent.changed if parent else {}) | (way or {})
    changed |= {f"{step}.{key}": value for key, value in settings.items() if value != default[key]}
    run = Run(step=step, settings=settings, changed=changed, **about)
    limits.check(run, limits.of_entry(run.teacher) if run.teacher else {})
    return run


def _settings(study: Study, pair, overrides: dict | None) -> tuple[dict, dict]:
    """All settings for a teacher and its languages, without and with the overrides."""
    default = studies.override(study, study.settings, pair.set, "pairs: set")
    return default, studies.override(study, default, overrides or {}, "overrides")


def _way(done: list, order: tuple) -> dict:
    """How a model was made, where that is not the study's way: `order` of the cuts, `teacher`."""
    cuts, own = ([step for step in way if step in steps.names("cut")] for way in (done, order))
    result = {} if cuts == own[: len(cuts)] else {"order": " > ".join(cuts)}
    if cuts and ("adapt" in done) != ("adapt" in order):
        result["teacher"] = "adapted" if "adapt" in done else "plain"
    return result
