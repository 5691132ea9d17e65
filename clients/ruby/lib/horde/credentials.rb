# frozen_string_literal: true

require "cgi"
require "fileutils"
require "securerandom"

module Horde
  # Who asks: an API key, or the token that an anonymous client makes once for a mesh and keeps. Folders and files are
  # those of every SDK and of the command line, so that one user is the same requester in all of them.
  module Credentials
    module_function

    # What to send as `authorization`: the key given, HORDE_API_KEY, the key kept for this mesh, else its token.
    def authorization(target, api_key: nil, anonymous: false, config_folder: nil)
      return "Anonymous #{anonymous}" if anonymous.is_a?(String)

      folder = mesh_folder(target, config_folder || default_folder)
      unless anonymous
        # A variable that is set to nothing is as good as none.
        given = [api_key, ENV.fetch("HORDE_API_KEY", nil)].find { |key| key && !key.strip.empty? }
        key = given || read_secret(File.join(folder, "api-key"))
      end
      key && !key.strip.empty? ? "Bearer #{key.strip}" : "Anonymous #{keep_token(folder)}"
    end

    def default_folder
      return ENV["HORDE_CONFIG_DIR"] if ENV["HORDE_CONFIG_DIR"]
      return File.join(ENV["APPDATA"], "horde") if Gem.win_platform? && ENV["APPDATA"]

      File.join(ENV["XDG_CONFIG_HOME"] || File.join(Dir.home, ".config"), "horde")
    end

    # Where the key and the token for one mesh are. The names of this machine are one mesh.
    def mesh_folder(target, folder)
      address = target.downcase.sub(/\A(localhost|\[::1\])(?=:\d+\z)/, "127.0.0.1")
      name = CGI.escape(address).gsub("+", "%20").gsub("%5B", "[").gsub("%5D", "]").gsub("%3A", "+")
      raise ArgumentError, "#{target.inspect} is not the address of a mesh" if name.delete(".").empty?

      File.join(folder, "meshes", name)
    end

    def read_secret(path)
      raise "#{path} can be read by others: chmod 600 it" if !Gem.win_platform? && (File.stat(path).mode & 0o077) != 0

      File.read(path).strip
    rescue Errno::ENOENT
      nil
    end

    # Two processes that make it at once end with the same one.
    def keep_token(folder)
      path = File.join(folder, "anonymous-token")
      kept = read_secret(path)
      raise "#{path} holds no anonymous token (32 hexadecimal digits)" if kept && !kept.match?(/\A\h{32}\z/)
      return kept if kept

      FileUtils.mkdir_p(folder, mode: 0o700)
      fresh = "#{path}.#{SecureRandom.hex(4)}"
      File.open(fresh, File::WRONLY | File::CREAT | File::EXCL, 0o600) { |file| file.puts(SecureRandom.hex(16)) }
      begin
        File.link(fresh, path)
      rescue Errno::EEXIST
        nil
      ensure
        File.unlink(fresh)
      end
      keep_token(folder)
    end
  end
end
