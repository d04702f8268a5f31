package nodeauthz

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// kind is what an object of the graph is.
type kind int

const (
	secret kind = iota
	configMap
	claim
	volume
	account
	attachment
	resourceClaim
	pod
)

// object is a vertex of the graph.
type object struct {
	kind            kind
	namespace, name string
}

// Graph knows what each node's pods refer to. It is safe for concurrent use.
type Graph struct {
	mu sync.RWMutex
	// pods holds what each bound pod refers to, nodes how many pods (or volume attachments) of a node
	// refer to an object, volumes what a bound volume leads to. All guarded by mu.
	pods    map[object]entry
	nodes   map[string]map[object]int
	claims  map[object]string   // claim to volume
	volumes map[string][]object // volume to secrets
	of      map[string]object   // volume to claim
	changed chan struct{}       // closed and replaced at each change; guarded by mu
}

type entry struct {
	node string
	refs []object
}

// NewGraph returns an empty graph.
func NewGraph() *Graph {
	return &Graph{
		pods: map[object]entry{}, nodes: map[string]map[object]int{}, claims: map[object]string{},
		volumes: map[string][]object{}, of: map[string]object{}, changed: make(chan struct{}),
	}
}

// reaches reports whether the node's pods refer to the object.
func (g *Graph) reaches(node string, o object) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	refs := g.nodes[node]
	if refs[o] > 0 {
		return true
	}
	switch o.kind {
	case volume:
		c, ok := g.of[o.name]
		return ok && refs[c] > 0
	case secret:
		for c, name := range g.claims {
			if refs[c] == 0 {
				continue
			}
			for _, s := range g.volumes[name] {
				if s == o {
					return true
				}
			}
		}
	}
	return false
}

// change is closed at the next change of the graph.
func (g *Graph) change() <-chan struct{} {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.changed
}

// set replaces what a pod (or attachment) refers to; an entry without node removes it.
func (g *Graph) set(key object, e entry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.pods[key]
	for _, r := range old.refs {
		if g.nodes[old.node][r]--; g.nodes[old.node][r] == 0 {
			delete(g.nodes[old.node], r)
		}
	}
	if len(g.nodes[old.node]) == 0 {
		delete(g.nodes, old.node)
	}
	if e.node == "" {
		delete(g.pods, key)
	} else {
		g.pods[key] = e
		refs := g.nodes[e.node]
		if refs == nil {
			refs = map[object]int{}
			g.nodes[e.node] = refs
		}
		for _, r := range e.refs {
			refs[r]++
		}
	}
	g.announce()
}

func (g *Graph) setVolume(name string, of object, secrets []object, gone bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if old, ok := g.of[name]; ok && g.claims[old] == name {
		delete(g.claims, old)
	}
	delete(g.of, name)
	delete(g.volumes, name)
	if !gone && of.name != "" {
		g.of[name], g.claims[of], g.volumes[name] = of, name, secrets
	}
	g.announce()
}

func (g *Graph) announce() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// Run follows pods, volumes and attachments until ctx ends.
func (g *Graph) Run(ctx context.Context, client kubernetes.Interface) {
	var wg sync.WaitGroup
	follow := func(rc cache.Getter, resource string, example runtime.Object, selector fields.Selector, update func(obj any, gone bool)) {
		source := cache.NewListWatchFromClient(rc, resource, metav1.NamespaceAll, selector)
		_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
			ListerWatcher: source, ObjectType: example, Transform: strip,
			Handler: cache.ResourceEventHandlerFuncs{
				AddFunc:    func(obj any) { update(obj, false) },
				UpdateFunc: func(_, obj any) { update(obj, false) },
				DeleteFunc: func(obj any) {
					if d, ok := obj.(cache.DeletedFinalStateUnknown); ok {
						obj = d.Obj
					}
					update(obj, true)
				},
			},
		})
		wg.Go(func() { informer.RunWithContext(ctx) })
	}
	core := client.CoreV1().RESTClient()
	bound := fields.OneTermNotEqualSelector("spec.nodeName", "")
	follow(core, "pods", &corev1.Pod{}, bound, g.podChanged)
	follow(core, "persistentvolumes", &corev1.PersistentVolume{}, fields.Everything(), g.volumeChanged)
	follow(client.StorageV1().RESTClient(), "volumeattachments", &storagev1.VolumeAttachment{}, fields.Everything(), g.attachmentChanged)
	wg.Wait()
}

func (g *Graph) podChanged(obj any, gone bool) {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	e := entry{node: p.Spec.NodeName, refs: references(p)}
	if gone {
		e = entry{}
	}
	g.set(object{pod, p.Namespace, p.Name}, e)
}

func (g *Graph) attachmentChanged(obj any, gone bool) {
	a, ok := obj.(*storagev1.VolumeAttachment)
	if !ok {
		return
	}
	key := object{attachment, "", a.Name}
	e := entry{node: a.Spec.NodeName, refs: []object{key}}
	if gone {
		e = entry{}
	}
	g.set(key, e)
}

func (g *Graph) volumeChanged(obj any, gone bool) {
	v, ok := obj.(*corev1.PersistentVolume)
	if !ok {
		return
	}
	var of object
	if r := v.Spec.ClaimRef; r != nil {
		of = object{claim, r.Namespace, r.Name}
	}
	g.setVolume(v.Name, of, volumeSecrets(v), gone)
}

func volumeSecrets(v *corev1.PersistentVolume) []object {
	var out []object
	add := func(r *corev1.SecretReference) {
		if r == nil || r.Name == "" {
			return
		}
		ns := r.Namespace
		if ns == "" && v.Spec.ClaimRef != nil {
			ns = v.Spec.ClaimRef.Namespace
		}
		out = append(out, object{secret, ns, r.Name})
	}
	s := &v.Spec.PersistentVolumeSource
	switch {
	case s.CSI != nil:
		add(s.CSI.NodePublishSecretRef)
		add(s.CSI.NodeStageSecretRef)
		add(s.CSI.NodeExpandSecretRef)
	case s.ISCSI != nil:
		add(s.ISCSI.SecretRef)
	case s.RBD != nil:
		add(s.RBD.SecretRef)
	case s.CephFS != nil:
		add(s.CephFS.SecretRef)
	case s.FlexVolume != nil:
		add(s.FlexVolume.SecretRef)
	}
	return out
}

// strip keeps of an object what the graph needs, so that following all pods costs little.
func strip(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Pod:
		slim := &corev1.Pod{ObjectMeta: slimMeta(o)}
		if mirror, ok := o.Annotations[corev1.MirrorPodAnnotationKey]; ok {
			slim.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: mirror}
		}
		slim.Spec.NodeName = o.Spec.NodeName
		slim.Spec.ServiceAccountName = o.Spec.ServiceAccountName
		slim.Spec.ImagePullSecrets = o.Spec.ImagePullSecrets
		slim.Spec.Volumes = o.Spec.Volumes
		slim.Spec.ResourceClaims = o.Spec.ResourceClaims
		slim.Status.ResourceClaimStatuses = o.Status.ResourceClaimStatuses
		eachContainer(&o.Spec, func(c *corev1.Container) {
			if len(c.Env)+len(c.EnvFrom) > 0 {
				slim.Spec.Containers = append(slim.Spec.Containers, corev1.Container{Env: c.Env, EnvFrom: c.EnvFrom})
			}
		})
		return slim, nil
	case *corev1.PersistentVolume, *storagev1.VolumeAttachment:
		return o, nil
	}
	return nil, fmt.Errorf("stripping object for node authorizer: unexpected %T", obj)
}

func slimMeta(o metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion()}
}
