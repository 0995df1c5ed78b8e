"""Records become tables: every cut of the paper's steps 1 to 4, scored on the tasks of step 5, beside what is published.

`cells` does the arithmetic, one row a model and task; `main_table` puts it in words; `to_markdown` puts it on a page.
Scores are percentages, differences percentage points. What was not run, and what the paper does not give, is said so.

The settings of a study's main chain are the usual ones; where the study's file no longer says what its records were made with, those
met most often are. A model made or scored with other settings has its own row, and the row's name ends with what is different.
"""

import math

import pandas

from lib import facts, files
from lib.errors import StudyError
from lib.measure.metrics import mean_and_deviation
from lib.study import studies

NOT_RUN = "not run"
NOT_AVAILABLE = "not available"
NOT_MEASURED = "not measured"
WORSE = "worse than unigram"  # the mark of a model that guesses worse than token frequencies do: its scores are no result
REFERENCE = "reference"
SIZES = ["num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size"]
_COUNTS = [
    "parameters",
    "compression_rate",
    "published_parameters",
    "published_compression_rate",
    "mlm_loss",
]
_ROW = ["language", "teacher", "step", "hidden_size", "vocab_size", "variant", "setup"]
_MODEL = ["language", "teacher", "model", "step", *SIZES, "variant", "setup", *_COUNTS]
_NUMBERS = {
    "mean": math.nan,
    "deviation": math.nan,
    "runs": 0,
    "difference": math.nan,
    "difference_deviation": math.nan,
    "pairs": 0,
}
_LABELS = {
    "pretrain": "teacher",
    "adapt": "adapted teacher",
    "layers": "layers {num_hidden_layers:.0f}",
    "ffn": "ffn {intermediate_size:,.0f}",
    "hidden": "hidden {hidden_size:.0f}",
    "vocabulary": "vocabulary {vocab_size:,.0f}, hidden {hidden_size:.0f}",
}
_KNOWN = (*studies.STEPS, "finetune", *studies.MEASURES)
_IN_LABEL = ["settings.hidden.hidden_size", "settings.vocabulary.kept_tokens"]


def published(name: str) -> pandas.DataFrame:
    """The published numbers of data/paper/<name>.csv as a data frame; its column `source` says where each is from."""
    known = sorted(file.stem for file in files.PAPER.glob("*.csv"))
    if name not in known:
        raise StudyError(
            f"no published numbers called {name!r}; data/paper has {', '.join(known)}: take one of these"
        )
    return pandas.read_csv(files.PAPER / f"{name}.csv")


def cells(runs: pandas.DataFrame, metrics: dict[str, str] | None = None) -> pandas.DataFrame:
    """Mean, deviation (both in percent), number of runs and difference to the adapted teacher, one row a model and task.

    `runs` is what `records.load` returns, complete or not; `metrics` maps each task to the score it is judged by
    (params/tasks.yaml when not given). Every step of the paper has its rows for each language and teacher in `runs`: where
    nothing was run, the column `runs` is 0 and the numbers are nan.
    `difference` is the mean over the `pairs` seeds that both models have; without such seeds it is the difference of the
    means, and `pairs` is 0. The adapted teacher must have been trained on the task with the same settings.
    Records of other steps than the paper's, such as baselines, are passed over.
    Raises StudyError when a finished task run lacks the score it is judged by.
    """
    metrics = metrics or {task: entry["metric"] for task, entry in facts.facts("tasks").items()}
    runs = runs[runs["step"].isin(_KNOWN)] if len(runs) else runs
    if runs.empty:
        return pandas.DataFrame(columns=[*_MODEL, "task", "metric", *_NUMBERS])
    runs = _tidy(runs, metrics)
    scores = {
        _key(key): part.groupby("seed")["score"].mean()
        for key, part in runs.dropna(subset="score").groupby([*_ROW, "task"], dropna=False)
    }
    adapted = {
        (*key[:2], *key[6:]): by_seed
        for key, by_seed in scores.items()
        if key[2] == "adapt" and not key[5]
    }
    rows = []
    for model in _models(runs):
        for task, metric in metrics.items():
            own = scores.get(_key([*(model[name] for name in _ROW), task]))
            base = adapted.get((model["language"], model["teacher"], model["setup"], task))
            rows.append(model | {"task": task, "metric": metric} | _statistics(own, base))
    return pandas.DataFrame(rows)


