package org.hordemesh;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.Locale;
import java.util.Set;

/**
 * Who asks: an API key, or the token that an anonymous client makes once for a mesh and keeps. Folders and files are those
 * of every SDK and of the command line, so that one user is the same requester in all of them.
 */
final class Credentials {
  private static final boolean WINDOWS = System.getProperty("os.name").startsWith("Windows");
  private static final Set<PosixFilePermission> OTHERS = PosixFilePermissions.fromString("---rwxrwx");
  private static final SecureRandom RANDOM = new SecureRandom();

  private Credentials() {}

  /** What to send: the key given, HORDE_API_KEY, the key kept for this mesh, else its anonymous token. */
  static String authorization(String target, Options options) {
    if (options.anonymousToken() != null) {
      return "Anonymous " + options.anonymousToken();
    }
    Path folder = meshFolder(target, options.configFolder() == null ? configFolder() : options.configFolder());
    try {
      if (!options.anonymous()) {
        // A variable that is set to nothing is as good as none.
        String given = isKey(options.apiKey()) ? options.apiKey() : System.getenv("HORDE_API_KEY");
        String key = isKey(given) ? given : readSecret(folder.resolve("api-key"));
        if (isKey(key)) {
          return "Bearer " + key.strip();
        }
      }
      return "Anonymous " + keepToken(folder);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static boolean isKey(String text) {
    return text != null && !text.isBlank();
  }

  private static Path configFolder() {
    String named = System.getenv("HORDE_CONFIG_DIR");
    if (isKey(named)) {
      return Path.of(named);
    }
    String roaming = System.getenv("APPDATA");
    if (WINDOWS && isKey(roaming)) {
      return Path.of(roaming, "horde");
    }
    String xdg = System.getenv("XDG_CONFIG_HOME");
    return (isKey(xdg) ? Path.of(xdg) : Path.of(System.getProperty("user.home"), ".config")).resolve("horde");
  }

  /** Where the key and the token for one mesh are. The names of this machine are one mesh. */
  static Path meshFolder(String target, Path folder) {
    String address = target.toLowerCase(Locale.ROOT).replaceFirst("^(localhost|\\[::1\\])(?=:\\d+$)", "127.0.0.1");
    String name = URLEncoder.encode(address, StandardCharsets.UTF_8)
        .replace("+", "%20").replace("*", "%2A").replace("%7E", "~")
        .replace("%5B", "[").replace("%5D", "]").replace("%3A", "+");
    if (name.replace(".", "").isEmpty()) {
      throw new IllegalArgumentException("\"" + target + "\" is not the address of a mesh");
    }
    return folder.resolve("meshes").resolve(name);
  }

  private static String readSecret(Path path) throws IOException {
    try {
      if (!WINDOWS && Files.getPosixFilePermissions(path).stream().anyMatch(OTHERS::contains)) {
        throw new IOException(path + " can be read by others: chmod 600 it");
      }
      return Files.readString(path).strip();
    } catch (NoSuchFileException none) {
      return null;
    }
  }

  /** Two processes that make it at once end with the same one. */
  static String keepToken(Path folder) throws IOException {
    Path path = folder.resolve("anonymous-token");
    String kept = readSecret(path);
    if (kept != null) {
      if (!kept.matches("[0-9a-f]{32}")) {
        throw new IOException(path + " holds no anonymous token (32 hexadecimal digits)");
      }
      return kept;
    }
    Files.createDirectories(folder, mode("rwx------"));
    Path fresh = folder.resolve("anonymous-token." + drawn(4));
    Files.createFile(fresh, mode("rw-------"));
    try {
      Files.writeString(fresh, drawn(16) + "\n");
      Files.createLink(path, fresh);
    } catch (FileAlreadyExistsException other) {
      // Another process was sooner: its token it is.
    } finally {
      Files.delete(fresh);
    }
    return keepToken(folder);
  }

  private static FileAttribute<?>[] mode(String permissions) {
    if (WINDOWS) {
      return new FileAttribute<?>[0];
    }
    return new FileAttribute<?>[] {PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString(permissions))};
  }

  private static String drawn(int bytes) {
    byte[] content = new byte[bytes];
    RANDOM.nextBytes(content);
    return HexFormat.of().formatHex(content);
  }
}
