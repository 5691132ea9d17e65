import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.Message;
import com.google.protobuf.TypeRegistry;
import com.google.protobuf.util.JsonFormat;
import com.google.rpc.ErrorDetailsProto;
import io.grpc.MethodDescriptor;
import io.grpc.ServiceDescriptor;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.UUID;
import org.hordemesh.Event;
import org.hordemesh.Horde;
import org.hordemesh.HordeException;
import org.hordemesh.Options;
import org.hordemesh.Patience;
import org.hordemesh.Session;
import org.hordemesh.api.generation.v1.GenerationSpec;

/** The driver of this SDK for `horde conform`: JSON lines over standard input and output; see clients/README.md. */
final class Driver {
  private static final Gson GSON = new GsonBuilder().disableHtmlEscaping().create();
  private static final TypeRegistry DETAILS =
      TypeRegistry.newBuilder().add(ErrorDetailsProto.getDescriptor().getMessageTypes()).build();
  private static final JsonFormat.Printer PRINTER =
      JsonFormat.printer().preservingProtoFieldNames().omittingInsignificantWhitespace().usingTypeRegistry(DETAILS);

  private final Map<String, Horde> clients = new HashMap<>();
  private final Map<String, Session> sessions = new HashMap<>();

  public static void main(String[] arguments) throws IOException {
    Driver driver = new Driver();
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      JsonObject asked = JsonParser.parseString(line).getAsJsonObject();
      JsonObject answer = new JsonObject();
      answer.add("id", asked.get("id"));
      try {
        answer.add("ok", driver.perform(asked));
      } catch (HordeException refused) {
        answer.add("error", errorOf(refused));
      } catch (Exception broken) {
        StringWriter trace = new StringWriter();
        broken.printStackTrace(new PrintWriter(trace));
        JsonObject error = new JsonObject();
        error.addProperty("code", "DRIVER");
        error.addProperty("message", trace.toString());
        answer.add("error", error);
      }
      out.println(GSON.toJson(answer));
    }
    System.exit(0);
  }

  private JsonObject perform(JsonObject a) throws Exception {
    Horde client = clients.get(text(a, "client"));
    Session session = sessions.get(text(a, "session"));
    JsonObject told = new JsonObject();
    switch (text(a, "op")) {
      case "hello" -> {
        told.addProperty("name", "java");
        told.addProperty("version", "0.1.0");
      }
      case "open" -> clients.put(text(a, "client"), new Horde(text(a, "target"), options(a)));
      case "close" -> clients.remove(text(a, "client")).close();
      case "call" -> told.add("response", call(client, text(a, "method"), a.get("request")));
      case "quote" -> told.add("quote", plain(client.quote(spec(a))));
      case "generate" -> {
        Long most = a.has("max_total_mkudos") ? a.get("max_total_mkudos").getAsLong() : null;
        boolean cancels = !a.has("cancels") || a.get("cancels").getAsBoolean();
        return enter(client.generate(spec(a), new Horde.Asking(text(a, "request_id"), most, cancels)));
      }
      case "following" -> {
        return enter(client.following(text(a, "generation_id")));
      }
      case "watch" -> {
        JsonArray events = new JsonArray();
        String until = text(a, "until");
        session.watch(a.has("previews") && a.get("previews").getAsBoolean(), event -> {
          events.add(described(event));
          return !event.kind().equals(until);
        });
        told.add("events", events);
        told.add("generation", plain(session.generation()));
      }
      case "pictures" -> {
        JsonArray pictures = new JsonArray();
        for (Session.Picture picture : session.pictures()) {
          JsonObject about = digested(picture.content());
          about.addProperty("index", picture.image().getIndex());
          about.addProperty("promised_sha256", HexFormat.of().formatHex(picture.image().getSha256().toByteArray()));
          pictures.add(about);
        }
        told.add("pictures", pictures);
        told.add("generation", plain(session.generation()));
      }
      case "fetch" -> {
        return digested(client.fetch(text(a, "generation_id"), text(a, "job_id")));
      }
      case "put" -> {
        String inputId = a.has("input_id") ? text(a, "input_id") : UUID.randomUUID().toString();
        told.add("input", plain(client.put(Base64.getDecoder().decode(text(a, "content")), inputId)));
      }
      case "cancel" -> told.add("generation", plain(session.cancel()));
      case "leave" -> {
        sessions.remove(text(a, "session")).close();
        told.add("generation", plain(session.generation()));
      }
      default -> throw new IllegalArgumentException("there is no operation " + text(a, "op"));
    }
    return told;
  }

  private static Options options(JsonObject a) {
    Options options = a.has("api_key") ? Options.USUAL.withApiKey(text(a, "api_key")) : Options.USUAL.withAnonymous();
    if (a.has("anonymous")) {
      options = options.withAnonymousToken(text(a, "anonymous"));
    }
    if (a.has("config_folder")) {
      options = options.withConfigFolder(Path.of(text(a, "config_folder")));
    }
    Duration total = seconds(a, "patience_seconds", Patience.USUAL.total());
    Duration attempt = seconds(a, "attempt_seconds", Patience.USUAL.attempt());
    return options.withPatience(new Patience(total, Duration.ofMillis(20), Patience.USUAL.longestPause(), attempt));
  }

  private static Duration seconds(JsonObject a, String name, Duration usual) {
    return a.has(name) ? Duration.ofMillis(Math.round(a.get(name).getAsDouble() * 1000)) : usual;
  }

  private static JsonElement call(Horde client, String path, JsonElement request) throws Exception {
    String service = path.substring(0, path.indexOf('/'));
    Class<?> stubs = Class.forName("org.hordemesh" + service.substring("horde".length()) + "Grpc");
    ServiceDescriptor descriptor = (ServiceDescriptor) stubs.getMethod("getServiceDescriptor").invoke(null);
    for (MethodDescriptor<?, ?> method : descriptor.getMethods()) {
      if (method.getFullMethodName().equals(path)) {
        @SuppressWarnings("unchecked") // Stubs that protoc made send messages, and nothing else.
        MethodDescriptor<Message, Message> typed = (MethodDescriptor<Message, Message>) method;
        var marshaller = (MethodDescriptor.PrototypeMarshaller<Message>) typed.getRequestMarshaller();
        Message.Builder message = marshaller.getMessagePrototype().newBuilderForType();
        JsonFormat.parser().merge(request.toString(), message);
        return plain(client.call(typed, message.build()));
      }
    }
    throw new IllegalArgumentException("there is no method " + path);
  }

  private static GenerationSpec spec(JsonObject a) throws IOException {
    GenerationSpec.Builder spec = GenerationSpec.newBuilder();
    JsonFormat.parser().merge(a.get("spec").toString(), spec);
    return spec.build();
  }

  private JsonObject enter(Session session) throws IOException {
    String name = "session " + sessions.size() + " " + session.generation().getGenerationId();
    sessions.put(name, session);
    JsonObject told = new JsonObject();
    told.addProperty("session", name);
    told.add("generation", plain(session.generation()));
    return told;
  }

  private static JsonObject described(Event event) {
    JsonObject told = new JsonObject();
    told.addProperty("kind", event.kind());
    if (event instanceof Event.Snapshot snapshot) {
      told.addProperty("version", snapshot.generation().getVersion());
    } else if (event instanceof Event.Finished finished) {
      told.addProperty("version", finished.generation().getVersion());
    } else if (event instanceof Event.ImageChanged changed) {
      told.addProperty("version", changed.image().getVersion());
      told.addProperty("index", changed.image().getIndex());
    } else if (event instanceof Event.Progressed progressed) {
      told.addProperty("index", progressed.index());
      told.addProperty("step", progressed.progress().getStep());
    } else if (event instanceof Event.Previewed previewed) {
      told.addProperty("index", previewed.index());
      told.addProperty("step", previewed.preview().getStep());
    } else if (event instanceof Event.Waiting waiting) {
      told.addProperty("index", waiting.index());
    }
    return told;
  }

  private static JsonElement plain(Message message) throws IOException {
    return JsonParser.parseString(PRINTER.print(message));
  }

  private static JsonObject digested(byte[] content) throws Exception {
    JsonObject told = new JsonObject();
    told.addProperty("sha256", HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content)));
    told.addProperty("size", content.length);
    return told;
  }

  private static JsonObject errorOf(HordeException refused) {
    JsonObject told = new JsonObject();
    told.addProperty("code", refused.code().name());
    told.addProperty("reason", refused.reason());
    told.addProperty("domain", refused.domain());
    told.addProperty("message", refused.getMessage());
    told.add("metadata", GSON.toJsonTree(refused.metadata()));
    told.add("violations", GSON.toJsonTree(refused.violations().stream().map(HordeException.Violation::field).toList()));
    refused.retryAfter().ifPresent(wait -> told.addProperty("retry_after_s", wait.toMillis() / 1000.0));
    return told;
  }

  private static String text(JsonObject a, String name) {
    return a.has(name) ? a.get(name).getAsString() : null;
  }
}
