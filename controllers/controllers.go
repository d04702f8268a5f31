package controllers

import (
	"slices"

	ctrl "sigs.k8s.io/controller-runtime"

	"coracle.dev/coracle/controllers/clusterroleaggregation"
	"coracle.dev/coracle/controllers/cronjob"
	"coracle.dev/coracle/controllers/daemonset"
	"coracle.dev/coracle/controllers/deployment"
	"coracle.dev/coracle/controllers/disruption"
	"coracle.dev/coracle/controllers/endpoints"
	"coracle.dev/coracle/controllers/endpointslice"
	"coracle.dev/coracle/controllers/endpointslicemirroring"
	"coracle.dev/coracle/controllers/garbagecollector"
	"coracle.dev/coracle/controllers/horizontalpodautoscaler"
	"coracle.dev/coracle/controllers/job"
	"coracle.dev/coracle/controllers/loadbalancer"
	"coracle.dev/coracle/controllers/namespace"
	"coracle.dev/coracle/controllers/nodeipam"
	"coracle.dev/coracle/controllers/nodelifecycle"
	"coracle.dev/coracle/controllers/podgc"
	"coracle.dev/coracle/controllers/replicaset"
	"coracle.dev/coracle/controllers/replicationcontroller"
	"coracle.dev/coracle/controllers/rootca"
	"coracle.dev/coracle/controllers/serviceaccount"
	"coracle.dev/coracle/controllers/servicecidr"
	"coracle.dev/coracle/controllers/statefulset"
	"coracle.dev/coracle/controllers/tainteviction"
	"coracle.dev/coracle/controllers/ttlafterfinished"
)

// entry is one controller: the name by which Options.Controllers selects it,
// and how it is added to a manager.
type entry struct {
	name string
	add  func(ctrl.Manager, Options) error
}

// entries lists every controller there is; those of volumes and devices are in
// storage.go, those of certificates and tokens in identity.go. The names are upstream's, where upstream has the controller.
func entries() []entry {
	return slices.Concat(storageEntries(), identityEntries(), []entry{
		{"endpoints-controller", func(m ctrl.Manager, _ Options) error { return endpoints.New(m).SetupWithManager(m) }},
		{"endpointslice-controller", addEndpointSlice},
		{"endpointslice-mirroring-controller", func(m ctrl.Manager, _ Options) error { return endpointslicemirroring.New(m).SetupWithManager(m) }},
		{"daemonset-controller", func(m ctrl.Manager, _ Options) error { return daemonset.New(m).SetupWithManager(m) }},
		{"statefulset-controller", func(m ctrl.Manager, _ Options) error { return statefulset.New(m).SetupWithManager(m) }},
		{"job-controller", func(m ctrl.Manager, _ Options) error { return job.New(m).SetupWithManager(m) }},
		{"cronjob-controller", func(m ctrl.Manager, _ Options) error { return cronjob.New(m).SetupWithManager(m) }},
		{"horizontal-pod-autoscaler-controller", func(m ctrl.Manager, _ Options) error { return setUp(horizontalpodautoscaler.New, m) }},
		{"disruption-controller", func(m ctrl.Manager, _ Options) error { return disruption.New(m).SetupWithManager(m) }},
		{"ttl-after-finished-controller", func(m ctrl.Manager, _ Options) error { return ttlafterfinished.New(m).SetupWithManager(m) }},
		{"deployment-controller", func(m ctrl.Manager, _ Options) error { return deployment.New(m).SetupWithManager(m) }},
		{"replicaset-controller", func(m ctrl.Manager, _ Options) error { return replicaset.New(m).SetupWithManager(m) }},
		{"replicationcontroller-controller", func(m ctrl.Manager, _ Options) error { return replicationcontroller.New(m).SetupWithManager(m) }},
		{"namespace-controller", func(m ctrl.Manager, _ Options) error { return setUp(namespace.New, m) }},
		{"serviceaccount-controller", func(m ctrl.Manager, _ Options) error { return serviceaccount.New(m).SetupWithManager(m) }},
		{"root-ca-certificate-publisher-controller", func(m ctrl.Manager, o Options) error { return rootca.New(m, o.RootCA).SetupWithManager(m) }},
		{"garbage-collector-controller", func(m ctrl.Manager, _ Options) error { return setUp(garbagecollector.New, m) }},
		{"pod-garbage-collector-controller", func(m ctrl.Manager, _ Options) error { return podgc.New(m).SetupWithManager(m) }},
		{"node-lifecycle-controller", func(m ctrl.Manager, o Options) error {
			return nodelifecycle.New(m, o.NodeMonitorGracePeriod, o.NodeEviction).SetupWithManager(m)
		}},
		{"taint-eviction-controller", func(m ctrl.Manager, _ Options) error { return tainteviction.New(m).SetupWithManager(m) }},
		{"node-ipam-controller", addNodeIPAM},
		{"service-lb-controller", addLoadBalancer},
		{"service-cidr-controller", func(m ctrl.Manager, _ Options) error { return servicecidr.New(m).SetupWithManager(m) }},
		{"clusterrole-aggregation-controller", func(m ctrl.Manager, _ Options) error { return clusterroleaggregation.New(m).SetupWithManager(m) }},
	})
}

func addLoadBalancer(m ctrl.Manager, o Options) error {
	if len(o.LoadBalancerPools) == 0 {
		return nil // a cloud's controller may be there instead
	}
	return loadbalancer.New(m, o.LoadBalancerPools).SetupWithManager(m)
}

func addNodeIPAM(m ctrl.Manager, o Options) error {
	if !o.ClusterCIDR.IsValid() {
		return nil
	}
	return setUp(func(m ctrl.Manager) (*nodeipam.Reconciler, error) {
		return nodeipam.New(m, o.ClusterCIDR, o.NodeCIDRMaskSize)
	}, m)
}

// setUp adds a controller that may fail to be made, of clients of its own.
func setUp[T interface{ SetupWithManager(ctrl.Manager) error }](make func(ctrl.Manager) (T, error), m ctrl.Manager) error {
	c, err := make(m)
	if err != nil {
		return err
	}
	return c.SetupWithManager(m)
}

func addEndpointSlice(m ctrl.Manager, _ Options) error {
	r, err := endpointslice.New(m)
	if err != nil {
		return err
	}
	return r.SetupWithManager(m)
}

// Names returns the names of all controllers, in the order of the list.
func Names() []string {
	var names []string
	for _, e := range entries() {
		names = append(names, e.name)
	}
	return names
}
