package pod

import (
	"bytes"
	"context"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-client/pkg/logs"
	"k8s.io/utils/ptr"

	"coracle.dev/coracle/nodeagent/spec"
)

// Limits of termination messages.
const (
	maxMessage      = 4096
	maxMessageLog   = 2048
	maxMessageLines = 80
)

// terminationMessage reads what a container that ended left as its last word:
// its message file or, if it failed and asked for that, the end of its log.
func terminationMessage(s *runtimev1.ContainerStatus, pod *corev1.Pod) string {
	c := containerFrom(s, "")
	if c.MessageFile != "" {
		if text, err := readStart(c.MessageFile, maxMessage); err == nil && text != "" {
			if c.Message != "" {
				return c.Message + ": " + text
			}
			return text
		}
	}
	if s.ExitCode == 0 || s.Annotations[spec.AnnotationMessagePolicy] != string(corev1.TerminationMessageFallbackToLogsOnError) || c.LogPath == "" {
		return ""
	}
	var out bytes.Buffer
	err := logs.ReadLogs(context.Background(), c.LogPath, c.ID, &logs.LogOptions{TailLines: ptr.To[int64](maxMessageLines)}, nil, &out, &out)
	if err != nil {
		return ""
	}
	text := out.Bytes()
	return string(text[max(len(text)-maxMessageLog, 0):])
}

func readStart(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	return string(data), err
}
