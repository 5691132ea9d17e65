// One generation on the page: its pictures as they are painted, where it stands in the queue and why, and its end.
import { picture, post, Problem, watch } from "./api.js";
import { el, ENDINGS, facts, kudos, plain, shownProblem, waitWords } from "./words.js";

/** A card that follows a generation. `again(generation, image)` is what "again with" does. */
export function followed(generation, again) {
  const stopping = new AbortController();
  const state = el("p", { role: "status", "aria-live": "polite" });
  const figures = el("div", { className: "pictures" });
  const cancel = el("button", { type: "button" }, "Cancel");
  const card = el("article", { className: "generation", "aria-label": `Generation: ${generation.spec.job.image.prompt}` },
    el("h3", {}, generation.spec.job.image.prompt), state, figures, el("p", {}, cancel));
  const images = new Map();
  let last = generation;

  cancel.addEventListener("click", async () => {
    cancel.disabled = true;
    try {
      await post(`/v1/generations/${generation.generation_id}:cancel`, {});
    } catch (error) {
      cancel.disabled = false;
      state.replaceChildren(...shownProblem(error));
    }
  });

  function figureOf(image) {
    let shown = images.get(image.job_id);
    if (!shown) {
      const frame = el("div", { className: "blank" });
      const caption = el("figcaption");
      shown = { frame, caption, figure: el("figure", {}, frame, caption), version: -1n, step: 0, preview: "" };
      images.set(image.job_id, shown);
      figures.append(shown.figure);
    }
    return shown;
  }

  function show(image) {
    const shown = figureOf(image);
    const version = BigInt(image.version ?? 0);
    if (version < shown.version) return; // Late: something newer was told.
    if (shown.lease !== image.lease_id) shown.step = 0;
    Object.assign(shown, { version, lease: image.lease_id, image });
    const words = {
      JOB_STATE_ACCEPTING: "accepted",
      JOB_STATE_QUEUED: "waits",
      JOB_STATE_LEASED: plain(image.lease_state, "LEASE_STATE_") || "painting",
      JOB_STATE_SETTLING: "almost done",
      JOB_STATE_ENDED: ENDINGS[image.ending] ?? "ended",
    }[image.state];
    shown.caption.replaceChildren(words ?? "");
    if (image.state === "JOB_STATE_QUEUED" && image.wait) waits(image.wait);
    if (image.state === "JOB_STATE_LEASED") bar(shown, image.step ?? 0, generation.spec.job.image.steps);
    if (image.state === "JOB_STATE_ENDED" && !shown.ended) ended(shown, image);
  }

  function waits(wait) {
    state.replaceChildren(...waitWords(wait).flatMap((line) => [line, " "]));
  }

  function bar(shown, step, steps) {
    shown.step = Math.max(shown.step, step);
    const label = `step ${shown.step} of ${steps}`;
    shown.caption.replaceChildren(label, el("progress", { max: steps, value: shown.step, "aria-label": label }));
    state.replaceChildren("Being painted.");
  }

  async function ended(shown, image) {
    shown.ended = true;
    if (image.ending === "JOB_ENDING_DONE") await show_picture(shown, image, last, again);
    else if (image.ending_detail) shown.caption.append(`: ${image.ending_detail}`);
  }

  async function run() {
    generation.images.forEach(show);
    try {
      for await (const [name, told] of watch(generation.generation_id, stopping.signal)) {
        if (name === "snapshot" || name === "finished") {
          last = told;
          told.images.forEach(show);
        } else if (name === "image") show(told);
        else if (name === "wait" && images.get(told.job_id)?.image.state === "JOB_STATE_QUEUED") waits(told.wait);
        else if (name === "progress" || name === "preview") {
          const shown = images.get(told.job_id);
          if (!shown || shown.ended || shown.lease !== told.lease_id) continue; // Of a lease that is over.
          if (name === "progress") bar(shown, told.step ?? 0, told.steps);
          else glimpse(shown, told.image);
        }
      }
      finished();
    } catch (error) {
      if (error instanceof Problem) state.replaceChildren(el("span", { className: "error" }, ...shownProblem(error)));
      else if (error.name !== "AbortError") throw error;
    }
  }

  function glimpse(shown, base64) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const address = URL.createObjectURL(new Blob([bytes]));
    const image = el("img", { src: address, alt: `Glimpse after ${shown.step} steps`, className: "glimpse" });
    image.addEventListener("load", () => URL.revokeObjectURL(address));
    shown.frame.replaceWith(image);
    shown.frame = image;
  }

  function finished() {
    cancel.remove();
    const done = last.images.filter(({ ending }) => ending === "JOB_ENDING_DONE").length;
    const cost = last.images.reduce((sum, { settlement = {} }) => sum + BigInt(settlement.charged_mkudos ?? 0) + BigInt(settlement.from_subsidy_mkudos ?? 0), 0n);
    const paid = last.quote.facts?.anonymous ? ", paid by the anonymous subsidy" : "";
    state.replaceChildren(`${done} of ${last.images.length} painted, for ${kudos(cost)} kudos in all${paid}.`);
    card.dispatchEvent(new Event("finished"));
  }

  run();
  return { card, stop: () => stopping.abort() };
}

