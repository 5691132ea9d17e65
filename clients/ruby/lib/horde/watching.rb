# frozen_string_literal: true

module Horde
  # One thing that a watcher hears. `kind` is :snapshot, :image, :progress, :preview, :wait or :finished; of the other
  # fields those that the kind has.
  Event = Struct.new(:kind, :generation, :image, :index, :job_id, :step, :steps, :preview, :wait, keyword_init: true)

  # Drops what is old: versions never go backwards, progress counts only for the current lease and only forwards.
  class Order
    def initialize
      @version = -1
      @images = {}
      @steps = Hash.new(0)
    end

    # The event that a message is; nil for one that is late, or of a kind unknown here.
    def accept(response)
      case response.event
      when :snapshot, :finished then whole(response.event, response[response.event.to_s])
      when :image then image(response.image)
      when :progress then progress(response.progress)
      when :preview then preview(response.preview)
      when :wait then wait(response.wait)
      end
    end

    private

    def whole(kind, generation)
      return if generation.version < @version

      @version = generation.version
      generation.images.each do |image|
        keep(image)
        @steps[image.lease_id] = [@steps[image.lease_id], image.step].max unless image.lease_id.empty?
      end
      Event.new(kind: kind, generation: generation)
    end

    def image(image)
      known = @images[image.job_id]
      return if known && image.version <= known.version

      @version = [@version, image.version].max
      keep(image)
      Event.new(kind: :image, image: image, index: image.index, job_id: image.job_id)
    end

    def keep(image)
      known = @images[image.job_id]
      @steps.delete(known.lease_id) if known && known.lease_id != image.lease_id
      @images[image.job_id] = image
    end

    def progress(told)
      image = leased(told)
      return if image.nil? || told.step <= @steps[told.lease_id]

      @steps[told.lease_id] = told.step
      Event.new(kind: :progress, index: image.index, job_id: told.job_id, step: told.step, steps: told.steps)
    end

    def preview(told)
      image = leased(told)
      image && Event.new(kind: :preview, index: image.index, job_id: told.job_id, step: told.step, preview: told.image)
    end

    def wait(told)
      image = @images[told.job_id]
      return unless image && image.state == :JOB_STATE_QUEUED

      Event.new(kind: :wait, index: image.index, job_id: told.job_id, wait: told.wait)
    end

    def leased(told)
      image = @images[told.job_id]
      image if image && !told.lease_id.empty? && image.lease_id == told.lease_id
    end
  end
end