def baselines(runs: pandas.DataFrame) -> pandas.DataFrame:
    """What answers the tasks without an encoder, as text, one row a language and kind, ready for `to_markdown`; no rows without records.

    Those that learned from another number of examples than most have rows of their own, which say so.
    """
    found: dict[tuple, dict] = {}
    for record, more in zip(*usual_baselines(runs), strict=True):
        metric = facts.fact("tasks", record["task"])["metric"]
        row = found.setdefault(
            (record["language"], str(record.get("settings.baseline.kind", "baseline")) + more), {}
        )
        row[record["task"]] = f"{100 * record[f'scores.{metric}']:.1f}"
    tasks = [task for task in facts.facts("tasks") if any(task in row for row in found.values())]
    return pandas.DataFrame(
        [
            {"language": language, "baseline": kind}
            | {task: row.get(task, NOT_RUN) for task in tasks}
            for (language, kind), row in sorted(found.items())
        ]
    )


def usual_baselines(runs: pandas.DataFrame) -> tuple[list[dict], list[str]]:
    """(the baseline records, for each "" or how it learned from another number of examples than most: "; train_limit 0")."""
    own = runs[runs["step"] == "baseline"] if len(runs) else runs
    if own.empty:
        return [], []
    limits = (
        own.get("settings.baseline.train_limit", pandas.Series(0, own.index)).fillna(0).astype(int)
    )
    usual = limits.mode()[0]
    return own.to_dict("records"), [
        "" if limit == usual else f"; train_limit {limit}" for limit in limits
    ]


def main_table(cells: pandas.DataFrame) -> pandas.DataFrame:
    """The main result as text, one row a model, ready for `to_markdown`; `cells` is what the function `cells` returns.

    Parameters are in millions. A score reads `mean ± deviation (runs)`, a difference likewise with the number of seed pairs;
    an average needs every task. The MLM loss is that on held-out text of the language, in nats a masked token; a teacher before its
    adaptation has been measured on all its languages together only.
    """
    rows = []
    for _, part in cells.groupby(_ROW, dropna=False, sort=False):
        model, tasks = part.iloc[0], part.to_dict("records")
        row = {
            "language": model["language"],
            "teacher": model["teacher"],
            "model": model["model"],
            "parameters (M)": _number(model["parameters"] / 1e6, 2, NOT_RUN),
            "published (M)": _number(model["published_parameters"] / 1e6, 2, NOT_AVAILABLE),
            "compression (%)": _number(100 * model["compression_rate"], 1, NOT_RUN),
            "published (%)": _number(100 * model["published_compression_rate"], 1, NOT_AVAILABLE),
            "MLM loss": _number(
                model["mlm_loss"],
                2,
                NOT_MEASURED if model["step"] == "pretrain" or model["setup"] else NOT_RUN,
            ),
        }
        row |= {cell["task"]: _score(cell) for cell in tasks}
        row |= {"average": _number(part["mean"].mean(skipna=False), 1, NOT_RUN)}
        gaps = {f"Δ {cell['task']}": _difference(cell) for cell in tasks}
        same = set(gaps.values()) == {REFERENCE}
        if WORSE in model["variant"]:
            row, gaps = (
                {key: WORSE if value == NOT_RUN else value for key, value in each.items()}
                for each in (row, gaps)
            )
        row |= gaps | {
            "Δ average": REFERENCE if same else _signed(part["difference"].mean(skipna=False))
        }
        rows.append(row)
    return pandas.DataFrame(rows)


def to_markdown(frame: pandas.DataFrame, left: int = 1) -> str:
    """`frame` as a Markdown table without its index, ending in a newline; the first `left` columns are set flush left."""
    lines = [list(frame.columns), *frame.itertuples(index=False, name=None)]
    lines = [[" ".join(str(value).replace("|", "\\|").split()) for value in line] for line in lines]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(
        1,
        [
            "-" * width if place < left else "-" * (width - 1) + ":"
            for place, width in enumerate(widths)
        ],
    )
    padded = (
        [f"{text:{'<' if place < left else '>'}{widths[place]}}" for place, text in enumerate(line)]
        for line in lines
    )
    return "".join(f"| {' | '.join(line)} |\n" for line in padded)


