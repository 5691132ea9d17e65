// Asking: the form, the price before the click, and what is being painted.
import { apiKey, get, letGo, newId, post, Problem, putInput } from "./api.js";
import { followed } from "./following.js";
import { beginMask, maskBlob, maskVersion, setSource, source, sourceVersion } from "./mask.js";
import { $, el, kudos, plain, priceParts, shownProblem, waitWords } from "./words.js";

const MOST_CARDS = 20;

const form = $("ask");
let models = [];
let quoting = new AbortController();
let timer;
let stored = null; // The picture that was put last, and its input.
let request = { id: newId(), of: "" }; // Kept while the same is asked for, so that a second click asks for nothing new.

/** What the form says, in the contract's words. Inputs are put when it is sent. */
function spec(inputs = {}) {
  const given = Object.fromEntries(new FormData(form));
  const image = {
    prompt: given.prompt, negative_prompt: given.negative, width: Number(given.width), height: Number(given.height), steps: Number(given.steps),
    ...(given.seed && { seed: given.seed }),
    ...(given.guidance && { guidance_scale: Number(given.guidance) }),
    ...(given.sampler && { sampler: given.sampler }),
    ...inputs,
    ...(inputs.source_image && { denoising_strength: Number($("strength").value) }),
  };
  return { job: { model: given.model, image }, count: Number(given.count), share: $("share").checked };
}

/** Who asks, and from what, decides what the switch can do: the same rule as the mesh's. */
function shareRule() {
  const [share, why] = [$("share"), $("share-why")];
  const anonymous = !apiKey();
  if (source()) return rule(share, why, true, false, "What begins with a picture stays private, always: tax 3 kudos a picture.");
  if (anonymous) return rule(share, why, true, true, "Without an account, pictures are always shared: tax 1 kudos a picture.");
  share.disabled = false;
  why.textContent = share.checked ? "Anybody may see it, and research gets it: tax 1 kudos a picture." : "Only you see it: tax 3 kudos a picture. Shared, the tax is 1.";
}

function rule(share, why, disabled, checked, words) {
  Object.assign(share, { disabled, checked });
  why.textContent = words;
}

/** The price, a moment after the last change. */
export function requote() {
  shareRule();
  clearTimeout(timer);
  timer = setTimeout(quote, 300);
}

async function quote() {
  quoting.abort();
  quoting = new AbortController();
  try {
    const asked = spec(source() ? { source_image: await sourceInput() } : {});
    if (!asked.job.model) return;
    if (!asked.job.image.prompt.trim()) asked.job.image.prompt = "…";
    showQuote((await post("/v1/generations:quote", { spec: asked }, { signal: quoting.signal })).quote);
  } catch (error) {
    if (!(error instanceof Problem)) return;
    if (error.reason === "INPUT_UNUSABLE") stored = null;
    $("quote").replaceChildren(el("div", { className: "error" }, ...shownProblem(error)));
    $("changes").replaceChildren();
  }
}

/** The picture to begin with, put once: so the price is the mesh's own before the click. */
async function sourceInput() {
  if (stored?.of !== source()) {
    const put = { of: source(), input: putInput(source()) };
    stored = put;
    // What could not be put is put again by whoever asks next.
    put.input.catch(() => stored === put && (stored = null));
  }
  return stored.input;
}

function showQuote(told) {
  const parts = priceParts(told.per_image).map(([words, mkudos]) => el("div", {}, el("dt", {}, words), el("dd", {}, kudos(mkudos))));
  const count = Number($("count").value);
  const total = el("div", { className: "total" }, el("dt", {}, count > 1 ? `${count} pictures` : "in all"), el("dd", {}, `${kudos(told.total_mkudos)} kudos`));
  const have = told.available_mkudos === undefined ? "" : ` You could spend ${kudos(told.available_mkudos)}.`;
  const subsidised = told.subsidised_mkudos ? ` A subsidy pays ${kudos(told.subsidised_mkudos)} of it.` : "";
  const notices = (told.notices ?? []).filter(({ code }) => !/SHARED|NO_WORKER/.test(code)).map(({ text }) => text);
  $("quote").replaceChildren(el("dl", {}, parts, total), el("p", { className: "why" }, [...waitWords(told.wait), have, subsidised, ...notices].join(" ")));
  $("changes").replaceChildren(...(told.changes ?? []).map(change));
}

