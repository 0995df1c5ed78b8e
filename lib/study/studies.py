"""What to run: YAML files and a notebook's parameters cell become one checked, frozen `Run`.

A run's id is made of what it is called and a digest of everything its result depends on (its settings, those of the steps
before it, the seed, the source of its data). Equal settings share one run between studies; changed settings make a new one.
"""

import hashlib
import json
import os
import time
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from types import MappingProxyType

from lib import facts, files
from lib.errors import StudyError
from lib.facts import (
    SOURCES,
    Source,
    check_choice,
    check_keys,
    check_name,
    check_seed,
    check_value,
    fact,
    read_yaml,
    root,
    shown,
)

STEPS = (
    "pretrain",
    "adapt",
    "layers",
    "ffn",
    "hidden",
    "vocabulary",
)  # the paper's order; a study may change it
CUTS = STEPS[2:]
TASKS = ("tc", "sa", "ner", "pos")
MEASURES = ("perplexity", "lens")  # what is measured on a model without training anything
BASELINES = ("majority", "ngrams")  # what answers a task without an encoder

_AMOUNT = {
    "steps": int,
    "batch_size": int,
    "accumulation": int,
    "max_length": int,
    "learning_rate": float,
    "precision": ("auto", "float32", "bfloat16"),
}
_DISTIL = _AMOUNT | {
    "distillation_loss": ("mse", "kl", "plain_kl"),
    "mlm_weight": float,
    "temperature": float,
    "all_positions": bool,
}
SETTINGS = {
    "pretrain": _AMOUNT,
    "adapt": _AMOUNT | {"published": bool, "sentences": int},
    "layers": _DISTIL
    | {
        "num_hidden_layers": int,
        "layer_choice": ("last_k", "first_k", "stride", "first_last_k", "random"),
    },
    "ffn": {
        "intermediate_size": int,
        "sentences": int,
        "batch_size": int,
        "max_length": int,
        "part": ("train", "dev"),
    },
    "hidden": _DISTIL
    | {
        "hidden_size": int,
        "hidden_start": ("truncation", "truncation_across_heads", "svd", "shared_basis", "random"),
    },
    "vocabulary": {"kept_tokens": int, "counting": ("count", "documents")},
    "perplexity": {"sentences": int, "max_length": int},
    "lens": {"sentences": int},
}
OPTIONAL = {
    "adapt": {"sentences": 0},
    "finetune": {"pooling": "first", "base_width": 0},
}  # left out, a setting is this
_TUNE = {
    "epochs": int,
    "batch_size": int,
    "learning_rate": float,
    "max_length": int,
    "weight_decay": float,
    "warmup": float,
    "max_steps": int,
    "patience": int,
}
FINETUNE = {
    "method": ("adapter", "full"),
    "reduction_factor": int,
    "adapter_input": ("ffn", "layer_norm"),
    "first_subword": bool,
    "train_limit": int,
    "precision": ("auto", "float32", "bfloat16"),
    "pooling": ("first", "mean"),
    "base_width": int,
}
_ABOVE_ZERO = {
    "batch_size",
    "accumulation",
    "max_length",
    "learning_rate",
    "temperature",
    "num_hidden_layers",
    "intermediate_size",
    "hidden_size",
    "kept_tokens",
    "epochs",
    "reduction_factor",
}
_SHARES = {"mlm_weight", "warmup"}  # never above 1
_KINDS = {
    "title": str,
    "data_root": str,
    "models_root": str,
    "pairs": list,
    "order": list,
    "steps": dict,
    "score": list,
    "tasks": list,
    "variants": list,
    "measure": dict,
    "baselines": list,
}


@dataclass(frozen=True)
class Study:
    """One checked file of params/studies. `steps` and `tune` hold settings as written there, `pairs` who teaches what."""

    name: str
    title: str
    source: Source
    models_root: Path
    corpus: dict
    pairs: tuple
    order: tuple
    steps: dict
    tune: dict
    score: tuple
    tasks: tuple
    chain_seed: int
    task_seeds: tuple
    variants: tuple
    measure: dict
    baselines: tuple

    def teacher_of(self, language: str) -> str:
        """The first teacher the study pairs with `language`."""
        for pair in self.pairs:
            if language in pair["languages"]:
                return pair["teacher"]
        known = sorted({each for pair in self.pairs for each in pair["languages"]})
        raise StudyError(
            f"the study {self.name!r} has no language {language!r}; it has {', '.join(known)}: take one of these, "
            f"or add {language!r} to params/studies/{self.name}.yaml and params/languages.yaml"
        )


