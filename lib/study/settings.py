"""The registry of steps: one class says everything that a study must know of a step.

To add a step, write its class here, with the types and defaults of its settings, and its notebook
below notebooks/study. A study file sets the rest.

A setting with LATER came after published records. At its default it is left out of records and run
ids.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import model_validator

from lib.checks import Checked, Count, Number, Positive, Rate, Share, within

Length = within(int, lambda tokens: 3 <= tokens < 1e12, "give a number of 3 or more, below 1e12")
Precision = Literal["auto", "float32", "bfloat16"]
LATER = "later"


@dataclass(frozen=True)
class Step:
    """One kind of run; `label` names its model in the card, `row` in tables, `short` in figures."""

    name: str
    kind: Literal["teacher", "cut", "task", "baseline", "measure"]
    notebook: str
    settings: type[Checked]
    label: str
    row: str = ""
    short: str = ""

    @property
    def makes_model(self) -> bool:
        """Whether the step makes a model."""
        return self.kind in ("teacher", "cut")


REGISTRY: list[Step] = []  # the order of the models is the paper's; a study may change it


def _step(name: str, kind: str, notebook: str, **words: str):
    """Register a class of settings as those of a step, of which `Step` says the rest."""

    def register(settings: type[Checked]) -> type[Checked]:
        REGISTRY.append(Step(name, kind, notebook, settings, **words))
        return settings

    return register


@_step("pretrain", "teacher", "00_pretrain_teacher", label="teacher", row="teacher", short="plain")
class Training(Checked):
    """Settings of a training on text."""

    steps: Count
    batch_size: Positive
    accumulation: Positive = 1
    max_length: Length
    learning_rate: Rate
    precision: Precision = "auto"


@_step(
    "adapt",
    "teacher",
    "10_adapt_teacher",
    label="teacher adapted to the language",
    row="adapted teacher",
    short="teacher",
)
class Adaptation(Training):
    """Step 0, second half."""

    published: bool = False


class Distillation(Training):
    """What both distillations share; `mlm_weight` is the paper's alpha.

    With the target `hidden` only the training's own settings count. `taught_by`: the model before
    this step, or the teacher that students are compared with. `sentences` limits the text of this
    step, 0 takes all. `optimizer`: muon is that of lib.train.optimizers. `passes`: so
    many times the training reads each sentence of its text, which is cut to that; the teacher reads
    it once, and its hidden states stay in memory. With 0 all text is read anew each time.
    """

    distillation_target: Annotated[Literal["logits", "hidden"], LATER] = "logits"
    taught_by: Annotated[Literal["before", "teacher"], LATER] = "before"
    sentences: Annotated[Count, LATER] = 0
    optimizer: Annotated[Literal["adamw", "muon"], LATER] = "adamw"
    passes: Annotated[Count, LATER] = 0
    distillation_loss: Literal["mse", "kl", "plain_kl"] = "mse"
    mlm_weight: Share = 0.5
    temperature: Rate = 2.0
    all_positions: bool = False

    @model_validator(mode="after")
    def _passes_keep_hidden_states(self):
        if self.passes and self.distillation_target != "hidden":
            raise ValueError(
                "passes: it keeps the teacher's hidden states; set distillation_target: hidden, or "
                "passes: 0"
            )
        return self


@_step(
    "layers",
    "cut",
    "20_distil_layers",
    label="fewer layers, distilled",
    row="layers {num_hidden_layers:.0f}",
)
class Layers(Distillation):
    """Step 1; with `refit` the layers that stay take over what the others did, before training."""

    num_hidden_layers: Positive
    layer_choice: Literal[
        "last_k", "first_k", "stride", "stride_last", "first_last_k", "search", "random"
    ]
    refit: Annotated[bool, LATER] = False

    @model_validator(mode="after")
    def _fits_layers_of_the_teacher(self):
        if self.refit and self.layer_choice == "random":
            raise ValueError(
                "refit: random layers stand for no layers of the teacher; set it to false"
            )
        return self


@_step(
    "ffn",
    "cut",
    "30_prune_ffn",
    label="narrower FFN",
    row="ffn {intermediate_size:,.0f}",
    short="FFN",
)
class Ffn(Checked):
    """Step 2; `part` is the text that importance is computed on, and that `refit` fits on."""

    intermediate_size: Positive
    sentences: Count
    batch_size: Positive
    max_length: Length
    part: Literal["train", "dev"]
    refit: Annotated[bool, LATER] = False


@_step(
    "hidden",
    "cut",
    "40_reduce_hidden",
    label="smaller hidden size, distilled",
    row="hidden {hidden_size:.0f}",
)
class Hidden(Distillation):
    """Step 3; `num_attention_heads` of each layer stay, 0 keeps all."""

    hidden_size: Positive
    hidden_start: Literal[
        "truncation", "truncation_across_heads", "svd", "shared_basis", "fitted", "random"
    ]
    num_attention_heads: Annotated[Count, LATER] = 0


@_step(
    "vocabulary",
    "cut",
    "50_trim_vocabulary",
    label="smaller vocabulary",
    row="vocabulary {vocab_size:,.0f}, hidden {hidden_size:.0f}",
)
class Vocabulary(Checked):
    """Step 4; `kept_tokens` does not count the special tokens."""

    kept_tokens: Positive
    counting: Literal["count", "documents"]


@_step("finetune", "task", "60_finetune_task", label="task scores")
class Finetuning(Checked):
    """Step 5, for one task; a study says it for all tasks, for a kind of task, or for a task.

    `head_rate` times the learning rate is that of the task head.
    """

    method: Literal["adapter", "full"]
    reduction_factor: Positive = 16
    adapter_input: Literal["ffn", "layer_norm"] = "layer_norm"
    first_subword: bool = True
    train_limit: Count
    precision: Precision = "auto"
    pooling: Annotated[Literal["first", "mean"], LATER] = "first"
    base_width: Annotated[Count, LATER] = 0
    epochs: Positive
    batch_size: Positive
    learning_rate: Rate
    max_length: Length
    weight_decay: Number = 0.0
    warmup: Share = 0.0
    max_steps: Count = 0
    patience: Count = 0
    head_rate: Annotated[Rate, LATER] = 1.0


@_step("baseline", "baseline", "65_baselines", label="baseline")
class Baseline(Checked):
    """A task answered without an encoder's layers."""

    kind: Literal["majority", "ngrams", "static"]
    train_limit: Count


@_step("perplexity", "measure", "70_pseudo_perplexity", label="pseudo-perplexity")
class Perplexity(Checked):
    """Step 6; `sentences` of the held-out text, 0 takes all."""

    sentences: Count = 200
    max_length: Length = 64


@_step("lens", "measure", "80_logit_lens", label="logit lens")
class Lens(Checked):
    """Step 6; `sentences` of the held-out text, 0 takes all."""

    sentences: Count = 100


@_step("export", "measure", "90_export", label="export")
class Export(Checked):
    """`sentences` of the held-out text set the scales of 8 bits and are compared; 0 takes all."""

    sentences: Count = 200
