"""Every family that can be cut: the same cuts, fits, trainings and measures on toys of each."""

import math

import numpy
import pytest
import torch
import toys
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    DebertaV2Config,
    ElectraForPreTraining,
)
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb

from lib import files
from lib.data import batches as masking
from lib.errors import StudyError
from lib.export import card
from lib.measure import hidden_states, layer_search, logit_lens, mlm
from lib.model import (
    axes,
    encoder,
    families,
    ffn,
    hidden,
    layers,
    loading,
    mlm_head,
    parts,
    refit,
    rotary,
    sizes,
    task_head,
    trimmed,
    vocabulary,
)
from lib.train import adapters, distillation, finetuning, heads, teachers

every = pytest.mark.parametrize("family", toys.EVERY)
others = pytest.mark.parametrize("family", toys.EVERY[2:])  # the first two have tests of their own
modern = pytest.mark.parametrize("family", ["modernbert", "modernbert biases"])


def batches(family):
    return masking.masked_batches(toys.encoded(family, 24), toys.tokenizer(family), 8, 1)


@torch.no_grad()
def logits(model, batch):
    return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits


def read_again(model, folder, auto_class=AutoModelForMaskedLM):
    """The model as plain transformers reads what was saved, with nothing missing or left over."""
    model.save_pretrained(folder)
    with loading.quiet():
        again, report = auto_class.from_pretrained(
            folder, output_loading_info=True, dtype=torch.float32
        )
    assert not any(report.values()), report
    return again.eval()


def everything(config):
    count, neurons = config.num_hidden_layers, families.size(config, "intermediate_size")
    return {
        "layers": range(count),
        "neurons": torch.arange(neurons).repeat(count, 1),
        "hidden": torch.arange(config.hidden_size),
        "heads": torch.arange(config.hidden_size).view(config.num_attention_heads, -1),
        "vocabulary": range(config.vocab_size),
    }


def test_the_toys_and_the_page_name_every_family():
    assert {name.split()[0] for name in toys.EVERY} == set(families.FAMILIES)
    page = (files.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in families.FAMILIES)


def test_a_type_that_cannot_be_cut_is_refused_with_its_reason():
    with pytest.raises(
        StudyError, match=r"deberta-v2.*relative positions.*modernbert can"
    ) as caught:
        families.family(DebertaV2Config())
    assert all(name in str(caught.value) for name in families.FAMILIES)


@every
def test_every_count_follows_from_the_configuration(family):
    for changes in ({}, {"num_hidden_layers": 1}, {"hidden_size": 16}, {"intermediate_size": 7}):
        model = encoder.new(toys.config(family, **changes), 0)
        distinct = {tensor.data_ptr(): tensor.numel() for tensor in model.parameters()}
        assert sizes.count_parameters(model.config) == sum(distinct.values()), changes
    untied = encoder.new(toys.config(family, tie_word_embeddings=False), 0)
    assert sizes.count_parameters(untied.config) == untied.num_parameters()
    bare = encoder.without_head(model)
    assert sizes.count_parameters(bare.config) == bare.base_model.num_parameters()


@every
def test_axes_name_every_dimension(family):
    model = toys.model(family)
    config, hidden_size = model.config, model.config.hidden_size
    neurons = families.size(config, "intermediate_size")
    lengths = {"V": config.vocab_size, "P": 40, "H": hidden_size, "D": hidden_size, "F": neurons}
    lengths |= {"Q": 3 * hidden_size, "G": 2 * neurons}
    for name, tensor in model.state_dict().items():
        letters = axes.axes(name, config)
        assert len(letters) == tensor.dim(), name
        for letter, length in zip(letters, tensor.shape, strict=True):
            assert letter == "." or lengths[letter] == length, name


@every
def test_keeping_everything_changes_nothing(family):
    model, batch = toys.model(family), toys.batch(family)
    before = toys.bits(model)
    result = axes.take(model, **everything(model.config))
    assert toys.same(toys.bits(result), before) and toys.same(toys.bits(model), before)
    assert logits(result, batch).equal(logits(model, batch))


