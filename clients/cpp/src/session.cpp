#include "doors.h"

namespace horde {

namespace {

// How long leaving a session may take to say cancel.
constexpr auto LEAVING = std::chrono::seconds(5);

}  // namespace

Session::Session(std::shared_ptr<Doors> doors, Generation generation, bool cancels)
    : doors_(std::move(doors)), generation_(std::move(generation)), cancels_(cancels) {}

// What was moved from has no doors, and nothing to cancel.
Session::Session(Session&& other) noexcept = default;

Session& Session::operator=(Session&& other) noexcept {
  if (this != &other) {
    leave();
    doors_ = std::move(other.doors_);
    generation_ = std::move(other.generation_);
    cancels_ = other.cancels_;
  }
  return *this;
}

Session::~Session() { leave(); }

void Session::watch(const std::function<bool(const Event&)>& each, bool previews) {
  Order order;
  auto attempts = doors_->attempts();
  api::generation::v1::WatchGenerationRequest request;
  request.set_generation_id(generation_.generation_id());
  request.set_previews(previews);
  while (!watch_once(request, order, attempts, each)) {
  }
}

// Watches one stream: true when it is over, false when it broke and another may be opened.
bool Session::watch_once(const api::generation::v1::WatchGenerationRequest& request, Order& order, Attempts& attempts,
                         const std::function<bool(const Event&)>& each) {
  grpc::ClientContext context;
  const auto stub = doors_->gateway(context);
  const auto stream = stub->WatchGeneration(&context, request);
  // However it is left, also by what the callback throws: a stream has to be ended before it is destroyed.
  struct Ending {
    grpc::ClientContext& context;
    grpc::ClientReader<api::generation::v1::WatchGenerationResponse>& stream;
    bool ended = false;
    grpc::Status end() {
      ended = true;
      return stream.Finish();
    }
    ~Ending() {
      if (ended) return;
      context.TryCancel();
      stream.Finish();
    }
  } ending{context, *stream};
  api::generation::v1::WatchGenerationResponse response;
  while (stream->Read(&response)) {
    attempts.succeeded();
    const auto event = order.accept(response);
    if (!event) continue;
    remember(*event);
    if (!each(*event) || event->kind == "finished") return true;
  }
  const auto status = ending.end();
  attempts.pause_after(status.ok() ? Error(grpc::UNAVAILABLE, "The stream ended before the generation did.") : error_of(status));
  return false;
}

void Session::remember(const Event& event) {
  if (event.generation) generation_ = *event.generation;
  if (!event.image) return;
  for (auto& image : *generation_.mutable_images()) {
    if (image.job_id() == event.image->job_id()) image = *event.image;
  }
}

const Generation& Session::finish() {
  watch([](const Event&) { return true; });
  return generation_;
}

void Session::pictures(const std::function<void(const Image&, const std::string&)>& each) {
  const Generation finished = finish();
  for (const auto& image : finished.images()) {
    if (image.ending() == api::job::v1::JOB_ENDING_DONE) each(image, fetch(image));
  }
}

std::string Session::fetch(const Image& image) const { return doors_->fetch(generation_, image.job_id()); }

void Session::cancel() { generation_ = doors_->cancel(generation_.generation_id(), Doors::NO_END); }

void Session::leave() noexcept {
  if (!doors_ || !cancels_ || generation_.finished()) return;
  cancels_ = false;  // Once.
  try {
    generation_ = doors_->cancel(generation_.generation_id(), Clock::now() + LEAVING);
  } catch (...) {
  }
}

}  // namespace horde
