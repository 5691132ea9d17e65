// The contract in words for people, and elements made of them. Whatever comes from the mesh is text, never markup.
import { Problem } from "./api.js";

export function el(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== ""));
  return made;
}

export const $ = (id) => document.getElementById(id);

/** Milli-kudos as kudos, exactly. */
export function kudos(mkudos) {
  const value = BigInt(mkudos ?? 0);
  const whole = value < 0n ? -value : value;
  const rest = String(whole % 1000n).padStart(3, "0").replace(/0+$/, "");
  return `${value < 0n ? "−" : ""}${(whole / 1000n).toLocaleString("en")}${rest && `.${rest}`}`;
}

export function seconds(duration) {
  const value = parseFloat(duration ?? "0");
  if (value < 1.5) return "a second";
  if (value < 90) return `${Math.round(value)} s`;
  return value < 5400 ? `${Math.round(value / 60)} min` : `${Math.round(value / 3600)} h`;
}

export const plain = (name, prefix) => (name ?? "").replace(prefix, "").toLowerCase().replaceAll("_", " ");

export const ENDINGS = {
  JOB_ENDING_DONE: "done",
  JOB_ENDING_CANCELLED: "cancelled",
  JOB_ENDING_FAULTED: "failed: costs nothing",
  JOB_ENDING_EXPIRED: "not painted in time: costs nothing",
  JOB_ENDING_CENSORED: "withheld by the worker's checker: costs nothing",
};

const WHY_NOT = {
  MODEL: "do not offer the model",
  SIZE: "cannot paint it so large, or in so many steps",
  FEATURE: "lack something that it needs",
  DENIED: "you left out",
  SLOW: "are slower than you asked for",
  PAUSED: "are paused",
  TRIED_BEFORE: "tried it before",
  NO_SLOTS: "are busy",
  RESTING: "rest after failures",
  REFUSED_MODEL: "refused the model lately",
  BACKING_OFF: "tried it before, and may again soon",
};

/** How long it waits, and why: a range, those before it, and what keeps other workers. */
export function waitWords(wait) {
  if (!wait?.eligible_workers) return ["No worker that is here now can do this; it waits for one.", ...reasons(wait)];
  const ahead = wait.jobs_ahead ? `${wait.jobs_ahead} before it` : "next in turn";
  const [soon, late] = [seconds(wait.p50), seconds(wait.p90)];
  const when = parseFloat(wait.p90) < 1.5 ? "begins at once" : soon === late ? `begins in about ${soon}` : `begins in ${soon} to ${late}`;
  return [`${ahead}; ${when}; ${wait.eligible_workers} worker${wait.eligible_workers > 1 ? "s" : ""} can do it.`, ...reasons(wait)];
}

const reasons = (wait) =>
  (wait?.ineligible ?? []).map(({ reason, workers }) => `${workers} other${workers > 1 ? "s" : ""} ${WHY_NOT[reason?.replace("INELIGIBLE_REASON_", "")] ?? "cannot"}.`);

const MULTIPLIERS = { POST_PROCESSOR: "post-processing", CONTROL: "guided by a picture", SOURCE_IMAGE: "from a picture", HIRES_FIX: "painted twice" };
const SURCHARGES = { FAST_WORKERS_ONLY: "only fast workers", DENIED_WORKERS: "some workers left out" };

/** The price of one picture, part by part: pairs of words and kudos. */
export function priceParts(image) {
  const times = (image.multipliers ?? []).map(({ reason, permille }) => `${MULTIPLIERS[reason?.replace("MULTIPLIER_REASON_", "")] ?? "dearer"} ×${permille / 1000}`);
  return [
    [`painting${times.length ? ` (${times.join(", ")})` : ""}`, image.price_mkudos],
    ...(image.surcharges ?? []).map(({ reason, amount_mkudos }) => [SURCHARGES[reason?.replace("SURCHARGE_REASON_", "")] ?? "surcharge", amount_mkudos]),
    ["tax", image.tax_mkudos],
  ];
}

const FIELDS = { "spec.job.image.": "", "spec.job.": "", "spec.": "" };

/** An error as a sentence, what to change, and what it named. */
export function shownProblem(error) {
  const help = {
    API_KEY_UNKNOWN: "This key is not known here (any more). Sign out under Account, or give another.",
    CREDENTIALS_MALFORMED: "A key has 22 letters and digits.",
    INSUFFICIENT_KUDOS: "Ask for less, share, or earn kudos by lending a GPU.",
  }[error.reason];
  const fields = (error.violations ?? []).map(({ field, description }) => {
    const prefix = Object.keys(FIELDS).find((start) => field.startsWith(start)) ?? "";
    return el("li", {}, `${field.slice(prefix.length).replaceAll("_", " ")}: ${description}`);
  });
  const later = error.waitSeconds ? ` Try again in ${seconds(error.waitSeconds)}.` : "";
  return [`${error.message}${later} ${help ?? ""}`, fields.length ? el("ul", {}, fields) : ""];
}

/** Do what a button is for; what the mesh refuses is told in `wrong`, and the button can be used again. */
export const acting = (button, wrong, todo) => async (event) => {
  event?.preventDefault();
  button.disabled = true;
  wrong.replaceChildren();
  try {
    await todo();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    wrong.replaceChildren(...shownProblem(error));
  } finally {
    button.disabled = false;
  }
};

/** A table, told to screen readers by its caption. */
export const table = (caption, heads, rows) =>
  el("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": caption },
    el("table", {}, el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))), el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell)))))));

export const facts = (pairs) => el("dl", { className: "facts" }, pairs.filter(([, value]) => value !== "" && value !== undefined).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
