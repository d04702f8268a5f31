package spec

import (
	"fmt"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// EtcHostsPath is where a pod's own hosts file is mounted.
const EtcHostsPath = "/etc/hosts"

// MountInput is what a container's mounts are made from.
type MountInput struct {
	Pod       *corev1.Pod
	Container *corev1.Container
	// Volumes are the host paths of the pod's volumes by name.
	Volumes map[string]string
	// SubPath makes a path within a volume available safely.
	SubPath func(mount int, volumeDir, subPath string) (string, error)
	Env     []EnvVar
	// HostsFile and MessageFile are the host paths of the pod's hosts file
	// and the container's termination message; empty if there is none.
	HostsFile, MessageFile string
}

// Mounts lists the container's mounts in the order of its volumeMounts, then
// the hosts file and the termination message.
func Mounts(in MountInput) ([]*runtimev1.Mount, error) {
	var out []*runtimev1.Mount
	ownHosts := false
	for i := range in.Container.VolumeMounts {
		m := &in.Container.VolumeMounts[i]
		ownHosts = ownHosts || m.MountPath == EtcHostsPath
		mount, err := volumeMount(in, i, m)
		if err != nil {
			return nil, err
		}
		out = append(out, mount)
	}
	if in.HostsFile != "" && !ownHosts {
		out = append(out, &runtimev1.Mount{ContainerPath: EtcHostsPath, HostPath: in.HostsFile, SelinuxRelabel: true})
	}
	if in.MessageFile != "" && in.Container.TerminationMessagePath != "" {
		out = append(out, &runtimev1.Mount{ContainerPath: in.Container.TerminationMessagePath, HostPath: in.MessageFile, SelinuxRelabel: true})
	}
	return out, nil
}

func volumeMount(in MountInput, index int, m *corev1.VolumeMount) (*runtimev1.Mount, error) {
	source := volumeByName(in.Pod, m.Name)
	if source == nil {
		return nil, fmt.Errorf("volume %q of container %s is not defined", m.Name, in.Container.Name)
	}
	mount := &runtimev1.Mount{
		ContainerPath:     absolute(m.MountPath),
		Readonly:          m.ReadOnly || alwaysReadOnly(source),
		Propagation:       propagation(m.MountPropagation),
		RecursiveReadOnly: m.RecursiveReadOnly != nil && *m.RecursiveReadOnly == corev1.RecursiveReadOnlyEnabled,
		SelinuxRelabel:    true,
	}
	subPath, err := subPathOf(in, m)
	if err != nil {
		return nil, err
	}
	if source.Image != nil {
		mount.Image = &runtimev1.ImageSpec{Image: source.Image.Reference}
		mount.ImageSubPath, mount.Readonly = subPath, true
		return mount, nil
	}
	dir, ok := in.Volumes[m.Name]
	if !ok {
		return nil, fmt.Errorf("cannot find volume %q to mount into container %q", m.Name, in.Container.Name)
	}
	mount.HostPath = dir
	if subPath != "" {
		if mount.HostPath, err = in.SubPath(index, dir, subPath); err != nil {
			return nil, fmt.Errorf("failed to prepare subPath for volumeMount %q of container %q: %w", m.Name, in.Container.Name, err)
		}
	}
	return mount, nil
}

func subPathOf(in MountInput, m *corev1.VolumeMount) (string, error) {
	subPath := m.SubPath
	if m.SubPathExpr != "" {
		values := map[string]string{}
		for _, e := range in.Env {
			values[e.Name] = e.Value
		}
		var unknown []string
		subPath = Expand(m.SubPathExpr, func(name string) (string, bool) {
			v, ok := values[name]
			if !ok {
				unknown = append(unknown, name)
			}
			return v, ok
		})
		if len(unknown) > 0 {
			return "", fmt.Errorf("missing value for %q", strings.Join(unknown, ", "))
		}
	}
	if filepath.IsAbs(subPath) {
		return "", fmt.Errorf("error SubPath `%s` must not be an absolute path", subPath)
	}
	for part := range strings.SplitSeq(subPath, "/") {
		if part == ".." {
			return "", fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", subPath)
		}
	}
	return subPath, nil
}

func volumeByName(pod *corev1.Pod, name string) *corev1.Volume {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Name == name {
			return &pod.Spec.Volumes[i]
		}
	}
	return nil
}

func alwaysReadOnly(v *corev1.Volume) bool {
	return v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil ||
		(v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ReadOnly)
}

func propagation(p *corev1.MountPropagationMode) runtimev1.MountPropagation {
	if p == nil {
		return runtimev1.MountPropagation_PROPAGATION_PRIVATE
	}
	switch *p {
	case corev1.MountPropagationHostToContainer:
		return runtimev1.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	case corev1.MountPropagationBidirectional:
		return runtimev1.MountPropagation_PROPAGATION_BIDIRECTIONAL
	}
	return runtimev1.MountPropagation_PROPAGATION_PRIVATE
}

func absolute(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return "/" + p
}
