# frozen_string_literal: true

module Horde
  # The two doors of a mesh: the gateway, and the storage routers that it names. Callers know only the first.
  class Doors
    # Routers that one client speaks to at once.
    MAX_ROUTERS = 16
    LOOPBACK = /\A(localhost|127\.\d+\.\d+\.\d+|\[::1\]):\d+\z/.freeze
    # A link that died without a word is noticed, also under a stream. Gateways allow a ping each 5 s.
    ALIVE = { "grpc.keepalive_time_ms" => 10_000, "grpc.keepalive_timeout_ms" => 8_000,
              "grpc.keepalive_permit_without_calls" => 1, "grpc.http2.max_pings_without_data" => 0 }.freeze
    SETTINGS = { "grpc.enable_retries" => 0, "grpc.max_receive_message_length" => 8 * 1024 * 1024, **ALIVE }.freeze

    def initialize(target, authorization, patience, authority: nil, plaintext: false)
      @target = target
      @headers = { "authorization" => authorization }
      @patience = patience
      @authority = authority
      @plaintext = plaintext
      @stubs = {}
    end

    def attempts
      Attempts.new(@patience)
    end

    # Make one call to the gateway, patiently: `ask(Generation::V1::GenerationService, :get_generation, request)`.
    def ask(service, method, request)
      attempts.patiently do
        deadline = Time.now + @patience.attempt
        gateway(service).public_send(method, request, metadata: @headers, deadline: deadline)
      end
    end

    # Open a stream of answers from the gateway: an operation that can be cancelled.
    def stream(service, method, request)
      gateway(service).public_send(method, request, metadata: @headers, return_op: true)
    end

    # No key goes there: tickets are all that a router knows.
    def storage(address)
      known = @stubs.keys.map(&:first).uniq
      raise "the mesh named more than #{MAX_ROUTERS} storage routers" if known.size > MAX_ROUTERS && !known.include?(address)

      stub(address, Api::Storage::V1::StorageService)
    end

    private

    def gateway(service)
      stub(@target, service)
    end

    def stub(address, service)
      @stubs[[address, service]] ||= service::Stub.new(address, credentials(address), channel_args: SETTINGS)
    end

    def credentials(address)
      return GRPC::Core::ChannelCredentials.new(@authority) if @authority
      return :this_channel_is_insecure if @plaintext || LOOPBACK.match?(address)

      GRPC::Core::ChannelCredentials.new
    end
  end
end
