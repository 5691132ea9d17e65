package org.hordemesh;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.hordemesh.api.generation.v1.Generation;
import org.hordemesh.api.generation.v1.Image;
import org.hordemesh.api.generation.v1.Progress;
import org.hordemesh.api.generation.v1.WatchGenerationResponse;
import org.hordemesh.api.job.v1.JobState;

/** Drops what is old: versions never go backwards, progress counts only for the current lease and only forwards. */
final class Order {
  private long version = -1;
  private final Map<String, Image> images = new HashMap<>();
  private final Map<String, Integer> steps = new HashMap<>();

  /** The event that a message is; nothing for one that is late, or of a kind unknown here. */
  Optional<Event> accept(WatchGenerationResponse response) {
    return Optional.ofNullable(switch (response.getEventCase()) {
      case SNAPSHOT -> isWhole(response.getSnapshot()) ? new Event.Snapshot(response.getSnapshot()) : null;
      case FINISHED -> isWhole(response.getFinished()) ? new Event.Finished(response.getFinished()) : null;
      case IMAGE -> image(response.getImage());
      case PROGRESS -> progress(response.getProgress());
      case PREVIEW -> {
        Image image = leased(response.getPreview().getJobId(), response.getPreview().getLeaseId());
        yield image == null ? null : new Event.Previewed(image.getIndex(), response.getPreview());
      }
      case WAIT -> {
        Image image = images.get(response.getWait().getJobId());
        boolean queued = image != null && image.getState() == JobState.JOB_STATE_QUEUED;
        yield queued ? new Event.Waiting(image.getIndex(), response.getWait().getWait()) : null;
      }
      default -> null;
    });
  }

  private boolean isWhole(Generation generation) {
    if (generation.getVersion() < version) {
      return false;
    }
    version = generation.getVersion();
    for (Image image : generation.getImagesList()) {
      keep(image);
      if (!image.getLeaseId().isEmpty()) {
        steps.merge(image.getLeaseId(), image.getStep(), Math::max);
      }
    }
    return true;
  }

  private Event image(Image image) {
    Image known = images.get(image.getJobId());
    if (known != null && image.getVersion() <= known.getVersion()) {
      return null;
    }
    version = Math.max(version, image.getVersion());
    keep(image);
    return new Event.ImageChanged(image);
  }

  private Event progress(Progress progress) {
    Image image = leased(progress.getJobId(), progress.getLeaseId());
    if (image == null || progress.getStep() <= steps.getOrDefault(progress.getLeaseId(), 0)) {
      return null;
    }
    steps.put(progress.getLeaseId(), progress.getStep());
    return new Event.Progressed(image.getIndex(), progress);
  }

  private void keep(Image image) {
    Image known = images.put(image.getJobId(), image);
    if (known != null && !known.getLeaseId().equals(image.getLeaseId())) {
      steps.remove(known.getLeaseId());
    }
  }

  private Image leased(String jobId, String leaseId) {
    Image image = images.get(jobId);
    return image != null && !leaseId.isEmpty() && image.getLeaseId().equals(leaseId) ? image : null;
  }
}