@dataclass(frozen=True)
class Run:
    """One execution of one study notebook: which step, of what, with which settings, after which run (`parent`)."""

    step: str
    study: str
    teacher: str | None
    seed: int | None
    settings: MappingProxyType
    source: Source = field(repr=False)
    corpus: MappingProxyType = field(repr=False)
    models_root: Path = field(repr=False)
    language: str | None = None
    task: str | None = None
    parent: "Run | None" = None
    began: float = field(
        default_factory=time.monotonic, repr=False, compare=False
    )  # when it was resolved, for the record's seconds

    @cached_property
    def id(self) -> str:
        """Readable name and 8 hexadecimal digits over everything the result depends on."""
        where = self.language or "multilingual"
        return f"{where}.{self.teacher}.{_label(self)}.{_digest(self.identity())}"

    def identity(self) -> dict:
        """Everything the result depends on, as plain values."""
        constants = (
            {}
            if self.step in ("ffn", "vocabulary", "finetune", *MEASURES)
            else facts.facts("training")
        )
        return {
            "step": self.step,
            "language": self.language,
            "teacher": self.teacher,
            "facts": fact("models", self.teacher),
            "task": self.task,
            "seed": self.seed,
            "settings": dict(self.settings),
            "source": self.source.kind,
            "corpus": dict(self.corpus),
            "constants": constants,
            "parent": self.parent.id if self.parent else None,
        }

    @property
    def folder(self) -> Path:
        """Folder of the model this run makes."""
        return files.models() / self.id

    @property
    def record(self) -> Path:
        """File of the record this run makes, written last: where it exists, the run is finished."""
        return files.runs() / self.step / f"{self.id}.json"

    def lineage(self) -> list["Run"]:
        """The runs from the teacher's pre-training to this one."""
        return (self.parent.lineage() if self.parent else []) + [self]

    def __str__(self) -> str:
        lines = [f"{self.id}  (study {self.study}, step {self.step}, seed {self.seed})"]
        lines += [f"  {name}: {value}" for name, value in self.settings.items()]
        return "\n".join(
            lines + [f"  after: {self.parent.id}" if self.parent else "  after: nothing"]
        )


class Baseline(Run):
    """The run that answers a task without an encoder: it has no teacher and, since nothing in it is drawn, no seed."""

    @cached_property
    def id(self) -> str:
        """Readable name and 8 hexadecimal digits over everything the result depends on."""
        return f"{self.language}.baseline.{self.task}.{self.settings['kind']}.{_digest(self.identity())}"

    def identity(self) -> dict:
        """Everything the result depends on, as plain values."""
        return {
            "step": self.step,
            "language": self.language,
            "task": self.task,
            "settings": dict(self.settings),
            "source": self.source.kind,
        }


def study(name: str) -> Study:
    """The study params/studies/<name>.yaml, checked key by key before anything runs."""
    folder = files.PARAMS / "studies"
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in known:
        raise StudyError(
            f"no study called {shown(name)}; params/studies has {', '.join(known)}: take one of these or add a file"
        )
    check_name(name, "params/studies")
    roots = tuple(os.environ.get(variable) for variable in ("STUDY_DATA_ROOT", "STUDY_MODELS_ROOT"))
    stamps = tuple(
        file.stat().st_mtime_ns
        for file in (folder / f"{name}.yaml", *sorted(files.PARAMS.glob("*.yaml")))
    )
    return _study(name, folder / f"{name}.yaml", (roots, stamps))