def _tidy(runs: pandas.DataFrame, metrics: dict) -> pandas.DataFrame:
    """`runs` with short column names, the score in percent, and what is unusual in how model and score were made."""
    short = {
        "model.step": "step",
        "model.parameters": "parameters",
        "model.teacher_parameters": "whole",
        "model.compression_rate": "compression_rate",
        "scores.mlm_loss": "mlm_loss",
    } | {f"model.config.{size}": size for size in SIZES}
    short |= {name: name for name in ("language", "teacher", "task", "seed")}
    tidy = runs.reindex(columns=list(short)).rename(columns=short)
    tidy["score"] = math.nan
    for task, metric in metrics.items():
        mask = (runs["step"] == "finetune") & (tidy["task"] == task)
        values = runs.reindex(columns=[f"scores.{metric}"])[mask].iloc[:, 0]
        for place in values.index[values.isna()]:
            raise StudyError(
                f"the record {runs.get('id', runs.index)[place]} has no {metric}, by which {task} is judged: run it again"
            )
        tidy.loc[mask, "score"] = 100 * values.astype(float)
    settings = runs.filter(regex=r"^settings\.|^source$").drop(columns=_IN_LABEL, errors="ignore")
    settings = _with_optional(settings.map(_word).astype(object))
    tuning = settings.filter(regex=r"^settings\.finetune\.")
    main = [
        _main(*row)
        for row in runs.reindex(columns=["study", "language", "teacher", "task"]).itertuples(
            index=False, name=None
        )
    ]
    tidy["variant"] = _unusual(
        settings.drop(columns=tuning.columns), tidy[["language", "teacher"]], _orders(runs), main
    )
    worse = runs.get("model.worse_than_unigram", pandas.Series(False, runs.index)).eq(True)
    tidy.loc[worse, "score"] = math.nan
    tidy.loc[worse, "variant"] = [
        f"{word}; {WORSE}".removeprefix("; ") for word in tidy.loc[worse, "variant"]
    ]
    tidy["setup"] = _unusual(tuning, tidy[["language", "teacher", "task"]], [""] * len(runs), main)
    return tidy[tidy["language"].notna()]


def _word(value) -> str | float:
    """A setting as text, 16 and 16.0 alike (a column with gaps holds floats); nan where there is none."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return math.nan if math.isnan(value) else f"{value:.10g}"
    return math.nan if value is None else str(value)


def _with_optional(settings: pandas.DataFrame) -> pandas.DataFrame:
    """`settings` with the optional ones that were left out as what that is the same as, wherever their step was run."""
    for name, value in _left_out().items():
        if name in settings:
            run = (
                settings.loc[:, settings.columns.str.startswith(name.rpartition(".")[0] + ".")]
                .notna()
                .any(axis=1)
            )
            settings[name] = settings[name].mask(settings[name].isna() & run, value)
    return settings


def _left_out() -> dict[str, str]:
    """Each optional setting with what leaving it out is the same as."""
    return {
        f"settings.{step}.{name}": _word(value)
        for step, names in studies.OPTIONAL.items()
        for name, value in names.items()
    }


def _main(study, language, teacher, task) -> dict[str, str]:
    """The settings of the study's main chain for a language and teacher, and of its scoring of the task; none where it has no such."""
    if not all(isinstance(each, str) for each in (study, language, teacher)):
        return {}
    try:
        steps = studies.chain(study, language, teacher)
        steps += [studies.scoring(steps[-1], language, task, 1)] if isinstance(task, str) else []
    except StudyError:
        return {}
    return _left_out() | {
        f"settings.{run.step}.{name}": _word(value)
        for run in steps
        for name, value in run.settings.items()
    }


def _unusual(
    settings: pandas.DataFrame, group: pandas.DataFrame, words: list[str], main: list[dict]
) -> list[str]:
    """`words` of each run, followed by those of its settings that are not usual in its group.

    Usual is what `main` names, if any run of the group has it, else the most frequent.
    """
    usual = pandas.DataFrame(index=settings.index, columns=settings.columns, dtype=object)
    for part in settings.groupby([group[name].fillna("") for name in group]).groups.values():
        named = {
            name: value
            for place in settings.index.get_indexer(part)
            for name, value in main[place].items()
        }
        for name, values in settings.loc[part].items():
            usual.loc[part, name] = (
                named[name] if values.eq(named.get(name)).any() else next(iter(values.mode()), None)
            )
    odd = settings.notna() & settings.ne(usual)
    found = [
        [
            f"{name.removeprefix('settings.')} {settings.at[place, name]}"
            for name in settings
            if odd.at[place, name]
        ]
        for place in settings.index
    ]
    return ["; ".join(filter(None, [word, *each])) for word, each in zip(words, found, strict=True)]


def _orders(runs: pandas.DataFrame) -> list[str]:
    """The steps behind each run whose order is not the usual one, that is the most frequent of the longest; else ""."""
    if "chain" not in runs:
        return [""] * len(runs)
    step_of = dict(zip(runs["id"], runs["step"], strict=True))
    orders = [" > ".join(step_of.get(each, "?") for each in chain) for chain in runs["chain"]]
    usual = pandas.Series(
        [order for order in orders if order.count(">") == max(each.count(">") for each in orders)]
    ).mode()[0]
    return ["" if usual.startswith(order) or "?" in order else f"order {order}" for order in orders]


