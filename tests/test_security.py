"""Lines that are held: no code from data, weights only as safetensors, no path outside the study's
folders.
"""

import ast
import functools
import json
import os
import pickle
import re
import shutil
from pathlib import Path

import nbformat
import pytest
import torch
import toys
from safetensors.torch import load_file, save_file

from lib import checks, facts, files
from lib.errors import StudyError
from lib.model import encoder
from lib.study import plan

MODULES = ("pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "ctypes")
CALLS = (
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "torch.load",
    "torch.save",
    "torch.hub.load",
    "numpy.load",
    "np.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "yaml.load_all",
    "pandas.read_pickle",
    "importlib.import_module",
    "input",
)
ALLOWED = {  # file -> what it may call all the same, and why
    "lib/model/device.py": {"ctypes": "asks the C library to give free memory back"},
    "tests/export/test_card.py": {"exec": "runs the code that our own cards show"},
    "tests/export/test_onnx.py": {
        "importlib.import_module": "imports a module without its package"
    },
    "tests/notebooks/test_product_faults.py": {
        "exec": "runs the cells of our own notebooks",
        "eval": "reads the values of its own cases",
    },
    "tests/notebooks/test_product_notebooks.py": {"exec": "runs the code of cards, too"},
    "tests/test_security.py": {
        "pickle": "makes the malicious files",
        "torch.save": "makes the malicious files",
    },
}


PYTHON = ("lib/**/*.py", "tests/**/*.py", "notebooks/**/*.ipynb")  # all of the repository
SOURCES = [
    file.relative_to(files.ROOT).as_posix()
    for pattern in PYTHON
    for file in sorted(files.ROOT.glob(pattern))
]


@functools.cache
def tree(name):
    """The syntax tree of a module or of the code cells of a notebook."""
    if name.endswith(".py"):
        return ast.parse((files.ROOT / name).read_text(encoding="utf-8"))
    cells = nbformat.read(files.ROOT / name, 4).cells
    return ast.parse("\n".join(cell.source for cell in cells if cell.cell_type == "code"))


def dotted(node) -> str:
    """`a.b.c` of a name or an attribute of a name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def dangers(whole):
    """(what, line) of everything a tree imports or calls that could run foreign code or open a
    pickle.
    """
    for node in ast.walk(whole):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [each.name for each in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
            )
            names += (
                [f"{node.module}.{each.name}" for each in node.names]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            yield from (
                (name.split(".")[0], node.lineno) for name in names if name.split(".")[0] in MODULES
            )
            yield from ((name, node.lineno) for name in names if name in CALLS)
        if isinstance(node, ast.Call):
            name, given = dotted(node.func), {each.arg: each.value for each in node.keywords}
            if name in CALLS:
                yield name, node.lineno
            if name == "yaml.load":
                loader = given.get("Loader", node.args[1] if len(node.args) > 1 else None)
                if not (isinstance(loader, ast.Name) and loader.id == "_Loader"):
                    yield name, node.lineno
            for key, harmless in {
                "shell": False,
                "trust_remote_code": False,
                "allow_pickle": False,
                "weights_only": True,
                "use_safetensors": True,
            }.items():
                if key in given and not (
                    isinstance(given[key], ast.Constant) and given[key].value is harmless
                ):
                    yield key, node.lineno


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_runs_foreign_code(name):
    found = {what: line for what, line in dangers(tree(name)) if what not in ALLOWED.get(name, ())}
    assert not found, (
        f"{name}: {found}; do it another way, or name the exception and its reason in ALLOWED"
    )


def test_the_walk_sees_what_it_looks_for():
    for line in (
        "import pickle",
        "from pickle import loads",
        "import joblib.memory",
        "from torch import load",
        "eval('1')",
        "exec(x)",
        "os.system('ls')",
        "torch.load(f)",
        "yaml.load(f)",
        "yaml.load(f, yaml.Loader)",
        "yaml.load(f, Loader=yaml.FullLoader)",
        "run('ls', shell=True)",
        "run('ls', shell=flag)",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "numpy.load(f)",
        "read(f, allow_pickle=True)",
        "f(weights_only=False)",
        "f(use_safetensors=None)",
        "x = input('?')",
    ):
        assert list(dangers(ast.parse(line))), line
    for line in (
        "yaml.load(f, _Loader)",
        "model.eval()",
        "run(['ls'])",
        "f(trust_remote_code=False)",
        "AutoModel.from_pretrained(x)",
    ):
        assert not list(dangers(ast.parse(line))), line


def test_exceptions_are_all_used():
    for name, allowed in ALLOWED.items():
        assert set(allowed) <= {what for what, _ in dangers(tree(name))}, (
            f"{name} does not need all of {allowed}"
        )


def test_the_loaders_are_safe_ones():
    """A class called _Loader derives from PyYAML's SafeLoader and adds no constructor."""
    for name in ("lib/facts.py",):
        loader = next(
            node
            for node in ast.walk(tree(name))
            if isinstance(node, ast.ClassDef) and node.name == "_Loader"
        )
        assert [dotted(base) for base in loader.bases] == ["yaml.SafeLoader"]
        assert not any(
            dotted(node.func).endswith("add_constructor")
            for node in ast.walk(tree(name))
            if isinstance(node, ast.Call)
        )


def test_every_model_of_lib_is_read_in_one_place_from_safetensors():
    """`from_pretrained` is called in loading.read alone."""
    places = [
        (name, ast.unparse(node))
        for name in SOURCES
        if name.startswith("lib/")
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Call) and dotted(node.func).endswith("from_pretrained")
    ]
    call = "auto_class.from_pretrained(source, trust_remote_code=False, **options)"
    assert places == [("lib/model/loading.py", call)]
    text = (files.ROOT / "lib" / "model" / "encoder.py").read_text(encoding="utf-8")
    assert (
        text.count("read(\n        AutoModelForMaskedLM,")
        == text.count("use_safetensors=True")
        == 1
    )