@lru_cache(maxsize=64)
def _study(name: str, file: Path, _state: tuple) -> Study:
    raw = read_yaml(file)
    say = f"params/studies/{name}.yaml"
    optional = {"data_root", "models_root", "variants", "order", "measure", "baselines"}
    check_keys(
        raw,
        {
            "title",
            "source",
            "corpus",
            "pairs",
            "steps",
            "finetune",
            "score",
            "tasks",
            "seeds",
            *optional,
        },
        optional,
        say,
    )
    for key in _KINDS.keys() & raw.keys():
        check_value(raw[key], _KINDS[key], f"{say}: {key}")
    check_choice(raw["source"], SOURCES, f"{say}: source")
    check_keys(raw["corpus"], {"train", "dev", "test"}, set(), f"{say}: corpus")
    for part, amount in raw["corpus"].items():
        check_value(amount, int, f"{say}: corpus: {part}")
    order = _check_order(raw.get("order", STEPS), STEPS, f"{say}: order")
    tune = _check_tune(raw["finetune"], f"{say}: finetune", complete=True)
    steps = {
        step: _check(
            step, raw["steps"].get(step, {}), f"{say}: steps: {step}", complete=step in order
        )
        for step in order
    }
    check_keys(raw["steps"], set(order), set(order), f"{say}: steps")
    check_keys(raw["seeds"], {"chain", "tasks"}, set(), f"{say}: seeds")
    check_seed(raw["seeds"]["chain"], f"{say}: seeds: chain")
    _check_list(raw["seeds"]["tasks"], None, f"{say}: seeds: tasks")
    check_keys(raw.get("measure", {}), set(MEASURES), set(MEASURES), f"{say}: measure")
    measure = {
        kind: _check(kind, given, f"{say}: measure: {kind}", complete=True)
        for kind, given in raw.get("measure", {}).items()
    }
    pairs = []
    for pair in raw["pairs"]:
        check_keys(pair, {"teacher", "languages", "set"}, {"set"}, f"{say}: pairs")
        fact("models", pair["teacher"])
        check_value(pair["languages"], list, f"{say}: pairs: languages")
        for language in pair["languages"]:
            fact("languages", language)
        if not pair["languages"]:
            raise StudyError(
                f"{say}: pairs: {pair['teacher']} has no languages; name one or take the pair out"
            )
        pairs.append(
            pair | {"set": _check_overrides(pair.get("set", {}), order, f"{say}: pairs: set")}
        )
    if not pairs:
        raise StudyError(
            f"{say}: pairs: there are none; write `- {{teacher: ..., languages: [...]}}` lines"
        )
    variants = []
    languages = [each for pair in pairs for each in pair["languages"]]
    known = {"order": order, "score": order, "tasks": TASKS, "seeds": None, "languages": languages}
    for variant in raw.get("variants", []):
        check_keys(variant, {"set", *known}, set(known), f"{say}: variants")
        for key in known.keys() & variant.keys():
            _check_list(variant[key], known[key], f"{say}: variants: {key}")
        variants.append(
            variant | {"set": _check_overrides(variant["set"], STEPS, f"{say}: variants: set")}
        )
    _check_list(raw["score"], order, f"{say}: score")
    _check_list(raw["tasks"], TASKS, f"{say}: tasks")
    _check_list(raw.get("baselines", []), BASELINES, f"{say}: baselines")
    return Study(
        name,
        raw["title"],
        Source(raw["source"], root(raw.get("data_root"), "STUDY_DATA_ROOT")),
        root(raw.get("models_root"), "STUDY_MODELS_ROOT"),
        raw["corpus"],
        tuple(pairs),
        order,
        steps,
        tune,
        tuple(raw["score"]),
        tuple(raw["tasks"]),
        raw["seeds"]["chain"],
        tuple(raw["seeds"]["tasks"]),
        tuple(variants),
        measure,
        tuple(raw.get("baselines", ())),
    )


