// The bytes of pictures: painted ones out, inputs in, under tickets that the gateway makes.
import { create } from "@bufbuild/protobuf";
import { createHash, randomUUID } from "node:crypto";
import type { Generation, Image, ImageDownload } from "../gen/horde/api/generation/v1/generation_pb.js";
import { GenerationService } from "../gen/horde/api/generation/v1/generation_service_pb.js";
import { type InputImage, InputImageSchema, JobEnding, JobState } from "../gen/horde/api/job/v1/job_pb.js";
import { type PutInputRequest, PutInputRequestSchema } from "../gen/horde/api/storage/v1/storage_service_pb.js";
import type { Doors } from "./doors.js";
import { DamagedImage, FailedPrecondition, InvalidArgument, NotFound, toHordeError, Unavailable } from "./errors.js";
import { patiently } from "./retrying.js";

const CHUNK_BYTES = 256 * 1024;
const MAX_IMAGE_BYTES = 256 * 1024 * 1024;
const MAX_EXPIRED_TICKETS = 3;

export const sha256 = (content: Uint8Array): Uint8Array => createHash("sha256").update(content).digest();
const same = (one: Uint8Array, other: Uint8Array) => Buffer.compare(one, other) === 0;

/** The bytes of a finished image, checked against its SHA-256; a broken download goes on where it broke. */
export async function fetchImage(doors: Doors, generation: Generation, jobId: string): Promise<Uint8Array> {
  let image = imageOf(generation, jobId);
  const download = new Download(doors, image.sha256);
  const attempts = doors.attempts();
  for (let expired = 0; ; ) {
    try {
      return await download.run(image.download!);
    } catch (thrown) {
      const error = toHordeError(thrown);
      if (error.reason !== "TOKEN_EXPIRED") {
        await attempts.pauseAfter(error);
        continue;
      }
      expired += 1;
      const clocks = new Unavailable("Every ticket is expired when it arrives: the clocks of the mesh differ.", { code: "UNAVAILABLE" });
      if (expired > MAX_EXPIRED_TICKETS) throw clocks;
      await attempts.pauseAfter(clocks);
      const { generationId } = generation;
      const again = await doors.ask(GenerationService.method.getGeneration, { generationId });
      image = imageOf(again.generation!, jobId);
    }
  }
}

/** Store a source image, mask or control image for an hour, and name it for a spec. */
export function putInput(doors: Doors, content: Uint8Array, inputId: string = randomUUID()): Promise<InputImage> {
  const digest = sha256(content);
  return patiently(doors.attempts(), async () => {
    const ticket = await doors.ask(GenerationService.method.createInputTicket, { inputId });
    if (ticket.maxBytes && content.length > Number(ticket.maxBytes)) {
      const metadata = { limit: String(ticket.maxBytes), unit: "bytes" };
      throw new InvalidArgument("The picture is over a limit.", { code: "INVALID_ARGUMENT", reason: "TOO_LARGE", metadata });
    }
    const { input } = await doors.storage(ticket.address).putInput(parts(ticket.ticket, content, digest), { timeoutMs: 300_000 });
    return create(InputImageSchema, { inputId: input!.inputId, sha256: input!.sha256 });
  });
}

async function* parts(ticket: string, content: Uint8Array, digest: Uint8Array): AsyncGenerator<PutInputRequest> {
  yield create(PutInputRequestSchema, { message: { case: "open", value: { ticket } } });
  for (let offset = 0; offset < content.length; offset += CHUNK_BYTES) {
    const data = content.subarray(offset, offset + CHUNK_BYTES);
    yield create(PutInputRequestSchema, { message: { case: "chunk", value: { offset: BigInt(offset), data } } });
  }
  const sizeBytes = BigInt(content.length);
  yield create(PutInputRequestSchema, { message: { case: "finish", value: { sha256: digest, sizeBytes } } });
}

function imageOf(generation: Generation, jobId: string): Image {
  const image = generation.images.find((each) => each.jobId === jobId);
  const metadata = { job_id: jobId };
  if (!image) throw new NotFound(`The generation has no image ${jobId}.`, { code: "NOT_FOUND", metadata });
  if (image.download && !image.withdrawn) return image;
  if (image.withdrawn || (image.state === JobState.ENDED && image.ending === JobEnding.DONE)) {
    const told = { code: "NOT_FOUND", reason: "OBJECT_NOT_FOUND", metadata };
    throw new NotFound(`Image ${image.index} is not there any more.`, told);
  }
  const told = { code: "FAILED_PRECONDITION", reason: "IMAGE_NOT_FINISHED", metadata };
  throw new FailedPrecondition(`Image ${image.index} has no picture.`, told);
}

/** One image on its way: keeps what has come, over broken streams and new tickets. */
class Download {
  private chunks: Uint8Array[] = [];
  private bytes = 0;
  private begunAgain = false;

  constructor(
    private readonly doors: Doors,
    private readonly promised: Uint8Array,
  ) {}

  async run(way: ImageDownload): Promise<Uint8Array> {
    for (;;) {
      await this.read(way);
      const content = Buffer.concat(this.chunks);
      if (same(sha256(content), this.promised)) return content;
      this.chunks = [];
      this.bytes = 0;
      if (this.begunAgain) throw new DamagedImage("The bytes of the image are not those that were promised.", { reason: "DAMAGED_IMAGE" });
      this.begunAgain = true;
    }
  }

  private async read({ address, ticket }: ImageDownload): Promise<void> {
    let size = 0;
    for await (const { message } of this.doors.storage(address).download({ ticket, offset: BigInt(this.bytes) })) {
      if (message.case === "header") {
        size = Number(message.value.sizeBytes);
        if (size > MAX_IMAGE_BYTES) throw new DamagedImage(`The image would be ${size} bytes large.`, { reason: "DAMAGED_IMAGE" });
      } else if (message.case === "chunk") {
        if (Number(message.value.offset) !== this.bytes || this.bytes > MAX_IMAGE_BYTES) {
          throw new DamagedImage("The parts of the image do not fit together.", { reason: "DAMAGED_IMAGE" });
        }
        this.chunks.push(message.value.data);
        this.bytes += message.value.data.length;
      }
    }
    if (this.bytes < size) throw new Unavailable("The download ended early.", { code: "UNAVAILABLE" });
  }
}
