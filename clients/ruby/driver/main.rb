# frozen_string_literal: true

# The driver of this SDK for `horde conform`: JSON lines over standard input and output; see clients/README.md.
here = File.expand_path("..", __dir__)
$LOAD_PATH.unshift("#{here}/lib", "#{here}/gen")
require "base64"
require "json"
require "horde"
%w[account mesh model standing worker].each { |noun| require "horde/api/#{noun}/v1/#{noun}_service_services_pb" }

CLIENTS = {}
SESSIONS = {}
SPEC = Horde::Api::Generation::V1::GenerationSpec

def plain(message)
  JSON.parse(message.class.encode_json(message, preserve_proto_fieldnames: true))
end

def digested(content)
  { sha256: Digest::SHA256.hexdigest(content), size: content.bytesize }
end

def enter(session)
  name = "session #{SESSIONS.size} #{session.generation.generation_id}"
  SESSIONS[name] = session
  { session: name, generation: plain(session.generation) }
end

def described(event)
  told = { kind: event.kind, index: event.index, step: event.step }.compact
  told[:version] = (event.generation || event.image).version if event.generation || event.image
  told
end

OPERATIONS = {
  "hello" => ->(_) { { name: "ruby", version: "0.1.0" } },
  "open" => lambda { |a|
    who = a["api_key"] ? { api_key: a["api_key"] } : { anonymous: a["anonymous"] || true }
    patience = Horde::Patience.new(a["patience_seconds"] || 30, 0.02, 3, a["attempt_seconds"] || Horde::Patience.usual.attempt)
    CLIENTS[a["client"]] = Horde::Client.new(a["target"], **who, config_folder: a["config_folder"], patience: patience)
    {}
  },
  "close" => lambda { |a|
    CLIENTS.delete(a["client"])
    {}
  },
  "call" => lambda { |a|
    service, name = a["method"].split("/")
    _, _, noun, _, service = service.split(".")
    service = Horde::Api.const_get(noun.capitalize)::V1.const_get(service)
    description = service::Service.rpc_descs.fetch(name.to_sym)
    request = description.input.decode_json(JSON.generate(a["request"]))
    method = GRPC::GenericService.underscore(name).to_sym
    { response: plain(CLIENTS.fetch(a["client"]).call(service, method, request)) }
  },
  "quote" => ->(a) { { quote: plain(CLIENTS.fetch(a["client"]).quote(SPEC.decode_json(JSON.generate(a["spec"])))) } },
  "generate" => lambda { |a|
    options = { request_id: a["request_id"], max_total_mkudos: a["max_total_mkudos"], cancels: a["cancels"] }.compact
    enter(CLIENTS.fetch(a["client"]).generate(SPEC.decode_json(JSON.generate(a["spec"])), **options))
  },
  "following" => ->(a) { enter(CLIENTS.fetch(a["client"]).following(a["generation_id"])) },
  "watch" => lambda { |a|
    session = SESSIONS.fetch(a["session"])
    events = []
    session.watch(previews: a["previews"] || false) do |event|
      events << described(event)
      break if event.kind.to_s == a["until"]
    end
    { events: events, generation: plain(session.generation) }
  },
  "pictures" => lambda { |a|
    session = SESSIONS.fetch(a["session"])
    pictures = session.pictures.map do |image, content|
      { index: image.index, **digested(content), promised_sha256: image.sha256.unpack1("H*") }
    end
    { pictures: pictures, generation: plain(session.generation) }
  },
  "fetch" => ->(a) { digested(CLIENTS.fetch(a["client"]).fetch(a["generation_id"], a["job_id"])) },
  "put" => lambda { |a|
    named = { input_id: a["input_id"] }.compact
    { input: plain(CLIENTS.fetch(a["client"]).put(Base64.decode64(a["content"]), **named)) }
  },
  "cancel" => ->(a) { { generation: plain(SESSIONS.fetch(a["session"]).cancel) } },
  "leave" => lambda { |a|
    session = SESSIONS.delete(a["session"])
    session.leave
    { generation: plain(session.generation) }
  }
}.freeze

def error_of(error)
  return { code: "DRIVER", message: error.full_message(highlight: false) } unless error.is_a?(Horde::Error)

  {
    code: error.code, reason: error.reason, domain: error.domain, message: error.message, metadata: error.metadata,
    violations: error.violations.map(&:field), retry_after_s: error.retry_after
  }.compact
end

$stdout.sync = true
$stdin.each_line do |line|
  asked = JSON.parse(line)
  answer = begin
    { id: asked["id"], ok: OPERATIONS.fetch(asked["op"]).call(asked) }
  rescue StandardError => e
    { id: asked["id"], error: error_of(e) }
  end
  puts JSON.generate(answer)
end
