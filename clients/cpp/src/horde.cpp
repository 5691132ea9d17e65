#include "doors.h"

namespace horde {

Client::Client(const std::string& target, const Options& options) : doors_(std::make_shared<Doors>(target, options)) {}

Quote Client::quote(const GenerationSpec& spec) const {
  api::generation::v1::QuoteGenerationRequest request;
  api::generation::v1::QuoteGenerationResponse answer;
  *request.mutable_spec() = spec;
  call(GENERATIONS + "QuoteGeneration", request, answer);
  return answer.quote();
}

Session Client::generate(const GenerationSpec& spec, const Asking& asking) const {
  api::generation::v1::CreateGenerationRequest request;
  api::generation::v1::CreateGenerationResponse answer;
  request.set_request_id(asking.request_id.empty() ? new_id() : asking.request_id);
  *request.mutable_spec() = spec;
  if (asking.max_total_mkudos) request.set_max_total_mkudos(*asking.max_total_mkudos);
  call(GENERATIONS + "CreateGeneration", request, answer);
  return {doors_, answer.generation(), asking.cancels};
}

Session Client::following(const std::string& generation_id) const { return {doors_, doors_->get(generation_id), false}; }

std::string Client::fetch(const std::string& generation_id, const std::string& job_id) const {
  return doors_->fetch(doors_->get(generation_id), job_id);
}

api::job::v1::InputImage Client::put(const std::string& content, const std::string& input_id) const {
  return doors_->put(content, input_id);
}

void Client::call(const std::string& method, const google::protobuf::Message& request, google::protobuf::Message& answer) const {
  doors_->ask(method, request, answer);
}

GenerationSpec spec(const std::string& prompt) {
  GenerationSpec painted;
  painted.set_count(1);
  painted.mutable_job()->set_model("paintbox");
  auto& image = *painted.mutable_job()->mutable_image();
  image.set_prompt(prompt);
  image.set_width(128);
  image.set_height(128);
  image.set_steps(20);
  return painted;
}

}  // namespace horde
