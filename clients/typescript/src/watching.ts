// What a watcher hears, in the right order: versions never go backwards, progress counts only for the current lease.
import type { Generation, Image, WaitEstimate } from "../gen/horde/api/generation/v1/generation_pb.js";
import type { WatchGenerationResponse } from "../gen/horde/api/generation/v1/generation_service_pb.js";
import { JobState } from "../gen/horde/api/job/v1/job_pb.js";

export type WatchEvent =
  | { kind: "snapshot" | "finished"; generation: Generation }
  | { kind: "image"; image: Image }
  | { kind: "progress"; index: number; jobId: string; step: number; steps: number }
  | { kind: "preview"; index: number; jobId: string; step: number; image: Uint8Array }
  | { kind: "wait"; index: number; jobId: string; wait: WaitEstimate };

export class Order {
  private version = -1n;
  private readonly images = new Map<string, Image>();
  private readonly steps = new Map<string, number>();

  /** The event that a message is; undefined for one that is late, or of a kind unknown here. */
  accept({ event }: WatchGenerationResponse): WatchEvent | undefined {
    switch (event.case) {
      case "snapshot":
      case "finished":
        return this.whole(event.value) ? { kind: event.case, generation: event.value } : undefined;
      case "image": {
        const image = event.value;
        const known = this.images.get(image.jobId);
        if (known && image.version <= known.version) return undefined;
        if (image.version > this.version) this.version = image.version;
        this.keep(image);
        return { kind: "image", image };
      }
      case "progress": {
        const { jobId, leaseId, step, steps } = event.value;
        const image = this.leased(jobId, leaseId);
        if (!image || step <= (this.steps.get(leaseId) ?? 0)) return undefined;
        this.steps.set(leaseId, step);
        return { kind: "progress", index: image.index, jobId, step, steps };
      }
      case "preview": {
        const { jobId, leaseId, step, image: glimpse } = event.value;
        const image = this.leased(jobId, leaseId);
        return image && { kind: "preview", index: image.index, jobId, step, image: glimpse };
      }
      case "wait": {
        const { jobId, wait } = event.value;
        const image = this.images.get(jobId);
        if (image?.state !== JobState.QUEUED || !wait) return undefined;
        return { kind: "wait", index: image.index, jobId, wait };
      }
      default:
        return undefined;
    }
  }

  private whole(generation: Generation): boolean {
    if (generation.version < this.version) return false;
    this.version = generation.version;
    for (const image of generation.images) {
      this.keep(image);
      if (image.leaseId) this.steps.set(image.leaseId, Math.max(this.steps.get(image.leaseId) ?? 0, image.step));
    }
    return true;
  }

  private keep(image: Image): void {
    const known = this.images.get(image.jobId);
    if (known?.leaseId && known.leaseId !== image.leaseId) this.steps.delete(known.leaseId);
    this.images.set(image.jobId, image);
  }

  private leased(jobId: string, leaseId: string): Image | undefined {
    const image = this.images.get(jobId);
    return leaseId && image?.leaseId === leaseId ? image : undefined;
  }
}
