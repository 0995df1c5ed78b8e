"""The paper notebooks on made-up records of every comparison: their files, numbers and figures."""

import re
from xml.etree import ElementTree

import nbformat
import pytest
from report.made_up import STEPS, baseline, record, scored

from lib.report import gallery
from lib.study.records import write_lines

pytestmark = pytest.mark.slow

BASE = {"tc": 0.80, "sa": 0.75, "ner": 0.70, "pos": 0.90}
FACTOR = {"tc": 1.0, "sa": 1.0, "ner": 1.4, "pos": 0.6}  # how sensitive a task is; the mean is 1
LANGUAGES = {"mlt": 1.0, "slk": 0.5}  # how sensitive a language is
CHAIN = dict(zip(STEPS, (4, 0, 2, 3, 6, 8), strict=True))  # points lost in topics, Maltese
LOSS, REDUCTION = "layers.distillation_loss", "finetune.reduction_factor"
VARIANTS = (  # step, changed settings, points lost, sizes
    ("layers", {"layers.layer_choice": "first_k"}, 5),
    ("layers", {"layers.layer_choice": "random"}, 30),
    ("layers", {LOSS: "kl"}, 4),
    ("layers", {LOSS: "kl", "layers.temperature": 4.0}, 12),
    ("layers", {"layers.mlm_weight": 0.25}, 10),
    ("vocabulary", {f"{at}.distillation_target": "hidden" for at in ("layers", "hidden")}, 5),
    ("hidden", {"hidden.hidden_start": "svd"}, 14),
    ("hidden", {"hidden.hidden_start": "random", "hidden.mlm_weight": 1}, 40),
    ("hidden", {"hidden.hidden_size": 24}, 20, (24, 119547)),
    ("vocabulary", {"hidden.hidden_size": 24}, 22, (24, 40005)),
    ("vocabulary", {"vocabulary.kept_tokens": 5000}, 12, (312, 5005)),
    ("adapt", {REDUCTION: 16}, 1),
    ("vocabulary", {REDUCTION: 16}, 11),
    ("vocabulary", {"teacher": "plain"}, 16),
    ("hidden", {"order": "vocabulary > layers > ffn > hidden"}, 9),
    ("vocabulary", {"layers.sentences": 100, "hidden.sentences": 100}, 18),
)
FILLS = ("ffffff", "0072b2")  # hollow, filled
GAP = "± 0.0 (2)"
CELLS = (  # page, heading begins, cells of the row, column, text: follows from the numbers above
    ("claims", "Verdicts", "a vocabulary below 10k hurts", "measured", "4 % kept: drop 4.5 points"),
    ("claims", "Verdicts", "average drop at maximum compression", "effect", "−3.50 points"),
    ("claims", "Verdicts", "average drop at maximum compression", "verdict", "does not hold"),
    ("main_table", "Maltese", "hidden 312", "Δ average", "−6.0"),
    ("main_table", "Without", "slk | static", "ner", "30.0"),
    ("baselines", "Scores", "slk | student's shape from scratch", "tc", "60.1 ± 0.1 (2)"),
    ("baselines", "Scores", "mlt | finished student", "minutes", "3"),
    ("baselines", "Above", "mlt | finished student", "sa", "+42.0 (+40.0 to +43.0)"),
    ("sizes", "This study's", "mlt | vocabulary", "change (%)", "-87.2"),
    ("text_seen", "Between", "slk | slk: 4,000", "Δ average", "−4.0 (2)"),
    ("text_seen", "Within", "mlt | 100", "Δ average", "−10.0 (2)"),
    ("teacher_adaptation", "The teachers", "mlt | plain", "Δ tc", f"−4.0 {GAP}"),
    ("teacher_adaptation", "Their students", "mlt | plain", "Δ ner", f"−11.2 {GAP}"),
    ("student_start", "After", "mlt | random", "Δ tc", f"−28.0 {GAP}"),
    ("student_start", "After", "slk | search", "Δ tc", "not run"),
    ("distillation_loss", "Logits", "mlt | hidden", "Δ tc", f"+3.0 {GAP}"),
    ("distillation_loss", "Kind", "slk | kl", "Δ pos", f"−0.6 {GAP}"),
    ("distillation_loss", "Share", "mlt | 0.25", "Δ mlm loss", "+0.80 (1)"),
    ("distillation_loss", "Temperature", "mlt | 4", "Δ tc", f"−8.0 {GAP}"),
    ("hidden_start", "After", "slk | svd", "Δ tc", f"−4.0 {GAP}"),
    ("hidden_size", "The cut alone", "mlt | 24", "Δ average", "−17.0 (2)"),
    ("hidden_size", "The whole chain", "mlt | 24", "Δ average", "−22.0 (2)"),
    ("vocabulary_size", "By", "slk | 5,000", "share", "4 %"),
    ("vocabulary_size", "By", "slk | 5,000", "Δ average", "−3.0 (2)"),
    ("vocabulary_size", "By", "slk | 5,000", "Δ published", "−6.8"),
    ("adapter_factor", "By", "mlt | vocabulary | 16", "Δ tc", f"−3.0 {GAP}"),
    ("order_of_cuts", "After", "slk | vocabulary > layers > ffn > hidden", "Δ tc", f"−0.5 {GAP}"),
    ("pseudo_perplexity", "Main", "mlt | vocabulary", "bits per character", "2.80"),
    ("logit_lens", "Main", "slk | vocabulary", "comes first", "21.6 %"),
    ("export", "Main", "Maltese", "ONNX, 8 bits, MB", "2.0"),
    ("export", "Main", "Slovak", "smallest cosine", "0.9800"),
)
DRAWN = {  # figure: texts that stand in it one after the other
    "claims": "Maltese named entities lose most",
    "size_against_score": "H 312, V 5,005|H 312, V 40,005|hidden 312|FFN",
    "baselines": "majority|n-grams|static|scratch|all tokens|student|adapted|plain",
    "sizes": "vocabulary, 312|178.0",
    "text_seen": "mlt: 1,000|slk: 4,000|text seen in pre-training",
    "text_read": "100|all|sentences to distil on",
    "teacher_adaptation": "plain|adapted|teacher",
    "student_start": "last_k|first_k|random|layers kept",
    "distillation_loss": "mse|kl|distillation loss",
    "mlm_weight": "0.25|0.50|share of the MLM loss",
    "temperature": "2|4|temperature",
    "convergence": "60|seconds of training|Slovak|mse|kl",
    "hidden_start": "truncation|svd|start of the hidden size",
    "hidden_size": "24|48|768|hidden size",
    "vocabulary_size": "500|5,000|119,547|kept tokens",
    "adapter_factor": "4|16|reduction factor",
    "order_of_cuts": "hidden,|vocabulary|order of the cuts",
    "pseudo_perplexity": "hidden|vocabulary|model after step",
    "logit_lens": "0|6|13|19|26|32|38|Maltese, toy-bert",
    "lens_curve": "adapt|layers|ffn|hidden|vocabulary",
    "export": "Slovak|Maltese",
}


