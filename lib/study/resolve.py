"""Parameters become runs, completed by the study and checked once."""

from lib.checks import Seed, check_choice, checked, shown
from lib.errors import StudyError
from lib.facts import fact
from lib.model.sizes import check_hidden_size
from lib.study import steps, studies
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
    _check_sizes(study, fact("models", pair.teacher), {step: settings[step] for step in order})
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
        result.append(run)
    return result


def scoring(model: Run, language: str, task: str, seed: int, overrides: dict | None = None) -> Run:
    """The run that trains and scores `task` in `language` on the model that `model` makes."""
    study = model.study
    check_choice(task, study.tasks, f"study {study.name!r}: task")
    both = _settings(study, study.pair(language, model.teacher), overrides)
    default, settings = (steps.of_task(of_all["finetune"], task) for of_all in both)
    _check_adapter(model, settings)
    changed = model.changed | _difference("finetune", settings, default)
    return Run("finetune", study, settings, changed, language, model.teacher, task, seed, model)


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


def _check_sizes(study: Study, teacher: dict, settings: dict) -> None:
    """Refuse a cut that asks for more than there is, where the teacher's configuration is known."""
    for step, of_step in settings.items():
        asked = of_step.get("sentences", 0)
        if step == "ffn" or not 0 < study.corpus["train"] < asked:
            continue
        raise StudyError(
            f"{step}: {asked} sentences were asked for; the study {study.name!r} takes "
            f"{study.corpus['train']} of each language (corpus: train): ask for no more"
        )
    has = teacher.get("configuration")
    if has is None:
        return
    limits = {
        "num_hidden_layers": has.get("num_hidden_layers"),
        "intermediate_size": has.get("intermediate_size"),
        "kept_tokens": has.get("vocab_size"),
        "max_length": has.get("max_position_embeddings", 512),
    }
    for step, of_step in settings.items():
        for name, limit in limits.items():
            if name in of_step and limit is not None and of_step[name] > limit:
                raise StudyError(
                    f"{step}: {name} {of_step[name]} was asked for; the teacher has {limit}: ask "
                    "for no more"
                )
    if "hidden" in settings and {"num_attention_heads", "hidden_size"} <= set(has):
        heads, size = has["num_attention_heads"], has["hidden_size"]
        check_hidden_size(heads, size, settings["hidden"]["hidden_size"])


def _check_adapter(model: Run, settings: dict) -> None:
    """Refuse an adapter that the hidden size leaves no dimension for."""
    widths = [run.settings["hidden_size"] for run in model.lineage() if run.step == "hidden"]
    first = fact("models", model.teacher).get("configuration", {}).get("hidden_size")
    width, factor = widths[-1] if widths else first, settings["reduction_factor"]
    if settings["method"] == "adapter" and width and factor > width:
        raise StudyError(
            f"finetune: a reduction_factor of {shown(factor)} leaves no adapter at a hidden size "
            f"of {width}; take 1 to {width}"
        )
