"""A baseline without an encoder's layers: the teacher's input vectors of tokens, and a linear
classifier. It is what tools such as model2vec give before they distil.

A text is the mean of the vectors of its tokens. A word is that mean over its own tokens, between
those of the words before and after it.
"""

import numpy

from lib.data.tasks import Task


class Vectors:
    """The mean input vectors of texts and words, each text cut into tokens once."""

    def __init__(self, model, tokenizer):
        self.table = model.get_input_embeddings().weight.detach().numpy()
        self.tokenizer, self.known = tokenizer, {}

    def rows(self, texts: list[str]) -> numpy.ndarray:
        """One vector a text, (N, H); zeros for a text without a token."""
        new = list({text for text in texts if text not in self.known})
        encoded = self.tokenizer(new, add_special_tokens=False)["input_ids"] if new else []
        for text, ids in zip(new, encoded, strict=True):
            mean = self.table[ids].mean(0) if ids else numpy.zeros(self.table.shape[1])
            self.known[text] = mean.astype(numpy.float32)
        return numpy.stack([self.known[text] for text in texts])


def features(task: Task, model, tokenizer) -> dict[str, numpy.ndarray]:
    """Part -> one row a text (N, H), or one row a word (N, 3H).

    On the train part each feature has a mean of 0, all have one deviation, and rows have a length
    of about 1, as those of the n-grams.
    """
    vectors, result = Vectors(model, tokenizer), {}
    for part, examples in task.splits.items():
        if task.kind == "sequence":
            result[part] = vectors.rows([text for text, _ in examples])
            continue
        here = [vectors.rows(list(words)) for words, _ in examples]
        edge = numpy.zeros((1, here[0].shape[1]), numpy.float32)
        result[part] = numpy.concatenate(
            [
                numpy.hstack(
                    [numpy.vstack([edge, rows[:-1]]), rows, numpy.vstack([rows[1:], edge])]
                )
                for rows in here
            ]
        )
    mean, deviation = result["train"].mean(0), result["train"].std(0) + 1e-6
    scale = deviation * len(mean) ** 0.5
    return {part: (rows - mean) / scale for part, rows in result.items()}
