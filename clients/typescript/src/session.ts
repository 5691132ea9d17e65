// A generation for as long as a block: leaving it early cancels what is not finished, so nobody paints in vain.
import type { Generation, Image } from "../gen/horde/api/generation/v1/generation_pb.js";
import { GenerationService } from "../gen/horde/api/generation/v1/generation_service_pb.js";
import { JobEnding } from "../gen/horde/api/job/v1/job_pb.js";
import type { Doors } from "./doors.js";
import { HordeError, toHordeError, Unavailable } from "./errors.js";
import { fetchImage } from "./images.js";
import { Order, type WatchEvent } from "./watching.js";

/** How long leaving may take to say cancel. */
const CANCEL_MS = 5_000;

export class GenerationSession {
  /** As it was last heard of. */
  generation: Generation;

  constructor(
    private readonly doors: Doors,
    generation: Generation,
    private readonly cancels: boolean,
  ) {
    this.generation = generation;
  }

  /** What happens, until it is finished. A broken stream is opened again, and goes on with a new snapshot. */
  async *watch({ previews = false } = {}): AsyncGenerator<WatchEvent, void> {
    const order = new Order();
    const attempts = this.doors.attempts();
    const { generationId } = this.generation;
    for (;;) {
      let failure: HordeError = new Unavailable("The stream ended before the generation did.", { code: "UNAVAILABLE" });
      const stopping = new AbortController();
      const options = { ...this.doors.headers, signal: stopping.signal };
      try {
        const stream = this.doors.client(GenerationService).watchGeneration({ generationId, previews }, options);
        for await (const response of stream) {
          attempts.succeeded();
          const event = order.accept(response);
          if (!event) continue;
          this.remember(event);
          yield event;
          if (event.kind === "finished") return;
        }
      } catch (thrown) {
        failure = toHordeError(thrown);
      } finally {
        stopping.abort();
      }
      await attempts.pauseAfter(failure);
    }
  }

  /** Wait until every image has ended. */
  async finish(): Promise<Generation> {
    for await (const _ of this.watch());
    return this.generation;
  }

  /** Wait for the end, then every image that is done, with its bytes. */
  async *pictures(): AsyncGenerator<[Image, Uint8Array], void> {
    for (const image of (await this.finish()).images) {
      if (image.ending === JobEnding.DONE) yield [image, await this.fetch(image)];
    }
  }

  /** The bytes of a finished image. */
  fetch(image: Image): Promise<Uint8Array> {
    return fetchImage(this.doors, this.generation, image.jobId);
  }

  /** End what has not ended; finished images stay. */
  async cancel(): Promise<Generation> {
    const { generationId } = this.generation;
    const answer = await this.doors.ask(GenerationService.method.cancelGeneration, { generationId });
    return (this.generation = answer.generation!);
  }

  /** Leave: cancels what is not finished, unless it should go on. `await using` does it by itself. */
  async leave(): Promise<void> {
    if (this.generation.finished || !this.cancels) return;
    const late = new Promise<void>((resume) => setTimeout(resume, CANCEL_MS).unref());
    // Whoever leaves in a hurry wants no second error; the time to live ends the generation in any case.
    await Promise.race([this.cancel().then(() => undefined, () => undefined), late]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.leave();
  }

  private remember(event: WatchEvent): void {
    if ("generation" in event) this.generation = event.generation;
    if (event.kind !== "image") return;
    const place = this.generation.images.findIndex(({ jobId }) => jobId === event.image.jobId);
    if (place >= 0) this.generation.images[place] = event.image;
  }
}
