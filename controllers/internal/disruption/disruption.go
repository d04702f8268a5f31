// Package disruption deletes pods for a reason that is not the pod's own, and
// says so in the pod's status first, so that whoever counts failures can tell.
package disruption

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Delete writes a condition into a pod's status and deletes the pod. That it is
// gone already is no error.
func Delete(ctx context.Context, c client.Client, p *corev1.Pod, why corev1.PodCondition, options ...client.DeleteOption) error {
	return DeleteAs(ctx, c, p, "", why, options...)
}

// DeleteAs also sets the phase, unless it is empty.
func DeleteAs(ctx context.Context, c client.Client, p *corev1.Pod, phase corev1.PodPhase, why corev1.PodCondition, options ...client.DeleteOption) error {
	why.ObservedGeneration = p.Generation
	status := map[string]any{"conditions": []corev1.PodCondition{why}}
	if phase != "" {
		status["phase"] = phase
	}
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.UID}, "status": status})
	if err != nil {
		return fmt.Errorf("encoding the condition of pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	err = c.Status().Patch(ctx, p.DeepCopy(), client.RawPatch(types.StrategicMergePatchType, data))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("marking pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	options = append(options, client.Preconditions{UID: &p.UID})
	if err := c.Delete(ctx, p, options...); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return nil
}