@every
def test_all_cuts_save_and_load_with_plain_transformers(family, tmp_path):
    model, own = toys.model(family), toys.tokenizer(family)
    counts = vocabulary.count(own, toys.sentences()[:20], "count")
    always = vocabulary.single_characters(own, [])
    kept = vocabulary.choose(counts, own, 80 + toys.byte_tokens(family), always)
    student = vocabulary.cut(layers.cut(model, 2, "stride"), kept)
    student = ffn.cut(student, torch.arange(9).repeat(2, 1))
    student = hidden.start(student, 16, "truncation")
    small = vocabulary.trim_tokenizer(own, kept)
    pair = vocabulary.cut(model, kept), small
    assert trimmed.check((model, own), pair, kept, toys.sentences()[:30]) > 20
    ids = small(toys.sentences()[:5], padding=True, return_tensors="pt")
    batch = {name: ids[name] for name in ("input_ids", "attention_mask")}
    again = read_again(student, tmp_path / "whole")
    assert logits(again, batch).equal(logits(student, batch))
    assert student.num_parameters() == sizes.count_parameters(student.config)
    assert (
        sizes.describe(student)["config"] | {"hidden_size": 16, "intermediate_size": 9}
        == (sizes.describe(student)["config"])
    )
    encoder.save(student, small, tmp_path / "ours", "")
    assert logits(encoder.load(tmp_path / "ours")[0], batch).equal(logits(student, batch))
    bare, whole = encoder.without_head(student), encoder.without_head(axes.take(model))
    pair = encoder.without_head(pair[0]), small
    assert trimmed.check((whole, own), pair, kept, toys.sentences()[:30]) > 20
    encoder.save(bare, small, tmp_path / "bare", "")
    options = {"add_pooling_layer": False} if families.family(student.config).pooler else {}
    plain = AutoModel.from_pretrained(tmp_path / "bare", **options).eval()
    with torch.no_grad():
        states = plain(**batch).last_hidden_state
        assert states.equal(encoder.hidden_states(student, batch))
    assert not families.has_head(encoder.load(tmp_path / "bare")[0].config)


@every
def test_a_removed_neuron_is_one_whose_output_is_zero(family):
    model, batch = toys.model(family), toys.batch(family)
    cut = ffn.cut(model, torch.tensor([row for row in range(20) if row != 3]).repeat(4, 1))
    for layer in parts.layers(model):
        layer.ffn_output.weight.data[:, 3] = 0
    torch.testing.assert_close(logits(cut, batch), logits(model, batch), atol=1e-5, rtol=1e-4)


@every
def test_importance_is_a_brute_force_gradient(family):
    """Row by row through a scale: the loss's slope when the rows of a neuron shrink."""
    model, several = toys.model(family), batches(family)[:2]
    found = ffn.importance(model, several, mlm.mlm_loss)
    gated = families.family(model.config).gated
    wanted = torch.zeros(4, 20)
    for batch in several:
        scales = [torch.ones(20, requires_grad=True) for _ in range(4)]
        hooks = []
        for scale, layer in zip(scales, parts.layers(model), strict=True):

            def scaled(_, __, output, scale=scale):
                both = torch.cat([torch.ones(20), scale]) if gated else scale
                return output * both

            hooks.append(layer.ffn_input.register_forward_hook(scaled))
        for row, slope in enumerate(torch.autograd.grad(mlm.mlm_loss(model, batch), scales)):
            wanted[row] += slope.abs()
        for hook in hooks:
            hook.remove()
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-4)


@modern
def test_importance_of_a_gated_neuron_is_that_of_its_output(family):
    model, batch = toys.model(family), batches(family)[0]
    found = ffn.importance(model, [batch], mlm.mlm_loss)
    scale = torch.ones(20, requires_grad=True)
    layer = parts.layers(model)[2].ffn_output
    hook = layer.register_forward_pre_hook(lambda _, given: (given[0] * scale,))
    (slope,) = torch.autograd.grad(mlm.mlm_loss(model, batch), [scale])
    hook.remove()
    torch.testing.assert_close(found[2], slope.abs(), atol=1e-6, rtol=1e-4)


