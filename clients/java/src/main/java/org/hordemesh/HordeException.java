package org.hordemesh;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.Serializable;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** What a mesh refuses: decide on {@link #reason}, else on the class, never on the message. */
public class HordeException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** One field of a request, and what is wrong with it. */
  public record Violation(String field, String description) implements Serializable {}

  /** Everything but the message. */
  record Told(String reason, String domain, Map<String, String> metadata, List<Violation> violations, Duration retryAfter)
      implements Serializable {
    static final Told NOTHING = new Told("", "", Map.of(), List.of(), null);

    static Told because(String reason, Map<String, String> metadata) {
      return new Told(reason, "", metadata, List.of(), null);
    }
  }

  private final Status.Code code;
  private final Told told;

  HordeException(Status.Code code, String message, Told told) {
    super(message);
    this.code = code;
    this.told = told;
  }

  /** gRPC's own name of its kind is that of this constant, for example NOT_FOUND. */
  public Status.Code code() {
    return code;
  }

  /** The contract's, for example INSUFFICIENT_KUDOS; empty where the code says it all. */
  public String reason() {
    return told.reason();
  }

  /** The package whose reasons these are, for example horde.api.ledger.v1. */
  public String domain() {
    return told.domain();
  }

  public Map<String, String> metadata() {
    return told.metadata();
  }

  /** Every field that is wrong. */
  public List<Violation> violations() {
    return told.violations();
  }

  /** How long to wait, where the mesh named it. */
  public Optional<Duration> retryAfter() {
    return Optional.ofNullable(told.retryAfter());
  }

  /** The error of a call, as one of the classes below. */
  static HordeException of(RuntimeException thrown) {
    if (thrown instanceof HordeException known) {
      return known;
    }
    Status status = Status.fromThrowable(thrown);
    String message = status.getDescription() == null ? status.getCode().name() : status.getDescription();
    return of(status.getCode(), message, thrown instanceof StatusRuntimeException call ? read(call) : Told.NOTHING);
  }

  static HordeException of(Status.Code code, String message, Told told) {
    return switch (code) {
      case INVALID_ARGUMENT -> new InvalidArgument(message, told);
      case UNAUTHENTICATED -> new Unauthenticated(message, told);
      case PERMISSION_DENIED -> new PermissionDenied(message, told);
      case NOT_FOUND -> new NotFound(message, told);
      case ALREADY_EXISTS -> new AlreadyExists(message, told);
      case FAILED_PRECONDITION -> new FailedPrecondition(message, told);
      case RESOURCE_EXHAUSTED -> new ResourceExhausted(message, told);
      case ABORTED -> new Aborted(message, told);
      case CANCELLED -> new Cancelled(message, told);
      case DEADLINE_EXCEEDED -> new DeadlineExceeded(message, told);
      case UNAVAILABLE -> new Unavailable(message, told);
      case INTERNAL -> new Internal(message, told);
      case UNIMPLEMENTED -> new Unimplemented(message, told);
      default -> new HordeException(code, message, told);
    };
  }

  private static Told read(StatusRuntimeException call) {
    com.google.rpc.Status status = StatusProto.fromThrowable(call);
    Told found = Told.NOTHING;
    if (status == null) {
      return found;
    }
    try {
      for (Any detail : status.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          ErrorInfo info = detail.unpack(ErrorInfo.class);
          found = new Told(info.getReason(), info.getDomain(), Map.copyOf(info.getMetadataMap()), found.violations(), found.retryAfter());
        } else if (detail.is(BadRequest.class)) {
          List<Violation> wrong = detail.unpack(BadRequest.class).getFieldViolationsList().stream()
              .map(one -> new Violation(one.getField(), one.getDescription())).toList();
          found = new Told(found.reason(), found.domain(), found.metadata(), wrong, found.retryAfter());
        } else if (detail.is(RetryInfo.class)) {
          com.google.protobuf.Duration delay = detail.unpack(RetryInfo.class).getRetryDelay();
          Duration wait = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
          found = new Told(found.reason(), found.domain(), found.metadata(), found.violations(), wait);
        }
      }
    } catch (InvalidProtocolBufferException damaged) {
      return found; // What can be read of it is told all the same.
    }
    return found;
  }

  public static class InvalidArgument extends HordeException {
    private static final long serialVersionUID = 1;

    InvalidArgument(String message, Told told) {
      super(Status.Code.INVALID_ARGUMENT, message, told);
    }
  }

  public static class Unauthenticated extends HordeException {
    private static final long serialVersionUID = 1;

    Unauthenticated(String message, Told told) {
      super(Status.Code.UNAUTHENTICATED, message, told);
    }
  }

  public static class PermissionDenied extends HordeException {
    private static final long serialVersionUID = 1;

    PermissionDenied(String message, Told told) {
      super(Status.Code.PERMISSION_DENIED, message, told);
    }
  }

  public static class NotFound extends HordeException {
    private static final long serialVersionUID = 1;

    NotFound(String message, Told told) {
      super(Status.Code.NOT_FOUND, message, told);
    }
  }

  public static class AlreadyExists extends HordeException {
    private static final long serialVersionUID = 1;

    AlreadyExists(String message, Told told) {
      super(Status.Code.ALREADY_EXISTS, message, told);
    }
  }

  public static class FailedPrecondition extends HordeException {
    private static final long serialVersionUID = 1;

    FailedPrecondition(String message, Told told) {
      super(Status.Code.FAILED_PRECONDITION, message, told);
    }
  }

  public static class ResourceExhausted extends HordeException {
    private static final long serialVersionUID = 1;

    ResourceExhausted(String message, Told told) {
      super(Status.Code.RESOURCE_EXHAUSTED, message, told);
    }
  }

  public static class Aborted extends HordeException {
    private static final long serialVersionUID = 1;

    Aborted(String message, Told told) {
      super(Status.Code.ABORTED, message, told);
    }
  }

  public static class Cancelled extends HordeException {
    private static final long serialVersionUID = 1;

    Cancelled(String message, Told told) {
      super(Status.Code.CANCELLED, message, told);
    }
  }

  public static class DeadlineExceeded extends HordeException {
    private static final long serialVersionUID = 1;

    DeadlineExceeded(String message, Told told) {
      super(Status.Code.DEADLINE_EXCEEDED, message, told);
    }
  }

  public static class Unavailable extends HordeException {
    private static final long serialVersionUID = 1;

    Unavailable(String message, Told told) {
      super(Status.Code.UNAVAILABLE, message, told);
    }
  }

  public static class Internal extends HordeException {
    private static final long serialVersionUID = 1;

    Internal(String message, Told told) {
      super(Status.Code.INTERNAL, message, told);
    }
  }

  public static class Unimplemented extends HordeException {
    private static final long serialVersionUID = 1;

    Unimplemented(String message, Told told) {
      super(Status.Code.UNIMPLEMENTED, message, told);
    }
  }

  /** The bytes that came are not those that were promised, even when fetched again. */
  public static final class DamagedImage extends HordeException {
    private static final long serialVersionUID = 1;

    DamagedImage(String message) {
      super(Status.Code.DATA_LOSS, message, Told.because("DAMAGED_IMAGE", Map.of()));
    }
  }
}
