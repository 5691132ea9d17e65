// The mesh now: queue and workers by model.
import { get, Problem } from "./api.js";
import { $, el, kudos, plain, seconds, shownProblem, table } from "./words.js";

export async function showMesh() {
  try {
    const [{ models = [] }, { workers = [] }] = await Promise.all([get("/v1/models"), get("/v1/workers")]);
    const waiting = ({ wait }) => (wait?.eligible_workers ? `${seconds(wait.p50)} to ${seconds(wait.p90)}` : "nobody could now");
    $("mesh").replaceChildren(
      el("h3", {}, "Models"),
      table("Models", ["Model", "Workers", "In memory", "Waiting", "Being painted", "512 × 512 begins in", "One more worker would earn in an hour"],
        models.map((model) => [model.name, model.workers ?? 0, model.workers_loaded ?? 0, model.jobs_queued ?? 0, model.jobs_leased ?? 0, waiting(model), `${kudos(model.mkudos_an_hour)} kudos`].map(String))),
      el("h3", {}, "Workers"),
      workers.length
        ? table("Workers", ["Worker", "State", "Owner", "Models", "Being painted", "Done"],
            workers.map((worker) => [worker.name, plain(worker.state, "WORKER_STATE_"), worker.owner_display_name ?? "", (worker.capabilities?.models ?? []).map(({ name }) => name).join(", "), worker.leases ?? 0, worker.images_done ?? 0].map(String)))
        : el("p", {}, "Nobody paints here now."));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    $("mesh").replaceChildren(el("p", { className: "error" }, ...shownProblem(error)));
  }
}
