// The page: it loads two models, and answers whenever the text changes.
import { env } from "@huggingface/transformers";
import * as answers from "./answers.mjs";

const PLACES = { topic: "models/topic", entities: "models/entities" };
const asked = new URLSearchParams(location.search);
const text = document.querySelector("#text");
const parts = {};
const bytes = {};
let running = false;
let waiting = false;

env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = "./";
env.useBrowserCache = false; // the browser's own cache sees when a model was made again
env.backends.onnx.wasm.wasmPaths = new URL("node_modules/onnxruntime-web/dist/", location).href;

function element(name, attributes, ...content) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...content);
  return made;
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function say(kind, message) {
  document.querySelector(`#${kind} .answer`).replaceChildren(element("p", { className: "note" }, message));
}

const show = {
  topic(labels) {
    const rows = labels.map(({ label, probability }) => {
      const bar = element("span", { className: "bar", ariaHidden: "true" }, element("span", {}));
      bar.firstChild.style.width = `${100 * probability}%`;
      const name = element("span", { className: "name" }, label);
      return element("li", {}, name, bar, element("span", { className: "share" }, percent(probability)));
    });
    return element("ol", {}, ...rows);
  },
  entities({ found, read }) {
    const shown = element("p", { className: "marked", dir: "auto" });
    let at = 0;
    for (const { label, start, end, probability } of found) {
      const mark = element("mark", { title: percent(probability) }, text.value.slice(start, end));
      mark.dataset.label = label;
      mark.append(element("span", { className: "label" }, label));
      shown.append(text.value.slice(at, start), mark);
      at = end;
    }
    shown.append(text.value.slice(at, read));
    if (read < text.value.length) shown.append(" … (the model reads no further)");
    if (!found.length) shown.append(element("span", { className: "note" }, " (no entity was found)"));
    return shown;
  },
};

/** Answer the text as it stands; a change during the work is answered after it. */
async function answer() {
  waiting = running;
  if (running) return;
  running = true;
  const given = text.value;
  for (const [kind, part] of Object.entries(parts)) {
    if (!given.trim()) {
      say(kind, "Type a sentence.");
      continue;
    }
    const began = performance.now();
    const found = await answers[kind](part, given);
    const time = performance.now() - began;
    if (text.value !== given) break;
    document.querySelector(`#${kind} .answer`).replaceChildren(show[kind](found));
    const facts = `${time.toFixed(0)} ms, model ${(bytes[kind] / 1e6).toFixed(1)} MB`;
    document.querySelector(`#${kind} .facts`).textContent = facts;
  }
  running = false;
  if (waiting) await answer();
}

async function start(kind) {
  const folder = asked.get(kind) ?? PLACES[kind];
  try {
    const found = await fetch(`${folder}/config.json`, { method: "HEAD" });
    if (!found.ok) {
      say(kind, `No model is in ${folder}. Export one there, or name its folder: ?${kind}=folder`);
      return;
    }
    parts[kind] = await answers.load(kind, folder, ({ status, file, loaded, total }) => {
      if (status !== "progress" || !file.endsWith(".onnx")) return;
      bytes[kind] = total;
      say(kind, `Loading the model: ${percent(loaded / total)}`);
    });
    await answer();
  } catch (error) {
    say(kind, `The model in ${folder} does not work: ${error.message}`);
    throw error;
  }
}

text.value = asked.get("text") ?? text.value;
text.addEventListener("input", answer);
for (const kind of Object.keys(PLACES)) await start(kind);