def made_up():
    """The records of a study of two languages."""
    for language in LANGUAGES:
        for variant in VARIANTS:
            yield from models(language, *variant)
        for step, points in CHAIN.items():
            yield from models(language, step, {}, points)
        for place, kind in enumerate(("majority", "ngrams", "static")):
            own = {"language": language, "teacher": "toy-bert" if kind == "static" else None}
            for task in BASE:
                entry = baseline(kind, 0.1 + place / 10, task)
                yield entry | own | {"id": f"{language}.{entry['id']}"}


def models(language, step, changed, points, sizes=None):
    """The records of a model: itself, its measures, and its task runs in two seeds."""
    more = {"language": language, "changed": changed} | ({"sizes": sizes} if sizes else {})
    loss = points * LANGUAGES[language]
    if REDUCTION not in changed:
        yield from measured(step, loss, changed, more)
    gap = 0.5 - loss / 100
    pair = {"to": "n-grams", "difference": gap, "interval": [gap - 0.02, gap + 0.01]}
    scores = {task: base - loss / 100 * FACTOR[task] for task, base in BASE.items()}
    yield from scored(step, scores, paired={"ngrams": pair}, **more)


def measured(step, loss, changed, more):
    """A model with its training, and its measures if its settings are the study's own.

    So are those of a student of the plain teacher, which the notebooks must leave out.
    """
    history = [{"step": at, "dev_mlm_loss": 4 + loss / at} for at in (4, 8)]
    made = {"seconds": {"history": [30.0, 60.0]}}
    model = record(step, score=3 + loss / 10, history=history, made=made, **more)
    if not changed or "teacher" in changed:
        names = ("bits_per_character", "bits_per_word", "pseudo_perplexity")
        bits = {name: at + loss / 10 for name, at in zip(names, (2, 9, 99), strict=True)}
        bits |= {f"{name}_left_to_right": bits[name] + 1 for name in names}
        bits |= {"pseudo_perplexity_authors": 8.0}
        yield model | {"id": f"{model['id']}.perplexity", "step": "perplexity", "scores": bits}
        depth = model["model"]["config"]["num_hidden_layers"]
        shares = [0.002 * layer * (40 - loss) for layer in range(depth + 1)]
        layers = {"probability": shares, "reciprocal_rank": [share / 4 for share in shares]}
        layers["accuracy"] = [share / 2 for share in shares]
        yield model | {"id": f"{model['id']}.lens", "step": "lens", "scores": {}, "layers": layers}
    if step == "vocabulary" and not changed:
        scores = {"export_cosine": 0.99, "export_smallest_cosine": 0.98}
        scores |= {"export_similarity_int8": 0.97, "export_similarity_float32": 1.0}
        sizes = {"model.safetensors": 8e6, "onnx/model.onnx": 8.1e6}
        sizes["onnx/model_quantized.onnx"] = 2e6
        entry = {"id": f"{model['id']}.export", "step": "export", "scores": scores}
        yield model | entry | {"bytes": sizes}
    yield model | ({"language": None, "scores": {}} if step == "pretrain" else {})


