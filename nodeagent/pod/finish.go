package pod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"

	"coracle.dev/coracle/nodeagent/lifecycle"
	"coracle.dev/coracle/nodeagent/spec"
)

// retryFinish is the pause after a step of the end failed.
const retryFinish = time.Second

// finish takes the next steps of the pod's end. No container runs and nothing
// is being launched.
func (w *worker) finish(plan lifecycle.Plan) {
	toDelete := w.pod.DeletionTimestamp != nil && !w.removed && !w.deleted
	if !plan.StopSandboxes && w.over && !toDelete && !w.removed {
		return // ended, and still wanted as a record
	}
	f := &finisher{m: w.m, writer: w.writer, uid: w.pod.UID, namespace: w.pod.Namespace, name: w.pod.Name, removed: w.removed || w.orphan, over: w.over, toDelete: toDelete}
	for id, s := range w.obs.Sandboxes {
		f.sandboxes = append(f.sandboxes, id)
		if s.Ready {
			f.ready = append(f.ready, id)
		}
	}
	for id := range w.obs.Containers {
		f.containers = append(f.containers, id)
	}
	w.finishing = true
	go func() {
		err := f.run(w.ctx)
		if err != nil && w.ctx.Err() == nil {
			klog.FromContext(w.ctx).Error(err, "Could not complete the end of a pod; trying again")
		}
		w.post(func() { w.finished(f, err) })
	}()
}

func (w *worker) finished(f *finisher, err error) {
	w.finishing = false
	for _, id := range f.stopped {
		w.sandboxStopped(id)
	}
	w.over = w.over || f.overNow
	w.deleted = w.deleted || f.deletedNow
	if err != nil {
		w.finishAfter = time.Now().Add(retryFinish)
		return
	}
	if f.removed {
		w.cleaned = true
		w.m.Objects.Forget(w.pod.UID)
		w.m.Puller.Forget(w.pod.UID)
		w.m.probes.Sync(w.pod.UID, nil)
	}
}

type finisher struct {
	m                            *Manager
	writer                       *writer
	uid                          types.UID
	namespace, name              string
	removed, over, toDelete      bool
	sandboxes, ready, containers []string

	stopped             []string
	overNow, deletedNow bool
}

func (f *finisher) run(ctx context.Context) error {
	for _, id := range f.ready {
		if err := f.m.stopSandbox(ctx, id); err != nil {
			return err
		}
		f.stopped = append(f.stopped, id)
	}
	if !f.over {
		if !f.removed {
			if err := f.writer.flush(ctx); err != nil {
				return err
			}
		}
		if err := f.m.Volumes.Teardown(f.uid); err != nil {
			return err
		}
		if err := f.m.Cgroups.Remove(string(f.uid)); err != nil {
			return err
		}
		f.overNow = true
	}
	if f.toDelete {
		if err := f.delete(ctx); err != nil {
			return err
		}
		f.deletedNow = true
	}
	if f.removed {
		return f.clean(ctx)
	}
	return nil
}

// delete confirms to the API server that nothing of the pod is left.
func (f *finisher) delete(ctx context.Context) error {
	err := f.m.Client.CoreV1().Pods(f.namespace).Delete(ctx, f.name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0),
		Preconditions:      &metav1.Preconditions{UID: &f.uid},
	})
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("deleting pod %s/%s: %w", f.namespace, f.name, err)
}

// clean removes the runtime's records and the logs.
func (f *finisher) clean(ctx context.Context) error {
	var all error
	for _, id := range f.containers {
		if _, err := f.m.CRI.RemoveContainer(ctx, &runtimev1.RemoveContainerRequest{ContainerId: id}); err != nil && status.Code(err) != codes.NotFound {
			all = errors.Join(all, fmt.Errorf("removing container %s: %w", id, err))
		}
	}
	for _, id := range f.sandboxes {
		if _, err := f.m.CRI.RemovePodSandbox(ctx, &runtimev1.RemovePodSandboxRequest{PodSandboxId: id}); err != nil && status.Code(err) != codes.NotFound {
			all = errors.Join(all, fmt.Errorf("removing sandbox %s: %w", id, err))
		}
	}
	if all != nil {
		return all
	}
	if err := os.RemoveAll(spec.PodLogDir(f.m.Spec.LogDir, f.namespace, f.name, f.uid)); err != nil {
		return fmt.Errorf("removing logs: %w", err)
	}
	return nil
}
