// A worker that paints gradients. Everything in it follows from the words in protos/horde/api/worker/v1/*.proto,
// storage_service.proto and mesh.proto: read `Attach` there first, then this from the bottom up.
'use strict';

const fs = require('fs');
const path = require('path');
const zlib = require('zlib');
const { createHash } = require('crypto');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');

const env = (name, usual) => process.env[name] ?? usual ?? fail(`${name} is not set`);
const PROTOS = env('HORDE_PROTOS', path.resolve(__dirname, '../../../protos'));
const GATEWAY = env('HORDE_GATEWAY', '127.0.0.1:7700');
const API_KEY = env('HORDE_API_KEY');
const NAME = env('HORDE_WORKER_NAME', 'gradients');
const STATE = env('HORDE_STATE', path.join(process.cwd(), 'worker-state'));
const MODEL = env('HORDE_MODEL', 'gradients');

const includeDirs = [PROTOS, path.join(PROTOS, 'third_party')];
const options = { keepCase: true, longs: String, enums: String, oneofs: true, includeDirs };
const api = grpc.loadPackageDefinition(
  loader.loadSync(['horde/api/worker/v1/worker_service.proto', 'horde/api/storage/v1/storage_service.proto'], options)
).horde.api;
const errors = new protobuf.Root();
errors.resolvePath = (_, target) => includeDirs.map((dir) => path.join(dir, target)).find(fs.existsSync) ?? target;
errors.loadSync(['google/rpc/status.proto', 'google/rpc/error_details.proto']);

// ---- errors: decide on the reason, then on the code, never on the message

function details(error) {
  const found = { reason: '', domain: '', wait: null };
  const [raw] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (!raw) return found;
  for (const detail of errors.lookupType('google.rpc.Status').decode(raw).details) {
    const name = detail.type_url.split('/').pop();
    if (name === 'google.rpc.ErrorInfo') Object.assign(found, errors.lookupType(name).decode(detail.value));
    if (name === 'google.rpc.RetryInfo') found.wait = seconds(errors.lookupType(name).decode(detail.value).retryDelay);
  }
  return found;
}

// What ends this worker for good; after everything else it attaches again.
const STOP = new Set(['SESSION_SUPERSEDED', 'HELLO_EXPECTED', 'INVALID_FIELD', 'PROTOCOL_VIOLATION', 'UNKNOWN_FIELD']);
const mustStop = ({ reason, domain }) => domain === 'horde.api.account.v1' || STOP.has(reason);

// ---- outcomes: on disk before they are said, until they are settled

const OUTCOMES = path.join(STATE, 'outcomes.json');
fs.mkdirSync(STATE, { recursive: true });
const owed = new Map(fs.existsSync(OUTCOMES) ? Object.entries(JSON.parse(fs.readFileSync(OUTCOMES, 'utf8'))) : []);

function keep() {
  fs.writeFileSync(`${OUTCOMES}.new`, JSON.stringify(Object.fromEntries(owed)));
  fs.renameSync(`${OUTCOMES}.new`, OUTCOMES);
}

// ---- painting

const held = new Map(); // lease_id -> {assignment, step, cancelled}
let stream = null; // The open session's, once it has been welcomed.

const say = (message) => stream?.write(message);
const clean = (text) => String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '').slice(0, 500);
const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));
const seconds = (duration) => Number(duration?.seconds ?? 0) + Number(duration?.nanos ?? 0) / 1e9;
const log = (text) => console.log(text);

async function work(assignment) {
  const { lease_id, job_id, spec } = assignment;
  const lease = { assignment, step: 0, cancelled: false };
  held.set(lease_id, lease);
  let result;
  try {
    result = await paint(lease, spec);
  } catch (error) {
    result = { failed: { reason: 'FAILURE_REASON_BACKEND', detail: clean(error.message) } };
  }
  held.delete(lease_id);
  if (!result) return; // Revoked: nothing is owed.
  const outcome = { lease_id, job_id, ...result };
  owed.set(lease_id, outcome);
  keep();
  say({ outcome });
}

async function paint(lease, spec) {
  if (spec.kind !== 'image') {
    return { refused: { reason: 'REFUSAL_REASON_SPEC_NOT_UNDERSTOOD', detail: 'this worker paints images' } };
  }
  const { width, height, steps, seed } = spec.image;
  while (lease.step < steps) {
    await pause(5);
    if (lease.cancelled) return null;
    lease.step += 1;
    say({ progress: { lease_id: lease.assignment.lease_id, step: lease.step, state: 'LEASE_STATE_PAINTING' } });
  }
  const deviations = [{ kind: 'DEVIATION_KIND_REINTERPRETED', field: 'prompt', asked: '', done: 'a gradient by the seed' }];
  return upload(lease, png(width, height, Number(BigInt(seed ?? 0) % 255n)), deviations);
}

