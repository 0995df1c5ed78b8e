"""Parameters become runs, completed by the study and checked once."""

from lib.checks import Seed, check_choice, checked
from lib.study import limits, steps, studies
from lib.study.run import Run
from lib.study.studies import Study


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
    order = tuple(parameters.get("order") or ())
    chain_seed = seed if entry.makes_model else 0
    name = language
    if entry.kind == "task":
        name = parameters.get("group") or study.name_of(language, teacher)
    runs = chain(study, name, teacher, overrides, chain_seed, order)
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
    order = checked(studies.Order, [*(order or study.order)], f"study {study.name!r}: order")
    for step in order:
        check_choice(step, study.chain_steps, f"study {study.name!r}: order")
    default, settings = _settings(study, pair, overrides)
    for step in overrides or ():
        if step in study.chain_steps:
            check_choice(step, order, "overrides")
    result: list[Run] = []
    for step in order:
        about = {"study": study, "teacher": pair.teacher, "seed": study.seeds.chain}
        if result:
            about |= {"language": language, "parent": result[-1]}
            about["seed"] = seed or study.seeds.chain
        way = _way([*(run.step for run in result), step], study.order)
        result.append(_run(step, settings[step], default[step], way, **about))
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
    about = {"study": study, "language": language, "task": task}
    if kind == "static":
        first = chain(study, name, teacher)[0]
        about |= {"teacher": first.teacher, "parent": first}
    return _run("baseline", settings, default, **about)


def _of_model(model: Run, step: str, language: str, overrides, task, seed) -> Run:
    """The run of a step that scores or measures a model."""
    name = model.language or model.study.name_of(language, model.teacher)
    pair = model.study.pair(name, model.teacher)
    if task:
        check_choice(language, pair.groups[name], f"language of a model of {name}")
    both = _settings(model.study, pair, overrides)
    default, settings = (of_all[step][task] if task else of_all[step] for of_all in both)
    about = {"study": model.study, "language": language, "teacher": model.teacher}
    return _run(step, settings, default, task=task, seed=seed, parent=model, **about)


def _run(step: str, settings: dict, default: dict, way: dict | None = None, **about) -> Run:
    """A run that can be; it names the settings that are not the default ones, as `step.name`."""
    changed = dict(about["parent"].changed) if about.get("parent") else {}
    changed |= way or {}
    changed |= {
        f"{step}.{key}": value
        for key, value in settings.items()
        if value != default[key] and key != "kind"
    }
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