/** A button that asks otherwise: what would begin sooner or cost less. */
function change({ kind, value, total_mkudos, wait }) {
  const [width, height] = (value ?? "").split("x");
  const does = {
    QUOTE_CHANGE_KIND_SMALLER: [`${width} × ${height}`, () => Object.assign($("width"), { value: width }) && Object.assign($("height"), { value: height })],
    QUOTE_CHANGE_KIND_FEWER_STEPS: [`${value} steps`, () => ($("steps").value = value)],
    QUOTE_CHANGE_KIND_OTHER_MODEL: [value, () => ($("model").value = value)],
    QUOTE_CHANGE_KIND_SHARE: ["share it", () => ($("share").checked = true)],
  }[kind];
  if (!does) return "";
  const [words, act] = does;
  const when = wait?.p50 ? `, begins in about ${Math.max(1, Math.round(parseFloat(wait.p50)))} s` : "";
  return el("li", {}, el("button", { type: "button", onclick: () => { act(); requote(); } }, `${words}: ${kudos(total_mkudos)} kudos${when}`));
}

async function send(event) {
  event.preventDefault();
  $("go").disabled = true;
  $("ask-error").replaceChildren();
  try {
    // The same again, after an answer that got lost, is the same request: it is neither painted nor paid twice. What it
    // began with is named as it was, though it may be gone by now: the mesh knows what it took.
    const of = JSON.stringify([spec({}), sourceVersion(), maskVersion(), $("strength").value]);
    if (request.of !== of) {
      const inputs = {};
      if (source()) {
        inputs.source_image = await sourceInput();
        const mask = await maskBlob();
        if (mask) inputs.mask = await putInput(mask);
      }
      request = { id: newId(), of, inputs };
    }
    const { generation } = await post("/v1/generations", { request_id: request.id, spec: spec(request.inputs) });
    request = { id: newId(), of: "" };
    follow(generation);
  } catch (error) {
    // Inputs are kept for an hour: the next click puts them again.
    if (error.reason === "INPUT_UNUSABLE") [stored, request] = [null, { id: newId(), of: "" }];
    if (error instanceof Problem) $("ask-error").replaceChildren(...shownProblem(error));
    else throw error;
  } finally {
    $("go").disabled = false;
  }
}

function follow(generation) {
  const { card, stop } = followed(generation, again);
  card.addEventListener("finished", () => requote());
  card.addEventListener("left", stop);
  $("running").prepend(card);
  // A page that stays open for days keeps the newest; the others are in the gallery.
  for (const old of [...$("running").children].slice(MOST_CARDS)) {
    old.dispatchEvent(new Event("left"));
    letGo(old);
    old.remove();
  }
  card.scrollIntoView({ block: "nearest" });
}

/** "Again with": fill the form from what was asked for before. */
export async function again(generation, image, how, address) {
  location.hash = "#paint";
  const { job, share } = generation.spec;
  const { prompt, negative_prompt = "", width, height, steps, guidance_scale = "", sampler = "" } = job.image;
  const values = { prompt, negative: negative_prompt, model: job.model, width, height, steps, guidance: guidance_scale, sampler, seed: how === "same" ? image.seed ?? "0" : "", count: 1 };
  fill(Object.entries(values));
  $("share").checked = Boolean(share);
  if (how === "from") {
    await setSource(await (await fetch(address)).blob());
    $("source-box").open = true;
  }
  requote();
  $("prompt").focus();
}

const FILLED = ["prompt", "negative", "model", "count", "width", "height", "steps", "seed", "guidance", "sampler"];

/** Fill the form from pairs of names and values, for example those of a link. Nothing is asked for by it, nor shared. */
export function fill(values) {
  for (const [name, value] of values) if (FILLED.includes(name)) form.elements[name].value = value;
  ofModel();
}

export async function loadModels() {
  ({ models = [] } = await get("/v1/models"));
  const chosen = $("model").value;
  $("model").replaceChildren(...models.filter(({ kind = "JOB_KIND_IMAGE" }) => kind === "JOB_KIND_IMAGE").map(({ name, workers = 0 }) => el("option", { value: name }, `${name} (${workers} worker${workers === 1 ? "" : "s"})`)));
  if (chosen) $("model").value = chosen;
  ofModel();
}

function ofModel() {
  const model = models.find(({ name }) => name === $("model").value);
  const chosen = $("sampler").value;
  const samplers = (model?.samplers ?? []).map((name) => el("option", { value: name }, plain(name, "SAMPLER_")));
  $("sampler").replaceChildren(el("option", { value: "" }, "the model's own"), ...samplers);
  $("sampler").value = [...$("sampler").options].some(({ value }) => value === chosen) ? chosen : "";
}

export function beginPaint() {
  beginMask(requote);
  form.addEventListener("submit", send);
  form.addEventListener("input", requote);
  $("model").addEventListener("change", ofModel);
  $("strength").addEventListener("input", () => ($("strength-shown").value = $("strength").value));
  $("consent-open").addEventListener("click", () => $("consent").showModal());
}