// Bring the picture for as long as it may still be wanted; only what the router says of the picture itself ends it.
async function upload(lease, data, deviations) {
  const { lease_id, grant, storage_address } = lease.assignment;
  const door = new api.storage.v1.StorageService(storage_address, grpc.credentials.createInsecure());
  const sha256 = createHash('sha256').update(data).digest();
  for (let tries = 0; ; tries += 1) {
    if (lease.cancelled) return null;
    say({ progress: { lease_id, step: lease.step, state: 'LEASE_STATE_UPLOADING' } });
    try {
      const put = (done) => door.PutImage({ grant, data, sha256 }, { deadline: Date.now() + 30_000 }, done);
      const { receipt } = await new Promise((good, bad) => put((error, answer) => (error ? bad(error) : good(answer))));
      return { painted: { receipt, deviations, making: { steps: lease.step, engine: 'gradients' } } };
    } catch (error) {
      const { reason, wait } = details(error);
      if (reason === 'LEASE_CLOSED') return null;
      const again = wait !== null || [grpc.status.UNAVAILABLE, grpc.status.DEADLINE_EXCEEDED].includes(error.code);
      if (!again) return { failed: { reason: 'FAILURE_REASON_UPLOAD_REFUSED', detail: clean(reason || error.details) } };
      await pause(wait ? wait * 1000 : backoff(tries));
    }
  }
}

function png(width, height, tint) {
  const rows = Buffer.alloc(height * (1 + width * 3));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = y * (1 + width * 3) + 1 + x * 3;
      rows.set([Math.floor((255 * x) / width), Math.floor((255 * y) / height), tint], at);
    }
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const chunks = [chunk('IHDR', head), chunk('IDAT', zlib.deflateSync(rows)), chunk('IEND', Buffer.alloc(0))];
  return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ...chunks]);
}

function chunk(kind, content) {
  const body = Buffer.concat([Buffer.from(kind, 'latin1'), content]);
  const size = Buffer.alloc(4);
  size.writeUInt32BE(content.length);
  const check = Buffer.alloc(4);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([size, body, check]);
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

// ---- the session

const hello = {
  worker_name: NAME,
  agent: 'node-example/1',
  revision: 'CONTRACT_REVISION_1',
  features: ['SESSION_FEATURE_LEASE_STATES', 'SESSION_FEATURE_PROMPT_CANCEL'],
  capabilities: { models: [{ name: MODEL, loaded: true, image: { max_pixels: 1024 * 1024 } }] },
};

function restate(epoch) {
  const leases = [...held.values()].map(({ assignment: { lease_id, job_id }, step }) => ({ lease_id, job_id, step }));
  const outcomes = [...owed.values()];
  // What does not fit into one message follows one by one.
  say({ restatement: { epoch, demand: { slots: 2 }, leases, outcomes: outcomes.slice(0, 30) } });
  for (const outcome of outcomes.slice(30)) say({ outcome });
}

function heard(response) {
  switch (response.message) {
    case 'welcome':
      log(`welcome ${response.welcome.worker_id}`);
      return restate('0');
    case 'resync':
      return restate(response.resync.epoch);
    case 'assignment':
      return void work(response.assignment);
    case 'revocation': {
      const lease = held.get(response.revocation.lease_id);
      if (lease) lease.cancelled = true;
      return undefined;
    }
    case 'settled': {
      const { lease_id, disposition, settlement, invalid } = response.settled;
      owed.delete(lease_id);
      keep();
      const why = invalid ? ` ${invalid.field_violations.map((each) => each.field)}` : '';
      return log(`settled ${disposition} ${settlement?.earned_mkudos ?? 0}${why}`);
    }
    default: // A farewell is followed by the end of the stream; what is newer than this worker is ignored.
      return undefined;
  }
}

// Attach once, until the stream ends: null after OK, else what it ended with.
function session(door) {
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${API_KEY}`);
  return new Promise((ended) => {
    const call = door.Attach(metadata);
    const end = (error) => {
      stream = null;
      ended(error);
    };
    call.on('data', (response) => {
      stream = call;
      heard(response);
    });
    call.on('error', end);
    call.on('end', () => {
      call.end();
      end(null);
    });
    call.write({ hello });
  });
}

const backoff = (tries) => Math.min(30_000, 250 * 2 ** tries) * (0.5 + Math.random() / 2);

async function main() {
  const keepalive = { 'grpc.keepalive_time_ms': 20_000, 'grpc.keepalive_permit_without_calls': 1 };
  const door = new api.worker.v1.WorkerService(GATEWAY, grpc.credentials.createInsecure(), keepalive);
  for (let tries = 0; ; tries += 1) {
    const began = Date.now();
    const error = await session(door);
    if (Date.now() - began > 10_000 || !error) tries = 0;
    if (error) {
      const why = details(error);
      log(`ended ${why.reason || grpc.status[error.code]}`);
      if (mustStop(why)) fail(`${why.reason}: ${error.details}`);
      await pause(why.wait ? why.wait * 1000 : backoff(tries));
    } else {
      log('ended OK');
      await pause(backoff(0));
    }
  }
}

function fail(text) {
  console.error(text);
  process.exit(3);
}

main();
