"""Parameters become runs, completed by the study and checked once."""

from lib.checks import Seed, check_choice, checked
from lib.facts import fact
from lib.study import limits, steps, studies
from lib.study.run import Run
from lib.study.studies import Study


def resolve(step: str, parameters: dict) -> Run:
    """The run of `step` that these parameters ask for; what they leave out, the study says.

    Parameters: study; language, teacher, seed (0: the study's), order (of steps), overrides ({step:
    settings}); task and model_step (which model to score; the last by default) for a task or
    measure; kind for a baseline. Raises StudyError for what does not exist or cannot be.
    """
    entry, study = steps.step(step), studies.load(parameters["study"])
    language, teacher = parameters.get("language"), parameters.get("teacher") or ""
    overrides = checked(dict, parameters.get("overrides") or {}, "overrides")
    if step == "pretrain":
        pair = study.pair(None, teacher)
        return chain(study, pair.languages[0], pair.teacher, overrides)[0]
    fact("languages", language)
    seed = checked(Seed, parameters.get("seed") or 0, "parameter seed")
    if entry.kind == "baseline":
        return baseline(study, language, parameters["task"], parameters["kind"], teacher, overrides)
    order = tuple(parameters.get("order") or ())
    chain_seed = seed if entry.makes_model else 0
    runs = chain(study, language, teacher, overrides, chain_seed, order)
    wanted = step if entry.makes_model else parameters.get("model_step") or runs[-1].step
    check_choice(wanted, [run.step for run in runs], f"study {study.name!r}: step")
    model = next(run for run in runs if run.step == wanted)
    if entry.kind == "task":
        seed = seed or study.task_seeds[0]
        return scoring(model, language, parameters["task"], seed, overrides)
    return measuring(model, language, step, overrides) if entry.kind == "measure" else model


def chain(study: Study, language: str, teacher="", overrides=None, seed=0, order=()) -> list[Run]:
    """The runs of one compression, in order, from the teacher's pre-training to the last cut."""
    pair = study.pair(language, teacher)
    order = studies.check_order(order or study.order, f"study {study.name!r}: order")
    for step in order:
        check_choice(step, study.chain_steps, f"study {study.name!r}: order")
    default, settings = _settings(study, pair, overrides)
    for step in overrides or ():
        if step in study.chain_steps:
            check_choice(step, order, "overrides")
    result: list[Run] = []
    for step in order:
        first = step == "pretrain"
        changed = dict(result[-1].changed) if result else {}
        changed |= _way([*(run.step for run in result), step], study.order)
        changed |= _difference(step, settings[step], default[step])
        run = Run(
            step=step,
            study=study,
            settings=settings[step],
            changed=changed,
            language=None if first else language,
            teacher=pair.teacher,
            seed=study.chain_seed if first else seed or study.chain_seed,
            parent=result[-1] if result else None,
        )
        limits.check(run, limits.of_entry(pair.teacher))
        result.append(run)
    return result


def scoring(model: Run, language: str, task: str, seed: int, overrides: dict | None = None) -> Run:
    """The run that trains and scores `task` in `language` on the model that `model` makes."""
    study = model.study
    check_choice(task, study.tasks, f"study {study.name!r}: task")
    both = _settings(study, study.pair(language, model.teacher), overrides)
    default, settings = (steps.of_task(of_all["finetune"], task) for of_all in both)
    changed = model.changed | _difference("finetune", settings, default)
    run = Run("finetune", study, settings, changed, language, model.teacher, task, seed, model)
    limits.check(run, limits.of_entry(model.teacher))
    return run


def measuring(model: Run, language: str, kind: str, overrides: dict | None = None) -> Run:
    """The run that measures a model on held-out text; `kind` is perplexity or lens."""
    study = model.study
    check_choice(kind, steps.names("measure"), f"study {study.name!r}: measure")
    default, settings = _settings(study, study.pair(language, model.teacher), overrides)
    changed = model.changed | _difference(kind, settings[kind], default[kind])
    about = (changed, language, model.teacher, None, model.seed, model)
    return Run(kind, study, settings[kind], *about)


def baseline(study: Study, language, task, kind: str, teacher="", overrides=None) -> Run:
    """The run that answers `task` without an encoder, from as many examples as models get.

    The kind `static` comes after the teacher's own run, whose vectors it takes.
    """
    check_choice(task, study.tasks, f"study {study.name!r}: task")
    check_choice(kind, steps.choices("baseline", "kind"), f"study {study.name!r}: baseline")
    default, _ = _settings(study, study.pair(language), None)
    _, chosen = _settings(study, study.pair(language, teacher), overrides)
    default, settings = (
        {"kind": kind, "train_limit": of_all["finetune"]["train_limit"]}
        for of_all in (default, chosen)
    )
    changed = _difference("baseline", settings, default)
    if kind != "static":
        return Run("baseline", study, settings, changed, language, task=task)
    first = chain(study, language, teacher)[0]
    return Run("baseline", study, settings, changed, language, first.teacher, task, None, first)


def _settings(study: Study, pair, overrides: dict | None) -> tuple[dict, dict]:
    """All settings for a teacher and its languages, without and with the overrides."""
    default = studies.override(study, study.settings, pair.set, "pairs: set")
    return default, studies.override(study, default, overrides or {}, "overrides")


def _difference(step: str, settings: dict, default: dict) -> dict:
    """The settings that are not the default ones, by names such as layers.layer_choice."""
    return {
        f"{step}.{key}": value
        for key, value in settings.items()
        if value != default.get(key) and key != "kind"
    }


def _way(done: list, order: tuple) -> dict:
    """How a model was made, where that is not the study's way: `order` of the cuts, `teacher`."""
    cuts, own = ([step for step in way if step in steps.names("cut")] for way in (done, order))
    result = {} if cuts == own[: len(cuts)] else {"order": " > ".join(cuts)}
    teachers = {True: "adapted", False: "plain"}
    other = bool(cuts) and ("adapt" in done) != ("adapt" in order)
    return result | ({"teacher": teachers["adapt" in done]} if other else {})
