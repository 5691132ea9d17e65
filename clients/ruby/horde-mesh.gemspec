# frozen_string_literal: true

Gem::Specification.new do |gem|
  gem.name = "horde-mesh"
  gem.version = "0.1.0"
  gem.summary = "The client of a horde mesh: ask for pictures, watch them being painted, fetch them"
  gem.authors = ["The Horde Mesh project"]
  gem.license = "Apache-2.0"
  gem.required_ruby_version = ">= 3.0"
  gem.files = Dir["lib/**/*.rb", "gen/**/*.rb", "README.md"]
  gem.require_paths = %w[lib gen]
  gem.add_runtime_dependency "google-protobuf", ">= 3.21"
  gem.add_runtime_dependency "grpc", ">= 1.51"
end
