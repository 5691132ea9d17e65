// The page: which part is shown, by the address's hash.
import { get, Problem } from "./api.js";
import { showAccount, showWho } from "./account.js";
import { showGallery } from "./gallery.js";
import { showMesh } from "./mesh.js";
import { showModerate } from "./moderate.js";
import { beginPaint, loadModels, requote } from "./paint.js";
import { showRate } from "./rate.js";
import { $, el, shownProblem } from "./words.js";

const changed = () => {
  showWho();
  requote();
  showAccount(changed);
};
const PAGES = {
  paint: () => loadModels().then(requote),
  gallery: showGallery,
  rate: showRate,
  mesh: showMesh,
  account: () => showAccount(changed),
  moderate: showModerate,
};

async function show(focus) {
  const name = location.hash.slice(1) in PAGES ? location.hash.slice(1) : "paint";
  for (const page of Object.keys(PAGES)) $(`page-${page}`).hidden = page !== name;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${$(`page-${name}`).querySelector("h2").textContent} · ${$("mesh-name").textContent}`;
  if (focus) $("content").focus({ preventScroll: true });
  await PAGES[name]();
}

/** What the mesh refuses where nobody else says it: a line above everything, and another try. */
function troubled(error) {
  const again = el("button", { type: "button", onclick: begin }, "Try again");
  $("trouble").replaceChildren(el("p", {}, ...shownProblem(error)), again);
}

async function begin() {
  $("trouble").replaceChildren();
  try {
    const { name = "", consent } = await get("/v1/mesh");
    if (name) $("mesh-name").textContent = name;
    $("consent-text").textContent = consent?.text ?? "";
    showWho();
    await show(false);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    troubled(error);
  }
}

addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof Problem)) return;
  event.preventDefault();
  troubled(event.reason);
});
addEventListener("hashchange", () => show(true));
beginPaint();
await begin();