@others
@torch.no_grad()
def test_fits_are_exact_where_nothing_was_cut_and_help_elsewhere(family):
    model, several = toys.model(family), batches(family)
    same = axes.take(model)
    refit.outputs(same, model, several)
    torch.testing.assert_close(toys.bits(same), toys.bits(model), atol=2e-5, rtol=1e-4)
    kept = ffn.most_important(ffn.output_change(model, several), 10)
    plain, fitted = ffn.cut(model, kept), ffn.cut(model, kept)
    refit.outputs(fitted, model, several)
    gaps = [_gap(each, model, several) for each in (plain, fitted)]
    assert gaps[1] < gaps[0]


def _gap(small, model, several):
    loss = distillation.HiddenLoss(model)
    return loss.judge(small, several, "float32")["gap"]


@others
@pytest.mark.parametrize("hidden_start", ["truncation", "svd", "shared_basis", "fitted", "random"])
def test_hidden_starts(family, hidden_start, tmp_path):
    model, several = toys.model(family, num_hidden_layers=2), batches(family)
    size = 24 if hidden_start == "svd" else 16
    student = hidden.start(model, size, hidden_start, 1, several)
    assert student.config.hidden_size == size and torch.isfinite(logits(student, several[0])).all()
    assert student.num_parameters() == sizes.count_parameters(student.config)
    again = read_again(student, tmp_path)
    assert logits(again, several[0]).equal(logits(student, several[0]))


@every
@torch.no_grad()
def test_svd_is_the_truncation_of_a_model_of_low_rank_matrices(family):
    """Of numpy's full SVD of each matrix in float64; the cut has its directions in float32."""
    model, low = toys.model(family), toys.model(family)
    for name, tensor in low.named_parameters():
        if tensor.dim() == 2 and "H" in axes.axes(name, low.config):
            u, s, v = numpy.linalg.svd(tensor.double().numpy(), full_matrices=False)
            tensor.copy_(torch.from_numpy((u[:, :16] * s[:16]) @ v[:16]))
    found, wanted = hidden.start(model, 16, "svd"), hidden.start(low, 16, "truncation")
    assert found.config.to_dict() == wanted.config.to_dict()
    torch.testing.assert_close(toys.bits(found), toys.bits(wanted), atol=1e-5, rtol=1e-5)


@every
@torch.no_grad()
def test_a_fit_changes_nothing_where_nothing_is_cut(family):
    """The directions are then the axes themselves, and each norm is found again."""
    model, several = toys.model(family, num_hidden_layers=2), batches(family)
    heads_kept = hidden.kept_heads(model.config, 24)
    assert sorted(heads_kept.flatten().tolist()) == list(range(24))
    same = hidden.start(model, 24, "fitted", 0, several, 0, (model, [0, 1]))
    for batch in several[:2]:
        torch.testing.assert_close(logits(same, batch), logits(model, batch), atol=2e-3, rtol=2e-3)


@every
@torch.no_grad()
def test_a_fit_to_the_teacher_takes_over_what_layers_and_neurons_did(family):
    """The last states are nearer to the teacher's than after a fit to the cut model itself."""
    model, several = toys.model(family, num_hidden_layers=3), batches(family)
    cut = axes.take(model, layers=[0, 2])
    cut = ffn.cut(cut, ffn.most_important(ffn.output_change(cut, several), 8))
    to_itself = hidden.start(cut, 24, "fitted", 0, several)
    to_teacher = hidden.start(cut, 24, "fitted", 0, several, 0, (model, [0, 2]))
    gaps = [_gap(each, model, several) for each in (to_itself, to_teacher)]
    assert gaps[1] < 0.9 * gaps[0]


