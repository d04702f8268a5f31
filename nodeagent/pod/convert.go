package pod

import (
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"coracle.dev/coracle/nodeagent/lifecycle"
	"coracle.dev/coracle/nodeagent/spec"
)

func containerFrom(s *runtimev1.ContainerStatus, sandboxID string) lifecycle.Container {
	c := lifecycle.Container{
		ID: s.Id, Name: s.GetMetadata().GetName(), SandboxID: sandboxID,
		State:        stateFrom(s.State),
		RestartCount: int(s.GetMetadata().GetAttempt()),
		Hash:         s.Annotations[spec.AnnotationHash],
		CreatedAt:    nanos(s.CreatedAt), StartedAt: nanos(s.StartedAt), FinishedAt: nanos(s.FinishedAt),
		ExitCode: s.ExitCode, Reason: s.Reason, Message: s.Message,
		Image:       s.GetImage().GetImage(),
		ImageID:     s.ImageRef,
		User:        userFrom(s.User),
		LogPath:     s.LogPath,
		GracePeriod: -1,
	}
	if user := s.GetImage().GetUserSpecifiedImage(); user != "" && c.Image == "" {
		c.Image = user
	}
	if path := s.Annotations[spec.AnnotationMessagePath]; path != "" {
		for _, m := range s.Mounts {
			if m.ContainerPath == path {
				c.MessageFile = m.HostPath
			}
		}
	}
	if grace, err := strconv.ParseInt(s.Annotations[spec.AnnotationGracePeriod], 10, 64); err == nil {
		c.GracePeriod = grace
	}
	return c
}

func stateFrom(s runtimev1.ContainerState) lifecycle.State {
	switch s {
	case runtimev1.ContainerState_CONTAINER_CREATED:
		return lifecycle.Created
	case runtimev1.ContainerState_CONTAINER_RUNNING:
		return lifecycle.Running
	case runtimev1.ContainerState_CONTAINER_EXITED:
		return lifecycle.Exited
	}
	return lifecycle.Unknown
}

func userFrom(u *runtimev1.ContainerUser) *corev1.ContainerUser {
	l := u.GetLinux()
	if l == nil {
		return nil
	}
	return &corev1.ContainerUser{Linux: &corev1.LinuxContainerUser{UID: l.Uid, GID: l.Gid, SupplementalGroups: l.SupplementalGroups}}
}

func sandboxFrom(s *runtimev1.PodSandboxStatus) lifecycle.Sandbox {
	out := lifecycle.Sandbox{
		ID: s.Id, Attempt: s.GetMetadata().GetAttempt(),
		Ready:       s.State == runtimev1.PodSandboxState_SANDBOX_READY,
		HostNetwork: s.GetLinux().GetNamespaces().GetOptions().GetNetwork() == runtimev1.NamespaceMode_NODE,
		CreatedAt:   nanos(s.CreatedAt),
	}
	if ip := s.GetNetwork().GetIp(); ip != "" {
		out.IPs = append(out.IPs, ip)
	}
	for _, ip := range s.GetNetwork().GetAdditionalIps() {
		out.IPs = append(out.IPs, ip.Ip)
	}
	return out
}

func nanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
