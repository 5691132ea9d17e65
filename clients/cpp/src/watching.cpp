#include "doors.h"

namespace horde {

using api::generation::v1::WatchGenerationResponse;

std::optional<Event> Order::accept(const WatchGenerationResponse& response) {
  Event event;
  const Image* image = nullptr;
  switch (response.event_case()) {
    case WatchGenerationResponse::kSnapshot:
      return whole("snapshot", response.snapshot());
    case WatchGenerationResponse::kFinished:
      return whole("finished", response.finished());
    case WatchGenerationResponse::kImage: {
      const auto& heard = response.image();
      const auto known = images_.find(heard.job_id());
      if (known != images_.end() && heard.version() <= known->second.version()) return {};
      version_ = std::max(version_, heard.version());
      keep(heard);
      image = &images_[heard.job_id()];
      event.kind = "image";
      event.image = heard;
      break;
    }
    case WatchGenerationResponse::kProgress: {
      const auto& at = response.progress();
      image = leased(at.job_id(), at.lease_id());
      if (!image || at.step() <= steps_[at.lease_id()]) return {};
      steps_[at.lease_id()] = at.step();
      event.kind = "progress";
      event.step = at.step();
      event.steps = at.steps();
      break;
    }
    case WatchGenerationResponse::kPreview: {
      const auto& at = response.preview();
      image = leased(at.job_id(), at.lease_id());
      event.kind = "preview";
      event.step = at.step();
      event.preview = at.image();
      break;
    }
    case WatchGenerationResponse::kWait: {
      const auto known = images_.find(response.wait().job_id());
      if (known != images_.end() && known->second.state() == api::job::v1::JOB_STATE_QUEUED) image = &known->second;
      event.kind = "wait";
      event.wait = response.wait().wait();
      break;
    }
    default:
      break;
  }
  if (!image) return {};
  event.index = image->index();
  event.job_id = image->job_id();
  return event;
}

std::optional<Event> Order::whole(const std::string& kind, const Generation& generation) {
  if (generation.version() < version_) return {};
  version_ = generation.version();
  for (const auto& image : generation.images()) {
    keep(image);
    if (!image.lease_id().empty()) {
      auto& step = steps_[image.lease_id()];
      step = std::max(step, static_cast<int>(image.step()));
    }
  }
  Event event;
  event.kind = kind;
  event.generation = generation;
  return event;
}

void Order::keep(const Image& image) {
  const auto known = images_.find(image.job_id());
  if (known != images_.end() && known->second.lease_id() != image.lease_id()) steps_.erase(known->second.lease_id());
  images_[image.job_id()] = image;
}

const Image* Order::leased(const std::string& job_id, const std::string& lease_id) const {
  const auto known = images_.find(job_id);
  return known != images_.end() && !lease_id.empty() && known->second.lease_id() == lease_id ? &known->second : nullptr;
}

}  // namespace horde
