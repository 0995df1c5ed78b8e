"""Model cards hold what they claim: sizes, settings, data, scores, and a header the hub reads."""

import copy
import re

import pytest
import toy_study
import toys
import transformers
import yaml
from page_tables import rows_of

from lib import facts
from lib.errors import StudyError
from lib.export import card
from lib.model import encoder

STEPS = [
    {"label": "teacher", "id": "T.1", "settings": {"steps": 900}},
    {"label": "narrower FFN", "id": "T.F64.2", "settings": {"part": "train", "max_length": 96}},
]
RECORD = {
    "id": "T.F64.2",
    "language": "mlt",
    "teacher": "toy-bert",
    "settings": {"pretrain": {"steps": 900}},
    "model": {
        "parameters": 19704,
        "teacher_parameters": 40000,
        "compression_rate": 0.5074,
        "config": {
            "model_type": "bert",
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "vocab_size": 160,
        },
    },
    "data": {"kind": "sample", "licence": "free", "reading": {"unknown_tokens": 0.01234567}},
    "scores": {"mlm_loss": 1.23456, "positions": 77},
}


def header(card):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)[1])


def scored(task, seed, score, method="adapter"):
    settings = {"finetune": {"method": method, "reduction_factor": 4}}
    scores = {"macro_f1": score}
    place = {"id": f"{task}{seed}", "task": task, "language": "mlt", "seed": seed}
    return place | {"settings": settings, "scores": scores}


@pytest.mark.parametrize(("language", "name"), [("mlt", "Maltese"), (None, "multilingual")])
def test_a_card_says_what_was_done(language, name):
    text = card.text(RECORD | {"language": language}, STEPS)
    assert header(text)["language"] == (language or "multilingual")
    assert header(text)["pipeline_tag"] == "fill-mask"
    assert "`T.F64.2`: 19,704 parameters, 50.7 % fewer than the teacher's 40,000." in text
    assert f"\n# {name}: narrower FFN\n" in text and text.count("\n# ") == 1
    assert rows_of(text, "step") == [
        ["teacher", "`T.1`", "steps 900"],
        ["narrower FFN", "`T.F64.2`", "part train, max_length 96"],
    ]
    for line in (
        *("kind: sample", "licence: free", "mlm_loss: 1.235", "positions: 77"),
        *("reading: unknown_tokens 0.01235", "hidden_size: 24", "num_hidden_layers: 2"),
        *("tokens of the longest training text: 96", "name: toy-bert"),
        "weights: trained from the beginning in this project",
    ):
        assert f"\n- {line}\n" in text
    assert "| task |" not in text and text.endswith("teacher.\n")


@pytest.mark.parametrize("family", toys.FAMILIES)
@pytest.mark.parametrize("head", [True, False])
def test_its_code_loads_the_model_as_it_was_saved(tmp_path, monkeypatch, family, head):
    """No tensor is missing, and no pooler is drawn at random."""
    model, tokenizer = toys.model(family), copy.deepcopy(toys.tokenizer(family))
    model = model if head else encoder.without_head(model)
    tokenizer.model_max_length = 38  # as `encoder.load` has it; both families have these places
    text = card.text(RECORD | {"model": RECORD["model"] | {"mlm_head": head}}, STEPS)
    assert header(text)["pipeline_tag"] == ("fill-mask" if head else "feature-extraction")
    encoder.save(model, tokenizer, tmp_path / "model", text)
    auto_class = transformers.AutoModelForMaskedLM if head else transformers.AutoModel
    whole, reports = auto_class.from_pretrained, []

    def reported(*given, **options):
        loaded, report = whole(*given, output_loading_info=True, **options)
        reports.append(report)
        return loaded

    monkeypatch.setattr(auto_class, "from_pretrained", reported)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {"folder": tmp_path / "model", "texts": ["il-qattus jorqod", "paka " * 99]}
    exec(code, names)
    assert reports and not reports[0]["missing_keys"] and not reports[0]["unexpected_keys"]
    assert names["logits" if head else "vectors"].shape == (2, 38, len(tokenizer) if head else 24)


def test_a_model_that_has_learnt_nothing_says_so():
    worse = {"model": RECORD["model"] | {"worse_than_unigram": True}}
    assert "**This model has learnt nothing:**" in card.text(RECORD | worse, STEPS)
    for record in (RECORD, RECORD | {"model": RECORD["model"] | {"worse_than_unigram": False}}):
        assert "learnt nothing" not in card.text(record, STEPS)


@pytest.mark.parametrize(
    ("teacher", "published", "said"),
    [
        ("labse", False, ["repository", "revision", "licence"]),
        ("e5-small", False, ["package", "version", "file", "licence"]),
        ("my-encoder", False, ["folder"]),
        ("mbert", True, ["repository", "licence"]),
    ],
)
def test_the_teacher_has_its_revision_and_its_licence(teacher, published, said):
    settings = {"adapt": {"published": published}}
    text = card.text(RECORD | {"teacher": teacher, "settings": settings}, STEPS)
    entry = facts.fact("models", teacher)
    entry = entry["adapted"]["mlt"] if published else entry
    for name in said:
        assert f"\n- {name}: {entry[name]}\n" in text
    assert ("\n- revision: not pinned\n" in text) == published
    assert ("\n- licence: not stated\n" in text) == (teacher in ("my-encoder", "mbert"))


def test_scores_of_tasks_are_a_table_in_order():
    records = [scored("tc", 2, 0.5), scored("pos", 1, 0.25), scored("tc", 10, 1.0, "full")]
    assert rows_of(card.text(RECORD, STEPS, records), "task") == [
        ["pos", "mlt", "1", "adapter, factor 4", "macro_f1 0.2500"],
        ["tc", "mlt", "2", "adapter, factor 4", "macro_f1 0.5000"],
        ["tc", "mlt", "10", "all weights", "macro_f1 1.0000"],
    ]


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        (
            "head",
            "# $title\n",
            r"^params/card\.yaml: head: 'title' is none of name, code, .* these$",
        ),
        (
            "worse",
            "$folder",
            r"^params/card\.yaml: worse: 'folder' is none of name, code, .* these$",
        ),
        ("study", None, r"^no card called 'study'; params/card\.yaml has head, .* add an entry$"),
    ],
)
def test_a_text_with_an_unknown_place_or_without_an_entry_is_one_sentence(
    name, given, said, tmp_path, monkeypatch
):
    folder = toy_study.facts_in(tmp_path, monkeypatch)
    texts = {key: text for key, text in (facts.facts("card") | {name: given}).items() if text}
    toy_study.write_yaml(folder / "card.yaml", texts)
    worse = {"model": RECORD["model"] | {"worse_than_unigram": True}}
    with pytest.raises(StudyError, match=said) as caught:
        card.text(RECORD | worse, STEPS)
    assert "\n" not in str(caught.value)


def test_texts_are_filled_once_and_a_double_sign_is_a_dollar(tmp_path, monkeypatch):
    folder = toy_study.facts_in(tmp_path, monkeypatch)
    texts = facts.facts("card") | {"head": "# $$5 for ${name}s: $label\n"}
    toy_study.write_yaml(folder / "card.yaml", texts)
    steps = [STEPS[0], STEPS[1] | {"label": "$id and {id}"}]
    assert card.text(RECORD, steps).startswith("# $5 for Malteses: $id and {id}\n")
