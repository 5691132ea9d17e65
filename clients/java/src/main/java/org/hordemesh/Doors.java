package org.hordemesh;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptors;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.MetadataUtils;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/** The two doors of a mesh: the gateway, and the storage routers that it names. Callers know only the first. */
final class Doors implements AutoCloseable {
  /** Routers that one client speaks to at once. */
  private static final int MAX_ROUTERS = 16;

  private static final int MAX_MESSAGE_BYTES = 8 * 1024 * 1024;
  private static final Pattern LOOPBACK = Pattern.compile("(localhost|127\\.\\d+\\.\\d+\\.\\d+|\\[::1\\]):\\d+");
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private final Options options;
  private final ManagedChannel dialled;
  private final Channel gateway;
  private final Map<String, ManagedChannel> routers = new HashMap<>();

  Doors(String target, Options options) {
    this.options = options;
    Metadata headers = new Metadata();
    headers.put(AUTHORIZATION, Credentials.authorization(target, options));
    dialled = dial(target);
    // Who asks is told to the gateway alone, never to a router.
    gateway = ClientInterceptors.intercept(dialled, MetadataUtils.newAttachHeadersInterceptor(headers));
  }

  Attempts attempts() {
    return new Attempts(options.patience());
  }

  Channel gateway() {
    return gateway;
  }

  /** Make one call to the gateway, patiently. */
  <Q, A> A ask(MethodDescriptor<Q, A> method, Q request) {
    long nanos = options.patience().attempt().toNanos();
    return attempts().patiently(() -> {
      CallOptions within = CallOptions.DEFAULT.withDeadlineAfter(nanos, TimeUnit.NANOSECONDS);
      return ClientCalls.blockingUnaryCall(gateway, method, within, request);
    });
  }

  synchronized Channel storage(String address) {
    if (!routers.containsKey(address) && routers.size() >= MAX_ROUTERS) {
      throw new IllegalStateException("the mesh named more than " + MAX_ROUTERS + " storage routers");
    }
    return routers.computeIfAbsent(address, this::dial);
  }

  /** What a call failed with; whatever else was thrown goes on as it is. */
  static HordeException refusal(RuntimeException thrown) {
    if (thrown instanceof HordeException || thrown instanceof StatusRuntimeException) {
      return HordeException.of(thrown);
    }
    throw thrown;
  }

  private ManagedChannel dial(String address) {
    return Grpc.newChannelBuilder("dns:///" + address, credentials(address))
        .disableRetry()
        .maxInboundMessageSize(MAX_MESSAGE_BYTES)
        // A link that died without a word is noticed, also under a stream. Gateways allow a ping each 5 s.
        .keepAliveTime(10, TimeUnit.SECONDS)
        .keepAliveTimeout(8, TimeUnit.SECONDS)
        .keepAliveWithoutCalls(true)
        .build();
  }

  private ChannelCredentials credentials(String address) {
    if (options.authority() == null) {
      boolean plain = options.plaintext() || LOOPBACK.matcher(address).matches();
      return plain ? InsecureChannelCredentials.create() : TlsChannelCredentials.create();
    }
    try {
      return TlsChannelCredentials.newBuilder().trustManager(new ByteArrayInputStream(options.authority())).build();
    } catch (IOException damaged) {
      throw new UncheckedIOException("the authority is no PEM certificate", damaged);
    }
  }

  @Override
  public synchronized void close() {
    routers.values().forEach(ManagedChannel::shutdownNow);
    dialled.shutdownNow();
  }
}