/** A finished picture in its figure: a button that opens it with everything that is known of it. */
export async function show_picture(shown, image, generation, again) {
  try {
    const address = await picture(`/v1/generations/${generation.generation_id}/images/${image.job_id}`);
    if (!shown.frame.isConnected) return URL.revokeObjectURL(address); // Nobody looks any more.
    const prompt = generation.spec.job.image.prompt;
    const open = el("button", { type: "button", className: "picture", "aria-label": `Open: ${prompt}` }, el("img", { src: address, alt: prompt }));
    open.addEventListener("click", () => look(address, image, generation, again));
    shown.frame.replaceWith(open);
    shown.frame = open;
    const shared = image.placement === "PLACEMENT_SHARED" ? "shared" : "private";
    shown.caption.replaceChildren(`seed ${image.seed ?? 0}, ${shared}`, image.deviations?.length ? el("div", {}, "not exactly as asked") : "");
  } catch (error) {
    shown.caption.replaceChildren(...(error instanceof Problem ? shownProblem(error) : [String(error)]));
  }
}

function look(address, image, generation, again) {
  const { job, share } = generation.spec;
  const spec = job.image;
  const dialog = document.getElementById("look");
  const ending = { IMAGE_FORMAT_PNG: "png", IMAGE_FORMAT_JPEG: "jpg", IMAGE_FORMAT_WEBP: "webp" }[image.format] ?? "bin";
  const close = (then) => () => {
    dialog.close();
    then();
  };
  const withdraw = el("button", { type: "button" }, "Take it back");
  withdraw.addEventListener("click", async () => {
    withdraw.disabled = true;
    try {
      await post(`/v1/generations/${generation.generation_id}:withdraw`, { job_ids: [image.job_id] });
      withdraw.replaceWith("It is taken back.");
    } catch (error) {
      withdraw.replaceWith(el("span", { className: "error" }, ...shownProblem(error)));
    }
  });
  const { settlement = {} } = image;
  document.getElementById("look-inside").replaceChildren(
    el("img", { src: address, alt: spec.prompt }),
    facts([
      ["prompt", spec.prompt], ["away from", spec.negative_prompt], ["model", job.model], ["seed", String(image.seed ?? 0)],
      ["size", `${spec.width} × ${spec.height}`], ["steps", String(image.making?.steps ?? spec.steps)],
      ["sampler", plain(image.making?.sampler ?? spec.sampler, "SAMPLER_")], ["guidance", spec.guidance_scale === undefined ? "" : String(spec.guidance_scale)],
      ["painted by", image.worker_name], ["kept", image.placement === "PLACEMENT_SHARED" ? "shared with research" : image.expires_at ? `private, until ${new Date(image.expires_at).toLocaleString()}` : "private"],
      ["paid", `${kudos(BigInt(settlement.charged_mkudos ?? 0) + BigInt(settlement.from_subsidy_mkudos ?? 0))} kudos, of it tax ${kudos(settlement.tax_mkudos)}`],
      ["not as asked", (image.deviations ?? []).map(({ field, asked, done }) => `${field}: ${asked || "?"} → ${done || "left out"}`).join("; ")],
      ["SHA-256", hexOf(image.sha256)],
    ]),
    el("p", { className: "row" },
      el("a", { href: address, download: `${generation.generation_id.slice(0, 8)}-${image.index ?? 0}.${ending}` }, "Save"),
      el("button", { type: "button", onclick: close(() => again(generation, image, "same")) }, "Again with this seed"),
      el("button", { type: "button", onclick: close(() => again(generation, image, "new")) }, "Again with a new seed"),
      el("button", { type: "button", onclick: close(() => again(generation, image, "from", address)) }, "Begin with this picture"),
      withdraw),
    share ? el("p", { className: "note" }, `Shared under the text of ${generation.quote.facts?.consent_text_version ?? ""}.`) : "");
  dialog.showModal();
}

const hexOf = (base64) => [...atob(base64 ?? "")].map((letter) => letter.charCodeAt(0).toString(16).padStart(2, "0")).join("");
