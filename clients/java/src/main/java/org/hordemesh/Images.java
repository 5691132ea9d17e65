package org.hordemesh;

import com.google.protobuf.ByteString;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.hordemesh.api.generation.v1.CreateInputTicketRequest;
import org.hordemesh.api.generation.v1.CreateInputTicketResponse;
import org.hordemesh.api.generation.v1.Generation;
import org.hordemesh.api.generation.v1.GenerationServiceGrpc;
import org.hordemesh.api.generation.v1.GetGenerationRequest;
import org.hordemesh.api.generation.v1.Image;
import org.hordemesh.api.job.v1.InputImage;
import org.hordemesh.api.job.v1.JobEnding;
import org.hordemesh.api.storage.v1.Chunk;
import org.hordemesh.api.storage.v1.PutInputOpen;
import org.hordemesh.api.storage.v1.PutInputRequest;
import org.hordemesh.api.storage.v1.PutInputResponse;
import org.hordemesh.api.storage.v1.StorageServiceGrpc;
import org.hordemesh.api.storage.v1.StoredInput;
import org.hordemesh.api.storage.v1.UploadFinish;

/** The bytes of pictures: painted ones out, inputs in, under tickets that the gateway makes. */
final class Images {
  private static final int CHUNK_BYTES = 256 * 1024;
  private static final int MAX_EXPIRED_TICKETS = 3;
  private static final int PUT_SECONDS = 300;

  private Images() {}

  static Generation get(Doors doors, String generationId) {
    GetGenerationRequest request = GetGenerationRequest.newBuilder().setGenerationId(generationId).build();
    return doors.ask(GenerationServiceGrpc.getGetGenerationMethod(), request).getGeneration();
  }

  /** The bytes of a finished image, checked against its SHA-256; a broken download goes on where it broke. */
  static byte[] fetch(Doors doors, Generation generation, String jobId) {
    Image image = imageOf(generation, jobId);
    Download download = new Download(doors, image.getSha256());
    Attempts attempts = doors.attempts();
    for (int expired = 0; ; ) {
      try {
        return download.run(image.getDownload());
      } catch (RuntimeException thrown) {
        HordeException error = Doors.refusal(thrown);
        if (!error.reason().equals("TOKEN_EXPIRED")) {
          attempts.pauseAfter(error);
          continue;
        }
        HordeException clocks = new HordeException.Unavailable(
            "Every ticket is expired when it arrives: the clocks of the mesh differ.", HordeException.Told.NOTHING);
        if (++expired > MAX_EXPIRED_TICKETS) {
          throw clocks;
        }
        attempts.pauseAfter(clocks);
        image = imageOf(get(doors, generation.getGenerationId()), jobId);
      }
    }
  }

  private static Image imageOf(Generation generation, String jobId) {
    Map<String, String> about = Map.of("job_id", jobId);
    Image image = generation.getImagesList().stream().filter(one -> one.getJobId().equals(jobId)).findFirst()
        .orElseThrow(() -> new HordeException.NotFound(
            "The generation has no image " + jobId + ".", HordeException.Told.because("", about)));
    if (image.hasDownload() && !image.getWithdrawn()) {
      return image;
    }
    if (image.getWithdrawn() || image.getEnding() == JobEnding.JOB_ENDING_DONE) {
      throw new HordeException.NotFound(
          "Image " + image.getIndex() + " is gone.", HordeException.Told.because("OBJECT_NOT_FOUND", about));
    }
    throw new HordeException.FailedPrecondition(
        "Image " + image.getIndex() + " has no picture.", HordeException.Told.because("IMAGE_NOT_FINISHED", about));
  }

  /** Stores a source image, mask or control image for an hour, and names it for a spec. */
  static InputImage put(Doors doors, byte[] content, String inputId) {
    StoredInput stored = doors.attempts().patiently(() -> {
      CreateInputTicketRequest request = CreateInputTicketRequest.newBuilder().setInputId(inputId).build();
      CreateInputTicketResponse ticket = doors.ask(GenerationServiceGrpc.getCreateInputTicketMethod(), request);
      if (ticket.getMaxBytes() > 0 && content.length > ticket.getMaxBytes()) {
        Map<String, String> limit = Map.of("limit", Long.toString(ticket.getMaxBytes()), "unit", "bytes");
        throw new HordeException.InvalidArgument(
            "The picture is over a limit.", HordeException.Told.because("TOO_LARGE", limit));
      }
      return send(doors, ticket.getAddress(), parts(ticket.getTicket(), content).iterator());
    });
    return InputImage.newBuilder().setInputId(stored.getInputId()).setSha256(stored.getSha256()).build();
  }

  private static List<PutInputRequest> parts(String ticket, byte[] content) {
    List<PutInputRequest> parts = new ArrayList<>();
    parts.add(PutInputRequest.newBuilder().setOpen(PutInputOpen.newBuilder().setTicket(ticket)).build());
    for (int offset = 0; offset < content.length; offset += CHUNK_BYTES) {
      ByteString data = ByteString.copyFrom(content, offset, Math.min(CHUNK_BYTES, content.length - offset));
      parts.add(PutInputRequest.newBuilder().setChunk(Chunk.newBuilder().setOffset(offset).setData(data)).build());
    }
    UploadFinish.Builder finish =
        UploadFinish.newBuilder().setSha256(ByteString.copyFrom(sha256(content))).setSizeBytes(content.length);
    parts.add(PutInputRequest.newBuilder().setFinish(finish).build());
    return parts;
  }

  private static StoredInput send(Doors doors, String address, Iterator<PutInputRequest> parts) {
    CompletableFuture<PutInputResponse> answer = new CompletableFuture<>();
    StorageServiceGrpc.newStub(doors.storage(address)).withDeadlineAfter(PUT_SECONDS, TimeUnit.SECONDS)
        .putInput(new Upload(parts, answer));
    try {
      return answer.get().getInput();
    } catch (ExecutionException failed) {
      throw new StatusRuntimeException(Status.fromThrowable(failed.getCause()), Status.trailersFromThrowable(failed));
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw new HordeException.Cancelled("The thread was interrupted.", HordeException.Told.NOTHING);
    }
  }

  /** An input on its way: no more of it is handed over than the wire takes. */
  private static final class Upload implements ClientResponseObserver<PutInputRequest, PutInputResponse> {
    private final Iterator<PutInputRequest> parts;
    private final CompletableFuture<PutInputResponse> answer;
    private boolean whole;

    Upload(Iterator<PutInputRequest> parts, CompletableFuture<PutInputResponse> answer) {
      this.parts = parts;
      this.answer = answer;
    }

    @Override
    public void beforeStart(ClientCallStreamObserver<PutInputRequest> stream) {
      stream.setOnReadyHandler(() -> {
        while (stream.isReady() && parts.hasNext()) {
          stream.onNext(parts.next());
        }
        if (!parts.hasNext() && !whole) {
          whole = true;
          stream.onCompleted();
        }
      });
    }

    @Override
    public void onNext(PutInputResponse response) {
      answer.complete(response);
    }

    @Override
    public void onError(Throwable error) {
      answer.completeExceptionally(error);
    }

    @Override
    public void onCompleted() {
      // The answer has come before.
    }
  }

  static byte[] sha256(byte[] content) {
    try {
      return MessageDigest.getInstance("SHA-256").digest(content);
    } catch (NoSuchAlgorithmException never) {
      throw new IllegalStateException(never); // Every Java has it.
    }
  }
}
