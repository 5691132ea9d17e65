#include "doors.h"

namespace horde {

namespace {

using api::storage::v1::DownloadRequest;
using api::storage::v1::DownloadResponse;
using api::storage::v1::PutInputRequest;
using api::storage::v1::PutInputResponse;

constexpr std::size_t CHUNK_BYTES = 256 * 1024;
constexpr std::int64_t MAX_IMAGE_BYTES = 256 * 1024 * 1024;
constexpr int MAX_EXPIRED_TICKETS = 3;
constexpr auto PUT_TIMEOUT = std::chrono::minutes(5);

// The bytes that came are not those that were promised, even when fetched again.
Error damaged(const std::string& message) { return {grpc::DATA_LOSS, message, "DAMAGED_IMAGE"}; }

const Image& image_of(const Generation& generation, const std::string& job_id) {
  const std::map<std::string, std::string> about{{"job_id", job_id}};
  for (const auto& image : generation.images()) {
    if (image.job_id() != job_id) continue;
    if (image.has_download() && !image.withdrawn()) return image;
    const auto name = "Image " + std::to_string(image.index());
    if (image.withdrawn() || image.ending() == api::job::v1::JOB_ENDING_DONE) {
      throw Error(grpc::NOT_FOUND, name + " is gone.", "OBJECT_NOT_FOUND", about);
    }
    throw Error(grpc::FAILED_PRECONDITION, name + " has no picture.", "IMAGE_NOT_FINISHED", about);
  }
  throw Error(grpc::NOT_FOUND, "The generation has no such image.", "", about);
}

// Reads one stream from where `content` ends.
void read(StorageService::Stub& router, const ImageDownload& way, std::string& content) {
  grpc::ClientContext context;
  DownloadRequest request;
  request.set_ticket(way.ticket());
  request.set_offset(static_cast<std::int64_t>(content.size()));
  const auto stream = router.Download(&context, request);
  DownloadResponse response;
  std::optional<Error> wrong;
  std::int64_t size = 0;
  while (!wrong && stream->Read(&response)) {
    if (response.has_header()) {
      size = response.header().size_bytes();
      if (size > MAX_IMAGE_BYTES) wrong = damaged("The image would be " + std::to_string(size) + " bytes large.");
    } else if (response.has_chunk()) {
      const auto have = static_cast<std::int64_t>(content.size());
      if (response.chunk().offset() != have || have > MAX_IMAGE_BYTES) {
        wrong = damaged("The parts of the image do not fit together.");
      } else {
        content += response.chunk().data();
      }
    }
  }
  if (wrong) context.TryCancel();
  const auto status = stream->Finish();
  if (wrong) throw *wrong;
  if (!status.ok()) throw error_of(status);
  if (static_cast<std::int64_t>(content.size()) < size) throw Error(grpc::UNAVAILABLE, "The download ended early.");
}

}  // namespace

std::string Doors::fetch(Generation generation, const std::string& job_id) {
  Image image = image_of(generation, job_id);
  const std::string promised = image.sha256();
  std::string content;
  bool begun_again = false;
  auto patience = attempts();
  for (int expired = 0;;) {
    try {
      for (;;) {
        read(*storage(image.download().address()), image.download(), content);
        if (sha256(content) == promised) return content;
        content.clear();
        if (begun_again) throw damaged("The bytes of the image are not those that were promised.");
        begun_again = true;
      }
    } catch (const Error& error) {
      if (error.reason != "TOKEN_EXPIRED") {
        patience.pause_after(error);
        continue;
      }
    }
    const Error failure(grpc::UNAVAILABLE, "Every ticket is expired when it arrives: the clocks differ.");
    if (++expired > MAX_EXPIRED_TICKETS) throw failure;
    patience.pause_after(failure);
    generation = get(generation.generation_id());
    image = image_of(generation, job_id);
  }
}

api::job::v1::InputImage Doors::put(const std::string& content, const std::string& input_id) {
  const auto digest = sha256(content);
  attempts().patiently([&] {
    api::generation::v1::CreateInputTicketRequest request;
    api::generation::v1::CreateInputTicketResponse ticket;
    request.set_input_id(input_id);
    ask(GENERATIONS + "CreateInputTicket", request, ticket);
    if (ticket.max_bytes() > 0 && static_cast<std::int64_t>(content.size()) > ticket.max_bytes()) {
      throw Error(grpc::INVALID_ARGUMENT, "The picture is over a limit.", "TOO_LARGE",
                  {{"limit", std::to_string(ticket.max_bytes())}, {"unit", "bytes"}});
    }
    send(ticket, content, digest);
  });
  api::job::v1::InputImage named;
  named.set_input_id(input_id);
  named.set_sha256(digest);
  return named;
}

void Doors::send(const api::generation::v1::CreateInputTicketResponse& ticket, const std::string& content, const std::string& digest) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + PUT_TIMEOUT);
  PutInputResponse answer;
  const auto router = storage(ticket.address());
  const auto stream = router->PutInput(&context, &answer);
  PutInputRequest part;
  part.mutable_open()->set_ticket(ticket.ticket());
  bool open = stream->Write(part);
  for (std::size_t offset = 0; open && offset < content.size(); offset += CHUNK_BYTES) {
    part.mutable_chunk()->set_offset(static_cast<std::int64_t>(offset));
    part.mutable_chunk()->set_data(content.substr(offset, CHUNK_BYTES));
    open = stream->Write(part);
  }
  part.mutable_finish()->set_sha256(digest);
  part.mutable_finish()->set_size_bytes(static_cast<std::int64_t>(content.size()));
  // Why it was closed before is told by how it ends.
  if (open) stream->Write(part);
  stream->WritesDone();
  const auto status = stream->Finish();
  if (!status.ok()) throw error_of(status);
}

}  // namespace horde