def test_the_graph_quotes_no_word_it_has_not_checked():
    """Snakefile hands to a shell only the study's name and ids, which are plain words."""
    text = (files.ROOT / "Snakefile").read_text(encoding="utf-8")
    shells = re.findall(r"shell:(.*(?:\n {8,}.*)*)", text)
    words = {word for shell in shells for word in re.findall(r"{([^}]*)}", shell)}
    plain = {"PYTHON", "STUDY", "threads", "params.ids"}
    assert len(shells) == 2 and words == plain | {"FOLDER:q", "log:q"}  # :q quotes
    assert text.index("plan.batches(STUDY)") < text.index("rule figures")
    assert not re.search(r"\b(eval\(|exec\(|pickle|os\.system|subprocess|run:)", text)


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name in toys.FAMILIES:
        encoder.save(toys.model(name), toys.tokenizer(name), folder / name, "")
    return folder


@pytest.fixture
def trap(folders, tmp_path, family):
    """(copy of a saved model, file that exists once any code of it has run)"""
    return shutil.copytree(folders / family, tmp_path / "model"), tmp_path / "ran"


both = pytest.mark.parametrize("family", toys.FAMILIES)
PICKLES = (
    "pytorch_model.bin",
    "model.pt",
    "adapter_model.bin",
    "training_args.bin",
    "model.safetensors.bin",
    "tf_model.h5",
    "tokenizer.pkl",
    "optimizer.pt",
)