def make(folder, records):
    """Run all notebooks on these records: the text of each file that they leave in `folder`."""
    write_lines(folder / "demo.jsonl", records)
    figures = folder / "figures"
    assert gallery.make("demo", f"{folder}/demo.jsonl", str(figures)) == [*gallery.MAKERS]
    for name in gallery.MAKERS:
        read = nbformat.read(figures / f"{name}.ipynb", 4)
        outputs = [output for cell in read.cells for output in cell.get("outputs", ())]
        kinds = {(output.output_type, output.get("name")) for output in outputs}
        assert ("stream", "stdout") in kinds, f"{name} does not say what it wrote"
        assert not kinds & {("error", None), ("stream", "stderr")}, name
    files = [file for file in figures.iterdir() if file.suffix != ".ipynb"]
    return {file.name.removeprefix("demo_"): file.read_text(encoding="utf-8") for file in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("paper"), [*made_up()])


def cells(text, heading, row, column):
    """The cells of a column, in the rows with these cells, below the heading that begins so."""
    for block in text.partition(f"\n## {heading}")[2].split("\n## ")[0].split("\n\n"):
        lines = [line[2:-2].split(" | ") for line in block.splitlines() if line.startswith("| ")]
        rows = [[cell.strip() for cell in line] for line in lines]
        for found in rows:
            if column in rows[0] and {*row.split(" | ")} <= {*found}:
                yield found[rows[0].index(column)]


def test_every_notebook_leaves_the_files_that_the_gallery_names(made):
    endings = {ending for endings, _ in gallery.MAKERS.values() for ending in endings.split()}
    assert made.keys() == endings


def test_tables_hold_the_numbers_that_follow_from_the_scores(made):
    assert {f"{page}.md" for page, *_ in CELLS} == {name for name in made if name.endswith(".md")}
    found = [(page, *where, *cells(made[f"{page}.md"], *where)) for page, *where, _ in CELLS]
    assert not {*CELLS} ^ {*found}


def test_the_parameters_of_the_papers_models_are_counted_to_the_last(made):
    for teacher in ("mbert", "xlm-r"):
        differences = [*cells(made["sizes.md"], "The paper's", teacher, "difference")]
        assert differences == ["0"] * 9


def test_figures_show_the_values_and_the_languages(made):
    drawn = {}
    for name in (name for name in made if name.endswith(".svg")):
        ElementTree.fromstring(made[name])
        texts = re.findall("<!-- (.+) -->", made[name])  # each stands above its outlines
        drawn[name.removesuffix(".svg")] = f"|{'|'.join(texts)}|"
    assert {name for name in drawn if f"|{DRAWN.get(name)}|" in drawn[name]} == DRAWN.keys()
    of_both = {name for name in drawn if re.search(r"\|Maltese.*\|Slovak", drawn[name])}
    assert drawn.keys() - of_both == {"claims", "sizes", "text_seen", "lens_curve"}


def test_claims_whose_interval_covers_zero_are_hollow(made):
    """Of twelve claims in points with an interval one covers zero; each bar has two ends."""
    counts = [made["claims.svg"].count(f'"fill: #{fill}; stroke: #0072b2') for fill in FILLS]
    assert counts == [1, 11 + 2 * 12]


def test_without_records_only_what_does_not_need_them_is_written(tmp_path, monkeypatch):
    makers = {name: (endings, "") for name, (endings, _) in gallery.MAKERS.items()}
    monkeypatch.setattr(gallery, "MAKERS", makers)  # so that all are run
    left = make(tmp_path, [])
    assert left.keys() == {"main_table.md", "size_against_score.svg", "sizes.md", "sizes.svg"}
    assert left["size_against_score.svg"].count("<!-- not run -->") == len(BASE)
