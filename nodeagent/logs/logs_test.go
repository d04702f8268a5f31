package logs

import (
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"context"

	"google.golang.org/grpc"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// reopener makes the log anew, as a runtime does.
type reopener struct {
	runtimev1.RuntimeServiceClient
	path string
	err  error
}

func (r *reopener) ReopenContainerLog(context.Context, *runtimev1.ReopenContainerLogRequest, ...grpc.CallOption) (*runtimev1.ReopenContainerLogResponse, error) {
	if r.err != nil {
		return nil, r.err
	}
	return &runtimev1.ReopenContainerLogResponse{}, os.WriteFile(r.path, nil, 0o640)
}

func read(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, gzSuffix) {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRotate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "0.log")
	cri := &reopener{path: path}
	c := RotateConfig{MaxFiles: 3, CRI: cri}
	at := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	for i, text := range []string{"one", "two", "three", "four"} {
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := c.rotate(t.Context(), File{"id", path}, at.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		got[e.Name()] = read(t, filepath.Join(dir, e.Name()))
	}
	if diff := cmp.Diff(map[string]string{"0.log": "", "0.log.20260102-030300": "four", "0.log.20260102-030200.gz": "three"}, got); diff != "" {
		t.Error(diff)
	}
	cri.err = status.Error(codes.Unavailable, "away")
	if err := os.WriteFile(path, []byte("five"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := c.rotate(t.Context(), File{"id", path}, at.Add(time.Hour)); err == nil {
		t.Error("no error although the runtime is away")
	}
	if got := read(t, path); got != "five" {
		t.Errorf("the log has lost its name: %q", got)
	}
}
