package scheduler

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/client-go/tools/cache"

	"coracle.dev/coracle/scheduler/framework"
)

func (s *scheduler) claimHandler(ctx context.Context) cache.ResourceEventHandlerFuncs {
	return on(s, func(_, o *corev1.PersistentVolumeClaim) {
		s.cluster.SetClaim(o)
		s.review(ctx)
		s.happened(framework.Change{Event: framework.ClaimChanged, Claim: o.Namespace + "/" + o.Name})
	}, func(o *corev1.PersistentVolumeClaim) {
		s.cluster.RemoveClaim(o.Namespace, o.Name)
		s.review(ctx)
	})
}

func (s *scheduler) volumeHandler(ctx context.Context) cache.ResourceEventHandlerFuncs {
	return on(s, func(_, o *corev1.PersistentVolume) {
		s.cluster.SetVolume(o)
		s.review(ctx)
		s.happened(framework.Change{Event: framework.VolumeChanged})
	}, func(o *corev1.PersistentVolume) {
		s.cluster.RemoveVolume(o.Name)
		s.review(ctx)
	})
}

func (s *scheduler) deviceClaimHandler(ctx context.Context) cache.ResourceEventHandlerFuncs {
	changed := func(o *resourcev1.ResourceClaim) {
		s.review(ctx)
		s.happened(framework.Change{Event: framework.DeviceClaimChanged, Claim: o.Namespace + "/" + o.Name})
	}
	return on(s, func(_, o *resourcev1.ResourceClaim) {
		s.cluster.SetDeviceClaim(o)
		changed(o)
	}, func(o *resourcev1.ResourceClaim) {
		s.cluster.RemoveDeviceClaim(o.Namespace, o.Name)
		changed(o)
	})
}

// rule handles objects that say which volumes, or devices, there can be.
func rule[T any](s *scheduler, e framework.Event, set, remove func(T)) cache.ResourceEventHandlerFuncs {
	return on(s, func(_, o T) {
		set(o)
		s.happened(framework.Change{Event: e})
	}, remove)
}