def chain(
    study_name: str,
    language: str,
    teacher: str = "",
    overrides: dict | None = None,
    seed: int | None = None,
    order: tuple | None = None,
) -> list[Run]:
    """The runs of one compression, in order, from the teacher's pre-training to the last cut."""
    plan = study(study_name)
    teacher = teacher or plan.teacher_of(language)
    pair = _pair(plan, language, teacher)
    order = _check_order(order or plan.order, plan.order, f"study {study_name!r}: order")
    overrides = _check_overrides(overrides or {}, (*order, "finetune"), "overrides")
    seed = plan.chain_seed if seed is None else seed
    _check_sizes(
        fact("models", teacher),
        {
            step: plan.steps[step] | pair["set"].get(step, {}) | overrides.get(step, {})
            for step in order
        },
    )
    result: list[Run] = []
    for step in order:
        settings = plan.steps[step] | pair["set"].get(step, {}) | overrides.get(step, {})
        settings = {
            key: value
            for key, value in settings.items()
            if value != OPTIONAL.get(step, {}).get(key, ...)
        }
        if step == "adapt" and 0 < plan.corpus["train"] < settings.get("sentences", 0):
            raise StudyError(
                f"adapt: {settings['sentences']} sentences were asked for; the study {study_name!r} takes "
                f"{plan.corpus['train']} of each language (corpus: train): ask for no more"
            )
        result.append(
            Run(
                step,
                study_name,
                teacher,
                plan.chain_seed if step == "pretrain" else seed,
                MappingProxyType(settings),
                plan.source,
                MappingProxyType(plan.corpus),
                plan.models_root,
                None if step == "pretrain" else language,
                None,
                result[-1] if result else None,
            )
        )
    return result


def scoring(model: Run, language: str, task: str, seed: int, overrides: dict | None = None) -> Run:
    """The run that trains and scores `task` in `language` on the model that `model` makes.

    Of the study, its pair and the overrides the later wins; within each, what is said of the task over what is said of its kind.
    """
    plan = study(model.study)
    check_choice(task, plan.tasks, f"study {model.study!r}: task")
    overrides = _check_overrides(overrides or {}, STEPS, "overrides")
    pair = next(
        each
        for each in plan.pairs
        if each["teacher"] == model.teacher and language in each["languages"]
    )
    kind = fact("tasks", task)["kind"]
    settings: dict = {}
    for given in (plan.tune, pair["set"].get("finetune", {}), overrides.get("finetune", {})):
        settings |= (
            {key: value for key, value in given.items() if key in FINETUNE}
            | given.get(kind, {})
            | given.get(task, {})
        )
    for key, usual in OPTIONAL["finetune"].items():
        if settings.get(key) == usual or (key == "pooling" and kind == "token"):
            settings.pop(key, None)
    width = next(
        (run.settings["hidden_size"] for run in reversed(model.lineage()) if run.step == "hidden"),
        fact("models", model.teacher).get("configuration", {}).get("hidden_size"),
    )
    if settings["method"] == "adapter" and width and settings["reduction_factor"] > width:
        raise StudyError(
            f"finetune: a reduction_factor of {settings['reduction_factor']} leaves no adapter at a hidden size of {width}; "
            f"take 1 to {width}"
        )
    return replace(
        model,
        step="finetune",
        language=language,
        task=task,
        seed=seed,
        settings=MappingProxyType(settings),
        parent=model,
    )


def measuring(model: Run, language: str, kind: str, overrides: dict | None = None) -> Run:
    """The run that measures the model that `model` makes, on held-out text of `language`: kind `perplexity` or `lens`."""
    plan = study(model.study)
    check_choice(kind, MEASURES, f"study {model.study!r}: measure")
    overrides = _check_overrides(overrides or {}, STEPS, "overrides")
    pair = next(
        each
        for each in plan.pairs
        if each["teacher"] == model.teacher and language in each["languages"]
    )
    settings = plan.measure.get(kind, {}) | pair["set"].get(kind, {}) | overrides.get(kind, {})
    if missing := [key for key in SETTINGS[kind] if key not in settings]:
        raise StudyError(
            f"the study {model.study!r} does not measure {kind} ({', '.join(missing)} not given); add `measure: {{{kind}: "
            f"{{{', '.join(f'{key}: ...' for key in SETTINGS[kind])}}}}}` to its file, or give these as overrides"
        )
    return replace(
        model,
        step=kind,
        language=language,
        task=None,
        settings=MappingProxyType(settings),
        parent=model,
    )


def baseline(
    study_name: str,
    language: str,
    task: str,
    kind: str,
    teacher: str = "",
    overrides: dict | None = None,
) -> Baseline:
    """The run that answers `task` in `language` without an encoder, from as many examples as the study's models get.

    `kind` is majority or ngrams. Of the overrides only `{"finetune": {"train_limit": ...}}` changes it; `teacher` says whose pair of
    the study is meant where a language has several, should they differ in this.
    """
    plan = study(study_name)
    pair = _pair(plan, language, teacher or plan.teacher_of(language))
    check_choice(task, plan.tasks, f"study {study_name!r}: task")
    check_choice(kind, BASELINES, f"study {study_name!r}: baseline")
    overrides = _check_overrides(overrides or {}, STEPS, "overrides")
    tune = plan.tune | pair["set"].get("finetune", {}) | overrides.get("finetune", {})
    settings = MappingProxyType({"kind": kind, "train_limit": tune["train_limit"]})
    return Baseline(
        "baseline",
        study_name,
        None,
        None,
        settings,
        plan.source,
        MappingProxyType(plan.corpus),
        plan.models_root,
        language,
        task,
    )


