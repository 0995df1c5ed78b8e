"""Model cards hold what they claim: sizes, settings, data, scores, and a header the hub reads."""

import re

import pytest
import yaml
from page_tables import rows_of

from lib.export import card

STEPS = [
    {"label": "teacher", "id": "T.1", "settings": {"steps": 900}},
    {"label": "narrower FFN", "id": "T.F64.2", "settings": {"part": "train", "sentences": 20}},
]
RECORD = {
    "id": "T.F64.2",
    "language": "mlt",
    "model": {"parameters": 19704, "teacher_parameters": 40000, "compression_rate": 0.5074},
    "data": {"kind": "sample", "licence": "free"},
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
        ["narrower FFN", "`T.F64.2`", "part train, sentences 20"],
    ]
    for line in ("kind: sample", "licence: free", "mlm_loss: 1.235", "positions: 77"):
        assert f"\n- {line}\n" in text
    assert "| task |" not in text and text.endswith("teacher.\n")


def test_an_encoder_without_a_head_is_loaded_as_one():
    text = card.text(RECORD | {"model": RECORD["model"] | {"mlm_head": False}}, STEPS)
    assert header(text)["pipeline_tag"] == "feature-extraction"
    assert "Load it with `AutoModel` and" in text and "MaskedLM" not in text


def test_scores_of_tasks_are_a_table_in_order():
    records = [scored("tc", 2, 0.5), scored("pos", 1, 0.25), scored("tc", 10, 1.0, "full")]
    assert rows_of(card.text(RECORD, STEPS, records), "task") == [
        ["pos", "mlt", "1", "adapter, factor 4", "macro_f1 0.2500"],
        ["tc", "mlt", "2", "adapter, factor 4", "macro_f1 0.5000"],
        ["tc", "mlt", "10", "all weights", "macro_f1 1.0000"],
    ]
