"""A finished model as a folder that transformers, sentence-transformers, ONNX Runtime, optimum and
transformers.js load; and its ONNX files as models that the measures of this project take.
"""

import json
import statistics
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from transformers import AutoConfig

from lib import files
from lib.data import corpora
from lib.data.batches import encode, padded
from lib.errors import StudyError
from lib.export import sentence_transformers
from lib.model import encoder, loading, sizes, task_head
from lib.model.device import evaluating
from lib.model.families import has_head
from lib.model.sizes import max_tokens

try:
    import onnxruntime

    from lib.export import graph, traced
except ImportError as error:
    raise StudyError(
        f"the export needs the package {error.name!r}, which is not installed; run `pip install -r "
        "requirements.txt`"
    ) from error

FILES = {"float32": "onnx/model.onnx", "int8": "onnx/model_quantized.onnx"}
DIFFERENCE = 1e-4  # the most that float32 may differ from torch, as a share of the largest value
COSINE = 0.99  # below this, the record says that the 8 bits lose much
POINTS = 0.5  # of a task score; where the 8 bits lose more, the card of a task model says so
_REPORT = "export.json"  # it marks a folder that was written here
_ROWS = 16


def to_onnx(model, tokenizer, folder: Path, texts: list[str], card: str = "") -> dict:
    """Write an encoder, or a task model of `task_head.with_task_head`, and return what was measured
    on the texts, which is also the folder's export.json:

    `kind` as `graph.kind` says, `bytes` of each file, `difference` (the greatest between float32
    and torch), `unknown_tokens` (a share), `texts` (the number compared) and, of 8 bits beside
    float32, the mean and the smallest `cosine`: of sentence vectors, or of the logits of a text.
    A task model gets `same_answers` too, a share. `warning` says it where the 8 bits lose much.

    The folder holds config.json, the tokenizer and the card, onnx/model.onnx (float32) and
    onnx/model_quantized.onnx (8 bits). An encoder has its torch weights and the files of
    sentence-transformers too; a task model has weights if `task_head.reads_alike` says so. One half
    of the texts sets the scales, the other half is compared. Texts are cut at 128 tokens.
    Raises StudyError for a folder that holds other files, for text that the vocabulary does not
    know, for a model without an export or of 2 GB, and if float32 and torch differ.
    """
    what, folder = graph.kind(model), Path(folder)
    check_folder(folder)
    if 4 * sizes.parameters(model.base_model) >= 2**31 - 2**20:
        raise StudyError("the model has 2 GB or more, which one ONNX file cannot hold")
    if len(texts) < 2:
        raise StudyError(f"{len(texts)} texts were given; the check needs 2 or more")
    longest = min(128, max_tokens(model.config))
    known = corpora.reading(texts, tokenizer, longest)
    both = [_batches(texts[part::2], tokenizer, longest) for part in (0, 1)]
    with files.whole_folder(folder) as part, evaluating(model):
        _write(model, tokenizer, part, what, card)
        report = {"kind": what, "texts": len(texts) // 2}
        report["unknown_tokens"] = known["unknown_tokens"]
        report |= _write_onnx(model, part, what, *both)
        report["bytes"] = {
            file.relative_to(part).as_posix(): file.stat().st_size
            for file in sorted(part.rglob("*"))
            if file.is_file()
        }
        (part / _REPORT).write_text(json.dumps(report, indent=1), encoding="utf-8")
    return report


def check_folder(folder: Path) -> None:
    """StudyError if the folder is not free for an export: it holds files of something else."""
    there = folder.exists() and not (folder / _REPORT).exists()
    if there and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError(
            f"{folder} holds other files, which would be lost; name a new folder, or empty it"
        )


class Onnx(torch.nn.Module):
    """An ONNX file that is called like the model it was made from: `last_hidden_state` or `logits`
    of input_ids and attention_mask. The measures of lib/measure and `finetuning.predict` take it.
    """

    def __init__(self, file: Path, config, threads: int = 0):
        super().__init__()
        self.session, self.config = session(file, threads), config
        self.output = self.session.get_outputs()[0].name
        self.device = torch.device("cpu")

    @property
    def base_model(self):
        """The model itself, which has no head beside it."""
        return self

    def forward(self, input_ids, attention_mask, **_):
        """An object with the output, a tensor."""
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        given = {name: tensor.cpu().numpy() for name, tensor in given.items()}
        return SimpleNamespace(**{self.output: torch.from_numpy(self.session.run(None, given)[0])})


def load(folder: Path, precision: str = "float32", threads: int = 0) -> Onnx:
    """The model of an exported folder, in `float32` or `int8`; 0 threads: as many as cores."""
    file = Path(folder) / FILES[precision]
    if not file.exists():
        raise StudyError(f"{file} is not there; export the model with `to_onnx` first")
    return Onnx(file, loading.read(AutoConfig, folder), threads)


def session(file: Path, threads: int = 0):
    """An ONNX Runtime session of a file on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    try:
        return onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
    except Exception as error:  # the library raises classes of its own, one for each kind
        raise StudyError(
            f"{file}: ONNX Runtime {onnxruntime.__version__} cannot run it ({error}); export the "
            "model again"
        ) from error


def milliseconds(model, tokens: int = 128, rows: int = 1, repeats: int = 20) -> float:
    """The median time of an encoder, in torch or `load`ed, for `rows` texts of `tokens` tokens."""
    ids = torch.full((rows, min(tokens, max_tokens(model.config))), model.config.vocab_size - 1)
    batch, times = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, []
    with evaluating(model):
        for _ in range(repeats + 1):
            began = time.perf_counter()
            encoder.hidden_states(model, batch)
            times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times[1:])


def _write(model, tokenizer, folder: Path, what: str, card: str) -> None:
    """All files but those in onnx/."""
    longest = min(tokenizer.model_max_length, max_tokens(model.config))
    options = {"model_input_names": ["input_ids", "attention_mask"], "model_max_length": longest}
    with loading.quiet():
        if what == "hidden":
            (model if has_head(model.config) else model.base_model).save_pretrained(folder)
            sentence_transformers.write(folder, model.config.hidden_size, longest)
        elif task_head.reads_alike(model):
            model.save_pretrained(folder)
        else:  # transformers would read the first token, and be wrong without a word
            model.config.save_pretrained(folder)
        encoder.save_tokenizer(tokenizer, folder, **options)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _write_onnx(model, folder: Path, what: str, setting: list, testing: list) -> dict:
    """Both ONNX files, and the part of the report that compares them."""
    (folder / "onnx").mkdir()
    if graph.writes(model.config):
        for name, peaks in {"float32": None, "int8": graph.measure_peaks(model, setting)}.items():
            (folder / FILES[name]).write_bytes(graph.build(model, peaks).SerializeToString())
    else:
        whole = model if what != "hidden" else model.base_model
        traced.write(whole, what, setting[0], *(folder / name for name in FILES.values()))
    return _compared(model, folder, what, testing)


def _batches(texts: list[str], tokenizer, longest: int) -> list[dict]:
    """input_ids and attention_mask (B, T) of the texts, ordered by length."""
    rows = sorted(encode(texts, tokenizer, longest), key=len)
    padding = tokenizer.pad_token_id
    parts = [padded(rows[at : at + _ROWS], padding) for at in range(0, len(rows), _ROWS)]
    return [{"input_ids": ids, "attention_mask": mask} for ids, mask in parts]


def _compared(model, folder: Path, what: str, batches: list[dict]) -> dict:
    """The part of the report that compares float32 with torch, and 8 bits with float32."""
    exact, small = (Onnx(folder / name, model.config, 1) for name in FILES.values())
    whole = model if what != "hidden" else model.base_model
    difference, greatest, cosines, same = 0.0, 1.0, [], []
    for batch in batches:
        wanted = whole(**{name: tensor.to(model.device) for name, tensor in batch.items()})
        outputs = [getattr(wanted, exact.output).float().cpu()]
        outputs += [getattr(each(**batch), exact.output) for each in (exact, small)]
        if what != "sequence":
            outputs = [each * batch["attention_mask"].unsqueeze(-1) for each in outputs]
        wanted, found, rough = outputs
        difference = max(difference, float((found - wanted).abs().max()))
        greatest = max(greatest, float(wanted.abs().max()))
        if what != "hidden":
            answers = (found.argmax(-1) == rough.argmax(-1)).flatten()
            real = batch["attention_mask"].flatten().bool() if what == "token" else slice(None)
            same.append(answers[real].float())
        vectors = (each if what == "sequence" else each.sum(1) for each in (found, rough))
        cosines.append(torch.nn.functional.cosine_similarity(*vectors))
    if found.shape != wanted.shape or not difference <= DIFFERENCE * greatest:
        raise StudyError(
            f"the ONNX file differs from the model by {difference:.2g} where its greatest value is "
            f"{greatest:.2g}; nothing was written: report this with the model's config.json"
        )
    cosines = torch.cat(cosines)
    report = {"difference": difference, "cosine": float(cosines.mean())}
    report["smallest_cosine"] = float(cosines.min())
    if report["cosine"] < COSINE:
        report["warning"] = f"8 bits lose much: cosine {report['cosine']:.3f}, below {COSINE}"
    return report | ({"same_answers": float(torch.cat(same).mean())} if same else {})
