"""What a study notebook asks of its study: parameters, the run, and a place for the result."""

import json
import queue
import sys
import threading
import types

import pytest
import toy_study
from jupyter_client import KernelManager
from papermill.translators import PythonTranslator

import lib.export
import lib.model
from lib import files
from lib.errors import StudyError
from lib.study import notebook, records, state, studies
from lib.study.plan import baseline, chain, measuring, resolve, scoring

pytestmark = pytest.mark.slow

CELL = """study: str = "toy"  # a file of params/studies
language: str = "mlt"
seed: int = 1
share: float = 0.5
published: bool = False
order: list = []  # of steps
overrides: dict = {"ffn": {"sentences": 3}}"""
DECLARED = {
    "study": "toy",
    "language": "mlt",
    "seed": 1,
    "share": 0.5,
    "published": False,
    "order": [],
    "overrides": {"ffn": {"sentences": 3}},
}


def injected(**given) -> str:
    """The cell that Papermill injects."""
    return PythonTranslator.codify(given)


def test_the_parameters_are_those_of_the_tagged_cell():
    assert notebook.parameters([CELL]) == DECLARED
    assert notebook.parameters(["", "import os", CELL, "print(study)"]) == DECLARED


def test_injected_values_win():
    given = {"language": "slk", "seed": 7, "order": ["pretrain"], "overrides": {}}
    given |= {"published": True, "share": 1e-5}
    assert notebook.parameters([CELL, injected(**given)]) == DECLARED | given
    assert notebook.parameters([CELL, injected()]) == DECLARED
    assert notebook.parameters([CELL, injected(share=2)])["share"] == 2


def test_of_cells_that_ran_again_the_last_execution_counts():
    changed = CELL.replace('"mlt"', '"slk"')
    given = injected(seed=7)
    assert notebook.parameters([CELL, CELL, given, given]) == DECLARED | {"seed": 7}
    assert notebook.parameters([CELL, given, changed]) == DECLARED | {"language": "slk"}
    assert notebook.parameters([CELL, given, changed, given]) == DECLARED | {
        "language": "slk",
        "seed": 7,
    }
    assert notebook.parameters([CELL, injected(seed=3), injected(seed=4)])["seed"] == 4


@pytest.mark.parametrize(
    "cell",
    [
        'language = "swh"',
        "for language in ['slk', 'swh']: pass",
        "seed += 1",
        "from lib.study import studies as study",
        "language, seed = 'slk', 2",
        "total: int = len('abc')",
        "model.seed: int = 3",
        "place: Path = 3",
        "count: int",
        "%time",
        "%%bash\nlanguage=swh",
        "!ls",
        "get_ipython().run_line_magic('time', '')",
        "language: str = 'slk'\nprint(language)",
        "x = 'unterminated",
        "",
        "# only a comment",
    ],
)
def test_other_cells_change_no_parameter(cell):
    assert notebook.parameters([CELL, cell]) == DECLARED
    assert notebook.parameters([CELL, cell, injected(seed=7), cell]) == DECLARED | {"seed": 7}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"langauge": "slk"}, "unknown parameter 'langauge'; this notebook takes study, language,"),
        ({"hidden_size": 48}, "unknown parameter 'hidden_size'; this notebook takes study"),
        ({"seed": "1"}, "parameter seed: '1' is not a whole number"),
        ({"seed": 1.0}, "parameter seed: 1.0 is not a whole number"),
        ({"seed": True}, "parameter seed: True is not a whole number"),
        ({"seed": None}, "parameter seed: None is not a whole number"),
        ({"share": "5e-5"}, "parameter share: '5e-5' is not a number (YAML reads 5e-5 as text"),
        ({"share": float("nan")}, "parameter share: float('nan') is no value that a parameter"),
        ({"share": float("inf")}, "parameter share: float('inf') is no value that a parameter"),
        ({"published": 1}, "parameter published: 1 is not true or false"),
        ({"published": "true"}, "parameter published: 'true' is text; give it to papermill as"),
        (
            {"language": 7},
            "parameter language: 7 is not text; put it in quotes, or give it to pape",
        ),
        (
            {"language": float("nan")},
            "parameter language: float('nan') is no value that a paramete",
        ),
        ({"language": False}, "parameter language: False is not text"),
        ({"order": "adapt"}, "parameter order: 'adapt' is not a list"),
        ({"overrides": "ffn"}, "parameter overrides: 'ffn' is not a mapping"),
        ({"overrides": []}, "parameter overrides: [] is not a mapping"),
    ],
)
def test_misspelt_parameters_and_other_types_are_refused(given, said):
    with pytest.raises(StudyError) as caught:
        notebook.parameters([CELL, injected(**given)])
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)


