package org.hordemesh;

import java.time.Duration;

/**
 * How long to go on trying.
 *
 * @param total after the first failure of one call, or since a watch last heard something
 * @param firstPause before the second attempt; doubled with each further one
 * @param longestPause no pause is longer, but where the mesh names one
 * @param attempt what one attempt of a call with one answer may take, so that a mute mesh holds nobody
 */
public record Patience(Duration total, Duration firstPause, Duration longestPause, Duration attempt) {
  public static final Patience USUAL =
      new Patience(Duration.ofSeconds(30), Duration.ofMillis(100), Duration.ofSeconds(3), Duration.ofSeconds(10));
}
