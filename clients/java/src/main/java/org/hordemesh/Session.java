package org.hordemesh;

import io.grpc.CallOptions;
import io.grpc.Context;
import io.grpc.stub.ClientCalls;
import java.util.Iterator;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Predicate;
import org.hordemesh.api.generation.v1.CancelGenerationRequest;
import org.hordemesh.api.generation.v1.Generation;
import org.hordemesh.api.generation.v1.GenerationServiceGrpc;
import org.hordemesh.api.generation.v1.Image;
import org.hordemesh.api.generation.v1.WatchGenerationRequest;
import org.hordemesh.api.generation.v1.WatchGenerationResponse;
import org.hordemesh.api.job.v1.JobEnding;

/**
 * A generation for as long as a block: leaving it early cancels what is not finished, so nobody paints in vain. Of one
 * thread.
 */
public final class Session implements AutoCloseable {
  /** How long leaving may take to say cancel. */
  private static final int CANCEL_SECONDS = 5;

  /** An image that is done, with its bytes. */
  public record Picture(Image image, byte[] content) {}

  private final Doors doors;
  private final boolean cancels;
  private Generation generation;

  Session(Doors doors, Generation generation, boolean cancels) {
    this.doors = doors;
    this.generation = generation;
    this.cancels = cancels;
  }

  /** As it was last heard of. */
  public Generation generation() {
    return generation;
  }

  /**
   * Calls back for what happens, until it is finished or the callback says false. A broken stream is opened again, and
   * goes on with a new snapshot.
   */
  public void watch(boolean previews, Predicate<Event> each) {
    Order order = new Order();
    Attempts attempts = doors.attempts();
    WatchGenerationRequest request = WatchGenerationRequest.newBuilder()
        .setGenerationId(generation.getGenerationId()).setPreviews(previews).build();
    for (;;) {
      Optional<HordeException> broken = watchOnce(request, order, attempts, each);
      if (broken.isEmpty()) {
        return;
      }
      attempts.pauseAfter(broken.get());
    }
  }

  /** What broke the stream; nothing where it was watched to the end. */
  private Optional<HordeException> watchOnce(
      WatchGenerationRequest request, Order order, Attempts attempts, Predicate<Event> each) {
    Context.CancellableContext listening = Context.current().withCancellation();
    Context before = listening.attach();
    Iterator<WatchGenerationResponse> stream;
    try {
      stream = ClientCalls.blockingServerStreamingCall(
          doors.gateway(), GenerationServiceGrpc.getWatchGenerationMethod(), CallOptions.DEFAULT, request);
    } finally {
      listening.detach(before);
    }
    try {
      for (;;) {
        // What the callback throws is the caller's own, and no refusal of the mesh.
        Optional<WatchGenerationResponse> response;
        try {
          response = stream.hasNext() ? Optional.of(stream.next()) : Optional.empty();
        } catch (RuntimeException thrown) {
          return Optional.of(Doors.refusal(thrown));
        }
        if (response.isEmpty()) {
          return Optional.of(new HordeException.Unavailable(
              "The stream ended before the generation did.", HordeException.Told.NOTHING));
        }
        attempts.succeeded();
        Optional<Event> event = order.accept(response.get());
        event.ifPresent(this::remember);
        if (event.isPresent() && (!each.test(event.get()) || event.get() instanceof Event.Finished)) {
          return Optional.empty();
        }
      }
    } finally {
      listening.cancel(null);
    }
  }

  private void remember(Event event) {
    if (event instanceof Event.Snapshot snapshot) {
      generation = snapshot.generation();
    } else if (event instanceof Event.Finished finished) {
      generation = finished.generation();
    } else if (event instanceof Event.ImageChanged changed) {
      for (int place = 0; place < generation.getImagesCount(); place++) {
        if (generation.getImages(place).getJobId().equals(changed.image().getJobId())) {
          generation = generation.toBuilder().setImages(place, changed.image()).build();
        }
      }
    }
  }

  /** Waits until every image has ended. */
  public Generation finish() {
    watch(false, event -> true);
    return generation;
  }

  /** Waits for the end, then gives every image that is done, with its bytes, which are fetched one after the other. */
  public Iterable<Picture> pictures() {
    return () -> finish().getImagesList().stream()
        .filter(image -> image.getEnding() == JobEnding.JOB_ENDING_DONE)
        .map(image -> new Picture(image, fetch(image)))
        .iterator();
  }

  /** The bytes of a finished image. */
  public byte[] fetch(Image image) {
    return Images.fetch(doors, generation, image.getJobId());
  }

  /** Ends what has not ended; finished images stay. */
  public Generation cancel() {
    CancelGenerationRequest request =
        CancelGenerationRequest.newBuilder().setGenerationId(generation.getGenerationId()).build();
    generation = doors.ask(GenerationServiceGrpc.getCancelGenerationMethod(), request).getGeneration();
    return generation;
  }

  /** Cancels what is not finished, unless it should go on. */
  @Override
  public void close() {
    if (generation.getFinished() || !cancels) {
      return;
    }
    // A thread of its own, for whoever leaves may be interrupted, and is not kept for longer than this.
    FutureTask<Generation> cancelling = new FutureTask<>(this::cancel);
    Thread thread = new Thread(cancelling, "horde-cancel");
    thread.setDaemon(true);
    thread.start();
    boolean interrupted = Thread.interrupted();
    try {
      cancelling.get(CANCEL_SECONDS, TimeUnit.SECONDS);
    } catch (ExecutionException | TimeoutException ignored) {
      // Whoever leaves in a hurry wants no second error; the time to live ends the generation in any case.
      cancelling.cancel(true);
    } catch (InterruptedException again) {
      interrupted = true;
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
