// What was asked for before, as this browser's requester may see it.
import { get, letGo, Problem } from "./api.js";
import { show_picture } from "./following.js";
import { again } from "./paint.js";
import { $, el, ENDINGS, shownProblem } from "./words.js";

let page = "";

export async function showGallery() {
  page = "";
  letGo($("gallery"));
  $("gallery").replaceChildren();
  $("gallery-more").onclick = more;
  await more();
}

async function more() {
  try {
    const asked = await get(`/v1/generations?page_size=12${page && `&page_token=${encodeURIComponent(page)}`}`);
    page = asked.next_page_token ?? "";
    $("gallery-more").hidden = !page;
    const generations = asked.generations ?? [];
    if (!generations.length && !$("gallery").children.length) $("gallery").replaceChildren(el("p", {}, "Nothing yet. What you paint is shown here."));
    for (const generation of generations) for (const image of generation.images ?? []) add(generation, image);
  } catch (error) {
    if (error instanceof Problem) $("gallery").replaceChildren(el("p", { className: "error" }, ...shownProblem(error)));
    else throw error;
  }
}

function add(generation, image) {
  const frame = el("div", { className: "blank" });
  const words = image.withdrawn ? "taken back" : ENDINGS[image.ending] ?? "not finished";
  const caption = el("figcaption", {}, words);
  $("gallery").append(el("figure", {}, frame, caption));
  const there = image.ending === "JOB_ENDING_DONE" && !image.withdrawn && (!image.expires_at || new Date(image.expires_at) > new Date());
  if (there) show_picture({ frame, caption }, image, generation, again);
}
