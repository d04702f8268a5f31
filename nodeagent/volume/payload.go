package volume

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"

	"coracle.dev/coracle/nodeagent/spec"
)

const defaultMode int32 = 0o644

// source gathers the files of one volume.
type source struct {
	m     *Manager
	pod   *corev1.Pod
	files payload
}

func (s *source) configMap(ctx context.Context, name string, items []corev1.KeyToPath, mode *int32, optional *bool) error {
	cm, err := s.m.Objects.ConfigMap(ctx, s.pod.Namespace, name)
	if apierrors.IsNotFound(err) && ptr.Deref(optional, false) {
		return nil
	}
	if err != nil {
		return err
	}
	data := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	for k, v := range cm.Data {
		data[k] = []byte(v)
	}
	for k, v := range cm.BinaryData {
		data[k] = v
	}
	return s.items(data, items, mode, optional, "configmap")
}

func (s *source) secret(ctx context.Context, name string, items []corev1.KeyToPath, mode *int32, optional *bool) error {
	secret, err := s.m.Objects.Secret(ctx, s.pod.Namespace, name)
	if apierrors.IsNotFound(err) && ptr.Deref(optional, false) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.items(secret.Data, items, mode, optional, "secret")
}

func (s *source) items(data map[string][]byte, items []corev1.KeyToPath, mode *int32, optional *bool, kind string) error {
	fallback := ptr.Deref(mode, defaultMode)
	if len(items) == 0 {
		for k, v := range data {
			s.files[k] = file{data: v, mode: fs.FileMode(fallback)}
		}
		return nil
	}
	for _, item := range items {
		content, ok := data[item.Key]
		if !ok {
			if ptr.Deref(optional, false) {
				continue
			}
			return fmt.Errorf("references non-existent %s key: %s", kind, item.Key)
		}
		s.files[path.Clean(item.Path)] = file{data: content, mode: fs.FileMode(ptr.Deref(item.Mode, fallback))}
	}
	return nil
}

func (s *source) downward(items []corev1.DownwardAPIVolumeFile, mode *int32) error {
	fallback := ptr.Deref(mode, defaultMode)
	for _, item := range items {
		var text string
		var err error
		switch {
		case item.FieldRef != nil:
			text, err = spec.FieldValue(s.pod, item.FieldRef.FieldPath, podIPs(s.pod), s.m.HostIPs)
		case item.ResourceFieldRef != nil:
			c := spec.FindContainer(s.pod, item.ResourceFieldRef.ContainerName)
			if c == nil {
				return fmt.Errorf("container %s not found", item.ResourceFieldRef.ContainerName)
			}
			text, err = spec.ResourceValue(item.ResourceFieldRef, c, s.m.Allocatable())
		}
		if err != nil {
			return err
		}
		s.files[path.Clean(item.Path)] = file{data: []byte(text), mode: fs.FileMode(ptr.Deref(item.Mode, fallback))}
	}
	return nil
}

func podIPs(pod *corev1.Pod) []string {
	var out []string
	for _, ip := range pod.Status.PodIPs {
		out = append(out, ip.IP)
	}
	return out
}

func (s *source) projected(ctx context.Context, p *corev1.ProjectedVolumeSource) error {
	mode := p.DefaultMode
	for i := range p.Sources {
		src := &p.Sources[i]
		var err error
		switch {
		case src.ConfigMap != nil:
			err = s.configMap(ctx, src.ConfigMap.Name, src.ConfigMap.Items, mode, src.ConfigMap.Optional)
		case src.Secret != nil:
			err = s.secret(ctx, src.Secret.Name, src.Secret.Items, mode, src.Secret.Optional)
		case src.DownwardAPI != nil:
			err = s.downward(src.DownwardAPI.Items, mode)
		case src.ServiceAccountToken != nil:
			err = s.token(ctx, src.ServiceAccountToken, ptr.Deref(mode, defaultMode))
		default:
			err = fmt.Errorf("projected source %d is of a kind that this node does not support", i)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *source) token(ctx context.Context, p *corev1.ServiceAccountTokenProjection, mode int32) error {
	token, err := s.m.tokens.get(ctx, s.pod, p)
	if err != nil {
		return fmt.Errorf("failed to fetch token: %w", err)
	}
	f := file{data: []byte(token), mode: fs.FileMode(mode), uid: fsUser(s.pod)}
	if f.uid != nil || fsGroup(s.pod) != nil {
		f.mode = 0o600
	}
	s.files[strings.TrimPrefix(path.Clean(p.Path), "/")] = f
	return nil
}
