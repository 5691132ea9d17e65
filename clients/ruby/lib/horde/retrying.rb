# frozen_string_literal: true

module Horde
  # How long to go on trying (seconds): after the first failure of one call, or since a watch last heard something;
  # `attempt` is what one attempt of a call with one answer may take, so that a mute mesh holds nobody.
  Patience = Struct.new(:total, :first_pause, :longest_pause, :attempt) do
    def self.usual
      new(30.0, 0.1, 3.0, 10.0)
    end
  end

  # The attempts of one call. Every call bears repetition: it reads, or it carries an id that was made before.
  class Attempts
    def initialize(patience)
      @patience = patience
      succeeded
    end

    # Something was heard: patience is whole again.
    def succeeded
      @failures = @internal = 0
      @began = nil
    end

    # Wait until the next attempt may be made; raises the error if there should be none.
    def pause_after(error)
      now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      @began ||= now
      @internal += 1 if error.is_a?(Internal)
      # A defect is asked about once more, then told.
      raise error if @internal > 1 || !worth_retrying?(error)

      pause = [@patience.first_pause * (2.0**[@failures, 16].min), @patience.longest_pause].min * (0.5 + (rand / 2))
      # Never before the time that the mesh named; a little later, so that not all come back at once.
      pause = error.retry_after + (pause / 4) if error.retry_after
      raise error if now - @began + pause > @patience.total

      @failures += 1
      sleep(pause)
    end

    # Make a call, again while that may help.
    def patiently
      yield
    rescue GRPC::BadStatus => e
      pause_after(Horde.error_from(e))
      retry
    rescue Error => e
      pause_after(e)
      retry
    end

    private

    def worth_retrying?(error)
      return false if error.reason == "BUDGET_SPENT"
      return true if error.retry_after || error.reason == "TOO_SLOW"

      [Unavailable, DeadlineExceeded, Internal].any? { |kind| error.is_a?(kind) }
    end
  end
end
