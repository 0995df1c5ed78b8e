"""Quality against seconds: how good a student is after how long, by recipe.

Each recipe makes students of the same sizes from the same teacher and text: those of the study e5.
The quality is the mean score on dev of linear classifiers that learn from the frozen vectors of
the student. Seconds are those of this process's processor time, on a GPU those of the clock, and
leave out the judging.
"""

import tempfile
import time
from pathlib import Path

import numpy
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import accuracy_score, f1_score

from lib.data import batches, encoding, tasks, texts
from lib.errors import StudyError
from lib.measure import hidden_states, layer_search
from lib.model import axes, device, encoder, ffn, hidden, layers, refit, sizes
from lib.study import make, notebook, plan, state
from lib.train import distillation, trainer
from lib.train import recipe as rules

LANGUAGE, TASKS, EXAMPLES = "slk", ("tc", "sa", "pos"), 700  # of train, and as many of dev
WIDTHS, LENGTH, SEED = (228,), 128, 1
RECIPES = ("paper", "shared_basis", "calibrated")
CUTS = ("layers", "ffn", "hidden")


def recipe(size: str, name: str, threads: int) -> dict:
    """The points of one of RECIPES in the study e5, in Slovak, as `race` returns them.

    There is no other size: a toy learns nothing that a race could show.
    """
    runs = [run for run in plan.runs(rules.STUDY) if run.language == LANGUAGE and not run.changed]
    teacher = next(run for run in runs if run.step == "vocabulary")
    source, corpus = teacher.study.source, teacher.study.corpus
    try:
        text = {part: texts.load([LANGUAGE], source, part, corpus[part]) for part in corpus}
        judged = [tasks.load(task, LANGUAGE, source, EXAMPLES) for task in TASKS]
        if state.state(teacher) != state.DONE:
            make.make([*teacher.lineage(), teacher])
    except StudyError as error:
        return {"skipped": str(error)}
    torch.set_num_threads(threads)
    model, tokenizer = notebook.load(teacher)
    cuts = {cut: rules.settings(cut, model, name) for cut in CUTS}
    return race(model, tokenizer, text, judged, cuts, WIDTHS)


def race(teacher, tokenizer, text: dict, judged: list, cuts: dict, widths: tuple) -> dict:
    """{"teacher": scores, "students": width -> points}; a point has the stage, seconds and scores.

    `cuts` has the settings of each cut. The students share all that comes before the hidden size.
    """
    teacher = teacher.to(device.device()).eval()
    taught = hidden_states.sentence_vectors(teacher, tokenizer, text["dev"], LENGTH)
    train = text["train"]

    def judge(student):
        vectors = hidden_states.sentence_vectors(student, tokenizer, text["dev"], LENGTH)
        similar = {"similarity": round(hidden_states.similarity(vectors, taught), 4)}
        return quality(student, tokenizer, judged) | similar

    watch = Watch(judge)
    sample = batches.encode(train[: refit.SENTENCES], tokenizer, LENGTH)
    sample = [*map(hidden_states.unmasked, batches.masked_batches(sample, tokenizer, 64, SEED))]

    def distil(student, taught_by, step):
        some, settings = distillation.chosen(train, cuts[step]), cuts[step]
        loss = distillation.loss_between(student, taught_by, tokenizer, some, settings, SEED)
        loss = watch.over(loss, f"{step}, trained")
        with tempfile.TemporaryDirectory() as folder:
            rest = (text["dev"], settings, SEED, Path(folder), step)
            trainer.fit(student, loss, tokenizer, some, *rest)
        return student.to(device.device())

    six = _fewer_layers(teacher, tokenizer, train, sample, cuts["layers"])
    watch.note("layers, cut", six)
    six = distil(six, teacher, "layers")
    kept = ffn.most_important(ffn.output_change(six, sample), cuts["ffn"]["intermediate_size"])
    narrow = ffn.cut(six, kept)
    if cuts["ffn"]["refit"]:
        refit.outputs(narrow, six, sample)
    watch.note("ffn, cut", narrow)
    taught_by = teacher if cuts["hidden"]["taught_by"] == "teacher" else narrow
    shared, spent, students = watch.points, watch.seconds(), {}
    for width in widths:
        watch.begin(list(shared), spent)
        small = hidden.start(narrow, width, cuts["hidden"]["hidden_start"], SEED, sample)
        watch.note("hidden, cut", small)
        small = distil(small, taught_by, "hidden")
        watch.note("hidden, best", small)
        students[str(width)] = {"parameters": sizes.parameters(small), "points": watch.points}
    return {"teacher": judge(teacher), "students": students}


