// When to try again. Every call bears repetition: it reads, or it carries an id that was made before the first attempt.
import { DeadlineExceeded, HordeError, Internal, toHordeError, Unavailable } from "./errors.js";

export interface Patience {
  /** After the first failure of one call, or since a watch last heard something. */
  totalSeconds: number;
  firstPauseSeconds: number;
  longestPauseSeconds: number;
  /** What one attempt of a call with one answer may take, so that a mute mesh holds nobody. */
  attemptSeconds: number;
}

export const PATIENCE: Patience = { totalSeconds: 30, firstPauseSeconds: 0.1, longestPauseSeconds: 3, attemptSeconds: 10 };

export class Attempts {
  private failures = 0;
  private internal = 0;
  private began: number | undefined;

  constructor(private readonly patience: Patience) {}

  /** Something was heard: patience is whole again. */
  succeeded(): void {
    this.failures = this.internal = 0;
    this.began = undefined;
  }

  /** Wait until the next attempt may be made; throws the error if there should be none. */
  async pauseAfter(error: HordeError): Promise<void> {
    const now = performance.now() / 1000;
    this.began ??= now;
    if (error instanceof Internal) this.internal += 1;
    // A defect is asked about once more, then told; a budget that is spent is not waited for.
    if (this.internal > 1 || !worthRetrying(error)) throw error;
    let pause = Math.min(this.patience.firstPauseSeconds * 2 ** Math.min(this.failures, 16), this.patience.longestPauseSeconds);
    pause *= 0.5 + Math.random() / 2;
    // Never before the time that the mesh named; a little later, so that not all come back at once.
    if (error.retryAfterSeconds !== undefined) pause = error.retryAfterSeconds + pause / 4;
    if (now - this.began + pause > this.patience.totalSeconds) throw error;
    this.failures += 1;
    await new Promise((resume) => setTimeout(resume, pause * 1000));
  }
}

function worthRetrying(error: HordeError): boolean {
  if (error.reason === "BUDGET_SPENT") return false;
  if (error.retryAfterSeconds !== undefined) return true;
  const later = error instanceof Unavailable || error instanceof DeadlineExceeded || error instanceof Internal;
  return later || error.reason === "TOO_SLOW";
}

/** Make a call, again while that may help. */
export async function patiently<T>(attempts: Attempts, call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (thrown) {
      await attempts.pauseAfter(toHordeError(thrown));
    }
  }
}