@pytest.mark.parametrize("history", [[], [""], ["import os"], [injected(seed=3)]])
def test_without_a_parameters_cell_nothing_begins(history):
    with pytest.raises(StudyError, match="no parameters were found; run the cell tagged `paramet"):
        notebook.parameters(history)


def test_a_run_begins_in_a_notebook_only():
    with pytest.raises(StudyError, match=r"works in a notebook; elsewhere use lib\.study\.plan"):
        notebook.begin("adapt")


@pytest.fixture
def shell(toy, monkeypatch):
    """The cells that a notebook has executed, as IPython keeps them."""
    import IPython

    history = ["", 'study: str = "toy"\nlanguage: str = "mlt"']
    monkeypatch.setattr(
        IPython, "get_ipython", lambda: types.SimpleNamespace(user_ns={"In": history})
    )
    return history


def test_the_runs_before_are_made_first_and_only_those_that_are_missing(shell, executed, capsys):
    runs = chain(studies.load("toy"), "mlt")
    for run in runs[:2]:
        toy_study.finish(run)
    run = notebook.begin("hidden")
    assert run == runs[4] and executed == runs[2:4]
    said = f"{run.id} starts from {runs[3].id}; 2 runs are made first"
    assert capsys.readouterr().out.splitlines()[0] == said
    assert notebook.begin("hidden") == run and executed == runs[2:4]
    assert notebook.begin("pretrain") == runs[0] and executed == runs[2:4]
    shell.append(injected(language="swh", hidden=3))
    with pytest.raises(StudyError, match="unknown parameter 'hidden'"):
        notebook.begin("hidden")
    assert executed == runs[2:4]


def test_the_seconds_of_a_run_do_not_hold_those_of_the_runs_before(shell, executed, monkeypatch):
    clock = types.SimpleNamespace(monotonic=lambda: 10 * len(executed))
    monkeypatch.setattr(notebook, "time", clock)
    run = notebook.begin("adapt")
    assert executed == [run.parent] and notebook._began[run.id] == 10
    parts = {"seconds": {"history": [1.5]}, "scores": {}}
    executed += [None, None]
    assert notebook._seconds(run, parts) == {"total": 20, "history": [1.5]}
    assert parts == {"scores": {}}


KERNEL = """
from lib.study import notebook
run = notebook.begin("layers")
print(run.id, sorted(run.settings.items())[0])
"""
CELLS = [
    'study: str = "toy"\nlanguage: str = "mlt"\nseed: int = 0\noverrides: dict = {}',
    injected(language="slk", overrides={"layers": {"steps": 3}}),
    KERNEL,
    "%time 1 + 1\nlanguage = 'none'\nstudy = run.study",
    "import lib.study.studies as study, os\nseed: int = os.getpid()\nprint(seed > 0)",
]


