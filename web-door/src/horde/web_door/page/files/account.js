// Who asks: anonymous or an account; its balance and statement. What it lends is in owner.js.
import { apiKey, get, keepKey, newId, newKey, post, Problem } from "./api.js";
import { showOwner } from "./owner.js";
import { $, el, facts, kudos, plain, shownProblem, table } from "./words.js";

export async function showWho() {
  $("moderate-link").hidden = true;
  if (!apiKey()) return void ($("who").textContent = "Anonymous");
  try {
    const { account, spend } = await get("/v1/account");
    $("moderate-link").hidden = !(account.roles ?? []).includes("ACCOUNT_ROLE_MODERATOR");
    $("who").textContent = `${account.display_name}, ${kudos(spend?.posted_mkudos)} kudos`;
  } catch (error) {
    $("who").textContent = error.reason === "API_KEY_UNKNOWN" ? "Your key is not known here" : "";
  }
}

export async function showAccount(changed) {
  $("account").replaceChildren("…");
  $("account").replaceChildren(...(apiKey() ? await signedIn(changed) : signedOut(changed)));
}

function signedOut(changed) {
  const wrong = el("div", { role: "alert" });
  const key = el("input", { id: "key", type: "password", autocomplete: "current-password", required: true });
  const name = el("input", { id: "name", maxLength: 64, required: true, autocomplete: "nickname" });
  const act = (todo) => async (event) => {
    event.preventDefault();
    wrong.replaceChildren();
    try {
      await todo();
      changed();
    } catch (error) {
      if (error instanceof Problem) wrong.replaceChildren(...shownProblem(error));
      else throw error;
    }
  };
  const signIn = act(async () => {
    await get("/v1/account", { key: key.value.trim() });
    keepKey(key.value.trim());
  });
  // Drawn and named once, and kept over clicks: a second click opens no second account.
  const drawn = { api_key: newKey(), request_id: newId() };
  const open = act(async () => {
    await post("/v1/accounts", { ...drawn, display_name: name.value });
    keepKey(drawn.api_key);
  });
  return [
    el("p", {}, "You ask as anonymous: last in turn, and what you paint from words alone is always shared. This browser keeps a token; whoever clears it loses what was asked for."),
    el("h3", {}, "I have a key"),
    el("form", { className: "row", onsubmit: signIn }, el("p", {}, el("label", { htmlFor: "key" }, "API key"), key), el("button", { type: "submit" }, "Sign in")),
    el("h3", {}, "Open an account"),
    el("form", { className: "row", onsubmit: open }, el("p", {}, el("label", { htmlFor: "name" }, "Name to show"), name), el("button", { type: "submit" }, "Open")),
    wrong,
  ];
}

async function signedIn(changed) {
  const leave = el("button", { type: "button", onclick: () => { keepKey(""); changed(); } }, "Sign out");
  try {
    const { account, spend = {}, escrow = {} } = await get("/v1/account");
    const shown = el("code", { hidden: true }, apiKey());
    const reveal = el("button", { type: "button", onclick: () => (shown.hidden = !shown.hidden) }, "Show my key");
    return [
      facts([
        ["name", account.display_name], ["account", account.account_id], ["roles", (account.roles ?? []).map((role) => plain(role, "ACCOUNT_ROLE_")).join(", ")],
        ["kudos", kudos(spend.posted_mkudos)], ["set aside", kudos(spend.held_mkudos)], ["in escrow", kudos(escrow.posted_mkudos)], ["could spend now", kudos(spend.available_mkudos)],
      ]),
      el("p", { className: "row" }, reveal, leave), el("p", {}, shown, " Keep it somewhere: it is the only way back in."),
      ...(await showOwner(account.account_id)), ...(await statement(account.account_id)),
    ];
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return [el("div", { role: "alert" }, ...shownProblem(error)), el("p", {}, leave)];
  }
}

const WHAT = { EVENT_KIND_PLACE_HOLDS: "set aside for pictures", EVENT_KIND_SETTLE: "picture paid", EVENT_KIND_RELEASE: "given back" };

async function statement(accountId) {
  const box = el("tbody");
  let page = "";
  const more = el("button", { type: "button", onclick: () => add() }, "Earlier");
  async function add() {
    const { entries = [], next_page_token = "" } = await get(`/v1/account/statement?page_size=20${page && `&page_token=${encodeURIComponent(page)}`}`);
    page = next_page_token;
    more.hidden = !page;
    box.append(...entries.map((entry) => line(accountId, entry)));
  }
  await add();
  const whole = table("Statement", ["When", "What", "Parts", "Kudos"], []);
  whole.querySelector("tbody").replaceWith(box);
  return [el("h3", {}, "Statement"), box.children.length ? whole : el("p", {}, "Nothing has moved yet."), more];
}

const WHERE = { LEDGER_ACCOUNT_KIND_SPEND: "", LEDGER_ACCOUNT_KIND_ESCROW: " in escrow" };

/** What an entry did to the account itself: to what it can spend, and to its escrow. */
function effects(accountId, transfers) {
  const moved = new Map();
  const add = (ref, mkudos) => {
    if (ref?.account_id !== accountId || !(ref.kind in WHERE)) return;
    moved.set(ref.kind, (moved.get(ref.kind) ?? 0n) + mkudos);
  };
  for (const { debit, credit, amount_mkudos } of transfers) {
    add(debit, -BigInt(amount_mkudos));
    add(credit, BigInt(amount_mkudos));
  }
  return [...moved].filter(([, mkudos]) => mkudos).map(([kind, mkudos]) => el("div", {}, `${mkudos > 0n ? "+" : ""}${kudos(mkudos)}${WHERE[kind]}`));
}

function line(accountId, { created_at, kind, note = "", transfers = [], settlement }) {
  const parts = settlement ? [["of what was set aside: tax", settlement.tax_mkudos], ["surcharges", settlement.surcharge_mkudos], ["to the painter", settlement.earned_mkudos], ["given back", settlement.returned_mkudos]] : [];
  const words = parts.filter(([, mkudos]) => mkudos).map(([what, mkudos]) => `${what} ${kudos(mkudos)}`).join(", ");
  const moved = effects(accountId, transfers);
  const cells = [new Date(created_at).toLocaleString(), (WHAT[kind] ?? plain(kind, "EVENT_KIND_")) + (note ? `: ${note}` : ""), words, el("div", {}, moved)];
  return el("tr", {}, cells.map((cell) => el("td", {}, cell)));
}
