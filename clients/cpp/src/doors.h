// What only the SDK itself needs.
#pragma once

#include <mutex>

#include <grpcpp/grpcpp.h>

#include "horde/api/generation/v1/generation_service.grpc.pb.h"
#include "horde/api/storage/v1/storage_service.grpc.pb.h"
#include "horde/horde.h"

namespace horde {

using Clock = std::chrono::steady_clock;
using api::generation::v1::GenerationService;
using api::generation::v1::ImageDownload;
using api::storage::v1::StorageService;

inline const std::string GENERATIONS = "horde.api.generation.v1.GenerationService/";

// What to send: the key given, HORDE_API_KEY, the key kept for this mesh, else its anonymous token.
std::string authorization(const std::string& target, const Options& options);
std::string random_bytes(std::size_t count);
std::string hex(const std::string& bytes);
std::string sha256(const std::string& content);

// The error of a call that was refused.
Error error_of(const grpc::Status& status);

// The attempts of one call. Every call bears repetition: it reads, or it carries an id that was made before.
class Attempts {
 public:
  Attempts(const Patience& patience, Clock::time_point end) : patience_(patience), end_(end) {}
  // Something was heard, so patience is whole again.
  void succeeded();
  // Wait until the next attempt may be made; throws the error if there should be none.
  void pause_after(const Error& error);
  // Make a call, again while that may help.
  void patiently(const std::function<void()>& call);

 private:
  Patience patience_;
  Clock::time_point end_;
  int failures_ = 0;
  int internal_ = 0;
  std::optional<Clock::time_point> began_;
};

// Drops what is old: versions never go backwards, progress counts only for the current lease and only forwards.
class Order {
 public:
  // The event that a message is; nothing for one that is late, or of a kind unknown here.
  std::optional<Event> accept(const api::generation::v1::WatchGenerationResponse& response);

 private:
  std::optional<Event> whole(const std::string& kind, const Generation& generation);
  void keep(const Image& image);
  const Image* leased(const std::string& job_id, const std::string& lease_id) const;

  std::int64_t version_ = -1;
  std::map<std::string, Image> images_;
  std::map<std::string, int> steps_;
};

// The two doors of a mesh: the gateway, and the storage routers that it names. Callers know only the first.
class Doors {
 public:
  static constexpr auto NO_END = Clock::time_point::max();

  Doors(const std::string& target, const Options& options);

  Attempts attempts(Clock::time_point end = NO_END) const { return {options_.patience, end}; }
  // One call to the gateway, patiently, and over by `end`.
  void ask(const std::string& method, const google::protobuf::Message& request, google::protobuf::Message& answer,
           Clock::time_point end = NO_END) const;
  // To the gateway; `context` then says who asks.
  std::unique_ptr<GenerationService::Stub> gateway(grpc::ClientContext& context) const;
  // To a router. No key goes there: tickets are all that it knows.
  std::unique_ptr<StorageService::Stub> storage(const std::string& address);

  Generation get(const std::string& generation_id) const;
  Generation cancel(const std::string& generation_id, Clock::time_point end) const;
  // The bytes of a finished image, checked against its SHA-256; a broken download goes on where it broke.
  std::string fetch(Generation generation, const std::string& job_id);
  api::job::v1::InputImage put(const std::string& content, const std::string& input_id);

 private:
  std::shared_ptr<grpc::Channel> dial(const std::string& address) const;
  void send(const api::generation::v1::CreateInputTicketResponse& ticket, const std::string& content, const std::string& digest);

  Options options_;
  std::string authorization_;
  std::shared_ptr<grpc::Channel> gateway_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<grpc::Channel>> routers_;
};

}  // namespace horde
