"""What the linear baselines read: one row a text, or one row a word, for each part of a task.

The n-grams know the text alone. The static rows are the teacher's input vectors of tokens, without
its layers; it is what tools such as model2vec give before they distil.
"""

import itertools

import numpy

from lib.data.tasks import Task

LONGEST = 5  # characters of the longest n-gram


def ngrams(task: Task) -> dict:
    """Part -> sparse rows (N, features) of n-grams of 1 to 5 characters.

    A text has those inside its words, weighted by tf-idf. A word has its own between the edges of
    the words before and after it; each of the three has a length of 1.
    """
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.preprocessing import Normalizer

    if task.kind == "sequence":
        of_all = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, LONGEST), sublinear_tf=True)
        of_all.fit([text for text, _ in task.splits["train"]])
        return {part: of_all.transform(_inputs(task, part)) for part in task.splits}

    def counted(place, features):
        """Of the triple of a word, the features of the word at `place`."""
        return make_pipeline(
            CountVectorizer(
                analyzer=lambda words: features(words[place]), binary=True, dtype=numpy.float64
            ),
            Normalizer(),
        )

    of_all = make_union(counted(0, _edges), counted(1, _ngrams), counted(2, _edges))
    forms = sorted({word for words, _ in task.splits["train"] for word in words} | {""})
    of_all.fit([(form, form, form) for form in forms])
    return {part: of_all.transform(_inputs(task, part)) for part in task.splits}


def static(task: Task, model, tokenizer) -> dict[str, numpy.ndarray]:
    """Part -> one row a text (N, H), or one row a word between its neighbours (N, 3H).

    On the train part each feature has a mean of 0, all have one deviation, and rows have a length
    of about 1, as those of the n-grams.
    """
    result = {}
    for part in task.splits:
        inputs = _inputs(task, part)
        sides = [inputs] if task.kind == "sequence" else zip(*inputs, strict=True)
        result[part] = numpy.hstack([vectors(side, model, tokenizer) for side in sides])
    mean, deviation = result["train"].mean(0), result["train"].std(0) + 1e-6
    scale = deviation * len(mean) ** 0.5
    return {part: (rows - mean) / scale for part, rows in result.items()}


def vectors(texts, model, tokenizer) -> numpy.ndarray:
    """The mean input vector of the tokens of each text or word, (N, H); zeros without a token."""
    table = model.get_input_embeddings().weight.detach().numpy()
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    encoded = tokenizer([*places], add_special_tokens=False)["input_ids"]
    none = numpy.zeros(table.shape[1], table.dtype)
    means = numpy.stack([table[ids].mean(0) if ids else none for ids in encoded])
    return means[[places[text] for text in texts]]


def _inputs(task: Task, part: str) -> list:
    """The texts; or of each word (the word before, the word, the word after), "" at the ends."""
    texts = [text for text, _ in task.splits[part]]
    if task.kind == "sequence":
        return texts
    return [
        triple
        for words in texts
        for triple in zip(("", *words), words, (*words[1:], ""), strict=False)
    ]


def _ngrams(word: str) -> list[str]:
    """Features of a word: every n-gram of up to 5 characters, its ends marked, and its edges."""
    marked = f"<{word.lower()}>"
    return [
        marked[begin : begin + length]
        for length in range(1, LONGEST + 1)
        for begin in range(len(marked) - length + 1)
    ] + _edges(word)


def _edges(word: str) -> list[str]:
    """Features of a neighbour: its form, its first and last three characters, its shape."""
    low = word.lower()
    return [f"form {low}", f"start {low[:3]}", f"end {low[-3:]}", f"shape {_shape(word)}"]


def _shape(word: str) -> str:
    """The kinds of the characters in turn: X capital, x letter, 9 digit, else the character."""
    kinds = [
        "X" if c.isupper() else "x" if c.isalpha() else "9" if c.isdigit() else c for c in word
    ]
    return "".join(kind for kind, _ in itertools.groupby(kinds))
