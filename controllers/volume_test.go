package controllers_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	volumehelper "k8s.io/component-helpers/storage/volume"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/localpath"
)

func (e *env) claim(name, class, size string) *corev1.PersistentVolumeClaim {
	e.t.Helper()
	c := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
		},
	}
	e.create(c)
	return c
}

func (e *env) persistentVolume(name, class, size string, policy corev1.PersistentVolumeReclaimPolicy) *corev1.PersistentVolume {
	e.t.Helper()
	v := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)},
			PersistentVolumeReclaimPolicy: policy,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/data/" + name}},
		},
	}
	e.create(v)
	return v
}

func (e *env) awaitClaim(name string, phase corev1.PersistentVolumeClaimPhase, volume string) *corev1.PersistentVolumeClaim {
	e.t.Helper()
	c := &corev1.PersistentVolumeClaim{}
	e.eventually(fmt.Sprintf("claim %s is %s", name, phase), func() error {
		e.get(name, c)
		if c.Status.Phase != phase || volume != "" && c.Spec.VolumeName != volume {
			return fmt.Errorf("it is %s, its volume %q", c.Status.Phase, c.Spec.VolumeName)
		}
		return nil
	}, &corev1.PersistentVolumeClaimList{})
	return c
}

func (e *env) awaitVolume(name string, phase corev1.PersistentVolumePhase) *corev1.PersistentVolume {
	e.t.Helper()
	v := &corev1.PersistentVolume{}
	e.eventually(fmt.Sprintf("volume %s is %s", name, phase), func() error {
		if err := e.Get(e.t.Context(), types.NamespacedName{Name: name}, v); err != nil {
			return err
		}
		return expect("phase", v.Status.Phase, phase)
	}, &corev1.PersistentVolumeList{})
	return v
}

func (e *env) awaitGone(o client.Object, lists ...client.ObjectList) {
	e.t.Helper()
	e.eventually(fmt.Sprintf("%T %s is gone", o, o.GetName()), func() error {
		if err := e.Get(e.t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %v, %v", o.GetFinalizers(), err)
		}
		return nil
	}, lists...)
}

func TestVolumesAreBound(t *testing.T) {
	e := start(t, "persistentvolume-binder-controller", "persistentvolume-expander-controller")
	e.persistentVolume("large", "", "50Gi", corev1.PersistentVolumeReclaimRetain)
	e.persistentVolume("fits", "", "5Gi", corev1.PersistentVolumeReclaimRetain)
	e.awaitVolume("large", corev1.VolumeAvailable)
	e.awaitVolume("fits", corev1.VolumeAvailable)
	e.claim("data", "", "4Gi")
	c := e.awaitClaim("data", corev1.ClaimBound, "fits")
	if size := c.Status.Capacity[corev1.ResourceStorage]; size.String() != "5Gi" || len(c.Status.AccessModes) != 1 {
		t.Errorf("the claim's status is %+v", c.Status)
	}
	v := e.awaitVolume("fits", corev1.VolumeBound)
	if v.Spec.ClaimRef == nil || v.Spec.ClaimRef.UID != c.UID {
		t.Errorf("the volume is promised to %v", v.Spec.ClaimRef)
	}
	if v.Status.LastPhaseTransitionTime.IsZero() {
		t.Error("the volume does not say since when it is bound")
	}
	t.Run("a second claim waits for a volume", func(t *testing.T) {
		e.claim("more", "", "100Gi")
		e.awaitClaim("more", corev1.ClaimPending, "")
		e.persistentVolume("huge", "", "100Gi", corev1.PersistentVolumeReclaimRetain)
		e.awaitClaim("more", corev1.ClaimBound, "huge")
	})
	t.Run("a volume that is kept is released", func(t *testing.T) {
		e.delete(c)
		v := e.awaitVolume("fits", corev1.VolumeReleased)
		e.claim("data", "", "4Gi")
		again := e.awaitClaim("data", corev1.ClaimBound, "large")
		if again.UID == v.Spec.ClaimRef.UID {
			t.Error("the released volume is promised to the new claim")
		}
	})
	t.Run("a volume that nobody can delete fails", func(t *testing.T) {
		e.persistentVolume("mine", "special", "1Gi", corev1.PersistentVolumeReclaimDelete)
		e.delete(e.awaitBound("special"))
		v := e.awaitVolume("mine", corev1.VolumeFailed)
		if v.Status.Message == "" {
			t.Error("nothing says why")
		}
	})
	t.Run("a volume is emptied", func(t *testing.T) {
		e.persistentVolume("again", "recycled", "1Gi", corev1.PersistentVolumeReclaimRecycle)
		e.delete(e.awaitBound("recycled"))
		other := *e
		other.ns = metav1.NamespaceDefault
		p := &corev1.Pod{}
		other.eventually("there is a pod that empties it", func() error {
			return e.Get(t.Context(), types.NamespacedName{Namespace: other.ns, Name: "recycler-for-again"}, p)
		}, &corev1.PodList{})
		if p.Spec.Volumes[0].HostPath == nil || p.Spec.Volumes[0].HostPath.Path != "/data/again" {
			t.Errorf("it empties %+v", p.Spec.Volumes)
		}
		if err := e.Status().Patch(t.Context(), p, client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Succeeded"}}`))); err != nil {
			t.Fatal(err)
		}
		if v := e.awaitVolume("again", corev1.VolumeAvailable); v.Spec.ClaimRef != nil {
			t.Errorf("it is promised to %v", v.Spec.ClaimRef)
		}
	})
	t.Run("a claim loses its volume", func(t *testing.T) {
		e.delete(&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "huge"}})
		e.awaitClaim("more", corev1.ClaimLost, "")
	})
}

