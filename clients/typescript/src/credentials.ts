// Who asks: an API key, or the token that an anonymous client makes once for a mesh and keeps. The folders and files are
// those of every SDK and of the command line, so that one user is the same requester in all of them.
import { randomBytes } from "node:crypto";
import { linkSync, mkdirSync, readFileSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export function configFolder(): string {
  const { HORDE_CONFIG_DIR, APPDATA, XDG_CONFIG_HOME } = process.env;
  if (HORDE_CONFIG_DIR) return HORDE_CONFIG_DIR;
  if (process.platform === "win32" && APPDATA) return join(APPDATA, "horde");
  return join(XDG_CONFIG_HOME || join(homedir(), ".config"), "horde");
}

/** Where the key and the token for one mesh are. The names of this machine are one mesh. */
export function meshFolder(target: string, folder = configFolder()): string {
  const address = target.toLowerCase().replace(/^(localhost|\[::1\])(?=:\d+$)/, "127.0.0.1");
  const name = encodeURIComponent(address)
    .replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/%5B/g, "[")
    .replace(/%5D/g, "]")
    .replace(/%3A/g, "+");
  if (!name.replace(/\./g, "")) throw new Error(`${JSON.stringify(target)} is not the address of a mesh`);
  return join(folder, "meshes", name);
}

export interface Who {
  apiKey?: string | undefined;
  /** Skip every key. */
  anonymous?: boolean | string | undefined;
  configFolder?: string | undefined;
}

/** What to send as `authorization`: the key given, HORDE_API_KEY, the key kept for this mesh, else its anonymous token. */
export function authorization(target: string, who: Who): string {
  const folder = meshFolder(target, who.configFolder);
  if (typeof who.anonymous === "string") return `Anonymous ${who.anonymous}`;
  if (!who.anonymous) {
    const key = who.apiKey || process.env.HORDE_API_KEY || readSecret(join(folder, "api-key"));
    if (key?.trim()) return `Bearer ${key.trim()}`;
  }
  return `Anonymous ${keepToken(folder)}`;
}

function readSecret(path: string): string | undefined {
  try {
    if (process.platform !== "win32" && statSync(path).mode & 0o077) {
      throw new Error(`${path} can be read by others: chmod 600 it`);
    }
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** Two processes that make it at once end with the same one. */
function keepToken(folder: string): string {
  const path = join(folder, "anonymous-token");
  const kept = readSecret(path);
  if (kept !== undefined) {
    if (!/^[0-9a-f]{32}$/.test(kept)) throw new Error(`${path} holds no anonymous token (32 hexadecimal digits)`);
    return kept;
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const fresh = `${path}.${randomBytes(4).toString("hex")}`;
  writeFileSync(fresh, `${randomBytes(16).toString("hex")}\n`, { mode: 0o600, flag: "wx" });
  try {
    linkSync(fresh, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    unlinkSync(fresh);
  }
  return keepToken(folder);
}
