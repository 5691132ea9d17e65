package org.hordemesh;

import io.grpc.MethodDescriptor;
import java.util.UUID;
import org.hordemesh.api.generation.v1.CreateGenerationRequest;
import org.hordemesh.api.generation.v1.Generation;
import org.hordemesh.api.generation.v1.GenerationServiceGrpc;
import org.hordemesh.api.generation.v1.GenerationSpec;
import org.hordemesh.api.generation.v1.Quote;
import org.hordemesh.api.generation.v1.QuoteGenerationRequest;
import org.hordemesh.api.job.v1.ImageSpec;
import org.hordemesh.api.job.v1.InputImage;
import org.hordemesh.api.job.v1.JobSpec;

/** One requester's view of a mesh. For any number of threads. Everything throws {@link HordeException}. */
public final class Horde implements AutoCloseable {
  /** Where `horde up` puts the gateway. */
  public static final String DEFAULT_TARGET = "127.0.0.1:7700";

  /**
   * How to ask.
   *
   * @param requestId a UUID, if the whole process may be repeated: the same id with the same spec is the same generation.
   *     Null: drawn
   * @param maxTotalMkudos null: whatever it costs
   * @param cancels false: it goes on when the session is left
   */
  public record Asking(String requestId, Long maxTotalMkudos, boolean cancels) {
    public static final Asking USUAL = new Asking(null, null, true);

    /** At most this price. */
    public static Asking upTo(long mkudos) {
      return new Asking(null, mkudos, true);
    }
  }

  private final Doors doors;

  public Horde(String target) {
    this(target, Options.USUAL);
  }

  /** `target` is the gateway's address, for example {@link #DEFAULT_TARGET}. Connecting begins with the first call. */
  public Horde(String target, Options options) {
    doors = new Doors(target, options);
  }

  /**
   * What to paint, in short: one picture of 128 x 128 in 20 steps by paintbox, to be changed with `toBuilder()`. The mesh
   * checks every field.
   */
  public static GenerationSpec spec(String prompt) {
    ImageSpec image = ImageSpec.newBuilder().setPrompt(prompt).setWidth(128).setHeight(128).setSteps(20).build();
    return GenerationSpec.newBuilder().setJob(JobSpec.newBuilder().setModel("paintbox").setImage(image)).setCount(1).build();
  }

  /** What it would cost, where its images would go and how long it might wait. Changes nothing. */
  public Quote quote(GenerationSpec spec) {
    QuoteGenerationRequest request = QuoteGenerationRequest.newBuilder().setSpec(spec).build();
    return call(GenerationServiceGrpc.getQuoteGenerationMethod(), request).getQuote();
  }

  /** Asks for images. Leave the session (try-with-resources) and what is not finished is cancelled. */
  public Session generate(GenerationSpec spec, Asking asking) {
    String requestId = asking.requestId() == null ? UUID.randomUUID().toString() : asking.requestId();
    CreateGenerationRequest.Builder request = CreateGenerationRequest.newBuilder().setRequestId(requestId).setSpec(spec);
    if (asking.maxTotalMkudos() != null) {
      request.setMaxTotalMkudos(asking.maxTotalMkudos());
    }
    Generation made = call(GenerationServiceGrpc.getCreateGenerationMethod(), request.build()).getGeneration();
    return new Session(doors, made, asking.cancels());
  }

  public Session generate(GenerationSpec spec) {
    return generate(spec, Asking.USUAL);
  }

  /** A generation that was asked for before, also by another process. Leaving it cancels nothing. */
  public Session following(String generationId) {
    return new Session(doors, get(generationId), false);
  }

  public Generation get(String generationId) {
    return Images.get(doors, generationId);
  }

  /** The bytes of a finished image. */
  public byte[] fetch(String generationId, String jobId) {
    return Images.fetch(doors, get(generationId), jobId);
  }

  /**
   * Stores a source image, mask or control image for an hour, and names it for a spec. Keep the id, a UUID, if the whole
   * process may be repeated.
   */
  public InputImage put(byte[] content, String inputId) {
    return Images.put(doors, content, inputId);
  }

  /** Any call of the contract that is no stream: `call(MeshServiceGrpc.getGetMeshMethod(), request)`. */
  public <Q, A> A call(MethodDescriptor<Q, A> method, Q request) {
    return doors.ask(method, request);
  }

  @Override
  public void close() {
    doors.close();
  }
}
