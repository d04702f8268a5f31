package catalog

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	appsv1beta1 "k8s.io/api/apps/v1beta1"
	appsv1beta2 "k8s.io/api/apps/v1beta2"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	batchv1beta1 "k8s.io/api/batch/v1beta1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	extensionsv1beta1 "k8s.io/api/extensions/v1beta1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	networkingv1beta1 "k8s.io/api/networking/v1beta1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	policyv1beta1 "k8s.io/api/policy/v1beta1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"coracle.dev/coracle/apis/autoscaling"
	"coracle.dev/coracle/apis/events"
	"coracle.dev/coracle/apis/removed/v2beta2"
	"coracle.dev/coracle/apis/resource"
)

// group is an API group of the scheme: its versions, preferred first, and how their types are added.
type group struct {
	versions []schema.GroupVersion
	add      []func(*runtime.Scheme) error
	// hubs are types that are registered as the hub in place of those of the first version.
	hubs []runtime.Object
}

func single(gv schema.GroupVersion, add func(*runtime.Scheme) error) group {
	return group{versions: []schema.GroupVersion{gv}, add: []func(*runtime.Scheme) error{add}}
}

// groups includes those that store nothing (authentication, authorization).
var groups = []group{
	single(corev1.SchemeGroupVersion, corev1.AddToScheme),
	{
		versions: []schema.GroupVersion{eventsv1.SchemeGroupVersion},
		add:      []func(*runtime.Scheme) error{eventsv1.AddToScheme},
		hubs:     []runtime.Object{&corev1.Event{}, &corev1.EventList{}},
	},
	single(authenticationv1.SchemeGroupVersion, authenticationv1.AddToScheme),
	single(authorizationv1.SchemeGroupVersion, authorizationv1.AddToScheme),
	{
		versions: []schema.GroupVersion{appsv1.SchemeGroupVersion, appsv1beta2.SchemeGroupVersion, appsv1beta1.SchemeGroupVersion},
		add:      []func(*runtime.Scheme) error{appsv1.AddToScheme, appsv1beta2.AddToScheme, appsv1beta1.AddToScheme},
	},
	{
		versions: []schema.GroupVersion{autoscalingv2.SchemeGroupVersion, autoscalingv1.SchemeGroupVersion, v2beta2.SchemeGroupVersion},
		add:      []func(*runtime.Scheme) error{autoscalingv2.AddToScheme, autoscalingv1.AddToScheme, v2beta2.AddToScheme},
		// Scale exists in v1 alone, and is its own hub.
		hubs: []runtime.Object{
			&autoscalingv2.HorizontalPodAutoscaler{}, &autoscalingv2.HorizontalPodAutoscalerList{}, &autoscalingv1.Scale{},
		},
	},
	{
		versions: []schema.GroupVersion{batchv1.SchemeGroupVersion, batchv1beta1.SchemeGroupVersion},
		add:      []func(*runtime.Scheme) error{batchv1.AddToScheme, batchv1beta1.AddToScheme},
	},
	single(certificatesv1.SchemeGroupVersion, certificatesv1.AddToScheme),
	{
		versions: []schema.GroupVersion{networkingv1.SchemeGroupVersion, networkingv1beta1.SchemeGroupVersion},
		add:      []func(*runtime.Scheme) error{networkingv1.AddToScheme, networkingv1beta1.AddToScheme},
	},
	{
		versions: []schema.GroupVersion{policyv1.SchemeGroupVersion, policyv1beta1.SchemeGroupVersion},
		add:      []func(*runtime.Scheme) error{policyv1.AddToScheme, policyv1beta1.AddToScheme},
	},
	single(rbacv1.SchemeGroupVersion, rbacv1.AddToScheme),
	single(storagev1.SchemeGroupVersion, storagev1.AddToScheme),
	single(admissionv1.SchemeGroupVersion, admissionv1.AddToScheme),
	single(schedulingv1.SchemeGroupVersion, schedulingv1.AddToScheme),
	single(coordinationv1.SchemeGroupVersion, coordinationv1.AddToScheme),
	single(nodev1.SchemeGroupVersion, nodev1.AddToScheme),
	single(discoveryv1.SchemeGroupVersion, discoveryv1.AddToScheme),
	single(flowcontrolv1.SchemeGroupVersion, flowcontrolv1.AddToScheme),
	single(resourcev1.SchemeGroupVersion, resourcev1.AddToScheme),
	{
		versions: []schema.GroupVersion{extensionsv1beta1.SchemeGroupVersion},
		add:      []func(*runtime.Scheme) error{extensionsv1beta1.AddToScheme},
		hubs: []runtime.Object{
			&appsv1.DaemonSet{}, &appsv1.DaemonSetList{}, &appsv1.Deployment{}, &appsv1.DeploymentList{},
			&appsv1.ReplicaSet{}, &appsv1.ReplicaSetList{}, &networkingv1.Ingress{}, &networkingv1.IngressList{},
			&networkingv1.NetworkPolicy{}, &networkingv1.NetworkPolicyList{},
		},
	},
}

