#include "doors.h"

#include <future>
#include <regex>

#include <grpcpp/generic/generic_stub.h>

namespace horde {

namespace {

// How many storage routers one client speaks to at once.
constexpr std::size_t MAX_ROUTERS = 16;
constexpr int MAX_MESSAGE_BYTES = 8 * 1024 * 1024;

bool loopback(const std::string& address) {
  static const std::regex here(R"((localhost|127\.\d+\.\d+\.\d+|\[::1\]):\d+)");
  return std::regex_match(address, here);
}

}  // namespace

Doors::Doors(const std::string& target, const Options& options)
    : options_(options), authorization_(authorization(target, options)), gateway_(dial(target)) {}

std::shared_ptr<grpc::Channel> Doors::dial(const std::string& address) const {
  grpc::ChannelArguments settings;
  settings.SetMaxReceiveMessageSize(MAX_MESSAGE_BYTES);
  settings.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // A link that died without a word is noticed, also under a stream. Gateways allow a ping each 5 s.
  settings.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  settings.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 8'000);
  settings.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  settings.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // The library's own pauses between connections grow to two minutes, longer than anybody's patience.
  settings.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 3'000);
  if (options_.authority.empty() && (options_.plaintext || loopback(address))) {
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), settings);
  }
  grpc::SslCredentialsOptions trusted;
  trusted.pem_root_certs = options_.authority;
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(trusted), settings);
}

void Doors::ask(const std::string& method, const google::protobuf::Message& request, google::protobuf::Message& answer,
                Clock::time_point end) const {
  using google::protobuf::Message;
  attempts(end).patiently([&] {
    grpc::ClientContext context;
    context.AddMetadata("authorization", authorization_);
    const auto left = std::min<std::chrono::nanoseconds>(options_.patience.attempt, end - Clock::now());
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::duration_cast<std::chrono::microseconds>(left));
    // Shared, for who keeps a promise may still be at it when the other side has what was promised.
    const auto done = std::make_shared<std::promise<grpc::Status>>();
    answer.Clear();
    grpc::TemplatedGenericStub<Message, Message>(gateway_).UnaryCall(
        &context, "/" + method, grpc::StubOptions(), &request, &answer,
        [done](grpc::Status status) { done->set_value(std::move(status)); });
    const auto status = done->get_future().get();
    if (!status.ok()) throw error_of(status);
  });
}

std::unique_ptr<GenerationService::Stub> Doors::gateway(grpc::ClientContext& context) const {
  context.AddMetadata("authorization", authorization_);
  return GenerationService::NewStub(gateway_);
}

std::unique_ptr<StorageService::Stub> Doors::storage(const std::string& address) {
  const std::lock_guard<std::mutex> alone(mutex_);
  auto known = routers_.find(address);
  if (known == routers_.end()) {
    if (routers_.size() >= MAX_ROUTERS) {
      throw std::runtime_error("the mesh named more than " + std::to_string(MAX_ROUTERS) + " storage routers");
    }
    known = routers_.emplace(address, dial(address)).first;
  }
  return StorageService::NewStub(known->second);
}

Generation Doors::get(const std::string& generation_id) const {
  api::generation::v1::GetGenerationRequest request;
  api::generation::v1::GetGenerationResponse answer;
  request.set_generation_id(generation_id);
  ask(GENERATIONS + "GetGeneration", request, answer);
  return answer.generation();
}

Generation Doors::cancel(const std::string& generation_id, Clock::time_point end) const {
  api::generation::v1::CancelGenerationRequest request;
  api::generation::v1::CancelGenerationResponse answer;
  request.set_generation_id(generation_id);
  ask(GENERATIONS + "CancelGeneration", request, answer, end);
  return answer.generation();
}

}  // namespace horde