def _models(runs: pandas.DataFrame) -> list[dict]:
    """The models of the table in its order: those in `runs`, and for steps or published sizes not run, rows without numbers."""
    paper, rows = published("parameters"), []
    for (language, teacher), part in runs.groupby(["language", "teacher"]):
        theirs = paper[paper["teacher"] == teacher].to_dict("records")
        ours = part.groupby(_ROW, dropna=False).first().reset_index().to_dict("records")
        blank = dict.fromkeys(_MODEL, math.nan) | {
            "language": language,
            "teacher": teacher,
            "variant": "",
            "setup": "",
        }
        run = {(row["step"], row["hidden_size"]) for row in ours}
        ours += [
            blank | {name: row[name] for name in ("step", *SIZES)}
            for row in theirs
            if (row["step"], row["hidden_size"]) not in run
        ]
        ours += [
            blank | {"step": step}
            for step in studies.STEPS
            if step not in {row["step"] for row in ours}
        ]
        for row in ours:
            if row["step"] in ("pretrain", "adapt"):
                row |= {"parameters": part["whole"].max(), "compression_rate": 0.0}
            row |= _published_size(row, theirs) | {"model": _label(row)}
            rows.append({name: row[name] for name in _MODEL})
    return sorted(
        rows,
        key=lambda row: [
            *_key([row["language"], row["teacher"]]),
            studies.STEPS.index(row["step"]),
            -row["hidden_size"] if row["hidden_size"] > 0 else 0,
            -row["vocab_size"] if row["vocab_size"] > 0 else 0,
            row["variant"],
            row["setup"],
        ],
    )


def _published_size(row: dict, theirs: list[dict]) -> dict:
    """Published parameters and compression rate of a model of the same step and sizes; nan where the paper has none."""
    whole = next((each["parameters"] for each in theirs if each["step"] == "pretrain"), math.nan)
    count = next(
        (
            each["parameters"]
            for each in theirs
            if each["step"] == row["step"] and all(each[size] == row[size] for size in SIZES)
        ),
        whole if row["step"] in ("pretrain", "adapt") else math.nan,
    )
    return {"published_parameters": count, "published_compression_rate": 1 - count / whole}


def _label(row: dict) -> str:
    known = row["step"] in ("pretrain", "adapt") or all(pandas.notna(row[size]) for size in SIZES)
    name = _LABELS[row["step"]].format(**row) if known else row["step"]
    return "; ".join(filter(None, [name, row["variant"], row["setup"]]))


def _statistics(own: pandas.Series | None, base: pandas.Series | None) -> dict:
    """The numbers of one cell from the scores by seed of a model and of its adapted teacher."""
    if own is None:
        return dict(_NUMBERS)
    result = _NUMBERS | dict(
        zip(("mean", "deviation", "runs"), mean_and_deviation(own), strict=True)
    )
    if base is None:
        return result
    gaps = (own - base).dropna()
    if gaps.empty:
        return result | {"difference": result["mean"] - base.mean()}
    return result | dict(
        zip(("difference", "difference_deviation", "pairs"), mean_and_deviation(gaps), strict=True)
    )


def _key(values) -> tuple:
    """Group values as a dictionary key in which nan equals nan."""
    return tuple(None if pandas.isna(value) else value for value in values)


def _number(value: float, digits: int, missing: str) -> str:
    return missing if pandas.isna(value) else f"{value:.{digits}f}"


def _signed(value: float) -> str:
    return NOT_RUN if pandas.isna(value) else f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _spread(deviation: float, count: int) -> str:
    return f" ({count})" if pandas.isna(deviation) else f" ± {deviation:.1f} ({count})"


def _score(cell: dict) -> str:
    return (
        f"{cell['mean']:.1f}{_spread(cell['deviation'], cell['runs'])}" if cell["runs"] else NOT_RUN
    )


def _difference(cell: dict) -> str:
    """The difference in words; a score that is there but has no adapted teacher to compare with is told from one not run."""
    if cell["runs"] and cell["step"] == "adapt" and not cell["variant"]:
        return REFERENCE
    if not cell["runs"] or pandas.isna(cell["difference"]):
        return "no adapted teacher" if cell["runs"] else NOT_RUN
    return _signed(cell["difference"]) + (
        _spread(cell["difference_deviation"], cell["pairs"]) if cell["pairs"] else " (unpaired)"
    )
