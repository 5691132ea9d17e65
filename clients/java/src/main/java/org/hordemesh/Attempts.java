package org.hordemesh;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Supplier;

/** The attempts of one call. Every call bears repetition: it reads, or it carries an id that was made before. */
final class Attempts {
  private final Patience patience;
  private int failures;
  private int internal;
  private Long beganNanos;

  Attempts(Patience patience) {
    this.patience = patience;
  }

  /** Something was heard: patience is whole again. */
  void succeeded() {
    failures = 0;
    internal = 0;
    beganNanos = null;
  }

  /** Wait until the next attempt may be made; throws the error if there should be none. */
  void pauseAfter(HordeException error) {
    long now = System.nanoTime();
    if (beganNanos == null) {
      beganNanos = now;
    }
    internal += error instanceof HordeException.Internal ? 1 : 0;
    // A defect is asked about once more, then told.
    if (internal > 1 || !worthRetrying(error)) {
      throw error;
    }
    double grown = patience.firstPause().toNanos() * Math.pow(2, Math.min(failures, 16));
    double drawn = 0.5 + ThreadLocalRandom.current().nextDouble() / 2;
    Duration pause = Duration.ofNanos((long) (Math.min(grown, patience.longestPause().toNanos()) * drawn));
    if (error.retryAfter().isPresent()) {
      // Never before the time that the mesh named; a little later, so that not all come back at once.
      pause = error.retryAfter().get().plus(pause.dividedBy(4));
    }
    if (Duration.ofNanos(now - beganNanos).plus(pause).compareTo(patience.total()) > 0) {
      throw error;
    }
    failures++;
    try {
      Thread.sleep(pause.toMillis(), pause.toNanosPart() % 1_000_000);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw error;
    }
  }

  /** Make a call, again while that may help. */
  <T> T patiently(Supplier<T> call) {
    for (;;) {
      try {
        return call.get();
      } catch (RuntimeException thrown) {
        pauseAfter(Doors.refusal(thrown));
      }
    }
  }

  private static boolean worthRetrying(HordeException error) {
    if (error.reason().equals("BUDGET_SPENT")) {
      return false;
    }
    return error.retryAfter().isPresent()
        || error.reason().equals("TOO_SLOW")
        || error instanceof HordeException.Unavailable
        || error instanceof HordeException.DeadlineExceeded
        || error instanceof HordeException.Internal;
  }
}
