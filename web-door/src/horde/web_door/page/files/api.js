// The contract over HTTP: calls, streams, bytes; and who asks. Keys are kept in this browser's storage and nowhere else.
const KEY = "horde.key";
const TOKEN = "horde.anonymous";

export class Problem extends Error {
  constructor(told) {
    // As /v1 tells it, or as Connect does: `message`, and the code in small letters.
    super(told.detail || told.message || told.title || "The mesh does not answer.");
    this.reason = told.reason ?? "";
    this.code = (told.code ?? "").toUpperCase();
    this.status = told.status ?? 0;
    this.metadata = told.metadata ?? {};
    this.violations = told.field_violations ?? [];
    this.waitSeconds = parseFloat(told.retry_delay ?? "") || undefined;
  }

  get later() {
    // Without a code it is a refusal of HTTP's own, such as a body that is too large; without a status nobody answered.
    const away = this.code ? ["UNAVAILABLE", "DEADLINE_EXCEEDED"].includes(this.code) : !this.status;
    return this.waitSeconds !== undefined || away;
  }
}

export const apiKey = () => localStorage.getItem(KEY) ?? "";
export const keepKey = (key) => (key ? localStorage.setItem(KEY, key) : localStorage.removeItem(KEY));

const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** Made once, and kept: without it nothing that was asked for anonymously is anybody's. */
function anonymousToken() {
  let token = localStorage.getItem(TOKEN);
  if (!token) localStorage.setItem(TOKEN, (token = hex(crypto.getRandomValues(new Uint8Array(16)))));
  return token;
}

/** 131 random bits: whoever draws a key makes it good with the mesh. */
export function newKey() {
  const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  let key = "";
  while (key.length < 22) {
    const [byte] = crypto.getRandomValues(new Uint8Array(1));
    if (byte < 248) key += letters[byte % 62]; // 248 = 4 x 62: each letter as likely as any other.
  }
  return key;
}

// Without TLS and off this machine a browser has no randomUUID.
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 15) | 64;
  bytes[8] = (bytes[8] & 63) | 128;
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

export const authorization = (key = apiKey()) => (key ? `Bearer ${key}` : `Anonymous ${anonymousToken()}`);
const pause = (seconds) => new Promise((resume) => setTimeout(resume, seconds * 1000));
const jitter = (tries) => Math.min(3, 0.1 * 2 ** tries) * (0.5 + Math.random() / 2);

async function asked(path, options, key) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { authorization: authorization(key), ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ detail: "The mesh cannot be reached." });
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({ detail: `The mesh answered ${answer.status}.`, code: answer.status >= 502 ? "UNAVAILABLE" : "UNKNOWN" }));
  throw new Problem(told);
}

/** Every call bears repetition, for its ids are made before: what says "not now" is repeated for ten seconds. */
export async function call(method, path, body, { signal, key, headers } = {}) {
  const ends = performance.now() + 10_000;
  for (let tries = 0; ; tries += 1) {
    try {
      const options = { method, signal, headers, ...(body !== undefined && { body: JSON.stringify(body) }) };
      return await (await asked(path, options, key)).json();
    } catch (error) {
      const wait = (error.waitSeconds ?? 0) + jitter(tries);
      if (!(error instanceof Problem) || !error.later || error.reason === "BUDGET_SPENT" || performance.now() + wait * 1000 > ends) throw error;
      await pause(wait);
    }
  }
}

export const get = (path, options) => call("GET", path, undefined, options);
export const post = (path, body, options) => call("POST", path, body, options);

/** A call that has no path under /v1: those who run a horde alone make it. By Connect, at its own name. */
export const rpc = (method, body) => call("POST", `/horde.api.${method}`, body, { headers: { "content-type": "application/json" } });

/** The bytes of a picture, as an address for <img>. Whoever asks for it lets go of it: see `letGo`. */
export async function picture(path) {
  return URL.createObjectURL(await (await asked(path, {})).blob());
}

/** The pictures below an element are not shown any more: the browser may forget their bytes. */
export function letGo(element) {
  for (const { src } of element.querySelectorAll("img")) if (src.startsWith("blob:")) URL.revokeObjectURL(src);
}

export async function putInput(blob) {
  const { input } = await (await asked(`/v1/inputs/${newId()}`, { method: "PUT", body: blob })).json();
  return { input_id: input.input_id, sha256: input.sha256 };
}

/** What happens to a generation, until it is finished; a broken stream is opened again, and begins with a snapshot. */
export async function* watch(generationId, signal) {
  let silentSince = performance.now();
  for (let tries = 0; ; tries += 1) {
    try {
      const answer = await asked(`/v1/generations/${generationId}:watch?previews=true`, { signal });
      for await (const [name, data] of events(answer.body)) {
        silentSince = performance.now();
        tries = 0;
        if (name === "problem") throw new Problem(data);
        yield [name, data[name]];
        if (name === "finished") return;
      }
    } catch (error) {
      if (error.name === "AbortError" || (error instanceof Problem && !error.later)) throw error;
      if (performance.now() - silentSince > 60_000) throw error;
    }
    await pause(jitter(tries));
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let kept = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    kept += value;
    const blocks = kept.split("\n\n");
    kept = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
      if (fields.event) yield [fields.event, JSON.parse(fields.data)];
    }
  }
}
