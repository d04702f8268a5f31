package volume

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/nodeagent/spec"
)

// Config is what a Manager needs.
type Config struct {
	// Root is the agent's own folder; pods live in Root/pods.
	Root    string
	Client  kubernetes.Interface
	Objects spec.Objects
	// HostIPs of the node, for the downward API.
	HostIPs []string
	// Allocatable of the node, for the downward API.
	Allocatable func() corev1.ResourceList
}

// Manager makes and removes volumes. Calls for different pods run in
// parallel; those for one pod come from its one worker.
type Manager struct {
	Config
	tokens *tokens
}

// New makes a Manager.
func New(c Config) *Manager {
	return &Manager{Config: c, tokens: &tokens{client: c.Client, now: time.Now, cache: map[tokenKey]*token{}}}
}

// PodDir is the folder of all that the agent keeps for a pod.
func (m *Manager) PodDir(uid types.UID) string { return filepath.Join(m.Root, "pods", string(uid)) }

// Setup makes all volumes and tells where they are. It goes on after an
// error, so that one bad volume is reported beside the others.
func (m *Manager) Setup(ctx context.Context, pod *corev1.Pod) (map[string]string, error) {
	paths := make(map[string]string, len(pod.Spec.Volumes))
	var firstErr error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.Image != nil {
			continue // mounted by the container runtime
		}
		path, err := m.setup(ctx, pod, v)
		if err != nil {
			if firstErr == nil {
				firstErr = fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", v.Name, err)
			}
			continue
		}
		paths[v.Name] = path
	}
	return paths, firstErr
}

// NextRefresh is when Setup should be called again although no object
// changed; zero means never.
func (m *Manager) NextRefresh(uid types.UID) time.Time { return m.tokens.next(uid) }

func (m *Manager) setup(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) (string, error) {
	switch {
	case v.HostPath != nil:
		return v.HostPath.Path, checkHostPath(v.HostPath.Path, v.HostPath.Type)
	case v.EmptyDir != nil:
		return m.emptyDir(pod, v)
	case v.PersistentVolumeClaim != nil:
		return m.claim(ctx, pod, v.PersistentVolumeClaim.ClaimName, v.PersistentVolumeClaim.ReadOnly)
	case v.Ephemeral != nil:
		return m.claim(ctx, pod, pod.Name+"-"+v.Name, false)
	}
	s := &source{m: m, pod: pod, files: payload{}}
	var plugin string
	var err error
	switch {
	case v.ConfigMap != nil:
		plugin = "configmap"
		err = s.configMap(ctx, v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.DefaultMode, v.ConfigMap.Optional)
	case v.Secret != nil:
		plugin = "secret"
		err = s.secret(ctx, v.Secret.SecretName, v.Secret.Items, v.Secret.DefaultMode, v.Secret.Optional)
	case v.DownwardAPI != nil:
		plugin = "downward-api"
		err = s.downward(v.DownwardAPI.Items, v.DownwardAPI.DefaultMode)
	case v.Projected != nil:
		plugin = "projected"
		err = s.projected(ctx, v.Projected)
	default:
		return "", fmt.Errorf("no volume plugin matched")
	}
	if err != nil {
		return "", err
	}
	dir := m.volumeDir(pod.UID, plugin, v.Name)
	if plugin == "configmap" {
		err = os.MkdirAll(dir, 0o777)
	} else {
		err = mountTmpfs(dir, 0) // secrets never reach a disk
	}
	if err != nil {
		return "", err
	}
	if err := setOwnershipOf(dir, pod); err != nil {
		return "", err
	}
	return dir, writePayload(dir, s.files, func(fresh string) error { return setOwnership(fresh, pod, true) })
}