// NewScheme returns a scheme with everything of AddToScheme and the unversioned types of the API
// server ("v1": options, Status, APIGroup and the like).
func NewScheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(AddToScheme(s))
	return s
}

// AddToScheme registers all kinds, stored or not, with their hubs, conversions, defaults and field
// labels. It cannot be called twice on one scheme.
func AddToScheme(s *runtime.Scheme) error {
	for _, g := range groups {
		if err := g.register(s); err != nil {
			return fmt.Errorf("registering group %q: %w", g.versions[0].Group, err)
		}
	}
	unversioned := schema.GroupVersion{Version: "v1"}
	metav1.AddToGroupVersion(s, unversioned)
	s.AddUnversionedTypes(unversioned,
		&metav1.Status{}, &metav1.APIVersions{}, &metav1.APIGroupList{}, &metav1.APIGroup{}, &metav1.APIResourceList{})
	autoscaling.AddDefaults(s)
	errs := []error{autoscaling.AddConversions(s), events.AddConversions(s), addRemoved(s), addQueryConversions(s)}
	for _, d := range Resources() {
		addDefaults(s, d)
		errs = append(errs, addFieldLabels(s, d))
	}
	return errors.Join(errs...)
}

func (g group) register(s *runtime.Scheme) error {
	for _, add := range g.add {
		if err := add(s); err != nil {
			return err
		}
	}
	internal := schema.GroupVersion{Group: g.versions[0].Group, Version: runtime.APIVersionInternal}
	if len(g.hubs) > 0 {
		s.AddKnownTypes(internal, g.hubs...)
	} else {
		addHub(s, g.versions[0], internal)
	}
	return s.SetVersionPriority(g.versions...)
}

// addHub registers the types of gv a second time as internal. The meta types (WatchEvent,
// ListOptions, ...) are left out: AddToGroupVersion has placed their internal forms already.
func addHub(s *runtime.Scheme, gv, internal schema.GroupVersion) {
	known := s.KnownTypes(gv)
	names := make([]string, 0, len(known))
	for name, t := range known {
		if t.PkgPath() != reflect.TypeFor[metav1.WatchEvent]().PkgPath() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		s.AddKnownTypeWithName(internal.WithKind(name), reflect.New(known[name]).Interface().(runtime.Object))
	}
}

// addDefaults registers the default hook for the object and, item by item, for its list. Versions
// that are not the hub have hooks of their own (autoscaling.AddDefaults).
func addDefaults(s *runtime.Scheme, d *resource.Descriptor) {
	if !d.StoredAs.Empty() {
		return
	}
	s.AddTypeDefaultingFunc(d.New(), func(o any) { d.Default(o.(runtime.Object)) })
	s.AddTypeDefaultingFunc(d.NewList(), func(o any) {
		eachItem(o.(runtime.Object), d.Default)
	})
}

// eachItem calls f with a pointer to each item of a typed list.
func eachItem(list runtime.Object, f func(runtime.Object)) {
	items := reflect.ValueOf(list).Elem().FieldByName("Items")
	for i := range items.Len() {
		f(items.Index(i).Addr().Interface().(runtime.Object))
	}
}

// addFieldLabels makes the labels of field selectors known, for each served version.
func addFieldLabels(s *runtime.Scheme, d *resource.Descriptor) error {
	labels := map[string]string{"metadata.name": "metadata.name"}
	if !d.ClusterScoped {
		labels["metadata.namespace"] = "metadata.namespace"
	}
	for _, name := range d.FieldNames {
		labels[name] = name
	}
	for alias, name := range d.FieldAliases {
		labels[alias] = name
	}
	for _, gv := range d.Served() {
		err := s.AddFieldLabelConversionFunc(gv.WithKind(d.Kind), func(label, value string) (string, string, error) {
			if name, ok := labels[label]; ok {
				return name, value, nil
			}
			return "", "", fmt.Errorf("field label not supported: %s", label)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