@every
def test_the_goals_of_a_student_are_the_norms_that_read_where_it_reads(family):
    model = toys.model(family, num_hidden_layers=4)
    whole, student = parts.layers(model), axes.take(model, layers=[0, 2])
    assert parts.goals(model) == parts.norms(model) == parts.goals(model, [0, 1, 2, 3])
    goals = parts.goals(model, [0, 2])
    shapes = [norm.normalized_shape for norm in parts.norms(student)]
    assert [norm.normalized_shape for norm in goals] == shapes
    place = goals.index(whole[0].attention_reader)
    of_layers = [whole[1].ffn_reader, whole[2].attention_reader, whole[3].ffn_reader]
    assert goals[place + 1 : place + 4] == of_layers
    assert goals[:place] + goals[place + 4 :] == [
        norm
        for norm in parts.norms(model)
        if norm in goals and norm not in goals[place : place + 4]
    ]


@others
def test_distillation_goes_down(family, tmp_path):
    teacher, own = toys.model(family, num_hidden_layers=2), toys.tokenizer(family)
    text = toys.sentences()[:16]
    for target in ("logits", "hidden"):
        student = layers.cut(teacher, 1, "stride")
        settings = toys.DISTIL | {"steps": 3, "learning_rate": 5e-3}
        settings |= {"distillation_target": target, "mlm_weight": 0.0}
        before = _loss(student, teacher, settings, family, target)
        distillation.distil(student, teacher, own, text, text[:10], settings, 1, tmp_path / target)
        assert _loss(student, teacher, settings, family, target) < before, target


@torch.no_grad()
def _loss(student, teacher, settings, family, target):
    loss = (
        distillation.HiddenLoss(teacher)
        if target == "hidden"
        else distillation.DistillationLoss(teacher, settings)
    )
    return float(loss(student.eval(), batches(family)[0])["distillation_loss"])


@others
@pytest.mark.parametrize("kind", ["sequence", "token"])
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_task_heads_train(family, kind, pooling):
    model, batch = toys.model(family), toys.batch(family, 4)
    tuned = task_head.with_task_head(model, kind, ("one", "two", "three"), 1, pooling).eval()
    finetuning.draw_task_weights(tuned, 3)
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    assert encoder.hidden_states(tuned, batch).shape[-1] == 24
    labels = given["input_ids"] % 3 if kind == "token" else torch.tensor([0, 1, 2, 0])
    optimizer, losses = torch.optim.SGD(tuned.parameters(), lr=1e-4), []
    for _ in range(3):
        loss = tuned(**given, labels=labels).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > losses[1] > losses[2]


