# frozen_string_literal: true

require "horde/api/generation/v1/generation_service_services_pb"
require "horde/api/storage/v1/storage_service_services_pb"
require "horde/errors"
require "horde/retrying"
require "horde/credentials"
require "horde/watching"
require "horde/doors"
require "horde/images"
require "horde/session"

# The client of a horde mesh.
module Horde
  # What to paint, in short: `Horde.spec("a red star", count: 4, share: true, seed: 7)`. The mesh checks every field.
  def self.spec(prompt, model: "paintbox", count: 1, share: false, width: 128, height: 128, steps: 20, **image)
    painted = Api::Job::V1::ImageSpec.new(prompt: prompt, width: width, height: height, steps: steps, **image)
    job = Api::Job::V1::JobSpec.new(model: model, image: painted)
    Api::Generation::V1::GenerationSpec.new(job: job, count: count, share: share)
  end

  # One requester's view of a mesh.
  class Client
    V1 = Api::Generation::V1
    private_constant :V1

    # `target` is the gateway's address. Without a key: HORDE_API_KEY, the key kept for this mesh, else anonymous.
    # `authority` is the PEM of one of your own; `plaintext` lets everybody on the way read your key.
    def initialize(target = "127.0.0.1:7700", api_key: nil, anonymous: false, config_folder: nil,
                   patience: Patience.usual, authority: nil, plaintext: false)
      who = Credentials.authorization(target, api_key: api_key, anonymous: anonymous, config_folder: config_folder)
      @doors = Doors.new(target, who, patience, authority: authority, plaintext: plaintext)
      @images = Images.new(@doors)
    end

    # What it would cost, where its images would go and how long it might wait. Changes nothing.
    def quote(spec)
      ask(:quote_generation, V1::QuoteGenerationRequest.new(spec: spec_of(spec))).quote
    end

    # Ask for images. With a block, leaving it cancels what is not finished, unless `cancels` is false. Give your own
    # request_id, a UUID, if the whole process may be repeated: the same id with the same spec is the same generation.
    def generate(spec, request_id: SecureRandom.uuid, max_total_mkudos: nil, cancels: true, &block)
      request = V1::CreateGenerationRequest.new(request_id: request_id, spec: spec_of(spec))
      request.max_total_mkudos = max_total_mkudos if max_total_mkudos
      enter(ask(:create_generation, request).generation, cancels, &block)
    end

    # A generation that was asked for before, also by another process. Leaving it cancels nothing.
    def following(generation_id, &block)
      enter(get(generation_id), false, &block)
    end

    def get(generation_id)
      ask(:get_generation, V1::GetGenerationRequest.new(generation_id: generation_id)).generation
    end

    # The bytes of a finished image.
    def fetch(generation_id, job_id)
      @images.fetch(get(generation_id), job_id)
    end

    # Store a source image, mask or control image for an hour, and name it for a spec.
    def put(content, input_id: SecureRandom.uuid)
      @images.put(content, input_id)
    end

    # Any call of the contract that is no stream: `call(Horde::Api::Mesh::V1::MeshService, :get_mesh, request)`.
    def call(service, method, request)
      @doors.ask(service, method, request)
    end

    private

    def ask(method, request)
      @doors.ask(V1::GenerationService, method, request)
    end

    def enter(generation, cancels)
      session = Session.new(@doors, @images, generation, cancels: cancels)
      return session unless block_given?

      begin
        yield session
      ensure
        session.leave
      end
    end

    def spec_of(spec)
      spec.is_a?(String) ? Horde.spec(spec) : spec
    end
  end
end
