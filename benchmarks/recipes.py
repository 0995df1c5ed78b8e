"""Quality against seconds: how good a student is after how long, by recipe.

Each recipe makes students of the same sizes from the same teacher and text: those of the study e5.
The quality is the mean score of linear classifiers that learn from the frozen vectors of the
student, cross-validated on train and dev. Seconds are those of this process's processor time, on a
GPU those of the clock, and leave out the judging.
"""

import tempfile
import time
from pathlib import Path

import numpy
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lib.data import batches, encoding, tasks, texts
from lib.errors import StudyError
from lib.measure import hidden_states, layer_search
from lib.model import axes, device, encoder, ffn, hidden, layers, sizes
from lib.study import make, notebook, plan, state
from lib.train import distillation, trainer
from lib.train import recipe as rules

LANGUAGE, TASKS, EXAMPLES = "slk", ("tc", "sa", "pos"), 700  # of train, and as many of dev
WIDTHS, LENGTH, SEED, FOLDS = (228, 156), 128, 1, 5
RECIPES = ("paper", "shared_basis", "calibrated")
CUTS = ("layers", "ffn", "hidden")
EARLY = (25, 50, 100)  # steps, before the first judgement


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
    sample = batches.encode(train[: distillation.SENTENCES], tokenizer, LENGTH)
    sample = [*map(hidden_states.unmasked, batches.masked_batches(sample, tokenizer, 64, SEED))]

    def distil(student, taught_by, step):
        some, settings = distillation.chosen(train, cuts[step]), cuts[step]
        loss = distillation.loss_between(student, taught_by, tokenizer, some, settings, SEED)
        loss = watch.over(loss, f"{step}, trained")
        with tempfile.TemporaryDirectory() as folder:
            rest = (text["dev"], settings, SEED, Path(folder), step)
            trainer.fit(student, loss, tokenizer, some, *rest)
        return student.to(device.device())

    numbers = _chosen_layers(teacher, tokenizer, train, cuts["layers"])
    six = axes.take(teacher, layers=numbers)
    watch.note("layers, cut", six)
    six = distil(six, teacher, "layers")
    kept = ffn.most_important(ffn.output_change(six, sample), cuts["ffn"]["intermediate_size"])
    narrow = ffn.cut(six, kept)
    watch.note("ffn, cut", narrow)
    whole = cuts["hidden"]["taught_by"] == "teacher"
    taught_by, fitted_to = (teacher, (teacher, numbers)) if whole else (narrow, None)
    shared, spent, students = watch.points, watch.seconds(), {}
    for width in widths:
        watch.begin(list(shared), spent)
        start = (narrow, width, cuts["hidden"]["hidden_start"], SEED, sample, 0)
        small = hidden.start(*start, fitted_to)
        watch.note("hidden, cut", small)
        small = distil(small, taught_by, "hidden")
        watch.note("hidden, best", small)
        students[str(width)] = {"parameters": sizes.parameters(small), "points": watch.points}
    return {"teacher": judge(teacher), "students": students}


def _chosen_layers(teacher, tokenizer, train: list[str], settings: dict) -> list[int]:
    choice, kept = settings["layer_choice"], settings["num_hidden_layers"]
    if choice == "search":
        some = train[: layer_search.SENTENCES]
        return layer_search.search(teacher, tokenizer, some, kept)
    return layers.choose(teacher.config.num_hidden_layers, kept, choice)


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
    """A loss of lib.train that calls `note(student)` after EARLY steps, and whenever the Trainer
    judges the student.
    """

    def __init__(self, loss, note):
        self.loss, self.note, self.ignorant = loss, note, loss.ignorant
        self.steps = 0

    def __call__(self, student, batch: dict) -> dict:
        if self.steps in EARLY:
            self.note(student)
        self.steps += 1
        return self.loss(student, batch)

    def judge(self, student, masked: list[dict], precision: str) -> dict:
        scores = self.loss.judge(student, masked, precision)
        self.note(student)
        return scores


def _clock():
    return time.perf_counter if device.device().type == "cuda" else time.process_time


def quality(model, tokenizer, judged: list) -> dict[str, float]:
    """Task -> the score of a ridge classifier on the model's frozen vectors, and the mean score.

    Each of FOLDS parts of train and dev is answered by a classifier that learns from the others.
    """
    result = {}
    for task in judged:
        parts = [_vectors(model, tokenizer, task, part) for part in ("train", "dev")]
        given, gold, texts = (numpy.concatenate(both) for both in zip(*parts, strict=True))
        learner = make_pipeline(StandardScaler(), RidgeClassifier(alpha=len(given) / 10))
        folds = {"cv": GroupKFold(FOLDS), "groups": texts}  # the words of a text stay together
        found = cross_val_predict(learner, given, gold, **folds)
        macro = task.metric == "macro_f1"
        score = f1_score(gold, found, average="macro") if macro else accuracy_score(gold, found)
        result[task.name] = round(float(score), 4)
    return result | {"mean": round(sum(result.values()) / len(result), 4)}


def _vectors(model, tokenizer, task, part: str) -> tuple[numpy.ndarray, ...]:
    """One vector a text (N, H), or one a word, their label ids (N,), and their texts (N,)."""
    read = [text for text, _ in task.splits[part]]
    texts = numpy.array([str(text) for text in read])
    examples = encoding.encode(task, part, tokenizer, LENGTH)
    if task.kind == "sequence":
        vectors = hidden_states.sentence_vectors(model, tokenizer, read, LENGTH)
        return vectors.numpy(), numpy.array([example["labels"] for example in examples]), texts
    vectors, labels, numbers = [], [], []
    order = sorted(range(len(examples)), key=lambda at: len(examples[at]["input_ids"]))
    for begin in range(0, len(order), 64):
        some = [examples[at] for at in order[begin : begin + 64]]
        ids, attention = batches.padded([each["input_ids"] for each in some], 0)
        wanted, _ = batches.padded([each["labels"] for each in some], encoding.IGNORED)
        batch = {"input_ids": ids.to(model.device), "attention_mask": attention.to(model.device)}
        with device.evaluating(model), device.autocast(model.config):
            states = encoder.hidden_states(model, batch).float().cpu()
        where = wanted != encoding.IGNORED
        vectors.append(states[where])
        labels.append(wanted[where])
        numbers += numpy.repeat(order[begin : begin + 64], where.sum(1)).tolist()
    return torch.cat(vectors).numpy(), torch.cat(labels).numpy(), texts[numbers]
