"""Students of several languages: their runs, ids, parameters, records and scores."""

import pytest
import toy_study

from lib.errors import StudyError
from lib.study import plan, publish, studies
from lib.study.plan import chain, resolve, scoring

pytestmark = pytest.mark.usefixtures("toy")
STUDY = toy_study.STUDY | {
    "pairs": [{"teacher": "toy-bert", "languages": [["swh", "slk"], "mlt", "slk"]}],
    "score": ["pretrain", "vocabulary"],
    "tasks": ["tc"],
    "seeds": {"chain": 1, "tasks": [1]},
    "measure": {"perplexity": {"sentences": 4, "max_length": 16}},
    "baselines": ["ngrams", "static"],
    "variants": [{"set": {"ffn": {"intermediate_size": 32}}, "languages": ["slk+swh"]}],
}


def runs(study: dict = STUDY) -> list:
    toy_study.write_study(study)
    return plan.runs("toy")


def test_a_group_is_one_chain_with_the_text_of_all_and_labels_of_each():
    of_group = [run for run in runs() if run.language == "slk+swh" and not run.task]
    made = [run for run in of_group if not run.changed and run.step != "perplexity"]
    assert [run.step for run in made] == ["adapt", "layers", "ffn", "hidden", "vocabulary"]
    assert all(run.languages == ["slk", "swh"] for run in of_group)
    scored = [run for run in runs() if run.parent == made[-1] and run.task]
    assert [(run.language, run.group, run.languages) for run in scored] == [
        ("slk", "slk+swh", []),
        ("swh", "slk+swh", []),
    ]
    assert scored[0].id.startswith("slk.toy-bert.slk+swh.tc.vocabulary.seed1.")
    assert made[-1].id.startswith("slk+swh.toy-bert.V500.")


def test_runs_of_one_language_are_those_of_a_study_without_groups():
    every = {run.id for run in runs()}
    alone = STUDY | {"pairs": [{"teacher": "toy-bert", "languages": ["mlt", "slk"]}]}
    ids = {run.id for run in runs(alone | {"variants": []})}
    assert ids < every
    assert all("+" in name or name.startswith("swh.") for name in every - ids)


def test_the_parameters_of_each_run_lead_back_to_it():
    for pairs in (STUDY["pairs"], [{"teacher": "toy-bert", "languages": [["slk", "swh"]]}]):
        for run in runs(STUDY | {"pairs": pairs}):
            assert resolve(run.step, run.parameters).id == run.id
            assert run.parameters.get("group") == (run.group or None)


def test_labels_of_a_language_are_scored_on_its_own_model_or_else_on_its_group():
    runs()
    asked = {"study": "toy", "language": "slk", "task": "tc"}
    assert resolve("finetune", asked).parent.language == "slk"
    assert resolve("finetune", asked | {"group": "slk+swh"}).parent.language == "slk+swh"
    assert resolve("finetune", asked | {"language": "swh"}).parent.language == "slk+swh"
    with pytest.raises(
        StudyError, match=r"language of a model of slk.swh: 'mlt' is none of slk, s"
    ):
        resolve("finetune", asked | {"language": "mlt", "group": "slk+swh"})
    with pytest.raises(StudyError, match=r"no language called 'mlt.swh'; .* has slk.swh, mlt, slk"):
        resolve("finetune", asked | {"group": "mlt+swh"})


@pytest.mark.parametrize(
    ("languages", "said"),
    [
        ([["slk"]], r"\['slk'\] is no group; name two languages, or one without brackets"),
        ([["slk", "slk"]], "'slk' stands twice; keep one"),
        ([["slk", "swh"], ["swh", "slk"]], r"\['slk', 'swh'\] stands twice; keep one"),
        ([["slk", ["swh", "mlt"]]], r"\['swh', 'mlt'\] is not text"),
        (["slk", 7], "7 is not text; put it in quotes"),
        ([["slk", 7]], "7 is not text; put it in quotes"),
        ([["slk", "xxx"]], "no language called 'xxx'; params/languages.yaml has mlt"),
        (["slk+swh"], "no language called 'slk.swh'; params/languages.yaml has mlt"),
    ],
)
def test_what_is_no_group_is_refused(languages, said):
    toy_study.write_study(toy_study.changed(STUDY, "pairs.0.languages", languages))
    place = "" if said.startswith("no language") else "params/studies/toy.yaml: pairs: languages: "
    with pytest.raises(StudyError, match=f"^{place}{said}"):
        studies.load("toy")


def test_a_group_has_no_published_adaptation():
    from lib.study import check

    found = runs(toy_study.changed(STUDY, "steps.adapt.published", True))
    wrong = [row.wrong for row in check.table([run for run in found if run.step == "adapt"])]
    assert any("no published adaptation called 'slk+swh'" in said for said in wrong)


def test_records_and_rows_keep_the_student_of_a_group_apart():
    runs()
    study, records = studies.load("toy"), []
    for name in ("slk+swh", "slk"):
        model = chain(study, name)[-1]
        both = {"mlm_loss (slk)": 1.0, "mlm_loss (swh)": 3.0} if name == "slk+swh" else {}
        for run in model.lineage()[:-1]:
            toy_study.finish(run)
        records.append(toy_study.finish(model, scores={"mlm_loss": 2.0} | both))
        scores = {"macro_f1": 0.5, "accuracy": 0.5}
        records.append(toy_study.finish(scoring(model, "slk", "tc", 1), scores=scores))
    assert [record.get("languages") for record in records] == [["slk", "swh"]] * 2 + [None] * 2
    assert not any(record["changed"] for record in records)
    rows = [(row["language"], row["what"], row["score"]) for row in publish.scores(records)]
    assert rows == [
        ("slk (slk+swh)", "mlm_loss", 1.0),
        ("swh (slk+swh)", "mlm_loss", 3.0),
        ("slk (slk+swh)", "tc", 50.0),
        ("slk", "mlm_loss", 2.0),
        ("slk", "tc", 50.0),
    ]
