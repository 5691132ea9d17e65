// The client: one requester's view of a mesh.
import { create, type MessageInitShape, type MessageShape, type DescMethodUnary } from "@bufbuild/protobuf";
import { randomUUID } from "node:crypto";
import { type Generation, type GenerationSpec, GenerationSpecSchema, type Quote } from "../gen/horde/api/generation/v1/generation_pb.js";
import { GenerationService } from "../gen/horde/api/generation/v1/generation_service_pb.js";
import { ImageSpecSchema, type InputImage } from "../gen/horde/api/job/v1/job_pb.js";
import { authorization, type Who } from "./credentials.js";
import { Doors, type Security } from "./doors.js";
import { fetchImage, putInput } from "./images.js";
import { PATIENCE, type Patience } from "./retrying.js";
import { GenerationSession } from "./session.js";

export * from "./errors.js";
export type { WatchEvent } from "./watching.js";
export type { Patience } from "./retrying.js";
export { GenerationSession } from "./session.js";

export interface Options extends Who, Security {
  patience?: Partial<Patience>;
}

export interface Asking {
  /** A UUID, if the whole process may be repeated: the same id with the same spec is the same generation. */
  requestId?: string;
  maxTotalMkudos?: bigint;
  /** False: it goes on when the session is left. */
  cancels?: boolean;
}

type Paint = MessageInitShape<typeof ImageSpecSchema> & { model?: string; count?: number; share?: boolean };

/** What to paint, in short: `spec("a red star", { count: 4, share: true, seed: 7n })`. The mesh checks every field. */
export function spec(prompt: string, { model = "paintbox", count = 1, share = false, ...image }: Paint = {}): GenerationSpec {
  const value = create(ImageSpecSchema, { width: 128, height: 128, steps: 20, ...image, prompt });
  return create(GenerationSpecSchema, { job: { model, kind: { case: "image", value } }, count, share });
}

export class Horde {
  private readonly doors: Doors;

  /** `target` is the gateway's address. Without a key: HORDE_API_KEY, the key kept for this mesh, else anonymous. */
  constructor(target = "127.0.0.1:7700", options: Options = {}) {
    const patience = { ...PATIENCE, ...options.patience };
    this.doors = new Doors(target, authorization(target, options), options, patience);
  }

  /** What it would cost, where its images would go and how long it might wait. Changes nothing. */
  async quote(asked: GenerationSpec | string): Promise<Quote> {
    const answer = await this.call(GenerationService.method.quoteGeneration, { spec: specOf(asked) });
    return answer.quote!;
  }

  /** Ask for images. Leave the session (`await using`) and what is not finished is cancelled. */
  async generate(asked: GenerationSpec | string, { requestId = randomUUID(), maxTotalMkudos, cancels = true }: Asking = {}): Promise<GenerationSession> {
    const capped = maxTotalMkudos === undefined ? {} : { maxTotalMkudos };
    const request = { requestId, spec: specOf(asked), ...capped };
    const answer = await this.call(GenerationService.method.createGeneration, request);
    return new GenerationSession(this.doors, answer.generation!, cancels);
  }

  /** A generation that was asked for before, also by another process. Leaving it cancels nothing. */
  async following(generationId: string): Promise<GenerationSession> {
    return new GenerationSession(this.doors, await this.get(generationId), false);
  }

  async get(generationId: string): Promise<Generation> {
    return (await this.call(GenerationService.method.getGeneration, { generationId })).generation!;
  }

  /** The bytes of a finished image. */
  async fetch(generationId: string, jobId: string): Promise<Uint8Array> {
    return fetchImage(this.doors, await this.get(generationId), jobId);
  }

  /** Store a source image, mask or control image for an hour, and name it for a spec. */
  put(content: Uint8Array, inputId?: string): Promise<InputImage> {
    return putInput(this.doors, content, inputId);
  }

  /** Any call of the contract that is no stream: `horde.call(MeshService.method.getMesh, {})`. */
  call<I extends DescMethodUnary["input"], O extends DescMethodUnary["output"]>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    return this.doors.ask(method, request);
  }
}

const specOf = (asked: GenerationSpec | string) => (typeof asked === "string" ? spec(asked) : asked);
