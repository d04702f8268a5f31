package pull

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"coracle.dev/coracle/nodeagent/crifake"
)

type log struct{ lines []string }

func (l *log) ContainerEvent(_ *corev1.Pod, container, kind, reason, message string) {
	l.lines = append(l.lines, reason+" "+message)
}

func (l *log) take() string {
	defer func() { l.lines = nil }()
	return strings.Join(l.lines, "\n")
}

type secrets map[string]*corev1.Secret

func (s secrets) Secret(_ context.Context, _, name string) (*corev1.Secret, error) {
	if secret := s[name]; secret != nil {
		return secret, nil
	}
	return nil, errors.New("not found")
}

func TestBackOff(t *testing.T) {
	cri, events := crifake.New(), &log{}
	now := time.Unix(1000, 0)
	p := New(Config{Images: cri.Images(), Events: events, Now: func() time.Time { return now }})
	down := true
	cri.OnPull = func(string, *runtimev1.AuthConfig) error {
		if down {
			return errors.New("no route")
		}
		return nil
	}
	ask := func() string {
		_, err := p.Ensure(t.Context(), Request{Pod: &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u"}}, Container: "c", Image: "app", Policy: corev1.PullIfNotPresent})
		var e *Error
		if errors.As(err, &e) {
			return fmt.Sprintf("%s +%v %s", e.Reason, e.RetryAt.Sub(now), e.Message)
		}
		return fmt.Sprint(err)
	}
	cause := "rpc error: code = Unknown desc = no route"
	steps := []struct {
		after        time.Duration
		want, events string
	}{
		{0, "ErrImagePull +10s " + cause, "Pulling Pulling image \"app\"\nFailed Failed to pull image \"app\": " + cause},
		{time.Second, "ImagePullBackOff +9s Back-off pulling image \"app\": ErrImagePull: " + cause, "BackOff Back-off pulling image \"app\""},
		{9 * time.Second, "ErrImagePull +20s " + cause, "Pulling Pulling image \"app\"\nFailed Failed to pull image \"app\": " + cause},
	}
	for i, s := range steps {
		now = now.Add(s.after)
		if diff := cmp.Diff([]string{s.want, s.events}, []string{ask(), events.take()}); diff != "" {
			t.Errorf("step %d: %s", i, diff)
		}
	}
	down, now = false, now.Add(20*time.Second)
	if got := ask(); got != "<nil>" {
		t.Errorf("after the registry came back: %s", got)
	}
	if got, want := events.take(), "Pulling Pulling image \"app\"\nPulled Successfully pulled image \"app\" in 0s (0s including waiting). Image size: 1000 bytes."; got != want {
		t.Errorf("events %s", got)
	}
	if got := ask(); got != "<nil>" || events.take() != "Pulled Container image \"app\" already present on machine" {
		t.Errorf("again: %s", got)
	}
}

func TestInvalidName(t *testing.T) {
	p := New(Config{Images: crifake.New().Images(), Events: &log{}})
	_, err := p.Ensure(t.Context(), Request{Pod: &corev1.Pod{}, Image: "Not A Name"})
	var e *Error
	if !errors.As(err, &e) || e.Reason != ReasonInvalid || !strings.HasPrefix(e.Message, `Failed to apply default image tag "Not A Name": couldn't parse image name`) {
		t.Errorf("%+v", err)
	}
}

func TestCredentials(t *testing.T) {
	auth := base64.StdEncoding.EncodeToString([]byte("u:p:w"))
	config := fmt.Sprintf(`{"auths": {"registry.example:5000": {"auth": %q}, "registry.example:5000/team": {"username": "t", "password": "x"}, "https://index.docker.io/v1/": {"auth": %q}, "*.wild.example": {"auth": %q}}}`, auth, auth, auth)
	ring, err := parseSecret(&corev1.Secret{Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(config)}})
	if err != nil {
		t.Fatal(err)
	}
	for image, want := range map[string]string{
		"registry.example:5000/a:v1": "u/p:w", "registry.example:5000/team/b:v1": "t/x,u/p:w", "registry.example:5000/teams/b:v1": "u/p:w",
		"registry.example/a:v1": "", "docker.io/library/mysql:latest": "u/p:w", "a.wild.example/x:v1": "u/p:w", "a.b.wild.example/x:v1": "",
	} {
		var got []string
		for _, a := range ring.lookup(image) {
			got = append(got, a.Username+"/"+a.Password)
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%s: %v, want %s", image, got, want)
		}
	}
}

// TestSecondCredential: a credential that is refused does not end the matter.
func TestSecondCredential(t *testing.T) {
	cri := crifake.New()
	var tried []string
	cri.OnPull = func(_ string, a *runtimev1.AuthConfig) error {
		tried = append(tried, a.GetUsername())
		if a.GetUsername() != "right" {
			return errors.New("401 Unauthorized")
		}
		return nil
	}
	secret := func(user string) *corev1.Secret {
		return &corev1.Secret{Data: map[string][]byte{corev1.DockerConfigKey: []byte(`{"r.example": {"username": "` + user + `", "password": "x"}}`)}}
	}
	p := New(Config{Images: cri.Images(), Events: &log{}, Secrets: secrets{"a": secret("wrong"), "b": secret("right")}})
	pod := &corev1.Pod{Spec: corev1.PodSpec{ImagePullSecrets: []corev1.LocalObjectReference{{Name: "a"}, {Name: "missing"}, {Name: "b"}}}}
	if _, err := p.Ensure(t.Context(), Request{Pod: pod, Image: "r.example/x", Policy: corev1.PullAlways}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"wrong", "right"}, tried); diff != "" {
		t.Error(diff)
	}
}
