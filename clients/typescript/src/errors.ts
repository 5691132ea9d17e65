// What a mesh refuses, as classes: decide on `reason`, else on the class, never on the message.
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.js";

export interface Told {
  code: string;
  reason: string;
  domain: string;
  metadata: Record<string, string>;
  violations: { field: string; description: string }[];
  retryAfterSeconds: number | undefined;
}

export class HordeError extends Error {
  /** gRPC's name of its kind, for example `NOT_FOUND`. */
  readonly code: string;
  /** The contract's, for example `INSUFFICIENT_KUDOS`; empty where the code says it all. */
  readonly reason: string;
  /** The package whose reasons these are, for example `horde.api.ledger.v1`. */
  readonly domain: string;
  readonly metadata: Record<string, string>;
  /** Every field that is wrong. */
  readonly violations: { field: string; description: string }[];
  readonly retryAfterSeconds: number | undefined;

  constructor(message: string, told: Partial<Told> = {}) {
    super(message);
    this.name = new.target.name;
    this.code = told.code ?? "";
    this.reason = told.reason ?? "";
    this.domain = told.domain ?? "";
    this.metadata = told.metadata ?? {};
    this.violations = told.violations ?? [];
    this.retryAfterSeconds = told.retryAfterSeconds;
  }
}

export class InvalidArgument extends HordeError {}
export class Unauthenticated extends HordeError {}
export class PermissionDenied extends HordeError {}
export class NotFound extends HordeError {}
export class AlreadyExists extends HordeError {}
export class FailedPrecondition extends HordeError {}
export class ResourceExhausted extends HordeError {}
export class Aborted extends HordeError {}
export class Unavailable extends HordeError {}
export class DeadlineExceeded extends HordeError {}
export class Internal extends HordeError {}
export class Unimplemented extends HordeError {}
export class Cancelled extends HordeError {}
export class OutOfRange extends HordeError {}
export class DataLoss extends HordeError {}
/** The bytes that came are not those that were promised, even when fetched again. */
export class DamagedImage extends HordeError {}

const KINDS: Partial<Record<Code, typeof HordeError>> = {
  [Code.InvalidArgument]: InvalidArgument,
  [Code.Unauthenticated]: Unauthenticated,
  [Code.PermissionDenied]: PermissionDenied,
  [Code.NotFound]: NotFound,
  [Code.AlreadyExists]: AlreadyExists,
  [Code.FailedPrecondition]: FailedPrecondition,
  [Code.ResourceExhausted]: ResourceExhausted,
  [Code.Aborted]: Aborted,
  [Code.Unavailable]: Unavailable,
  [Code.DeadlineExceeded]: DeadlineExceeded,
  [Code.Internal]: Internal,
  [Code.Unimplemented]: Unimplemented,
  [Code.Canceled]: Cancelled,
  [Code.OutOfRange]: OutOfRange,
  [Code.DataLoss]: DataLoss,
};

/** gRPC's own name: Connect alone spells one of them otherwise. */
const nameOf = (code: Code) => (code === Code.Canceled ? "CANCELLED" : (Code[code] ?? "").replace(/(?<!^)([A-Z])/g, "_$1").toUpperCase());

/** Whatever a call threw, as one of the classes above. */
export function toHordeError(thrown: unknown): HordeError {
  if (thrown instanceof HordeError) return thrown;
  const error = ConnectError.from(thrown);
  const [info] = error.findDetails(ErrorInfoSchema);
  const [bad] = error.findDetails(BadRequestSchema);
  const [retry] = error.findDetails(RetryInfoSchema);
  const delay = retry?.retryDelay;
  const kind = KINDS[error.code] ?? HordeError;
  return new kind(error.rawMessage, {
    code: nameOf(error.code),
    reason: info?.reason ?? "",
    domain: info?.domain ?? "",
    metadata: { ...info?.metadata },
    violations: (bad?.fieldViolations ?? []).map(({ field, description }) => ({ field, description })),
    retryAfterSeconds: delay ? Number(delay.seconds) + delay.nanos / 1e9 : undefined,
  });
}