def resolve(step: str, cell: dict) -> Run:
    """The run a notebook's parameters cell asks for; give it `globals()`.

    Every plain value among the globals must be declared, with its type, in the cell tagged `parameters`: Papermill itself only
    warns about a misspelt name and then runs the defaults.
    """
    given = _parameters(cell)
    plan = study(given["study"])
    overrides = given.get("overrides", {})
    if step == "pretrain":
        pair = next(
            (
                each
                for each in plan.pairs
                if each["teacher"] == (given["teacher"] or each["teacher"])
            ),
            None,
        )
        if pair is None:
            raise StudyError(
                f"the study {plan.name!r} has no teacher {given['teacher']!r}; it has "
                f"{', '.join(sorted({each['teacher'] for each in plan.pairs}))}: take one of these"
            )
        return chain(plan.name, pair["languages"][0], pair["teacher"], overrides)[0]
    fact("languages", given["language"])
    if step == "baseline":
        return baseline(plan.name, given["language"], given["task"], given["kind"], "", overrides)
    order = tuple(given.get("order") or plan.order)
    runs = chain(
        plan.name,
        given["language"],
        given["teacher"],
        overrides,
        None if step not in STEPS else given["seed"],
        order,
    )
    wanted = (given["model_step"] or order[-1]) if step not in STEPS else step
    check_choice(wanted, order, f"study {plan.name!r}: step")
    model = runs[order.index(wanted)]
    if step == "finetune":
        return scoring(model, given["language"], given["task"], given["seed"], overrides)
    return measuring(model, given["language"], step, overrides) if step in MEASURES else model


def _parameters(cell: dict) -> dict:
    """Name -> value of the declared parameters, each of its declared type; anything undeclared is an error."""
    declared = cell.get("__annotations__", {})
    if not declared:
        raise StudyError(
            'no parameters are declared; the cell tagged `parameters` must hold lines such as `language: str = "mlt"`'
        )
    plain = {
        name
        for name, value in cell.items()
        if not name.startswith("_")
        and isinstance(value, str | int | float | list | dict | tuple | type(None))
        and name not in ("In", "Out")
    }
    for name in sorted(plain - set(declared)):
        raise StudyError(f"unknown parameter {name!r}; this notebook takes {', '.join(declared)}")
    for name, kind in declared.items():
        check_value(cell[name], kind, f"parameter {name}")
        if name == "seed":
            check_seed(cell[name], "parameter seed")
    return {name: cell[name] for name in declared}


def _pair(plan: Study, language: str, teacher: str) -> dict:
    pair = next(
        (
            each
            for each in plan.pairs
            if each["teacher"] == teacher and language in each["languages"]
        ),
        None,
    )
    if pair is None:
        raise StudyError(
            f"the study {plan.name!r} does not pair the teacher {teacher!r} with {language!r} (it has "
            f"{plan.teacher_of(language)!r}); add the pair to params/studies/{plan.name}.yaml"
        )
    return pair


def _check(step: str, given: dict, say: str, complete: bool) -> dict:
    schema = SETTINGS[step]
    check_keys(given, set(schema), set(OPTIONAL.get(step, ())) if complete else set(schema), say)
    return {key: _checked(schema, key, value, say) for key, value in given.items()}


def _check_tune(given: dict, say: str, complete: bool) -> dict:
    known = {*FINETUNE, "sequence", "token", *TASKS}
    check_keys(given, known, {*OPTIONAL["finetune"], *TASKS} if complete else known, say)
    result = {
        key: _checked(FINETUNE, key, value, say) for key, value in given.items() if key in FINETUNE
    }
    for kind in given.keys() - FINETUNE.keys():
        check_keys(
            given[kind],
            set(_TUNE),
            set() if complete and kind not in TASKS else set(_TUNE),
            f"{say}: {kind}",
        )
        result[kind] = {
            key: _checked(_TUNE, key, value, f"{say}: {kind}") for key, value in given[kind].items()
        }
    return result


