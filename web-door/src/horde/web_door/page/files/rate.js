// Rating what others shared: how beautiful, and how many flaws.
import { apiKey, get, post, Problem } from "./api.js";
import { $, el, kudos, shownProblem } from "./words.js";

export async function showRate() {
  if (!apiKey()) return $("rate").replaceChildren(el("p", {}, "Rating needs an account, and earns kudos: see Account."));
  await told(async () => {
    const [standing, { image }] = await Promise.all([get("/v1/ratings/standing"), get("/v1/ratings/next")]);
    const earns = standing.earning ? `You earned ${kudos(standing.earned_today_mkudos)} kudos by it today.` : `Your ratings earn nothing now: ${standing.why ?? ""}`;
    $("rate").replaceChildren(el("p", { className: "note" }, earns), one(image));
  });
}

async function told(todo) {
  try {
    await todo();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    $("rate").replaceChildren(el("p", { className: error.code === "NOT_FOUND" ? "" : "error" }, ...shownProblem(error)));
  }
}

function one(image) {
  if (!image) return el("p", {}, "There is nothing to rate now. Thank you.");
  const flaws = el("input", { id: "flaws", type: "range", min: 0, max: 5, value: 0 });
  const { ticket } = image;
  const next = (answer) => $("rate").lastElementChild.replaceWith(one(answer));
  const scores = Array.from({ length: 10 }, (_, index) =>
    el("button", { type: "button", "aria-label": `${index + 1} of 10`, onclick: () => told(async () => next((await post(`/v1/ratings/${image.image_id}`, { score: index + 1, artifacts: Number(flaws.value) })).next)) }, String(index + 1)));
  const skip = el("button", { type: "button", onclick: () => told(async () => next((await get(`/v1/ratings/next?skip_image_id=${image.image_id}`)).image)) }, "Another one");
  const report = el("button", { type: "button", className: "link" }, "Something is wrong with it");
  report.addEventListener("click", () => told(async () => {
    await post("/v1/reports", { image_id: image.image_id, reason: "REPORT_REASON_OTHER" });
    report.replaceWith("It is reported.");
  }));
  return el("div", {},
    el("img", { className: "rated", src: ticket ? `/v1/images/${encodeURIComponent(ticket)}` : "", alt: image.prompt ?? "A shared picture" }),
    el("p", {}, image.prompt ?? ""),
    el("fieldset", { className: "scores" }, el("legend", {}, "How beautiful is it? 1 is not at all."), scores),
    el("p", {}, el("label", { htmlFor: "flaws" }, "Flaws, from none to all spoilt (0 to 5)"), flaws),
    el("p", {}, skip, " ", report));
}