@pytest.fixture
def kernel(toy, monkeypatch):
    """A function that executes a cell in one kernel and returns what it printed."""
    monkeypatch.setenv("STUDY_PARAMS", str(files.PARAMS))
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(files.ROOT))
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)

    def execute(cell):
        printed = []
        reply = client.execute_interactive(
            cell,
            timeout=60,
            output_hook=lambda message: printed.append(message["content"].get("text", "")),
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(printed)

    yield execute
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_every_cell_can_be_executed_again(kernel):
    """Executed twice in a row, each cell of a notebook says the same, in one kernel."""
    given = {"study": "toy", "language": "slk", "overrides": {"layers": {"steps": 3}}}
    run = resolve("layers", given)
    for each in run.lineage()[:-1]:
        toy_study.finish(each)
    expected = f"{run.id} {sorted(run.settings.items())[0]}\n"
    for cell in CELLS:
        first, second = kernel(cell), kernel(cell)
        assert cell != KERNEL or first == second == expected
    assert kernel(KERNEL) == expected  # whatever the names hold now
    kernel(CELLS[0])  # the parameters cell again, by hand and without the injected one
    default = resolve("layers", {"study": "toy", "language": "mlt"})
    for each in default.lineage()[:-1]:
        toy_study.finish(each)
    assert kernel(KERNEL).startswith(default.id)


def test_a_model_that_is_not_there_names_its_notebook(toy):
    run = chain(studies.load("toy"), "mlt")[1]
    with pytest.raises(
        StudyError, match=f"the model {run.id} is not there; run the notebook 10_adapt_teacher.ipy"
    ):
        notebook.load(run)


@pytest.fixture
def fakes(monkeypatch):
    """Models, cards and encoders that are plain words; a card is the JSON of what it is made of."""
    fake_card, fake_encoder = types.ModuleType("card"), types.ModuleType("encoder")
    fake_card.text = lambda record, lineage, tasks=(): json.dumps([record, lineage, list(tasks)])

    def save(model, tokenizer, folder, card):
        with files.whole_folder(folder) as part:
            (part / "config.json").write_text("{}")
            (part / "README.md").write_text(card)

    fake_encoder.save = save
    described = lambda model, whole: {"parameters": model.size, "of": whole}  # noqa: E731
    monkeypatch.setattr(notebook.sizes, "describe", described)
    monkeypatch.setattr(notebook.sizes, "parameters", lambda model: model.size)
    for package, name, module in (
        (lib.export, "card", fake_card),
        (lib.model, "encoder", fake_encoder),
    ):
        monkeypatch.setattr(package, name, module, raising=False)
        monkeypatch.setitem(sys.modules, f"{package.__name__}.{name}", module)


def model_of(size):
    return types.SimpleNamespace(size=size)


def card_of(run):
    """(record, lineage, task records) that the card of a run's model was made of."""
    return json.loads((run.folder / "README.md").read_text(encoding="utf-8"))


def test_a_model_its_card_and_its_record(toy, fakes):
    runs = chain(studies.load("toy"), "mlt")[:3]
    for run, size, loss in zip(runs, (40, 40, 30), (3.0, 5.0, 6.0), strict=True):
        (notebook.checkpoints(run) / "step-1").mkdir(parents=True)
        scores = {"mlm_loss": loss, "unigram_loss": 5.5}
        record = notebook.finish(run, model_of(size), None, scores, {"kind": "sample"}, history=[1])
        assert record == records.read(run) and state.state(run) == state.DONE
        assert not run.checkpoints.exists() and notebook._locks == {}
        assert record["scores"] == scores and record["history"] == [1]
        assert record["model"] == {
            "id": run.id,
            "step": run.step,
            "parameters": size,
            "of": 40,
            "worse_than_unigram": loss > 5.5,
        }
    said, lineage, tasks = card_of(runs[2])
    assert said == json.loads(json.dumps(record)) and tasks == []
    assert [line["id"] for line in lineage] == [run.id for run in runs]
    assert lineage[2]["label"] == "fewer layers, distilled"
    assert lineage[2]["settings"] == runs[2].stated
    assert "worse_than_unigram" not in notebook.finish(run, model_of(3), None, {}, {})["model"]


def test_scores_belong_to_the_model_and_its_card_shows_them(toy, fakes):
    measures = {"lens": {"sentences": 3}, "perplexity": {"sentences": 3, "max_length": 16}}
    toy_study.write_study(toy_study.STUDY | {"measure": measures})
    model = chain(studies.load("toy"), "mlt")[1]
    for run in model.lineage():
        notebook.finish(run, model_of(40), None, {"mlm_loss": 4.0}, {})
    before = records.read(model)
    task, another = (scoring(model, "mlt", name, 1) for name in ("tc", "pos"))
    measure = measuring(model, "mlt", "perplexity")
    for run, name in ((measure, "bits"), (another, "accuracy"), (task, "macro_f1")) * 2:
        record = notebook.finish_scoring(run, {name: 0.5}, {"kind": "sample"}, interval=[0, 1])
        assert record == records.read(run) and record["interval"] == [0, 1]
        assert record["model"] == before["model"] and record["scores"] == {name: 0.5}
        assert record["chain"] == [each.id for each in model.lineage()]
    said, _, tasks = card_of(model)
    assert said["scores"] == {"mlm_loss": 4.0, "bits (mlt)": 0.5}
    assert {each["id"] for each in tasks} == {task.id, another.id} and len(tasks) == 2
    assert records.read(model) == before and state.state(task) == state.DONE


def test_a_baseline_has_a_record_and_no_model(toy, fakes):
    run = baseline(studies.load("toy"), "mlt", "tc", "ngrams")
    record = notebook.finish_scoring(run, {"macro_f1": 0.5}, {}, parameters=12, chosen={"c": 1})
    assert record["model"] == {"id": run.id, "step": "baseline", "parameters": 12}
    assert record["chosen"] == {"c": 1} and record["chain"] == [] and "parameters" not in record
    assert state.state(run) == state.DONE and not files.models().exists()


def test_checkpoints_are_one_process_alone_until_the_run_is_finished(toy, fakes):
    run = chain(studies.load("toy"), "mlt")[0]
    folder = notebook.checkpoints(run)
    assert folder == notebook.checkpoints(run) and folder.parent == run.checkpoints
    said: queue.Queue = queue.Queue()

    def other():  # a lock belongs to a thread, so this one is like another process
        with files.alone(run.checkpoints, "x"):
            said.put("free")

    thread = threading.Thread(target=other)
    thread.start()
    with pytest.raises(queue.Empty):
        said.get(timeout=0.3)
    notebook.finish(run, model_of(3), None, {}, {})
    assert said.get(timeout=30) == "free"
    thread.join()


def test_the_origin_of_weights(toy, tmp_path, monkeypatch):
    folder = tmp_path / "teachers" / "my-encoder"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    pairs = [
        {"teacher": "my-encoder", "languages": ["mlt"]},
        {"teacher": "mbert", "languages": ["mlt"], "set": {"adapt": {"published": True}}},
        {"teacher": "toy-bert", "languages": ["mlt"]},
    ]
    root = {"models_root": str(tmp_path / "teachers"), "pairs": pairs}
    toy_study.write_study(toy_study.STUDY | root)
    study = studies.load("toy")
    monkeypatch.setattr("lib.data.hub._model_commit", lambda name, revision: None)
    local, hub, new = (chain(study, "mlt", pair["teacher"]) for pair in pairs)
    of_folder = {"folder": "my-encoder", "sha256": files.sha256(folder)}
    assert notebook._weights(local[0]) == {"weights": of_folder}
    revision = "3f076fdb1ab68d5b2880cb87a0886f315b8146f8"
    name = "google-bert/bert-base-multilingual-cased"
    read = {"repository": name, "revision": revision, "licence": "Apache-2.0"}
    assert notebook._weights(hub[0]) == {"weights": read}
    monkeypatch.setattr("lib.data.hub._model_commit", lambda name, revision: "c" * 40)
    assert notebook._weights(hub[1])["weights"] == {
        "repository": "DGurgurov/mbert_mlt-latn",
        "revision": "c" * 40,
        "licence": "not stated",
    }
    for run in (*local[1:], *hub[2:], *new):
        assert notebook._weights(run) == {}
