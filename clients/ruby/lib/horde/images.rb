# frozen_string_literal: true

require "digest"
require "securerandom"

module Horde
  # The bytes of pictures: painted ones out, inputs in, under tickets that the gateway makes.
  class Images
    CHUNK_BYTES = 256 * 1024
    MAX_EXPIRED_TICKETS = 3
    PUT_SECONDS = 300

    def initialize(doors)
      @doors = doors
    end

    # The bytes of a finished image, checked against its SHA-256; a broken download goes on where it broke.
    def fetch(generation, job_id)
      image = image_of(generation, job_id)
      download = Download.new(@doors, image.sha256)
      attempts = @doors.attempts
      expired = 0
      begin
        download.run(image.download)
      rescue GRPC::BadStatus, Error => e
        error = e.is_a?(Error) ? e : Horde.error_from(e)
        if error.reason == "TOKEN_EXPIRED"
          expired += 1
          clocks = Unavailable.new("Every ticket is expired when it arrives.", code: "UNAVAILABLE")
          raise clocks if expired > MAX_EXPIRED_TICKETS

          attempts.pause_after(clocks)
          image = image_of(get(generation.generation_id), job_id)
        else
          attempts.pause_after(error)
        end
        retry
      end
    end

    # Store a source image, mask or control image for an hour, and name it for a spec.
    def put(content, input_id = SecureRandom.uuid)
      digest = Digest::SHA256.digest(content)
      stored = @doors.attempts.patiently do
        request = Api::Generation::V1::CreateInputTicketRequest.new(input_id: input_id)
        ticket = @doors.ask(Api::Generation::V1::GenerationService, :create_input_ticket, request)
        too_large(ticket.max_bytes) if ticket.max_bytes.positive? && content.bytesize > ticket.max_bytes
        @doors.storage(ticket.address).put_input(
          parts(ticket.ticket, content, digest), deadline: Time.now + PUT_SECONDS
        ).input
      end
      Api::Job::V1::InputImage.new(input_id: stored.input_id, sha256: stored.sha256)
    end

    private

    def get(generation_id)
      request = Api::Generation::V1::GetGenerationRequest.new(generation_id: generation_id)
      @doors.ask(Api::Generation::V1::GenerationService, :get_generation, request).generation
    end

    def image_of(generation, job_id)
      image = generation.images.find { |each| each.job_id == job_id }
      about = { metadata: { "job_id" => job_id } }
      raise NotFound.new("The generation has no image #{job_id}.", code: "NOT_FOUND", **about) unless image
      return image if image.download && !image.withdrawn

      if image.withdrawn || image.ending == :JOB_ENDING_DONE
        raise NotFound.new("Image #{image.index} is gone.", code: "NOT_FOUND", reason: "OBJECT_NOT_FOUND", **about)
      end
      raise FailedPrecondition.new("Image #{image.index} has no picture.", code: "FAILED_PRECONDITION",
                                                                           reason: "IMAGE_NOT_FINISHED", **about)
    end

    def too_large(limit)
      raise InvalidArgument.new("The picture is over a limit.", code: "INVALID_ARGUMENT", reason: "TOO_LARGE",
                                                                metadata: { "limit" => limit.to_s, "unit" => "bytes" })
    end

    def parts(ticket, content, digest)
      request = Api::Storage::V1::PutInputRequest
      Enumerator.new do |parts|
        parts << request.new(open: Api::Storage::V1::PutInputOpen.new(ticket: ticket))
        (0...content.bytesize).step(CHUNK_BYTES) do |offset|
          data = content.byteslice(offset, CHUNK_BYTES)
          parts << request.new(chunk: Api::Storage::V1::Chunk.new(offset: offset, data: data))
        end
        finish = Api::Storage::V1::UploadFinish.new(sha256: digest, size_bytes: content.bytesize)
        parts << request.new(finish: finish)
      end
    end

    # One image on its way: keeps what has come, over broken streams and new tickets.
    class Download
      MAX_IMAGE_BYTES = 256 * 1024 * 1024

      def initialize(doors, promised)
        @doors = doors
        @promised = promised
        @content = String.new(encoding: Encoding::BINARY)
        @begun_again = false
      end

      def run(way)
        loop do
          read(way)
          return @content.dup if Digest::SHA256.digest(@content) == @promised

          @content.clear
          raise DamagedImage, "The bytes of the image are not those that were promised." if @begun_again

          @begun_again = true
        end
      end

      private

      def read(way)
        size = 0
        request = Api::Storage::V1::DownloadRequest.new(ticket: way.ticket, offset: @content.bytesize)
        @doors.storage(way.address).download(request).each do |response|
          case response.message
          when :header then size = expect(response.header.size_bytes)
          when :chunk then take(response.chunk)
          end
        end
        raise Unavailable.new("The download ended early.", code: "UNAVAILABLE") if @content.bytesize < size
      end

      def expect(size)
        raise DamagedImage, "The image would be #{size} bytes large." if size > MAX_IMAGE_BYTES

        size
      end

      def take(chunk)
        if chunk.offset != @content.bytesize || @content.bytesize > MAX_IMAGE_BYTES
          raise DamagedImage, "The parts of the image do not fit together."
        end

        @content << chunk.data
      end
    end
    private_constant :Download
  end
end
