# frozen_string_literal: true

require "google/rpc/error_details_pb"
require "google/rpc/status_pb"
require "grpc"

# What a mesh refuses, as classes: decide on `reason`, else on the class, never on the message.
module Horde
  class Error < StandardError
    # gRPC's name of its kind, the contract's reason and its package, the fields that are wrong, seconds to wait.
    attr_reader :code, :reason, :domain, :metadata, :violations, :retry_after

    def initialize(message = nil, code: "", reason: "", domain: "", metadata: {}, violations: [], retry_after: nil)
      super(message)
      @code = code
      @reason = reason
      @domain = domain
      @metadata = metadata
      @violations = violations
      @retry_after = retry_after
    end
  end

  Violation = Struct.new(:field, :description)

  KINDS = %w[
    Cancelled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied ResourceExhausted
    FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable DataLoss Unauthenticated
  ].each.with_index(1).to_h do |name, code|
    [code, const_set(name, Class.new(Error))]
  end.freeze
  private_constant :KINDS

  # The bytes that came are not those that were promised, even when fetched again.
  class DamagedImage < Error
    def initialize(message)
      super(message, reason: "DAMAGED_IMAGE")
    end
  end

  # An error of a call, as one of the classes above.
  def self.error_from(bad_status)
    found = { violations: [] }
    details = bad_status.metadata["grpc-status-details-bin"]
    Google::Rpc::Status.decode(details).details.each { |any| read_detail(any, found) } if details
    kind = KINDS.fetch(bad_status.code, Error)
    code = kind.name.split("::").last.gsub(/(?<!^)([A-Z])/, '_\1').upcase
    kind.new(bad_status.details, code: code, **found)
  end

  def self.read_detail(any, found)
    case any.type_url.split("/").last
    when "google.rpc.ErrorInfo"
      info = Google::Rpc::ErrorInfo.decode(any.value)
      found.update(reason: info.reason, domain: info.domain, metadata: info.metadata.to_h)
    when "google.rpc.BadRequest"
      bad = Google::Rpc::BadRequest.decode(any.value)
      found[:violations] = bad.field_violations.map { |each| Violation.new(each.field, each.description) }
    when "google.rpc.RetryInfo"
      delay = Google::Rpc::RetryInfo.decode(any.value).retry_delay
      found[:retry_after] = delay.seconds + (delay.nanos / 1e9) if delay
    end
  end
  private_class_method :read_detail
end