@others
def test_mean_pooling_ignores_padding_and_reads_every_token(family):
    model = toys.model(family)
    tuned = task_head.with_task_head(model, "sequence", ("one", "two"), 1, "mean").eval()
    finetuning.draw_task_weights(tuned, 3)
    seen = []
    layer = {"distilbert": "pre_classifier", "modernbert": "head"}.get(tuned.config.model_type)
    body = tuned.base_model
    reader = getattr(body, "pooler", None) or (tuned.get_submodule(layer) if layer else None)
    reader = reader or tuned.classifier
    reader.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    batch = toys.batch(family, 5)
    tuned(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    states = encoder.hidden_states(model, batch)
    mask = batch["attention_mask"].unsqueeze(-1)
    wanted = (states * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(seen[0].reshape(5, 24), wanted, atol=1e-5, rtol=1e-4)


@others
def test_adapters(family):
    model, batch = toys.model(family), toys.batch(family, 4)
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    ways = ["ffn"] if families.family(model.config).final_norm else ["ffn", "layer_norm"]
    for way in ways:
        tuned = task_head.with_task_head(model, "token", ("one", "two"), 1).eval()
        before, names = tuned(**given).logits, [name for name, _ in tuned.named_parameters()]
        adapters.add_adapters(tuned, 4, way)
        assert tuned(**given).logits.equal(before)
        assert {*names} <= {name for name, _ in tuned.named_parameters()}
        count = sum(
            weight.numel() for name, weight in tuned.named_parameters() if ".adapter." in name
        )
        assert count == adapters.adapter_parameters(4, 24, 4)
        tuned(**given).logits.square().sum().backward()
        grown = [name for name, weight in tuned.named_parameters() if weight.grad is not None]
        assert sum(".adapter.up.weight" in name for name in grown) == 4
    if len(ways) == 1:
        with pytest.raises(StudyError, match="has no norm after the sum"):
            adapters.add_adapters(
                task_head.with_task_head(model, "token", ("one", "two"), 1), 4, "layer_norm"
            )


@others
def test_the_lens_ends_at_the_models_own_prediction(family):
    model, batch = toys.model(family), toys.batch(family)
    position = torch.ones(12, dtype=torch.long)
    with torch.no_grad():
        seen = logit_lens.layer_logits(model, batch, position)
        torch.testing.assert_close(seen[-1], logits(model, batch)[:, 1], atol=1e-5, rtol=1e-4)
        assert seen.shape == (5, 12, model.config.vocab_size)
        # the layer below the last reads as the last of a model without the last one
        shorter = axes.take(model, layers=[0, 1, 2])
        torch.testing.assert_close(seen[-2], logits(shorter, batch)[:, 1], atol=1e-5, rtol=1e-4)
        whole = mlm_head.logits(model, encoder.hidden_states(model, batch))
    torch.testing.assert_close(whole, logits(model, batch), atol=1e-5, rtol=1e-4)


@others
def test_the_search_keeps_layers_that_can_be_saved(family, tmp_path):
    model, own = toys.model(family), toys.tokenizer(family)
    chosen = layer_search.search(model, own, toys.sentences()[:8], 1)
    student = axes.take(model, layers=chosen)
    again = read_again(student, tmp_path)
    assert logits(again, toys.batch(family)).equal(logits(student, toys.batch(family)))


@others
def test_a_head_is_fitted_to_an_encoder_without_one(family, tmp_path):
    bare = encoder.without_head(toys.model(family))
    fitted = heads.fit(bare, batches(family))
    with torch.no_grad():
        loss = float(mlm.mlm_loss(fitted, batches(family)[0]))
    assert loss < math.log(bare.config.vocab_size)
    assert fitted.num_parameters() == sizes.count_parameters(fitted.config)
    again = read_again(fitted, tmp_path)
    assert logits(again, toys.batch(family)).equal(logits(fitted, toys.batch(family)))


@every
def test_a_new_teacher_of_every_type(family):
    names = ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads")
    configuration = {name: toys.SIZES[name] for name in names}
    configuration |= {"vocab_size": 160 + toys.byte_tokens(family)}
    configuration |= {"model_type": family.split()[0]}
    model, own = teachers.new_teacher(toys.sentences(), configuration, 1)
    assert families.size(model.config, "intermediate_size") == 20
    assert model.config.vocab_size == len(own) and own.model_max_length == sizes.max_tokens(
        model.config
    )
    assert hidden_states.sentence_vectors(model, own, toys.sentences()[:3]).shape == (3, 24)


@every
def test_its_card_loads_it(family):
    """Only encoders whose plain class has a pooler take the option that leaves it out."""
    model = encoder.without_head(toys.model(family))
    record = {"model": sizes.describe(model), "language": "mlt", "teacher": "toy-bert", "id": "x"}
    record |= {"settings": {}, "data": {}, "scores": {}}
    step = {"label": "teacher", "id": "x", "settings": {}}
    said = card.text(record, [step])
    pooled = model.config.model_type in ("bert", "xlm-roberta", "roberta", "camembert")
    assert ("add_pooling_layer" in said) == pooled


@modern
def test_layers_keep_their_kind_and_theta(family):
    theta = {"full_attention": 160000.0, "sliding_attention": 10000.0}
    model, batch = toys.model(family), toys.batch(family)
    assert model.config.layer_types[:2] == ["full_attention", "sliding_attention"]
    student = axes.take(model, layers=[0, 2, 3])
    kinds = ["full_attention", "sliding_attention", "full_attention"]
    assert student.config.layer_types == kinds
    assert [layer.module.attention_type for layer in parts.layers(student)] == kinds
    for kind, value in theta.items():
        assert student.config.rope_parameters[kind]["rope_theta"] == value
    with torch.no_grad():
        skipped = parts.layers(model)[1].module
        skipped.forward = lambda hidden_states, **_: hidden_states  # the layer that went
        wanted = logits(model, batch)
    torch.testing.assert_close(logits(student, batch), wanted, atol=1e-5, rtol=1e-4)


@modern
@pytest.mark.parametrize("choice", ["last_k", "stride_last"])
def test_a_student_without_the_first_layer_is_refused(family, choice):
    with pytest.raises(StudyError, match=r"first layer has to stay.*take first_k"):
        layers.cut(toys.model(family), 2, choice)


@pytest.mark.parametrize(("old", "new"), [(64, 26), (64, 32), (64, 48), (64, 64), (64, 2), (6, 4)])
def test_kept_pairs_turn_as_before(old, new):
    kept = rotary.kept_dimensions(old, new)
    assert len(set(kept.tolist())) == new and kept.max() < old
    first, second = kept.view(2, -1)
    assert (second - first == old // 2).all()
    config = toys.config("modernbert", hidden_size=4 * old)
    small = toys.config("modernbert", hidden_size=4 * new)
    rotary.keep_frequencies(small, config)
    for kind in ("full_attention", "sliding_attention"):
        theta = config.rope_parameters[kind]["rope_theta"]
        wanted = [theta ** (-2 * pair / old) for pair in first.tolist()]
        theta = small.rope_parameters[kind]["rope_theta"]
        found = [theta ** (-2 * place / new) for place in range(new // 2)]
        assert found == pytest.approx(wanted, rel=1e-9)


@modern
def test_scores_of_a_smaller_head_are_parts_of_the_old_sums(family):
    """What is left of a score is exactly the products of the kept pairs, over the old divisor."""
    model = toys.model(family)
    heads_kept = hidden.kept_heads(model.config, 16)
    small = axes.take(model, hidden=torch.arange(16), heads=heads_kept)
    scores = {}

    def by_hand(of, states, kept, size):
        config, attention = of.config, parts.layers(of)[1].module.attn
        query, key, _ = attention.Wqkv(states).view(*states.shape[:2], 3, 4, -1).unbind(2)
        cos, sin = of.base_model.rotary_emb(states, torch.arange(states.shape[1])[None], kind)
        query, key = apply_rotary_pos_emb(query, key, cos, sin, unsqueeze_dim=2)
        scores[config.hidden_size] = torch.einsum(
            "bqhd,bkhd->bhqk", query[..., kept], key[..., kept]
        ) / math.sqrt(size)

    kind = model.config.layer_types[1]
    states = torch.randn(2, 9, 24)
    states[..., 16:] = 0  # so that both read the same
    with torch.no_grad():
        by_hand(model, states, rotary.kept_dimensions(6, 4), 6)
        by_hand(small, states[..., :16], torch.arange(4), 4)
    torch.testing.assert_close(scores[16], scores[24], atol=1e-5, rtol=1e-4)


@modern
def test_sizes_and_ways_that_rotary_positions_do_not_allow(family):
    with pytest.raises(StudyError, match=r"4 heads with pairs of dimensions .* multiple of 8"):
        hidden.start(toys.model(family), 20, "truncation")
    with pytest.raises(StudyError, match="breaks the pairs"):
        hidden.start(toys.model(family), 16, "truncation_across_heads")
    model = toys.model(family)
    model.config.rope_parameters["full_attention"].update(rope_type="linear", factor=2.0)
    with pytest.raises(StudyError, match="scales the frequencies of full_attention"):
        hidden.start(model, 16, "truncation")


def test_a_hidden_size_that_would_lose_the_matrix_behind_the_embeddings_is_refused():
    with pytest.raises(StudyError, match="which is the size of the embeddings"):
        hidden.start(toys.model("electra generator"), 12, "truncation")


def test_a_discriminator_is_an_encoder_without_a_head(tmp_path):
    discriminator = ElectraForPreTraining(toys.config("electra")).eval()
    discriminator.save_pretrained(tmp_path)
    toys.tokenizer("electra").save_pretrained(tmp_path)
    model, _ = encoder.load(tmp_path)
    assert not families.has_head(model.config)
    batch = toys.batch("electra")
    with torch.no_grad():
        wanted = discriminator.electra(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state
        assert encoder.hidden_states(model, batch).equal(wanted)
