"""The one way from records to a data frame, and statistics over the seeds of its scores."""

from itertools import product

import pandas

from lib import files
from lib.study import publish, steps, studies
from lib.study import records as record_files

STATISTICS = ("mean", "deviation", "runs", "difference", "difference_deviation", "pairs")
TEACHER, FINISHED = "teacher", "finished"  # roles of models
SIZE_OF = {  # a setting and the size of a model that it sets
    "hidden.hidden_size": "hidden_size",
    "vocabulary.kept_tokens": "vocab_size",
}


def records(study: str, file: str = "") -> list[dict]:
    """The records of `file`, a path below the project's folder; without one, those published."""
    place = files.ROOT / file if file else files.RESULTS / f"{study}.jsonl"
    return record_files.read_lines(place)


def frame(records: list[dict]) -> pandas.DataFrame:
    """One row a score, as `publish.scores` describes it, with five more columns.

    `default`: whether its run changed no setting of the study. `chain`: the steps that made the
    model, in their order. `order`: the cuts among them. `adapted`: whether its teacher was adapted.
    `role`: TEACHER for the model that students are compared with, FINISHED for models after the
    study's last step, else empty.
    """
    step_of = {record["id"]: record["step"] for record in records}
    teacher, finished = _ends(records, step_of)
    result = pandas.DataFrame(publish.scores(records), columns=[*publish.COLUMNS, "record"])
    result = result.astype(dict.fromkeys(["score", "low", "high"], float))
    chains = [_chain(record, step_of) for record in result["record"]]
    cuts = steps.names("cut")
    return result.assign(
        default=result["changed"].map(len).eq(0),
        chain=chains,
        order=[" > ".join(step for step in way if step in cuts) for way in chains],
        adapted=["adapt" in way for way in chains],
        role=result["step"].map({finished: FINISHED, teacher: TEACHER}).fillna(""),
    )


def load(study: str, file: str = "") -> pandas.DataFrame:
    """The `frame` of the `records` of a study."""
    return frame(records(study, file))


def _chain(record: dict, step_of: dict) -> list[str]:
    """The steps that made the model of a record, in their order.

    Its settings name them where a record of the chain is not there. Otherwise they do not count:
    published records of equal settings share them, whatever the order.
    """
    found = [step_of.get(name) for name in record["chain"]]
    return found if all(found) else [*record["settings"]][: len(found)]


def _ends(records: list[dict], step_of: dict) -> tuple[str | None, str | None]:
    """The steps of the TEACHER and of the FINISHED model, of the longest chain in the study's own
    order.
    """
    own = [record for record in records if not {"order", "teacher"} & record["changed"].keys()]
    longest = max((_chain(record, step_of) for record in own or records), key=len, default=[])
    return studies.reference(longest), (longest or [None])[-1]


def setting(row: dict, name: str):
    """The value of a setting such as layers.layer_choice behind a row of `frame`; None if none.

    `teacher` (plain or adapted) and `order` (of the cuts) are settings too. Of a name without a
    step, the last step of the model's chain that has such a setting says the value.
    """
    step, dot, key = name.partition(".")
    if name == "order":
        return row["order"]
    if name == "teacher":
        return "adapted" if row["adapted"] else "plain"
    found = [step] if dot else reversed(row["chain"])
    settings = row["record"]["settings"]
    of_steps = ({**steps.LATER.get(one, {}), **settings[one]} for one in found if one in settings)
    return next((of_step[key or step] for of_step in of_steps if (key or step) in of_step), None)


def statistics(
    scores: pandas.DataFrame, keys: list[str], reference: pandas.DataFrame, match: list[str]
) -> pandas.DataFrame:
    """One row a group of `keys`, in the order of the scores: the STATISTICS over its seeds.

    `mean` and `deviation` are those of the `runs` seeds. `difference` is to the scores of
    `reference` that are equal in the columns `match`: the mean over the `pairs` of seeds that both
    have. Without such a seed it is the difference of the means, and `pairs` is 0. What cannot be
    computed is nan.
    """
    own = scores.groupby([*keys, "seed"], sort=False)["score"].mean().dropna().reset_index()
    other = reference.groupby([*match, "seed"])["score"].mean().rename("other").reset_index()
    pairs = own.merge(other, how="left", on=[*match, "seed"])
    pairs["gap"] = pairs["score"] - pairs["other"]
    columns = zip(STATISTICS, product(("score", "gap"), ("mean", "std", "count")), strict=True)
    result = pairs.groupby(keys, sort=False).agg(**dict(columns)).reset_index()
    means = other.groupby(match)["other"].mean().reset_index()
    unpaired = result["mean"] - result[match].merge(means, how="left", on=match)["other"]
    return result.assign(difference=result["difference"].fillna(unpaired))
