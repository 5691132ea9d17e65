// The two doors of a mesh: the gateway, and the storage routers that it names. Callers know only the first.
import { createClient, type CallOptions, type Client } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import type { DescMethodUnary, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { StorageService } from "../gen/horde/api/storage/v1/storage_service_pb.js";
import { Attempts, type Patience, patiently } from "./retrying.js";

/** Routers that one client speaks to at once. */
const MAX_ROUTERS = 16;

export interface Security {
  /** PEM of an authority of your own; without it the system's. */
  authority?: string | Buffer | undefined;
  /** Speak plainly to another machine. Everybody on the way can read your key. */
  plaintext?: boolean | undefined;
}

/** A link that died without a word is noticed, also under a stream. Gateways allow a ping each 5 s. */
const ALIVE = { pingIntervalMs: 10_000, pingTimeoutMs: 8_000 };

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\]):\d+$/;

export class Doors {
  readonly gateway: ReturnType<typeof createGrpcTransport>;
  private readonly routers = new Map<string, Client<typeof StorageService>>();

  constructor(
    target: string,
    private readonly authorization: string,
    private readonly security: Security,
    readonly patience: Patience,
  ) {
    this.gateway = this.dial(target);
  }

  /** Who asks: for the gateway alone, never for a router. */
  get headers(): CallOptions {
    return { headers: { authorization: this.authorization } };
  }

  attempts(): Attempts {
    return new Attempts(this.patience);
  }

  /** Make one call to the gateway, patiently. */
  ask<I extends DescMethodUnary["input"], O extends DescMethodUnary["output"]>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>> {
    return patiently(this.attempts(), async () => {
      const answer = await this.gateway.unary(method, undefined, this.patience.attemptSeconds * 1000, this.headers.headers, request);
      return answer.message;
    });
  }

  client<S extends DescService>(service: S): Client<S> {
    return createClient(service, this.gateway);
  }

  storage(address: string): Client<typeof StorageService> {
    let router = this.routers.get(address);
    if (!router) {
      if (this.routers.size >= MAX_ROUTERS) throw new Error(`the mesh named more than ${MAX_ROUTERS} storage routers`);
      router = createClient(StorageService, this.dial(address));
      this.routers.set(address, router);
    }
    return router;
  }

  private dial(address: string): ReturnType<typeof createGrpcTransport> {
    const plain = !this.security.authority && (this.security.plaintext || LOOPBACK.test(address));
    const nodeOptions = this.security.authority ? { ca: this.security.authority } : {};
    const baseUrl = `${plain ? "http" : "https"}://${address}`;
    return createGrpcTransport({ baseUrl, nodeOptions, ...ALIVE, idleConnectionTimeoutMs: 60_000 });
  }
}