def _fewer_layers(teacher, tokenizer, train: list[str], sample: list[dict], settings: dict):
    choice, kept = settings["layer_choice"], settings["num_hidden_layers"]
    count = teacher.config.num_hidden_layers
    if choice == "search":
        some = train[: layer_search.SENTENCES]
        numbers = layer_search.search(teacher, tokenizer, some, kept)
    else:
        numbers = layers.choose(count, kept, choice)
    student = axes.take(teacher, layers=numbers)
    if settings["refit"]:
        refit.outputs(student, teacher, sample, numbers)
    return student


class Watch:
    """Notes the scores of a student after how many seconds of work; judging is no work."""

    def __init__(self, judge):
        self.judge = judge
        self.begin([], 0.0)

    def begin(self, points: list[dict], spent: float) -> None:
        """Go on from these points and seconds."""
        self.points, self._began, self._now = points, 0.0, _clock()
        self._began = self._now() - spent

    def seconds(self) -> float:
        return self._now() - self._began

    def note(self, stage: str, student) -> None:
        """One more point."""
        seconds = self.seconds()
        scores = self.judge(student)
        self.points.append({"stage": stage, "seconds": round(seconds, 2), "scores": scores})
        print(self.points[-1], flush=True)
        self._began = self._now() - seconds

    def over(self, loss, stage: str) -> "Watched":
        """A loss after each judgement of which a point is noted."""
        return Watched(loss, lambda student: self.note(stage, student))


class Watched:
    """A loss of lib.train that calls `note(student)` whenever the Trainer judges the student."""

    def __init__(self, loss, note):
        self.loss, self.note, self.ignorant = loss, note, loss.ignorant

    def __call__(self, student, batch: dict) -> dict:
        return self.loss(student, batch)

    def judge(self, student, masked: list[dict], precision: str) -> dict:
        scores = self.loss.judge(student, masked, precision)
        self.note(student)
        return scores


def _clock():
    return time.perf_counter if device.device().type == "cuda" else time.process_time


def quality(model, tokenizer, judged: list) -> dict[str, float]:
    """Task -> the score on dev of a ridge classifier on the model's frozen vectors, and the mean.

    Vectors have a mean of 0 and a deviation of 1 on train.
    """
    result = {}
    for task in judged:
        (given, wanted), (unseen, gold) = (
            _vectors(model, tokenizer, task, part) for part in ("train", "dev")
        )
        mean, deviation = given.mean(0), given.std(0) + 1e-6
        learned = RidgeClassifier(alpha=len(given) / 10).fit((given - mean) / deviation, wanted)
        found = learned.predict((unseen - mean) / deviation)
        macro = task.metric == "macro_f1"
        score = f1_score(gold, found, average="macro") if macro else accuracy_score(gold, found)
        result[task.name] = round(float(score), 4)
    return result | {"mean": round(sum(result.values()) / len(result), 4)}


def _vectors(model, tokenizer, task, part: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    """One vector a text (N, H), or one a word, and their label ids (N,)."""
    examples = encoding.encode(task, part, tokenizer, LENGTH)
    if task.kind == "sequence":
        read = [text for text, _ in task.splits[part]]
        vectors = hidden_states.sentence_vectors(model, tokenizer, read, LENGTH)
        return vectors.numpy(), numpy.array([example["labels"] for example in examples])
    examples.sort(key=lambda example: len(example["input_ids"]))
    vectors, labels = [], []
    for begin in range(0, len(examples), 64):
        some = examples[begin : begin + 64]
        ids, attention = batches.padded([each["input_ids"] for each in some], 0)
        wanted, _ = batches.padded([each["labels"] for each in some], encoding.IGNORED)
        batch = {"input_ids": ids.to(model.device), "attention_mask": attention.to(model.device)}
        with device.evaluating(model), device.autocast(model.config):
            states = encoder.hidden_states(model, batch).float().cpu()
        vectors.append(states[wanted != encoding.IGNORED])
        labels.append(wanted[wanted != encoding.IGNORED])
    return torch.cat(vectors).numpy(), torch.cat(labels).numpy()
