// Package config makes the options of a scheduler of a KubeSchedulerConfiguration file, as kube-scheduler reads it:
// kubescheduler.config.k8s.io/v1, YAML or JSON, strictly.
//
// Different from kube-scheduler 1.37: plugins outside of the binary do not exist, save those that the caller hands in;
// a plugin cannot be on at one of a pair of extension points that are one function here (preFilter and filter, preScore
// and score, reserve and preBind), so the pair is on if the latter is; queueSort, bind and postBind cannot be changed;
// parallelism and the client's rate limits are read and have no effect, since one goroutine decides and nothing limits
// its requests.
package config

import (
	"cmp"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	configv1 "k8s.io/kube-scheduler/config/v1"

	"coracle.dev/coracle/scheduler"
	"coracle.dev/coracle/scheduler/extender"
	"coracle.dev/coracle/scheduler/framework"
)

// Read reads a configuration. Plugins are such as no built-in has the name of; profiles turn them on by name.
func Read(data []byte, plugins ...framework.Plugin) (scheduler.Options, error) {
	c, err := decode(data)
	if err != nil {
		return scheduler.Options{}, fmt.Errorf("reading the scheduler's configuration: %w", err)
	}
	o := scheduler.Options{
		Lease:          lease(c),
		Kubeconfig:     c.ClientConnection.Kubeconfig,
		InitialBackoff: seconds(c.PodInitialBackoffSeconds), MaxBackoff: seconds(c.PodMaxBackoffSeconds),
	}
	o.LeaderElect = c.LeaderElection.LeaderElect == nil || *c.LeaderElection.LeaderElect
	if err := check(c); err != nil {
		return scheduler.Options{}, fmt.Errorf("reading the scheduler's configuration: %w", err)
	}
	var ignored []string
	for _, e := range c.Extenders {
		made, err := extender.New(e)
		if err != nil {
			return scheduler.Options{}, err
		}
		o.Extenders = append(o.Extenders, made)
		for _, r := range e.ManagedResources {
			if r.IgnoredByScheduler {
				ignored = append(ignored, r.Name)
			}
		}
	}
	profiles := c.Profiles
	if len(profiles) == 0 {
		profiles = []configv1.KubeSchedulerProfile{{}}
	}
	for i := range profiles {
		p, timeout, err := profile(&profiles[i], c, ignored, plugins)
		if err != nil {
			return scheduler.Options{}, fmt.Errorf("reading the scheduler's profile %d: %w", i, err)
		}
		o.Profiles = append(o.Profiles, p)
		o.BindTimeout = max(o.BindTimeout, timeout)
	}
	return o, nil
}

func decode(data []byte) (*configv1.KubeSchedulerConfiguration, error) {
	scheme := runtime.NewScheme()
	if err := configv1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	codecs := serializer.NewCodecFactory(scheme, serializer.EnableStrict)
	obj, err := runtime.Decode(codecs.UniversalDeserializer(), data)
	if err != nil {
		return nil, err
	}
	c, is := obj.(*configv1.KubeSchedulerConfiguration)
	if !is {
		return nil, fmt.Errorf("it is a %T rather than a KubeSchedulerConfiguration", obj)
	}
	return c, c.DecodeNestedObjects(codecs.UniversalDeserializer())
}

func check(c *configv1.KubeSchedulerConfiguration) error {
	initial, longest := seconds(c.PodInitialBackoffSeconds), seconds(c.PodMaxBackoffSeconds)
	switch {
	case c.Parallelism != nil && *c.Parallelism <= 0:
		return fmt.Errorf("parallelism: %d is not positive", *c.Parallelism)
	case c.PodInitialBackoffSeconds != nil && initial <= 0:
		return fmt.Errorf("podInitialBackoffSeconds: %d is not positive", *c.PodInitialBackoffSeconds)
	case cmp.Or(longest, 10*time.Second) < cmp.Or(initial, time.Second):
		return fmt.Errorf("podMaxBackoffSeconds: %v is less than podInitialBackoffSeconds", cmp.Or(longest, 10*time.Second))
	}
	if err := percentage(c.PercentageOfNodesToScore); err != nil {
		return err
	}
	names := map[string]bool{}
	for i := range c.Profiles {
		name := schedulerName(&c.Profiles[i])
		if names[name] {
			return fmt.Errorf("profiles[%d].schedulerName: there are two %q", i, name)
		}
		names[name] = true
		if err := percentage(c.Profiles[i].PercentageOfNodesToScore); err != nil {
			return err
		}
	}
	return nil
}

func percentage(p *int32) error {
	if p != nil && (*p < 0 || *p > 100) {
		return fmt.Errorf("percentageOfNodesToScore: %d is not in 0 to 100", *p)
	}
	return nil
}

func lease(c *configv1.KubeSchedulerConfiguration) scheduler.Lease {
	e := c.LeaderElection
	return scheduler.Lease{
		Namespace: e.ResourceNamespace, Name: e.ResourceName,
		Duration: e.LeaseDuration.Duration, RenewDeadline: e.RenewDeadline.Duration, RetryPeriod: e.RetryPeriod.Duration,
	}
}

func seconds(n *int64) time.Duration {
	if n == nil {
		return 0
	}
	return time.Duration(*n) * time.Second
}
