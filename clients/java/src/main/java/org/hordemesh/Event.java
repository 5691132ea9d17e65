package org.hordemesh;

import org.hordemesh.api.generation.v1.Generation;
import org.hordemesh.api.generation.v1.Image;
import org.hordemesh.api.generation.v1.Preview;
import org.hordemesh.api.generation.v1.Progress;
import org.hordemesh.api.generation.v1.WaitEstimate;

/** One thing that a watcher hears. */
public sealed interface Event {
  /** snapshot, image, progress, preview, wait or finished. */
  String kind();

  /** Everything, as it is now. Comes first, and again after every broken stream. */
  record Snapshot(Generation generation) implements Event {
    @Override
    public String kind() {
      return "snapshot";
    }
  }

  /** One image moved on: queued, leased, settling, ended; or back from leased to queued. */
  record ImageChanged(Image image) implements Event {
    @Override
    public String kind() {
      return "image";
    }
  }

  /** A worker painted further. */
  record Progressed(int index, Progress progress) implements Event {
    @Override
    public String kind() {
      return "progress";
    }
  }

  /** A glimpse of an unfinished image: a JPEG, PNG or WebP. */
  record Previewed(int index, Preview preview) implements Event {
    @Override
    public String kind() {
      return "preview";
    }
  }

  /** A new estimate for a queued image. */
  record Waiting(int index, WaitEstimate estimate) implements Event {
    @Override
    public String kind() {
      return "wait";
    }
  }

  /** Every image has ended. The last event. */
  record Finished(Generation generation) implements Event {
    @Override
    public String kind() {
      return "finished";
    }
  }
}
