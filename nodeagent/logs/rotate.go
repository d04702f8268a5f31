// Package logs bounds and reads the log files that the runtime writes for
// containers, in CRI format.
//
// Contract: a container's current log is always at its own path; rotated parts
// have a time stamp appended, all but the newest of them compressed. Reading
// answers as upstream's kubelet does, from the current file.
package logs

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
)

const (
	rotatePeriod = 10 * time.Second
	stampLayout  = "20060102-150405"
	gzSuffix     = ".gz"
	tmpSuffix    = ".tmp"
)

// File is the log of a running container.
type File struct{ ContainerID, Path string }

// RotateConfig bounds logs.
type RotateConfig struct {
	// MaxSize in bytes of a file; MaxFiles of a container, the current one
	// included, at least 2.
	MaxSize  int64
	MaxFiles int
	CRI      runtimev1.RuntimeServiceClient
	// Running lists the logs being written.
	Running func() []File
}

// Rotate looks at the sizes of logs every ten seconds until ctx ends. There is
// no event for a file that grows past a size.
func Rotate(ctx context.Context, c RotateConfig) {
	ticker := time.NewTicker(rotatePeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, f := range c.Running() {
			info, err := os.Stat(f.Path)
			if err != nil || info.Size() < c.MaxSize {
				continue
			}
			if err := c.rotate(ctx, f, time.Now()); err != nil {
				klog.FromContext(ctx).Error(err, "Could not rotate a log", "path", f.Path)
			}
		}
	}
}

func (c RotateConfig) rotate(ctx context.Context, f File, now time.Time) error {
	if err := c.thin(f.Path); err != nil {
		return err
	}
	rotated := f.Path + "." + now.Format(stampLayout)
	if err := os.Rename(f.Path, rotated); err != nil {
		return fmt.Errorf("rotating log: %w", err)
	}
	if _, err := c.CRI.ReopenContainerLog(ctx, &runtimev1.ReopenContainerLogRequest{ContainerId: f.ContainerID}); err != nil {
		// The runtime goes on writing to the old file; it gets its name back.
		return errors.Join(fmt.Errorf("reopening log: %w", err), os.Rename(rotated, f.Path))
	}
	return nil
}

// thin compresses what was rotated before and removes the oldest, to make
// room for one more.
func (c RotateConfig) thin(path string) error {
	parts, err := filepath.Glob(path + ".*")
	if err != nil {
		return err
	}
	sort.Strings(parts)
	var kept []string
	for _, p := range parts {
		if strings.HasSuffix(p, tmpSuffix) {
			if err := os.Remove(p); err != nil {
				return fmt.Errorf("removing unfinished log: %w", err)
			}
			continue
		}
		kept = append(kept, p)
	}
	room := max(c.MaxFiles, 2) - 2 // beside the current file and the one to come
	for len(kept) > room {
		if err := os.Remove(kept[0]); err != nil {
			return fmt.Errorf("removing old log: %w", err)
		}
		kept = kept[1:]
	}
	for _, p := range kept {
		if !strings.HasSuffix(p, gzSuffix) {
			if err := compress(p); err != nil {
				return err
			}
		}
	}
	return nil
}

func compress(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("compressing log: %w", err)
	}
	defer in.Close()
	tmp := path + tmpSuffix
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("compressing log: %w", err)
	}
	zip := gzip.NewWriter(out)
	_, err = io.Copy(zip, in)
	if err = errors.Join(err, zip.Close(), out.Close()); err != nil {
		return errors.Join(fmt.Errorf("compressing log: %w", err), os.Remove(tmp))
	}
	if err := os.Rename(tmp, path+gzSuffix); err != nil {
		return fmt.Errorf("compressing log: %w", err)
	}
	return os.Remove(path)
}
