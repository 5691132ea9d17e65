package horde

import (
	"os"
	"path/filepath"
	"testing"
)

func TestATokenFileThatIsEmptyIsToldAndNotWaitedFor(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "anonymous-token"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if kept, err := keepToken(folder); err == nil {
		t.Fatalf("%q was taken for a token", kept)
	}
}

func TestATokenIsMadeOnceAndKept(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "made")
	first, err := keepToken(folder)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := keepToken(folder); err != nil || again != first {
		t.Fatalf("%q after %q: %v", again, first, err)
	}
}
