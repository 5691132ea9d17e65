#include <algorithm>
#include <cmath>
#include <random>
#include <thread>

#include "doors.h"

namespace horde {

namespace {

bool worth_retrying(const Error& error) {
  if (error.reason == "BUDGET_SPENT" || error.reason == "DAMAGED_IMAGE") return false;
  if (error.retry_after || error.reason == "TOO_SLOW") return true;
  // Cancelled by the other side, a gateway at its end, say: nobody cancels here.
  return error.code == grpc::CANCELLED || error.code == grpc::UNAVAILABLE || error.code == grpc::DEADLINE_EXCEEDED ||
         error.code == grpc::INTERNAL;
}

// From a half to one.
double jitter() {
  thread_local std::mt19937_64 drawn{std::random_device{}()};
  return std::uniform_real_distribution<>(0.5, 1)(drawn);
}

}  // namespace

void Attempts::succeeded() {
  failures_ = internal_ = 0;
  began_.reset();
}

void Attempts::pause_after(const Error& error) {
  using Seconds = std::chrono::duration<double>;
  const auto now = Clock::now();
  if (!began_) began_ = now;
  if (error.code == grpc::INTERNAL) ++internal_;
  // A defect is asked about once more, then told.
  if (internal_ > 1 || !worth_retrying(error)) throw error;
  const Seconds grown = Seconds(patience_.first_pause) * std::pow(2, std::min(failures_, 16));
  Seconds pause = std::min(grown, Seconds(patience_.longest_pause)) * jitter();
  // Never before the time that the mesh named; a little later, so that not all come back at once.
  if (error.retry_after) pause = *error.retry_after + pause / 4;
  if (Seconds(now - *began_) + pause > Seconds(patience_.total) || pause >= Seconds(end_ - now)) throw error;
  ++failures_;
  std::this_thread::sleep_for(pause);
}

void Attempts::patiently(const std::function<void()>& call) {
  for (;;) {
    try {
      return call();
    } catch (const Error& error) {
      pause_after(error);
    }
  }
}

}  // namespace horde
