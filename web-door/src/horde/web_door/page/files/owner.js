// What an owner of workers sees: how he stands and why, what each worker earned, and a switch to pause it.
import { get, post } from "./api.js";
import { acting, el, kudos, plain, table } from "./words.js";

const DAY_MS = 86_400_000;
const MOST_PAGES = 10; // Of a hundred pictures each.

const WAITS = {
  OWNER_UNTRUSTED: "half waits until you are trusted",
  OWNER_UNVERIFIED: "your work is being checked",
  ANONYMOUS_BOUND: "over the daily bound of what strangers\u2019 pictures pay",
  SUBSIDY_BOUND: "over the daily bound of subsidies",
  UNPAID: "the day\u2019s budget was spent",
};

export async function showOwner(accountId) {
  const [{ workers = [] }, { standing = {} }, { strikes = [] }] = await Promise.all([
    get("/v1/workers?mine=true&page_size=100"), get("/v1/standing"), get("/v1/standing/strikes?page_size=20"),
  ]);
  const restrictions = (standing.restrictions ?? []).map(restricted);
  // Whoever lends nothing, and against whom nothing is held, needs none of it.
  if (!workers.length && !restrictions.length && !strikes.length) return [];
  const earned = workers.length ? await earnings(accountId) : { of: new Map(), more: false };
  return [
    el("h3", {}, "Standing"),
    el("p", {}, standing.trusted ? "Trusted: what you earn is yours at once." : "Not trusted yet: part of what you earn waits in escrow.", standing.by_decree ? " By an operator\u2019s word." : ""),
    el("ul", {}, (standing.sentences ?? []).map((sentence) => el("li", {}, sentence))),
    ...restrictions,
    ...(strikes.length ? [table("Strikes", ["When", "Worker", "What for", "Counts until"], strikes.map(strike))] : []),
    ...(workers.length ? [el("h3", {}, "Your workers"), shownWorkers(workers, earned), el("p", { className: "note" }, summary(earned))] : []),
  ];
}

const strike = ({ at, worker_name = "", reason, detail = "", counts_until, forgiven_because = "" }) => [
  new Date(at).toLocaleString(), worker_name, detail || plain(reason, "STRIKE_REASON_"),
  forgiven_because ? `forgiven: ${forgiven_because}` : counts_until ? new Date(counts_until).toLocaleString() : "",
];

/** A restriction, and a word to those who can lift it. */
function restricted({ restriction_id, kind, reason, until, appeal_note = "" }) {
  const wrong = el("div", { role: "alert" });
  const note = el("input", { id: `appeal-${restriction_id}`, maxLength: 1000, required: true, value: appeal_note });
  const send = el("button", { type: "submit" }, "Say it");
  const form = el("form", { className: "row" }, el("p", {}, el("label", { htmlFor: note.id }, "What you have to say about it"), note), send);
  form.addEventListener("submit", acting(send, wrong, async () => {
    await post(`/v1/standing/restrictions/${restriction_id}:appeal`, { note: note.value });
    form.replaceWith(el("p", {}, "It is with those who can lift it."));
  }));
  const ends = until ? `until ${new Date(until).toLocaleString()}` : "until it is lifted";
  return el("div", { className: "restriction" }, el("p", {}, `${kind === "RESTRICTION_KIND_BAN" ? "Banned" : "Paused"} ${ends}: ${reason}`), form, wrong);
}

/** What each worker earned in the last day, from the statement. */
async function earnings(accountId) {
  const after = new Date(Date.now() - DAY_MS).toISOString();
  const found = { of: new Map(), why: new Set(), more: false };
  let page = "";
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const asked = `kinds=EVENT_KIND_SETTLE&page_size=100&after=${after}${page && `&page_token=${encodeURIComponent(page)}`}`;
    const { entries = [], next_page_token = "" } = await get(`/v1/account/statement?${asked}`);
    for (const { settlement } of entries) if (settlement?.owner_account_id === accountId) add(found, settlement);
    page = next_page_token;
    if (!page) return found;
  }
  found.more = true;
  return found;
}

function add(found, { worker_id, earned_mkudos = 0, to_escrow_mkudos = 0, escrow_reason = "" }) {
  const sum = found.of.get(worker_id) ?? { earned: 0n, waits: 0n };
  found.of.set(worker_id, { earned: sum.earned + BigInt(earned_mkudos), waits: sum.waits + BigInt(to_escrow_mkudos) });
  const why = WAITS[escrow_reason.replace("ESCROW_REASON_", "")];
  if (why) found.why.add(why);
}

function summary({ of, why, more }) {
  let [earned, waits] = [0n, 0n];
  for (const sum of of.values()) [earned, waits] = [earned + sum.earned, waits + sum.waits];
  const because = why.size ? ` (${[...why].join("; ")})` : "";
  return `Earned in the last day: ${more ? "more than " : ""}${kudos(earned)} kudos, of it ${kudos(waits)} to escrow${because}.`;
}

function shownWorkers(workers, { of }) {
  const rows = workers.map((worker) => {
    const { earned = 0n } = of.get(worker.worker_id) ?? {};
    const hindrances = (worker.hindrances ?? []).map(({ reason, detail }) => detail || plain(reason, /^.*REASON_/)).join("; ");
    const slots = `${worker.leases ?? 0} of ${worker.slots ?? 0}${worker.max_slots ? `, at most ${worker.max_slots}` : ""}`;
    return [worker.name, plain(worker.state, "WORKER_STATE_"), slots, String(worker.images_done ?? 0), String(worker.jobs_failed ?? 0), kudos(earned), hindrances, pauser(worker)];
  });
  return table("Your workers", ["Name", "State", "Paints", "Done", "Failed", "Kudos in a day", "Why it gets no work", "Switch"], rows);
}

function pauser({ worker_id, name, state }) {
  let paused = state === "WORKER_STATE_PAUSED";
  const wrong = el("div", { role: "alert" });
  const button = el("button", { type: "button" });
  const show = () => Object.assign(button, { textContent: paused ? "Go on" : "Pause", ariaLabel: `${paused ? "Let go on" : "Pause"}: ${name}` });
  button.addEventListener("click", acting(button, wrong, async () => {
    await post(`/v1/workers/${worker_id}:pause`, { paused: !paused });
    paused = !paused;
    show();
  }));
  show();
  return el("div", {}, button, wrong);
}
