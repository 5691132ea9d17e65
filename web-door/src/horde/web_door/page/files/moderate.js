// The moderators' queue: what checkers are not sure about and what somebody reported, one picture after the other.
import { letGo, Problem, rpc } from "./api.js";
import { $, acting, el, plain, shownProblem } from "./words.js";

const SERVICE = "moderation.v1.ModerationService";
const REASONS = ["CHILD_SAFETY", "REAL_PERSON", "PRIVATE_DATA", "SEXUAL", "VIOLENT", "HATEFUL", "COPYRIGHT", "BROKEN", "OTHER"];

export async function showModerate() {
  letGo($("moderate"));
  try {
    await page("");
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    $("moderate").replaceChildren(el("p", { className: "error" }, ...shownProblem(error)));
  }
}

async function page(token) {
  const { cases = [], next_page_token = "" } = await rpc(`${SERVICE}/ListCases`, { page_size: 20, page_token: token });
  if (!token) $("moderate").replaceChildren(cases.length ? "" : el("p", {}, "Nothing waits for a moderator."));
  $("moderate").append(...cases.map(shownCase));
  if (!next_page_token) return;
  const more = el("button", { type: "button" }, "Show more");
  const wrong = el("div", { role: "alert" });
  more.addEventListener("click", acting(more, wrong, async () => {
    await page(next_page_token);
    more.remove();
  }));
  $("moderate").append(more, wrong);
}

function shownCase(told) {
  const { case_id, prompt = "", model = "", urgent, withheld, voices = [], reports = [], decisions = [], report_count = 0 } = told;
  const heard = [
    ...voices.map(({ checker, verdict, score }) => `${checker}: ${plain(verdict, "VERDICT_")}${score === undefined ? "" : ` (${score.toFixed(2)})`}`),
    ...reports.map(({ reason, detail = "", at }) => `reported ${new Date(at).toLocaleString()}: ${plain(reason, "REPORT_REASON_")}${detail && `, ${detail}`}`),
    ...decisions.map(({ verdict, why = "", at }) => `decided ${new Date(at).toLocaleString()}: ${plain(verdict, "VERDICT_")}, ${why}`),
  ];
  const marks = [urgent && "urgent", withheld && "kept from everybody but moderators", report_count && `${report_count} report${report_count > 1 ? "s" : ""}`].filter(Boolean).join(", ");
  const wrong = el("div", { role: "alert" });
  return el("article", { className: "generation", "aria-label": `Case: ${prompt}` },
    el("h3", {}, prompt || "Without a prompt"), el("p", {}, [model, marks].filter(Boolean).join("; ")),
    look(case_id, wrong), el("ul", {}, heard.map((line) => el("li", {}, line))), verdict(told, wrong), wrong);
}

/** Nobody has to see a picture that he did not ask to see. */
function look(caseId, wrong) {
  const show = el("button", { type: "button" }, "Show the picture");
  const box = el("p", {}, show);
  show.addEventListener("click", acting(show, wrong, async () => {
    const { case: found } = await rpc(`${SERVICE}/GetCase`, { case_id: caseId });
    if (!found.ticket) throw new Problem({ detail: "Its bytes are gone." });
    box.replaceChildren(el("img", { className: "rated", src: `/v1/images/${encodeURIComponent(found.ticket)}`, alt: "The picture of this case" }));
  }));
  return box;
}

function verdict({ case_id }, wrong) {
  const why = el("input", { id: `why-${case_id}`, maxLength: 500, required: true });
  const reason = el("select", { id: `reason-${case_id}` }, el("option", { value: "" }, "not named"), REASONS.map((name) => el("option", { value: `REPORT_REASON_${name}` }, plain(name, ""))));
  const safe = el("button", { type: "submit", value: "VERDICT_SAFE" }, "Nothing is wrong");
  const unsafe = el("button", { type: "submit", value: "VERDICT_UNSAFE" }, "It is not for others");
  const form = el("form", { className: "row" },
    el("p", {}, el("label", { htmlFor: why.id }, "Why, for the record"), why), el("p", {}, el("label", { htmlFor: reason.id }, "What is wrong, if something is"), reason), safe, unsafe);
  form.addEventListener("submit", (event) => acting(event.submitter, wrong, async () => {
    const bad = event.submitter === unsafe;
    await rpc(`${SERVICE}/DecideCase`, { case_id, verdict: event.submitter.value, why: why.value, ...(bad && reason.value && { reason: reason.value }) });
    form.replaceWith(el("p", { role: "status" }, bad ? "Decided: not for others." : "Decided: nothing is wrong."));
  })(event));
  return form;
}
