// The client of a horde mesh: ask for pictures, watch them being painted, fetch them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <google/protobuf/message.h>
#include <grpcpp/support/status.h>

#include "horde/api/generation/v1/generation_service.pb.h"

namespace horde {

using api::generation::v1::Generation;
using api::generation::v1::GenerationSpec;
using api::generation::v1::Image;
using api::generation::v1::Quote;

// One field of a request, and what is wrong with it.
struct Violation {
  std::string field;
  std::string description;
};

// What a mesh refuses. Decide on `reason`, else on `code`, never on the message.
class Error : public std::runtime_error {
 public:
  Error(grpc::StatusCode code, const std::string& message, std::string reason = "", std::map<std::string, std::string> metadata = {});

  grpc::StatusCode code;
  // The contract's, for example INSUFFICIENT_KUDOS; empty where the code says it all.
  std::string reason;
  // The package whose reasons these are, for example horde.api.ledger.v1.
  std::string domain;
  std::map<std::string, std::string> metadata;
  std::vector<Violation> violations;
  // How long to wait, where that was named.
  std::optional<std::chrono::duration<double>> retry_after;
};

// gRPC's own name of a code, for example NOT_FOUND.
std::string code_name(grpc::StatusCode code);

// How long to go on trying: after the first failure of one call, or since a watch last heard something.
struct Patience {
  std::chrono::nanoseconds total = std::chrono::seconds(30);
  std::chrono::nanoseconds first_pause = std::chrono::milliseconds(100);
  std::chrono::nanoseconds longest_pause = std::chrono::seconds(3);
  // What one attempt of a call with one answer may take, so that a mute mesh holds nobody.
  std::chrono::nanoseconds attempt = std::chrono::seconds(10);
};

// Who asks, and how. Without a key: HORDE_API_KEY, the key kept for this mesh, else an anonymous token that is made once
// for this mesh and kept.
struct Options {
  std::string api_key;
  // Skip every key.
  bool anonymous = false;
  // The digits of a token of your own.
  std::string anonymous_token;
  // Where keys and tokens are kept; empty: the user's.
  std::string config_folder;
  // PEM of an authority of your own; empty: the system's.
  std::string authority;
  // Speak plainly to another machine. Everybody on the way can read your key.
  bool plaintext = false;
  Patience patience;
};

// One thing that a watcher hears. Of the fields those are set that its kind has.
struct Event {
  // snapshot, image, progress, preview, wait or finished.
  std::string kind;
  std::optional<Generation> generation;
  std::optional<Image> image;
  int index = 0;
  std::string job_id;
  int step = 0;
  int steps = 0;
  std::string preview;
  std::optional<api::generation::v1::WaitEstimate> wait;
};

// How to ask.
struct Asking {
  // A UUID, if the whole process may be repeated: the same id with the same spec is the same generation. Empty: drawn.
  std::string request_id;
  std::optional<std::int64_t> max_total_mkudos;
  // Whether leaving the session cancels what is not finished.
  bool cancels = true;
};

class Attempts;
class Doors;
class Order;

// A generation for as long as somebody wants it: its end cancels what is not finished. Of one thread. What goes wrong is
// thrown as Error.
class Session {
 public:
  Session(std::shared_ptr<Doors> doors, Generation generation, bool cancels);
  Session(Session&& other) noexcept;
  Session& operator=(Session&& other) noexcept;
  ~Session();

  // As it was last heard of.
  const Generation& generation() const { return generation_; }

  // Call back for what happens, until it is finished or the callback says false. A broken stream is opened again, and
  // goes on with a new snapshot.
  void watch(const std::function<bool(const Event&)>& each, bool previews = false);
  // Wait until every image has ended.
  const Generation& finish();
  // Wait for the end, then call back for every image that is done, with its bytes.
  void pictures(const std::function<void(const Image&, const std::string&)>& each);
  // The bytes of a finished image.
  std::string fetch(const Image& image) const;
  // End what has not ended; finished images stay.
  void cancel();
  // Cancel what is not finished, unless it should go on. The destructor does it, too. It says nothing of errors, for
  // whoever leaves in a hurry wants no second one; the time to live ends the generation in any case.
  void leave() noexcept;

 private:
  bool watch_once(const api::generation::v1::WatchGenerationRequest& request, Order& order, Attempts& attempts,
                  const std::function<bool(const Event&)>& each);
  void remember(const Event& event);

  std::shared_ptr<Doors> doors_;
  Generation generation_;
  bool cancels_;
};

// One requester's view of a mesh. For any number of threads. What goes wrong is thrown as Error.
class Client {
 public:
  // `target` is the gateway's address. Throws std::runtime_error where no key or token can be read or kept.
  explicit Client(const std::string& target, const Options& options = {});

  // What it would cost, where its images would go and how long it might wait. Changes nothing.
  Quote quote(const GenerationSpec& spec) const;
  // Ask for images. When the session ends, what is not finished is cancelled.
  [[nodiscard]] Session generate(const GenerationSpec& spec, const Asking& asking = {}) const;
  // A session on what was asked for before, also by another process. Its end cancels nothing.
  [[nodiscard]] Session following(const std::string& generation_id) const;
  // The bytes of a finished image, checked against their SHA-256.
  std::string fetch(const std::string& generation_id, const std::string& job_id) const;
  // Store a source image, mask or control image for an hour, and name it for a spec. Make the id with new_id, and keep
  // it if the whole process may be repeated.
  api::job::v1::InputImage put(const std::string& content, const std::string& input_id) const;
  // Make any call of the contract that is no stream: "horde.api.mesh.v1.MeshService/GetMesh".
  void call(const std::string& method, const google::protobuf::Message& request, google::protobuf::Message& answer) const;

 private:
  std::shared_ptr<Doors> doors_;
};

// What to paint, in short: one picture of 128 x 128 in 20 steps by paintbox, to be changed. The mesh checks every field.
GenerationSpec spec(const std::string& prompt);

// A UUID for one intention: make it before the first call and keep it over retries.
std::string new_id();

}  // namespace horde
