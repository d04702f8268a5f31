package noderestriction

import (
	"context"
	"errors"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"
)

// token: an agent gets tokens for the pods of its node.
func (p *Plugin) token(ctx context.Context, node string, a admission.Attributes) error {
	if a.GetOperation() != admission.Create || a.GetSubresource() != "token" {
		return nil // the authorizer decides
	}
	req, ok := a.GetObject().(*authenticationv1.TokenRequest)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.GetObject())
	}
	ref := req.Spec.BoundObjectRef
	if ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.Name == "" {
		return errors.New("node requested token not bound to a pod")
	}
	if ref.UID == "" {
		return errors.New("node requested token with a pod binding without a uid")
	}
	pod, err := p.podOf(ctx, a.GetNamespace(), ref.Name, ref.UID)
	if err != nil {
		return err
	}
	if ref.UID != pod.UID {
		return fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID)
	}
	if pod.Spec.NodeName != node {
		return errors.New("node requested token bound to a pod scheduled on a different node")
	}
	return p.audience(ctx, a, req.Spec.Audiences, pod)
}

// audience: an agent gets tokens for those alone whom the pod's volumes are to talk to, or whom it is
// allowed to ask for by the verb request-serviceaccounts-token-audience.
func (p *Plugin) audience(ctx context.Context, a admission.Attributes, audiences []string, pod *corev1.Pod) error {
	wanted := ""
	switch {
	case len(audiences) == 0 || slices.Equal(audiences, p.audiences): // this server fills in its own
	case len(audiences) > 1:
		return errors.New("node may only request 0 or 1 audiences")
	default:
		wanted = audiences[0]
	}
	projected := func(audience string) bool {
		return audience == wanted || wanted == "" && len(p.audiences) == 1 && audience == p.audiences[0]
	}
	for _, v := range pod.Spec.Volumes {
		if v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
			return s.ServiceAccountToken != nil && projected(s.ServiceAccountToken.Audience)
		}) {
			return nil
		}
		driver, err := p.driver(ctx, pod, v)
		if err != nil {
			return err
		}
		if driver != nil && slices.ContainsFunc(driver.Spec.TokenRequests, func(r storagev1.TokenRequest) bool { return projected(r.Audience) }) {
			return nil
		}
	}
	decision, reason, err := p.authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: a.GetUserInfo(), Verb: "request-serviceaccounts-token-audience", Namespace: a.GetNamespace(), Name: a.GetName(),
		APIVersion: "*", Resource: wanted, ResourceRequest: true,
	})
	if err == nil && decision == authorizer.DecisionAllow {
		return nil
	}
	klog.FromContext(ctx).V(4).Info("Not permitted to ask for the audience", "audience", wanted, "reason", reason, "err", err)
	return fmt.Errorf("audience %q not found in pod spec volume", wanted)
}

// driver is that of a volume, if it is of the container storage interface and the driver is known.
func (p *Plugin) driver(ctx context.Context, pod *corev1.Pod, v corev1.Volume) (*storagev1.CSIDriver, error) {
	name, cached := "", metav1.GetOptions{ResourceVersion: "0"}
	claim := ""
	switch {
	case v.CSI != nil:
		name = v.CSI.Driver
	case v.PersistentVolumeClaim != nil:
		claim = v.PersistentVolumeClaim.ClaimName
	case v.Ephemeral != nil:
		claim = pod.Name + "-" + v.Name
	}
	if claim != "" {
		c, err := p.client.CoreV1().PersistentVolumeClaims(pod.Namespace).Get(ctx, claim, cached)
		if err != nil || c.Spec.VolumeName == "" {
			return nil, present(err)
		}
		volume, err := p.client.CoreV1().PersistentVolumes().Get(ctx, c.Spec.VolumeName, cached)
		if err != nil || volume.Spec.CSI == nil {
			return nil, present(err)
		}
		name = volume.Spec.CSI.Driver
	}
	if name == "" {
		return nil, nil
	}
	driver, err := p.client.StorageV1().CSIDrivers().Get(ctx, name, cached)
	if err != nil {
		return nil, present(err)
	}
	return driver, nil
}

// present: what is not there is no error.
func present(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// podOf asks the watch cache, and the storage if the cache knows another pod, or this one before it was
// scheduled.
func (p *Plugin) podOf(ctx context.Context, namespace, name string, uid types.UID) (*corev1.Pod, error) {
	pods := p.client.CoreV1().Pods(namespace)
	pod, err := pods.Get(ctx, name, metav1.GetOptions{ResourceVersion: "0"})
	if err == nil && pod.UID == uid && pod.Spec.NodeName != "" {
		return pod, nil
	}
	return pods.Get(ctx, name, metav1.GetOptions{})
}
