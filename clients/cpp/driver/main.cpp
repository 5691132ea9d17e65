// The driver of this SDK for `horde conform`: JSON lines over standard input and output; see clients/README.md.
#include <iostream>

#include <google/protobuf/util/json_util.h>
#include <nlohmann/json.hpp>
#include <openssl/evp.h>

#include "horde/horde.h"

namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::Message;
using google::protobuf::MessageFactory;
using nlohmann::json;

std::map<std::string, horde::Client> clients;
std::map<std::string, horde::Session> sessions;

json plain(const Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto written = google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!written.ok()) throw std::runtime_error(written.ToString());
  return json::parse(text);
}

void read(const json& from, Message& message) {
  const auto read = google::protobuf::util::JsonStringToMessage(from.dump(), &message);
  if (!read.ok()) throw std::runtime_error(read.ToString());
}

std::string hex(const std::string& bytes) {
  std::string digits;
  for (const unsigned char byte : bytes) {
    digits += "0123456789abcdef"[byte >> 4];
    digits += "0123456789abcdef"[byte & 15];
  }
  return digits;
}

json digested(const std::string& content) {
  std::string digest(32, '\0');
  EVP_Digest(content.data(), content.size(), reinterpret_cast<unsigned char*>(digest.data()), nullptr, EVP_sha256(), nullptr);
  return {{"sha256", hex(digest)}, {"size", content.size()}};
}

std::string from_base64(const std::string& text) {
  std::string content(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(content.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (size < 0) throw std::runtime_error("the content is no base64");
  // It counts the padding, too.
  const auto padding = text.size() - std::min(text.size(), text.find_last_not_of('=') + 1);
  content.resize(static_cast<std::size_t>(size) - padding);
  return content;
}

std::chrono::nanoseconds seconds(double count) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(count));
}

horde::GenerationSpec spec_in(const json& asked) {
  horde::GenerationSpec spec;
  read(asked.at("spec"), spec);
  return spec;
}

json enter(horde::Session session) {
  static int entered = 0;
  const auto name = "session " + std::to_string(entered++);
  const json about{{"session", name}, {"generation", plain(session.generation())}};
  sessions.emplace(name, std::move(session));
  return about;
}

json call(const horde::Client& client, const std::string& path, const json& asked) {
  const auto slash = path.find('/');
  const auto* service = DescriptorPool::generated_pool()->FindServiceByName(path.substr(0, slash));
  const auto* method = service ? service->FindMethodByName(path.substr(slash + 1)) : nullptr;
  if (!method) throw std::runtime_error("the contract has no " + path);
  auto* messages = MessageFactory::generated_factory();
  const std::unique_ptr<Message> request(messages->GetPrototype(method->input_type())->New());
  const std::unique_ptr<Message> answer(messages->GetPrototype(method->output_type())->New());
  read(asked, *request);
  client.call(path, *request, *answer);
  return {{"response", plain(*answer)}};
}

json watch(horde::Session& session, bool previews, const std::string& until) {
  json events = json::array();
  session.watch(
      [&](const horde::Event& event) {
        json about{{"kind", event.kind}, {"index", event.index}, {"step", event.step}};
        if (event.generation) about["version"] = event.generation->version();
        if (event.image) about["version"] = event.image->version();
        events.push_back(about);
        return event.kind != until;
      },
      previews);
  return {{"events", events}, {"generation", plain(session.generation())}};
}

json pictures(horde::Session& session) {
  json found = json::array();
  session.pictures([&](const horde::Image& image, const std::string& content) {
    auto about = digested(content);
    about["index"] = image.index();
    about["promised_sha256"] = hex(image.sha256());
    found.push_back(about);
  });
  return {{"pictures", found}, {"generation", plain(session.generation())}};
}

void open(const json& asked) {
  horde::Options options;
  options.api_key = asked.value("api_key", "");
  options.anonymous = options.api_key.empty();
  options.anonymous_token = asked.value("anonymous", "");
  options.config_folder = asked.value("config_folder", "");
  options.patience.first_pause = std::chrono::milliseconds(20);
  if (asked.contains("patience_seconds")) options.patience.total = seconds(asked["patience_seconds"]);
  if (asked.contains("attempt_seconds")) options.patience.attempt = seconds(asked["attempt_seconds"]);
  const std::string name = asked.at("client");
  clients.erase(name);
  clients.emplace(name, horde::Client(asked.at("target"), options));
}

json done(const json& asked) {
  const std::string op = asked.at("op");
  const auto client = [&]() -> horde::Client& { return clients.at(asked.at("client")); };
  const auto session = [&]() -> horde::Session& { return sessions.at(asked.at("session")); };
  if (op == "hello") return {{"name", "cpp"}, {"version", "0.1.0"}};
  if (op == "open") return open(asked), json::object();
  if (op == "close") return clients.erase(asked.at("client")), json::object();
  if (op == "call") return call(client(), asked.at("method"), asked.at("request"));
  if (op == "quote") return {{"quote", plain(client().quote(spec_in(asked)))}};
  if (op == "generate") {
    horde::Asking asking;
    asking.request_id = asked.value("request_id", "");
    if (asked.contains("max_total_mkudos")) asking.max_total_mkudos = asked["max_total_mkudos"].get<std::int64_t>();
    asking.cancels = asked.value("cancels", true);
    return enter(client().generate(spec_in(asked), asking));
  }
  if (op == "following") return enter(client().following(asked.at("generation_id")));
  if (op == "watch") return watch(session(), asked.value("previews", false), asked.value("until", ""));
  if (op == "pictures") return pictures(session());
  if (op == "fetch") return digested(client().fetch(asked.at("generation_id"), asked.at("job_id")));
  if (op == "put") {
    const auto input_id = asked.contains("input_id") ? asked["input_id"].get<std::string>() : horde::new_id();
    return {{"input", plain(client().put(from_base64(asked.at("content")), input_id))}};
  }
  if (op == "cancel") return session().cancel(), json{{"generation", plain(session().generation())}};
  if (op == "leave") {
    session().leave();
    const json about{{"generation", plain(session().generation())}};
    sessions.erase(asked.at("session"));
    return about;
  }
  throw std::runtime_error("there is no operation " + op);
}

json described(const horde::Error& error) {
  json violations = json::array();
  for (const auto& violation : error.violations) violations.push_back(violation.field);
  json about{{"code", horde::code_name(error.code)}, {"reason", error.reason}, {"domain", error.domain},
             {"message", error.what()}, {"metadata", error.metadata}, {"violations", violations}};
  if (error.retry_after) about["retry_after_s"] = error.retry_after->count();
  return about;
}

}  // namespace

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const auto asked = json::parse(line);
    json answer{{"id", asked.at("id")}};
    try {
      answer["ok"] = done(asked);
    } catch (const horde::Error& error) {
      answer["error"] = described(error);
    } catch (const std::exception& error) {
      answer["error"] = {{"code", "DRIVER"}, {"message", error.what()}};
    }
    // Also what is no UTF-8 gets an answer.
    std::cout << answer.dump(-1, ' ', false, json::error_handler_t::replace) << std::endl;
  }
}