def _checked(schema: dict, key: str, value, say: str):
    """The value, as a float where the schema has one, so that 1 and 1.0 are one setting; StudyError if it cannot be taken."""
    check_value(value, schema[key], f"{say}: {key}", zero=key not in _ABOVE_ZERO)
    if key in _SHARES and value > 1:
        raise StudyError(f"{say}: {key}: {value!r} is out of range; it is a share, 0 to 1")
    if key == "max_length" and value < 3:
        raise StudyError(
            f"{say}: {key}: {value} is out of range; a text has a first and a last special token, so give 3 or more"
        )
    return float(value) if schema[key] is float else value


def _check_list(given, choices, say: str) -> None:
    """StudyError unless `given` is a list of the choices; None for seeds."""
    check_value(given, list, say)
    for each in given:
        check_seed(each, say) if choices is None else check_choice(each, choices, say)


def _check_order(given, steps: tuple, say: str) -> tuple:
    for step in given:
        check_choice(step, steps, say)
    if not given or given[0] != "pretrain" or len(set(given)) != len(given):
        raise StudyError(
            f"{say}: starts with pretrain and names each step once, got {', '.join(given) or 'nothing'}"
        )
    return tuple(given)


def _check_overrides(given: dict, steps: tuple, say: str) -> dict:
    known = {*steps, "finetune", *MEASURES}
    check_keys(given, known, known, say)
    return {
        step: _check_tune(value, f"{say}: finetune", complete=False)
        if step == "finetune"
        else _check(step, value, f"{say}: {step}", complete=False)
        for step, value in given.items()
    }


def check_hidden_size(heads: int, largest: int, wanted: int) -> None:
    """StudyError unless the heads divide the hidden size and it is no larger than the teacher's; names the nearest that work."""
    if wanted % heads or not heads <= wanted <= largest:
        below = max(heads, min(wanted, largest) // heads * heads)
        works = sorted({below, min(below + heads, largest)})
        raise StudyError(
            f"a hidden size of {wanted} was asked for; {heads} heads stay, so it must be a multiple of {heads} up to "
            f"{largest}: the nearest that work are {' and '.join(map(str, works))}"
        )


def _check_sizes(facts_of_teacher: dict, settings: dict) -> None:
    """Refuse a cut that leaves more than there is, where the teacher's configuration is known before it is made."""
    of = facts_of_teacher.get("configuration")
    if of is None:
        return
    for step, name, limit in (
        ("layers", "num_hidden_layers", "num_hidden_layers"),
        ("ffn", "intermediate_size", "intermediate_size"),
        ("vocabulary", "kept_tokens", "vocab_size"),
    ):
        if step in settings and settings[step][name] > of.get(limit, settings[step][name]):
            raise StudyError(
                f"{step}: {name} {settings[step][name]} was asked for; the teacher has {of[limit]}: ask for no more"
            )
    longest = of.get("max_position_embeddings", 512)
    for step, given in settings.items():
        if given.get("max_length", 3) > longest:
            raise StudyError(
                f"{step}: a max_length of {given['max_length']} tokens was asked for; the teacher takes {longest}: ask for no "
                "more"
            )
    if "hidden" in settings and {"num_attention_heads", "hidden_size"} <= set(of):
        check_hidden_size(
            of["num_attention_heads"], of["hidden_size"], settings["hidden"]["hidden_size"]
        )


def _digest(value) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _label(run: Run) -> str:
    of = run.settings
    if run.step in MEASURES:
        return f"{run.step}.{run.parent.step}"
    return {
        "pretrain": lambda: "pretrained",
        "adapt": lambda: "adapted",
        "layers": lambda: f"L{of['num_hidden_layers']}",
        "ffn": lambda: f"F{of['intermediate_size']}",
        "hidden": lambda: f"H{of['hidden_size']}",
        "vocabulary": lambda: f"V{of['kept_tokens']}",
        "finetune": lambda: f"{run.task}.{run.parent.step}.seed{run.seed}",
    }[run.step]()
