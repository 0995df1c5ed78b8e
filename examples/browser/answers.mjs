// The answers of exported task models: the topic of a text, and the entities in it. The page uses
// this module, and the tests run it in Node.
import {
  AutoModelForSequenceClassification,
  AutoModelForTokenClassification,
  AutoTokenizer,
  Tensor,
  softmax,
} from "@huggingface/transformers";

const KINDS = { topic: AutoModelForSequenceClassification, entities: AutoModelForTokenClassification };
const WORD = /[\p{L}\p{M}\p{N}]+|\S/gu; // a run of letters and digits, or one other character

/** The 8-bit model of a folder with its tokenizer; `kind` is topic or entities. */
export async function load(kind, folder, onProgress) {
  const tokenizer = await AutoTokenizer.from_pretrained(folder);
  const options = { dtype: "q8", progress_callback: onProgress };
  const model = await KINDS[kind].from_pretrained(folder, options);
  return { tokenizer, model };
}

/** The labels with their probabilities, the most probable one first. */
export async function topic(part, text) {
  let ids = part.tokenizer.encode(text);
  const longest = part.tokenizer.model_max_length;
  if (ids.length > longest) ids = [...ids.slice(0, longest - 1), ids.at(-1)];
  const [row] = await probabilities(part, ids);
  const labels = row.map((probability, id) => ({ label: labelOf(part, id), probability }));
  return labels.sort((one, other) => other.probability - one.probability);
}

/**
 * The entities as {label, start, end, probability}, where start and end are places in the text; and
 * `read`, the place where the text was cut off. The tag of a word is that of its first token, as in
 * training.
 */
export async function entities(part, text) {
  const { tokenizer } = part;
  const [first, last] = tokenizer.encode("");
  const ids = [first];
  const words = [];
  let read = text.length;
  for (const { 0: word, index: start } of text.matchAll(WORD)) {
    const tokens = tokenizer.encode(word, { add_special_tokens: false });
    if (ids.length + tokens.length >= tokenizer.model_max_length) {
      read = start;
      break;
    }
    if (tokens.length) words.push({ start, end: start + word.length, place: ids.length });
    ids.push(...tokens);
  }
  const rows = await probabilities(part, [...ids, last]);
  const tagged = words.map(({ start, end, place }) => {
    const probability = Math.max(...rows[place]);
    return { start, end, probability, tag: labelOf(part, rows[place].indexOf(probability)) };
  });
  return { found: joined(tagged), read };
}

/** Entities of words with BIO tags: `I-X` goes on with an entity X that ends just before it. */
function joined(words) {
  const found = [];
  let open = null;
  for (const { start, end, probability, tag } of words) {
    const label = tag.slice(2);
    if (tag === "O") open = null;
    else if (open?.label === label && tag.startsWith("I-")) {
      open.end = end;
      open.probability = Math.min(open.probability, probability);
    } else found.push((open = { label, start, end, probability }));
  }
  return found;
}

function labelOf({ model }, id) {
  return model.config.id2label[id];
}

/** One list of probabilities for a text, or one for each token of it. */
async function probabilities({ model }, ids) {
  const shape = [1, ids.length];
  const { logits } = await model({
    input_ids: new Tensor("int64", ids.map(BigInt), shape),
    attention_mask: new Tensor("int64", ids.map(() => 1n), shape),
  });
  const width = logits.dims.at(-1);
  const rows = logits.data.length / width;
  return Array.from({ length: rows }, (_, row) =>
    softmax(Array.from(logits.data.slice(row * width, (row + 1) * width))),
  );
}
