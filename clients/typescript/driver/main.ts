// The driver of this SDK for `horde conform`: JSON lines over standard input and output; see clients/README.md.
import { createRegistry, type DescMethodUnary, fromJson, type JsonObject, type JsonValue, type Message, toJson } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { createInterface } from "node:readline";
import { GenerationSchema, type Generation, GenerationSpecSchema, QuoteSchema } from "../gen/horde/api/generation/v1/generation_pb.js";
import { InputImageSchema } from "../gen/horde/api/job/v1/job_pb.js";
import { file_horde_api_account_v1_account_service as account } from "../gen/horde/api/account/v1/account_service_pb.js";
import { file_horde_api_generation_v1_generation_service as generation } from "../gen/horde/api/generation/v1/generation_service_pb.js";
import { file_horde_api_mesh_v1_mesh_service as mesh } from "../gen/horde/api/mesh/v1/mesh_service_pb.js";
import { file_horde_api_model_v1_model_service as model } from "../gen/horde/api/model/v1/model_service_pb.js";
import { file_horde_api_standing_v1_standing_service as standing } from "../gen/horde/api/standing/v1/standing_service_pb.js";
import { file_horde_api_worker_v1_worker_service as worker } from "../gen/horde/api/worker/v1/worker_service_pb.js";
import { type GenerationSession, Horde, HordeError } from "../src/index.js";
import { sha256 } from "../src/images.js";

const registry = createRegistry(account, generation, mesh, model, standing, worker);
const clients = new Map<string, Horde>();
const sessions = new Map<string, GenerationSession>();

type Told = Record<string, unknown>;
type Asked = { client: string; session: string } & Record<string, any>;

const plain = <T extends Message>(schema: GenMessage<T>, message: T) => toJson(schema, message, { useProtoFieldName: true });
const shown = (found: Generation) => plain(GenerationSchema, found);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const digested = (content: Uint8Array) => ({ sha256: hex(sha256(content)), size: content.length });
const specIn = (spec: JsonValue) => fromJson(GenerationSpecSchema, spec);

function enter(session: GenerationSession): Told {
  const name = `session ${sessions.size} ${session.generation.generationId}`;
  sessions.set(name, session);
  return { session: name, generation: shown(session.generation) };
}

const OPERATIONS: Record<string, (asked: Asked) => Promise<Told>> = {
  hello: async () => ({ name: "typescript", version: "0.1.0" }),
  async open({ client, target, api_key, anonymous, config_folder, patience_seconds, attempt_seconds }) {
    const attempt = attempt_seconds && { attemptSeconds: attempt_seconds };
    const patience = { totalSeconds: patience_seconds ?? 30, firstPauseSeconds: 0.02, ...attempt };
    const who = api_key ? { apiKey: api_key } : { anonymous: anonymous ?? true };
    clients.set(client, new Horde(target, { ...who, configFolder: config_folder, patience }));
    return {};
  },
  async close({ client }) {
    clients.delete(client);
    return {};
  },
  async call({ client, method, request }) {
    const [service, name] = (method as string).split("/");
    const found = registry.getService(service!)!.methods.find((each) => each.name === name) as DescMethodUnary;
    const answer = await clients.get(client)!.call(found, fromJson(found.input, request));
    return { response: toJson(found.output, answer as Message, { useProtoFieldName: true, registry }) as JsonObject };
  },
  quote: async ({ client, spec }) => ({ quote: plain(QuoteSchema, await clients.get(client)!.quote(specIn(spec))) }),
  async generate({ client, spec, request_id, max_total_mkudos, cancels }) {
    const capped = max_total_mkudos === undefined ? {} : { maxTotalMkudos: BigInt(max_total_mkudos) };
    const asking = { ...(request_id && { requestId: request_id }), ...capped, cancels: cancels ?? true };
    return enter(await clients.get(client)!.generate(specIn(spec), asking));
  },
  following: async ({ client, generation_id }) => enter(await clients.get(client)!.following(generation_id)),
  async watch({ session, previews, until }) {
    const events: Told[] = [];
    for await (const event of sessions.get(session)!.watch({ previews: previews ?? false })) {
      const { kind } = event;
      if ("generation" in event) events.push({ kind, version: Number(event.generation.version) });
      else if (kind === "image") events.push({ kind, version: Number(event.image.version), index: event.image.index });
      else events.push({ kind, index: event.index, ...("step" in event && { step: event.step }) });
      if (kind === until) break;
    }
    return { events, generation: shown(sessions.get(session)!.generation) };
  },
  async pictures({ session }) {
    const pictures: Told[] = [];
    for await (const [image, content] of sessions.get(session)!.pictures()) {
      pictures.push({ index: image.index, ...digested(content), promised_sha256: hex(image.sha256) });
    }
    return { pictures, generation: shown(sessions.get(session)!.generation) };
  },
  fetch: async ({ client, generation_id, job_id }) => digested(await clients.get(client)!.fetch(generation_id, job_id)),
  async put({ client, content, input_id }) {
    const input = await clients.get(client)!.put(Buffer.from(content, "base64"), input_id);
    return { input: plain(InputImageSchema, input) };
  },
  cancel: async ({ session }) => ({ generation: shown(await sessions.get(session)!.cancel()) }),
  async leave({ session }) {
    const left = sessions.get(session)!;
    sessions.delete(session);
    await left.leave();
    return { generation: shown(left.generation) };
  },
};

function errorOf(error: unknown): Told {
  if (!(error instanceof HordeError)) return { code: "DRIVER", message: String(error instanceof Error ? error.stack : error) };
  const { code, reason, domain, message, metadata, retryAfterSeconds } = error;
  const violations = error.violations.map(({ field }) => field);
  return { code, reason, domain, message, metadata, violations, ...(retryAfterSeconds !== undefined && { retry_after_s: retryAfterSeconds }) };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, op, ...asked } = JSON.parse(line);
  let answer: Told;
  try {
    answer = { id, ok: await OPERATIONS[op]!(asked) };
  } catch (error) {
    answer = { id, error: errorOf(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0);
