# frozen_string_literal: true

require "timeout"

module Horde
  # A generation for as long as a block: leaving it early cancels what is not finished, so nobody paints in vain.
  class Session
    CANCEL_SECONDS = 5
    SERVICE = Api::Generation::V1::GenerationService
    private_constant :SERVICE

    # As it was last heard of.
    attr_reader :generation

    def initialize(doors, images, generation, cancels:)
      @doors = doors
      @images = images
      @generation = generation
      @cancels = cancels
    end

    # What happens, until it is finished. A broken stream is opened again, and goes on with a new snapshot.
    def watch(previews: false, &block)
      return enum_for(:watch, previews: previews) unless block

      order = Order.new
      attempts = @doors.attempts
      request = Api::Generation::V1::WatchGenerationRequest.new(
        generation_id: @generation.generation_id, previews: previews
      )
      loop do
        failure = watch_once(request, order, attempts, &block)
        return @generation unless failure

        attempts.pause_after(failure)
      end
    end

    # Wait until every image has ended.
    def finish
      watch { |_event| nil }
      @generation
    end

    # Wait for the end, then every image that is done, with its bytes.
    def pictures
      return enum_for(:pictures) unless block_given?

      finish.images.each { |image| yield image, fetch(image) if image.ending == :JOB_ENDING_DONE }
    end

    # The bytes of a finished image.
    def fetch(image)
      @images.fetch(@generation, image.job_id)
    end

    # End what has not ended; finished images stay.
    def cancel
      request = Api::Generation::V1::CancelGenerationRequest.new(generation_id: @generation.generation_id)
      @generation = @doors.ask(SERVICE, :cancel_generation, request).generation
    end

    # Cancel what is not finished, unless it should go on. The block of `Client#generate` does it by itself.
    def leave
      return if @generation.finished || !@cancels

      # Whoever leaves in a hurry wants no second error; the time to live ends the generation in any case.
      Timeout.timeout(CANCEL_SECONDS) { cancel }
    rescue Error, Timeout::Error
      nil
    end

    private

    # What broke the stream; nil where it was watched to the end.
    def watch_once(request, order, attempts)
      operation = @doors.stream(SERVICE, :watch_generation, request)
      operation.execute.each do |response|
        attempts.succeeded
        event = order.accept(response) or next
        remember(event)
        yield event
        return nil if event.kind == :finished
      end
      Unavailable.new("The stream ended before the generation did.", code: "UNAVAILABLE")
    rescue GRPC::BadStatus => e
      Horde.error_from(e)
    ensure
      operation&.cancel
    end

    def remember(event)
      @generation = event.generation if event.generation
      return unless event.image

      place = @generation.images.find_index { |image| image.job_id == event.image.job_id }
      @generation.images[place] = event.image if place
    end
  end
end
