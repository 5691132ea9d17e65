package horde

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// Folders and files are those of every SDK and of the command line, so that one user is the same requester in all.

var (
	here  = regexp.MustCompile(`^(localhost|\[::1\])(:\d+)$`)
	token = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// authorization is what to send: the key given, HORDE_API_KEY, the key kept for this mesh, else its anonymous token.
func authorization(target string, options Options) (string, error) {
	if options.AnonymousToken != "" {
		return "Anonymous " + options.AnonymousToken, nil
	}
	folder, err := meshFolder(target, options.ConfigFolder)
	if err != nil {
		return "", err
	}
	if !options.Anonymous {
		for _, find := range []func() (string, error){
			func() (string, error) { return options.APIKey, nil },
			func() (string, error) { return os.Getenv("HORDE_API_KEY"), nil },
			func() (string, error) { return readSecret(filepath.Join(folder, "api-key")) },
		} {
			key, err := find()
			if err != nil {
				return "", err
			}
			if key = strings.TrimSpace(key); key != "" {
				return "Bearer " + key, nil
			}
		}
	}
	digits, err := keepToken(folder)
	return "Anonymous " + digits, err
}

func configFolder() (string, error) {
	if named := os.Getenv("HORDE_CONFIG_DIR"); named != "" {
		return named, nil
	}
	if roaming := os.Getenv("APPDATA"); runtime.GOOS == "windows" && roaming != "" {
		return filepath.Join(roaming, "horde"), nil
	}
	if xdg := os.Getenv("XDG_CONFIG_HOME"); xdg != "" {
		return filepath.Join(xdg, "horde"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".config", "horde"), err
}

// meshFolder is where the key and the token for one mesh are. The names of this machine are one mesh.
func meshFolder(target, folder string) (string, error) {
	address := here.ReplaceAllString(strings.ToLower(target), "127.0.0.1$2")
	name := strings.NewReplacer("+", "%20", "%5B", "[", "%5D", "]", "%3A", "+").Replace(url.QueryEscape(address))
	if strings.Trim(name, ".") == "" {
		return "", fmt.Errorf("%q is not the address of a mesh", target)
	}
	if folder == "" {
		var err error
		if folder, err = configFolder(); err != nil {
			return "", err
		}
	}
	return filepath.Join(folder, "meshes", name), nil
}

// readSecret is the one line of a secret file; empty where there is none.
func readSecret(path string) (string, error) {
	about, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err == nil && runtime.GOOS != "windows" && about.Mode()&0o077 != 0 {
		err = fmt.Errorf("%s can be read by others: chmod 600 it", path)
	}
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(path)
	return strings.TrimSpace(string(content)), err
}

// keepToken: two processes that make it at once end with the same one.
func keepToken(folder string) (string, error) {
	path := filepath.Join(folder, "anonymous-token")
	for made := false; ; made = true {
		kept, err := readSecret(path)
		// A file that is empty after one was made holds no token either.
		if err != nil || kept != "" || made {
			if err == nil && !token.MatchString(kept) {
				err = fmt.Errorf("%s holds no anonymous token (32 hexadecimal digits)", path)
			}
			return kept, err
		}
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return "", err
		}
		fresh := fmt.Sprintf("%s.%s", path, randomHex(4))
		if err := os.WriteFile(fresh, []byte(randomHex(16)+"\n"), 0o600); err != nil {
			return "", err
		}
		err = os.Link(fresh, path)
		_ = os.Remove(fresh)
		if err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
	}
}

func randomHex(bytes int) string {
	drawn := make([]byte, bytes)
	if _, err := rand.Read(drawn); err != nil {
		panic(err) // A machine without randomness can keep no secret.
	}
	return hex.EncodeToString(drawn)
}

// NewID is a UUID for one intention: make it before the first call and keep it over retries.
func NewID() string {
	drawn, _ := hex.DecodeString(randomHex(16))
	drawn[6], drawn[8] = drawn[6]&15|64, drawn[8]&63|128
	return fmt.Sprintf("%x-%x-%x-%x-%x", drawn[:4], drawn[4:6], drawn[6:8], drawn[8:10], drawn[10:])
}