// setOwnershipOf gives the volume's own folder, not its content, to fsGroup.
func setOwnershipOf(dir string, pod *corev1.Pod) error {
	if err := os.Chmod(dir, 0o777); err != nil {
		return fmt.Errorf("opening %s: %w", dir, err)
	}
	group := fsGroup(pod)
	if group == nil {
		return nil
	}
	if err := os.Chown(dir, -1, int(*group)); err != nil {
		return fmt.Errorf("giving %s to group %d: %w", dir, *group, err)
	}
	return os.Chmod(dir, os.ModeSetgid|0o777)
}

func (m *Manager) volumeDir(uid types.UID, plugin, name string) string {
	return filepath.Join(m.PodDir(uid), "volumes", "kubernetes.io~"+plugin, name)
}

func (m *Manager) emptyDir(pod *corev1.Pod, v *corev1.Volume) (string, error) {
	dir := m.volumeDir(pod.UID, "empty-dir", v.Name)
	_, statErr := os.Stat(dir)
	switch v.EmptyDir.Medium {
	case corev1.StorageMediumDefault:
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return "", fmt.Errorf("creating %s: %w", dir, err)
		}
	case corev1.StorageMediumMemory:
		var size int64
		if v.EmptyDir.SizeLimit != nil {
			size = v.EmptyDir.SizeLimit.Value()
		}
		if err := mountTmpfs(dir, size); err != nil {
			return "", err
		}
	default:
		return "", fmt.Errorf("unknown storage medium %q", v.EmptyDir.Medium)
	}
	if statErr == nil {
		return dir, nil // made before; what is in it belongs to the pod
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return "", fmt.Errorf("opening %s: %w", dir, err)
	}
	return dir, setOwnership(dir, pod, false)
}

// claim follows a claim to its volume.
func (m *Manager) claim(ctx context.Context, pod *corev1.Pod, name string, readOnly bool) (string, error) {
	pvc, err := m.Client.CoreV1().PersistentVolumeClaims(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("failed to fetch PVC from API server: %w", err)
	}
	if pvc.Status.Phase != corev1.ClaimBound || pvc.Spec.VolumeName == "" {
		return "", fmt.Errorf("PVC %s/%s is not bound", pod.Namespace, name)
	}
	pv, err := m.Client.CoreV1().PersistentVolumes().Get(ctx, pvc.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("failed to fetch PV %s from API server: %w", pvc.Spec.VolumeName, err)
	}
	if ref := pv.Spec.ClaimRef; ref == nil || ref.UID != pvc.UID {
		return "", fmt.Errorf("PV %s is not bound to PVC %s/%s", pv.Name, pod.Namespace, name)
	}
	switch {
	case pv.Spec.HostPath != nil:
		return pv.Spec.HostPath.Path, checkHostPath(pv.Spec.HostPath.Path, pv.Spec.HostPath.Type)
	case pv.Spec.Local != nil:
		path := pv.Spec.Local.Path
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("path %q does not exist", path)
		}
		if readOnly {
			return path, nil
		}
		return path, setOwnership(path, pod, false)
	}
	return "", fmt.Errorf("no volume plugin matched for PV %s", pv.Name)
}

// SubPath makes a path within a volume available for one mount of a
// container.
func (m *Manager) SubPath(uid types.UID, volume, container string, mount int, volumeDir, subPath string) (string, error) {
	target := filepath.Join(m.PodDir(uid), "volume-subpaths", volume, container, strconv.Itoa(mount))
	return target, bindSubPath(volumeDir, subPath, target)
}

// Teardown removes all that was made for a pod.
func (m *Manager) Teardown(uid types.UID) error {
	m.tokens.forget(uid)
	if uid == "" {
		return nil
	}
	return removeTree(m.PodDir(uid))
}

// Pods lists the pods that have a folder.
func (m *Manager) Pods() ([]types.UID, error) {
	entries, err := os.ReadDir(filepath.Join(m.Root, "pods"))
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("listing pod folders: %w", err)
	}
	var out []types.UID
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, types.UID(e.Name()))
		}
	}
	return out, nil
}
