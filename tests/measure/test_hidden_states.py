"""Sentence vectors against a sentence-by-sentence walk; similarity against its kernel form."""

import numpy
import pytest
import torch
import toys

from lib.measure import hidden_states, mlm
from lib.model import device, encoder, hidden

both = pytest.mark.parametrize("family", toys.FAMILIES)
LONGEST = {"bert": 40, "xlm-roberta": 38}  # tokens that the toys take; XLM-R's begin at place 2


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "device", lambda: torch.device("cpu"))


def drawn(*shape, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=torch.float64)


def kernel_form(a, b):
    """Linear CKA from centred Gram matrices (Kornblith et al. 2019, equations 2 and 3)."""
    count = len(a)
    centring = numpy.eye(count) - numpy.full((count, count), 1 / count)
    k, m = (centring @ each.numpy() @ each.numpy().T @ centring for each in (a, b))
    return numpy.trace(k @ m) / numpy.sqrt(numpy.trace(k @ k) * numpy.trace(m @ m))


def walk(model, tokenizer, sentences, max_length=128):
    """The mean of each sentence's hidden states, one after the other, without padding."""
    rows, max_length = [], min(max_length, LONGEST[model.config.model_type])
    for sentence in sentences:
        given = tokenizer(sentence, return_tensors="pt", truncation=True, max_length=max_length)
        with torch.no_grad():
            rows.append(model.base_model(given["input_ids"]).last_hidden_state[0].mean(0))
    return torch.stack(rows).double()


def test_turned_scaled_and_moved_vectors_are_alike():
    vectors = drawn(50, 6)
    turn = torch.linalg.qr(drawn(6, 6, seed=1))[0]
    assert hidden_states.similarity(vectors, 3 * vectors @ turn + 7) == pytest.approx(1)
    wider = torch.cat([vectors @ turn, torch.zeros(50, 4)], 1)
    assert hidden_states.similarity(vectors, wider) == pytest.approx(1)
    stretched = vectors * torch.tensor([9.0, 1, 1, 1, 1, 1])
    assert hidden_states.similarity(vectors, stretched) < 0.9


@pytest.mark.parametrize("noise", [0.0, 0.5, 3.0, 1000.0])
def test_similarity_against_its_kernel_form(noise):
    vectors = drawn(40, 6) + 2
    others = vectors @ drawn(6, 9, seed=1) + noise * drawn(40, 9, seed=2)
    found = hidden_states.similarity(vectors, others)
    assert found == pytest.approx(kernel_form(vectors, others), rel=1e-9) and 0 < found < 1
    assert hidden_states.similarity(others, vectors) == pytest.approx(found, rel=1e-12)


def test_vectors_that_share_nothing_have_no_similarity():
    left, right = torch.linalg.qr(drawn(30, 8) - drawn(30, 8).mean(0))[0].split(4, 1)
    assert hidden_states.similarity(left, right) == pytest.approx(0, abs=1e-9)


@both
@pytest.mark.parametrize("max_length", [128, 7])
def test_sentence_vectors_against_a_walk_in_the_order_of_the_sentences(family, max_length):
    """Short and long ones in turn, in more than one batch; some are cut at seven tokens."""
    model, own, sentences = toys.model(family), toys.tokenizer(family), toys.sentences(130)
    before = toys.bits(model)
    found = hidden_states.sentence_vectors(model.train(), own, sentences, max_length)
    expected = walk(model.eval(), own, sentences, max_length)
    assert found.dtype == torch.float64 and torch.allclose(found, expected, atol=1e-5)
    assert toys.same(toys.bits(model), before)


@both
def test_a_sentence_has_the_same_vector_in_any_company(family):
    model, own, sentences = toys.model(family), toys.tokenizer(family), toys.sentences(80)
    together = hidden_states.sentence_vectors(model, own, sentences)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1)).tolist()
    mixed = hidden_states.sentence_vectors(model, own, [sentences[place] for place in order])
    assert torch.allclose(mixed, together[order], atol=1e-5)
    alone = hidden_states.sentence_vectors(model, own, sentences[7:8])
    assert torch.allclose(alone[0], together[7], atol=1e-5)


@both
def test_what_is_measured_depends_on_the_head_and_the_teacher(family):
    model, own, text = toys.model(family), toys.tokenizer(family), toys.sentences()
    teacher = toys.model(family, seed=4), own
    likeness = {
        "similarity": pytest.approx(
            kernel_form(walk(model, own, text[:30]), walk(*teacher, text[:30])), rel=1e-4
        )
    }
    losses = mlm.evaluate(model, own, text[:30], text)
    assert hidden_states.evaluate(model, own, text[:30], text) == losses
    assert hidden_states.evaluate(model, own, text[:30], text, teacher) == losses | likeness
    encoder.without_head(model)
    assert hidden_states.evaluate(model, own, text[:30], text) == {}
    assert hidden_states.evaluate(model, own, text[:30], text, teacher) == likeness
    narrow = hidden.start(model, 16, "truncation")
    found = hidden_states.evaluate(narrow, own, text[:30], text, (model, own))["similarity"]
    assert 0 < found < 1


@both
def test_an_unmasked_batch_has_its_true_tokens_again(family):
    batch, encoded = toys.batch(family), toys.encoded(family)
    masked, found = batch["input_ids"].clone(), hidden_states.unmasked(batch)
    rows = zip(found["input_ids"], batch["attention_mask"].bool(), strict=True)
    assert [ids[real].tolist() for ids, real in rows] == encoded
    assert batch["input_ids"].equal(masked) and not masked.equal(found["input_ids"])
    assert found["labels"] is batch["labels"]


def test_the_interval_of_a_similarity_covers_what_other_sentences_give():
    """Of 40 draws of 200 sentences, about 95 % have an interval with the similarity of 20,000."""
    mixing, noise = drawn(6, 4), 0.7
    everything = drawn(20_000, 6, seed=1)
    others = everything @ mixing + noise * drawn(20_000, 4, seed=2)
    true, hits = hidden_states.similarity(everything, others), 0
    for begin in range(0, 8000, 200):
        few = everything[begin : begin + 200], others[begin : begin + 200]
        low, high = hidden_states.similarity_interval(*few)
        assert 0 <= low <= hidden_states.similarity(*few) <= high <= 1
        hits += low <= true <= high
    assert 34 <= hits <= 40
    same = hidden_states.similarity_interval(everything[:10], everything[:10])
    assert same == pytest.approx((1, 1))
