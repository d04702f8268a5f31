package pull

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"path"
	"sort"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
)

// entry is what a docker configuration says of one registry.
type entry struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

type credential struct {
	host, prefix string
	auth         *runtimev1.AuthConfig
}

type keyring []credential

// keyring reads the pod's pull secrets. A secret that is missing or broken is
// passed over: the pull then shows whether it was needed.
func (p *Puller) keyring(ctx context.Context, pod *corev1.Pod) keyring {
	var ring keyring
	for _, ref := range pod.Spec.ImagePullSecrets {
		if ref.Name == "" {
			continue
		}
		secret, err := p.Secrets.Secret(ctx, pod.Namespace, ref.Name)
		if err != nil {
			p.Events.ContainerEvent(pod, "", corev1.EventTypeWarning, "FailedToRetrieveImagePullSecret",
				"Unable to retrieve some image pull secrets ("+ref.Name+"); attempting to pull the image may not succeed.")
			continue
		}
		added, err := parseSecret(secret)
		if err != nil {
			klog.FromContext(ctx).Error(err, "Could not read a pull secret", "secret", klog.KObj(secret))
			continue
		}
		ring = append(ring, added...)
	}
	return ring
}

func parseSecret(s *corev1.Secret) (keyring, error) {
	entries := map[string]entry{}
	if data, ok := s.Data[corev1.DockerConfigJsonKey]; ok {
		var file struct {
			Auths map[string]entry `json:"auths"`
		}
		if err := json.Unmarshal(data, &file); err != nil {
			return nil, err
		}
		entries = file.Auths
	} else if data, ok := s.Data[corev1.DockerConfigKey]; ok {
		if err := json.Unmarshal(data, &entries); err != nil {
			return nil, err
		}
	}
	registries := make([]string, 0, len(entries))
	for name := range entries {
		registries = append(registries, name)
	}
	// The longest first, so that a path is tried before its registry.
	sort.Slice(registries, func(i, j int) bool {
		if len(registries[i]) != len(registries[j]) {
			return len(registries[i]) > len(registries[j])
		}
		return registries[i] < registries[j]
	})
	var ring keyring
	for _, name := range registries {
		e := entries[name]
		host, prefix := splitRegistry(name)
		ring = append(ring, credential{host: host, prefix: prefix, auth: e.config()})
	}
	return ring, nil
}

// config leaves the server's address out, as the kubelet does: containerd takes
// it for a URL, and a host with a port is none.
func (e entry) config() *runtimev1.AuthConfig {
	if e.Auth != "" && e.Username == "" {
		if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(e.Auth)); err == nil {
			e.Username, e.Password, _ = strings.Cut(strings.TrimRight(string(raw), "\x00"), ":")
		}
	}
	return &runtimev1.AuthConfig{
		Username: e.Username, Password: e.Password,
		IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken,
	}
}

// splitRegistry takes the key of a docker configuration apart: host, perhaps
// with a port or wildcards, and the path that images must begin with. The
// version path of registry URLs says nothing about images.
func splitRegistry(key string) (host, prefix string) {
	if !strings.Contains(key, "://") {
		key = "https://" + key
	}
	host, prefix = strings.TrimPrefix(key, "https://"), ""
	if u, err := url.Parse(key); err == nil {
		host, prefix = u.Host, strings.Trim(u.Path, "/")
	} else if at := strings.IndexByte(host, '/'); at >= 0 {
		host, prefix = host[:at], strings.Trim(host[at:], "/")
	}
	if prefix == "v1" || prefix == "v2" {
		prefix = ""
	}
	switch host {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		host = "docker.io"
	}
	return host, prefix
}

// lookup lists the credentials for an image with a full name.
func (k keyring) lookup(image string) []*runtimev1.AuthConfig {
	host, rest, _ := strings.Cut(image, "/")
	var out []*runtimev1.AuthConfig
	for _, c := range k {
		if hostMatches(c.host, host) && (c.prefix == "" || rest == c.prefix || strings.HasPrefix(rest, c.prefix+"/") || strings.HasPrefix(rest, c.prefix+":")) {
			out = append(out, c.auth)
		}
	}
	return out
}

// hostMatches compares part by part; a * stands for (a piece of) one part.
func hostMatches(pattern, host string) bool {
	pattern, wantPort, _ := strings.Cut(pattern, ":")
	host, port, _ := strings.Cut(host, ":")
	if wantPort != port {
		return false
	}
	want, have := strings.Split(pattern, "."), strings.Split(host, ".")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if ok, err := path.Match(want[i], have[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
