package org.hordemesh;

import java.nio.file.Path;

/**
 * Who asks, and how. Without a key: HORDE_API_KEY, the key kept for this mesh, else an anonymous token that is made once
 * for this mesh and kept. Begin with {@link #USUAL} and change what should be otherwise.
 *
 * @param apiKey the account's; null for none
 * @param anonymous skip every key
 * @param anonymousToken the digits of a token of your own; null for none
 * @param configFolder where keys and tokens are kept; null for the user's
 * @param authority PEM of an authority of your own; null for the system's
 * @param plaintext speak plainly to another machine. Everybody on the way can read your key
 * @param patience how long to go on trying
 */
public record Options(
    String apiKey,
    boolean anonymous,
    String anonymousToken,
    Path configFolder,
    byte[] authority,
    boolean plaintext,
    Patience patience) {
  public static final Options USUAL = new Options(null, false, null, null, null, false, Patience.USUAL);

  public Options withApiKey(String key) {
    return new Options(key, anonymous, anonymousToken, configFolder, authority, plaintext, patience);
  }

  public Options withAnonymous() {
    return new Options(apiKey, true, anonymousToken, configFolder, authority, plaintext, patience);
  }

  public Options withAnonymousToken(String digits) {
    return new Options(apiKey, true, digits, configFolder, authority, plaintext, patience);
  }

  public Options withConfigFolder(Path folder) {
    return new Options(apiKey, anonymous, anonymousToken, folder, authority, plaintext, patience);
  }

  public Options withAuthority(byte[] pem) {
    return new Options(apiKey, anonymous, anonymousToken, configFolder, pem, plaintext, patience);
  }

  public Options withPlaintext() {
    return new Options(apiKey, anonymous, anonymousToken, configFolder, authority, true, patience);
  }

  public Options withPatience(Patience longer) {
    return new Options(apiKey, anonymous, anonymousToken, configFolder, authority, plaintext, longer);
  }
}
