#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <system_error>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "doors.h"

// Folders and files are those of every SDK and of the command line, so that one user is the same requester in all.

namespace horde {

namespace fs = std::filesystem;

namespace {

std::string trimmed(const std::string& text) {
  static const char* const SPACE = " \t\r\n";
  const auto begin = text.find_first_not_of(SPACE);
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(SPACE) - begin + 1);
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

[[noreturn]] void fail(const fs::path& path) { throw std::system_error(errno, std::generic_category(), path.string()); }

fs::path config_folder() {
  if (const auto named = environment("HORDE_CONFIG_DIR"); !named.empty()) return named;
  if (const auto xdg = environment("XDG_CONFIG_HOME"); !xdg.empty()) return fs::path(xdg) / "horde";
  const auto home = environment("HOME");
  if (home.empty()) throw std::runtime_error("HOME is not set: say in which folder keys and tokens are kept");
  return fs::path(home) / ".config" / "horde";
}

// Where the key and the token for one mesh are. The names of this machine are one mesh.
fs::path mesh_folder(const std::string& target, const std::string& folder) {
  static const std::regex here(R"(^(localhost|\[::1\])(?=:\d+$))");
  std::string address = target;
  std::transform(address.begin(), address.end(), address.begin(), [](char letter) {
    return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  });
  address = std::regex_replace(address, here, "127.0.0.1");
  static const std::string PLAIN = "abcdefghijklmnopqrstuvwxyz0123456789-_.~[]";
  std::string name;
  for (const char letter : address) {
    if (letter == ':') {
      name += '+';
    } else if (PLAIN.find(letter) != std::string::npos) {
      name += letter;
    } else {
      auto digits = hex({letter});
      std::transform(digits.begin(), digits.end(), digits.begin(), [](char digit) {
        return digit >= 'a' ? static_cast<char>(digit - 'a' + 'A') : digit;
      });
      name += '%' + digits;
    }
  }
  if (name.find_first_not_of('.') == std::string::npos) throw std::runtime_error("'" + target + "' is not the address of a mesh");
  return (folder.empty() ? config_folder() : fs::path(folder)) / "meshes" / name;
}

// The one line of a secret file; nothing where there is no file.
std::optional<std::string> read_secret(const fs::path& path) {
  struct stat about {};
  if (stat(path.c_str(), &about) != 0) {
    if (errno == ENOENT) return {};
    fail(path);
  }
  if (about.st_mode & 077) throw std::runtime_error(path.string() + " can be read by others: chmod 600 it");
  std::ifstream file(path);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  if (!file) fail(path);
  return trimmed(content);
}

void write_secret(const fs::path& path, const std::string& line) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) fail(path);
  const auto written = write(file, line.data(), line.size());
  if (close(file) != 0 || written != static_cast<ssize_t>(line.size())) fail(path);
}

// Two processes that make it at once end with the same one.
std::string keep_token(const fs::path& folder) {
  static const std::regex digits("[0-9a-f]{32}");
  const auto path = folder / "anonymous-token";
  auto kept = read_secret(path);
  if (!kept) {
    fs::create_directories(folder.parent_path());
    if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) fail(folder);
    const fs::path fresh = path.string() + "." + hex(random_bytes(4));
    write_secret(fresh, hex(random_bytes(16)) + "\n");
    std::error_code failed;
    fs::create_hard_link(fresh, path, failed);
    fs::remove(fresh);
    if (failed && failed != std::errc::file_exists) throw std::system_error(failed, path.string());
    kept = read_secret(path);
  }
  if (!kept || !std::regex_match(*kept, digits)) {
    throw std::runtime_error(path.string() + " holds no anonymous token (32 hexadecimal digits)");
  }
  return *kept;
}

}  // namespace

std::string authorization(const std::string& target, const Options& options) {
  if (!options.anonymous_token.empty()) return "Anonymous " + options.anonymous_token;
  const auto folder = mesh_folder(target, options.config_folder);
  if (!options.anonymous) {
    // A variable that is set to nothing is as good as none.
    auto key = trimmed(options.api_key);
    if (key.empty()) key = trimmed(environment("HORDE_API_KEY"));
    if (key.empty()) key = read_secret(folder / "api-key").value_or("");
    if (!key.empty()) return "Bearer " + key;
  }
  return "Anonymous " + keep_token(folder);
}

std::string hex(const std::string& bytes) {
  static const char* const DIGITS = "0123456789abcdef";
  std::string digits;
  for (const unsigned char byte : bytes) {
    digits += DIGITS[byte >> 4];
    digits += DIGITS[byte & 15];
  }
  return digits;
}

std::string random_bytes(std::size_t count) {
  std::string drawn(count, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(drawn.data()), static_cast<int>(count)) != 1) {
    throw std::runtime_error("this machine has no randomness, and can keep no secret");
  }
  return drawn;
}

std::string sha256(const std::string& content) {
  std::string digest(EVP_MAX_MD_SIZE, '\0');
  unsigned int size = 0;
  if (EVP_Digest(content.data(), content.size(), reinterpret_cast<unsigned char*>(digest.data()), &size, EVP_sha256(), nullptr) != 1) {
    throw std::runtime_error("OpenSSL has no SHA-256");
  }
  digest.resize(size);
  return digest;
}

std::string new_id() {
  auto drawn = random_bytes(16);
  drawn[6] = static_cast<char>((drawn[6] & 15) | 64);
  drawn[8] = static_cast<char>((drawn[8] & 63) | 128);
  auto id = hex(drawn);
  for (const int place : {20, 16, 12, 8}) id.insert(place, 1, '-');
  return id;
}

}  // namespace horde