// awaitBound makes a claim of a class and waits until it is bound.
func (e *env) awaitBound(class string) *corev1.PersistentVolumeClaim {
	e.t.Helper()
	e.claim("of-"+class, class, "1Gi")
	return e.awaitClaim("of-"+class, corev1.ClaimBound, "")
}

// agent answers for the folders of a node.
type agent struct {
	mu      sync.Mutex
	folders map[string]bool
	broken  bool
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	name := r.PathValue("volume")
	switch {
	case a.broken:
		http.Error(w, "the disk is on fire", http.StatusInternalServerError)
	case r.Method == http.MethodPut:
		a.folders[name] = true
		_ = json.NewEncoder(w).Encode(map[string]string{"path": "/volumes/" + name})
	case r.Method == http.MethodDelete:
		delete(a.folders, name)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (a *agent) has(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.folders[name]
}

// serveNode makes a node whose agent is a server of the test.
func (e *env) serveNode(name string) *agent {
	e.t.Helper()
	a := &agent{folders: map[string]bool{}}
	mux := http.NewServeMux()
	mux.Handle("/localvolumes/{volume}", a)
	s := httptest.NewTLSServer(mux)
	e.t.Cleanup(s.Close)
	host, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		e.t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		e.t.Fatal(err)
	}
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}}}
	e.create(n)
	n.Status = corev1.NodeStatus{
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: host}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(number)}},
		Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
	}
	if err := e.Status().Update(e.t.Context(), n); err != nil {
		e.t.Fatal(err)
	}
	return a
}

func TestLocalPaths(t *testing.T) {
	e := start(t, "persistentvolume-binder-controller", "local-path-provisioner-controller", "persistentvolume-expander-controller")
	a := e.serveNode("worker")
	e.create(&storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: "local-path", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: localpath.Provisioner, AllowVolumeExpansion: new(true), VolumeBindingMode: new(storagev1.VolumeBindingWaitForFirstConsumer),
	})
	c := e.claim("data", "local-path", "1Gi")
	e.awaitClaim("data", corev1.ClaimPending, "")
	e.patch(c, fmt.Sprintf(`{"metadata":{"annotations":{%q:"worker"}}}`, volumehelper.AnnSelectedNode))
	c = e.awaitClaim("data", corev1.ClaimBound, "pvc-"+string(c.UID))
	v := e.awaitVolume(c.Spec.VolumeName, corev1.VolumeBound)
	if v.Spec.Local == nil || v.Spec.Local.Path != "/volumes/"+v.Name || !a.has(v.Name) {
		t.Errorf("the volume is at %+v", v.Spec.PersistentVolumeSource)
	}
	if term := v.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0]; term.Values[0] != "worker" {
		t.Errorf("the volume is on %v", term)
	}
	e.patch(c, `{"spec":{"resources":{"requests":{"storage":"3Gi"}}}}`)
	e.eventually("the claim has grown", func() error {
		e.get("data", c)
		return expect("size", c.Status.Capacity.Storage().String(), "3Gi")
	}, &corev1.PersistentVolumeClaimList{})
	if v = e.awaitVolume(v.Name, corev1.VolumeBound); v.Spec.Capacity.Storage().String() != "3Gi" {
		t.Errorf("the volume has %v", v.Spec.Capacity)
	}
	a.mu.Lock()
	a.broken = true
	a.mu.Unlock()
	e.delete(c)
	e.awaitVolume(v.Name, corev1.VolumeReleased)
	if !a.has(v.Name) {
		t.Error("the folder is gone")
	}
	a.mu.Lock()
	a.broken = false
	a.mu.Unlock()
	e.awaitGone(v, &corev1.PersistentVolumeList{})
	if a.has(v.Name) {
		t.Error("the folder is left")
	}
	t.Run("of a node that is gone", func(t *testing.T) {
		c := e.claim("lost", "local-path", "1Gi")
		e.patch(c, fmt.Sprintf(`{"metadata":{"annotations":{%q:"gone"}}}`, volumehelper.AnnSelectedNode))
		e.eventually("the choice of the node is given up", func() error {
			e.get("lost", c)
			if node, has := c.Annotations[volumehelper.AnnSelectedNode]; has {
				return fmt.Errorf("it is %s", node)
			}
			return nil
		}, &corev1.PersistentVolumeClaimList{})
	})
}
