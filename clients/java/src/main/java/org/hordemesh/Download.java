package org.hordemesh;

import com.google.protobuf.ByteString;
import io.grpc.CallOptions;
import io.grpc.Context;
import io.grpc.stub.ClientCalls;
import java.io.ByteArrayOutputStream;
import java.util.Iterator;
import org.hordemesh.api.generation.v1.ImageDownload;
import org.hordemesh.api.storage.v1.Chunk;
import org.hordemesh.api.storage.v1.DownloadRequest;
import org.hordemesh.api.storage.v1.DownloadResponse;
import org.hordemesh.api.storage.v1.StorageServiceGrpc;

/** One image on its way: keeps what has come, over broken streams and new tickets. */
final class Download {
  private static final int MAX_IMAGE_BYTES = 256 * 1024 * 1024;

  private final Doors doors;
  private final ByteString promised;
  private final ByteArrayOutputStream content = new ByteArrayOutputStream();
  private boolean begunAgain;

  Download(Doors doors, ByteString promised) {
    this.doors = doors;
    this.promised = promised;
  }

  byte[] run(ImageDownload way) {
    for (;;) {
      read(way);
      byte[] whole = content.toByteArray();
      if (promised.equals(ByteString.copyFrom(Images.sha256(whole)))) {
        return whole;
      }
      content.reset();
      if (begunAgain) {
        throw new HordeException.DamagedImage("The bytes of the image are not those that were promised.");
      }
      begunAgain = true;
    }
  }

  private void read(ImageDownload way) {
    DownloadRequest request =
        DownloadRequest.newBuilder().setTicket(way.getTicket()).setOffset(content.size()).build();
    Context.CancellableContext reading = Context.current().withCancellation();
    Context before = reading.attach();
    try {
      Iterator<DownloadResponse> stream = ClientCalls.blockingServerStreamingCall(
          doors.storage(way.getAddress()), StorageServiceGrpc.getDownloadMethod(), CallOptions.DEFAULT, request);
      long size = 0;
      while (stream.hasNext()) {
        DownloadResponse response = stream.next();
        if (response.hasHeader()) {
          size = response.getHeader().getSizeBytes();
          if (size > MAX_IMAGE_BYTES) {
            throw new HordeException.DamagedImage("The image would be " + size + " bytes large.");
          }
        } else if (response.hasChunk()) {
          take(response.getChunk());
        }
      }
      if (content.size() < size) {
        throw new HordeException.Unavailable("The download ended early.", HordeException.Told.NOTHING);
      }
    } finally {
      reading.detach(before);
      reading.cancel(null);
    }
  }

  private void take(Chunk chunk) {
    if (chunk.getOffset() != content.size() || content.size() > MAX_IMAGE_BYTES) {
      throw new HordeException.DamagedImage("The parts of the image do not fit together.");
    }
    content.writeBytes(chunk.getData().toByteArray());
  }
}