def test_the_payload_works(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@both
def test_a_pickle_beside_safetensors_is_never_opened(trap):
    folder, ran = trap
    for name in PICKLES:
        torch.save(Payload(ran), folder / name)
    model, _ = encoder.load(folder)
    assert (
        toys.same(toys.bits(model), toys.bits(toys.model(model.config.model_type)))
        and not ran.exists()
    )


@both
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_a_pickle_instead_of_safetensors_is_never_opened(trap, name):
    folder, ran = trap
    (folder / "model.safetensors").unlink()
    torch.save(Payload(ran), folder / name)
    with pytest.raises(
        StudyError,
        match=re.escape(
            f"has weights only as pickle ({name}), which can run code and is never opened; save"
        ),
    ):
        encoder.load(folder)
    assert not ran.exists()


@both
def test_a_pickle_that_calls_itself_safetensors_is_never_opened(trap):
    folder, ran = trap
    torch.save(Payload(ran), folder / "model.safetensors")
    with pytest.raises(StudyError, match="cannot be read as a model"):
        encoder.load(folder)
    assert not ran.exists()


@both
@pytest.mark.parametrize(
    "part", ["evil.bin", "../evil.safetensors", "/evil.safetensors", "a/evil.safetensors", 5]
)
def test_an_index_leads_only_to_safetensors_beside_it(trap, part, monkeypatch):
    folder, ran = trap
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    names = dict.fromkeys(tensors, "model-00001-of-00001.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    encoder.load(folder)
    torch.save(Payload(ran), folder / "evil.bin")
    save_file(tensors, folder.parent / "evil.safetensors", metadata={"format": "pt"})
    index.write_text(json.dumps({"metadata": {}, "weight_map": names | {next(iter(names)): part}}))
    monkeypatch.setattr(torch, "load", None)
    with pytest.raises(
        StudyError,
        match=re.escape(
            f"index.json names {str(part)!r}, which is no safetensors file beside it; fetch or make"
        ),
    ):
        encoder.load(folder)
    assert not ran.exists()


@both
@pytest.mark.parametrize("place", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("known", [True, False])
def test_code_of_a_model_is_never_run_nor_asked_about(trap, place, known, monkeypatch):
    """Neither for a type the library knows nor for another; nothing waits for an answer at the
    keyboard.
    """
    folder, ran = trap
    (folder / "evil.py").write_text(
        f"from pathlib import Path\nPath({str(ran)!r}).touch()\n"
        "class Config: pass\nclass Model: pass\nclass Words: pass\n"
    )
    autos = {
        "config.json": {"AutoConfig": "evil.Config", "AutoModelForMaskedLM": "evil.Model"},
        "tokenizer_config.json": {"AutoTokenizer": ["evil.Words", "evil.Words"]},
    }[place]
    changed = {"auto_map": autos} | (
        {}
        if known
        else {"model_type": "evil"}
        if place == "config.json"
        else {"tokenizer_class": "Words"}
    )
    (folder / place).write_text(json.dumps(json.loads((folder / place).read_text()) | changed))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(
        StudyError,
        match=re.escape(
            f"{place} asks for code of its own (auto_map), which is never run; choose a model"
        ),
    ):
        encoder.load(folder)
    assert not ran.exists()


@both
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attn_implementation", "evil/kernel"),
        ("_attn_implementation", "evil/kernel@main:f"),
        ("transformers_weights", "adapter_model.bin"),
        ("transformers_weights", "../x.safetensors"),
    ],
)
def test_other_ways_out_of_a_configuration_are_shut(trap, name, value):
    folder, ran = trap
    torch.save(Payload(ran), folder / "adapter_model.bin")
    (folder / "config.json").write_text(
        json.dumps(json.loads((folder / "config.json").read_text()) | {name: value})
    )
    with pytest.raises(
        StudyError,
        match=re.escape(
            f"config.json asks for {name} {value!r}, which is not followed; take the line out"
        ),
    ):
        encoder.load(folder)
    assert not ran.exists()


@both
def test_an_adapter_leads_to_no_other_model(trap):
    folder, _ = trap
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "evil/base", "peft_type": "LORA"})
    )
    with pytest.raises(
        StudyError, match=r"holds an adapter \(adapter_config\.json\); merge it into its model"
    ):
        encoder.load(folder)


@both
def test_a_tokenizer_taken_from_elsewhere_is_checked_alike(trap, folders, family):
    folder, _ = trap
    file = folder / "tokenizer_config.json"
    file.write_text(
        json.dumps(
            json.loads(file.read_text()) | {"auto_map": {"AutoTokenizer": ["evil.Words", None]}}
        )
    )
    with pytest.raises(StudyError, match="asks for code of its own"):
        encoder.load(folders / family, tokenizer_source=folder)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(file.stem, marks=pytest.mark.slow) if "paper" in file.stem else file.stem
        for file in sorted((files.ROOT / "params" / "studies").glob("*.yaml"))
    ],
)
def test_everything_a_study_makes_lies_in_its_folders(name, data):
    """Ids are plain words, so no file of a run can lie elsewhere; names that are none are refused
    (test_bad_input).
    """
    for run in plan.runs(name):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", run.id)
        assert Path(os.path.normpath(run.folder)).parent == files.models()
        assert run.record.parent.parent == files.runs()


def test_the_names_that_are_here_are_plain():
    for kind in ("languages", "models", "tasks", "corpora", "training"):
        for name in facts.facts(kind):
            checks.checked(checks.Name, name, kind)
