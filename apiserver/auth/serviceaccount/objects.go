package serviceaccount

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// clientObjects looks objects up through the API.
type clientObjects struct{ client kubernetes.Interface }

// NewObjects looks objects up with the client, which must not itself need a token to be looked up.
func NewObjects(client kubernetes.Interface) Objects { return clientObjects{client: client} }

func (o clientObjects) ServiceAccount(ctx context.Context, namespace, name string, uid types.UID) (*corev1.ServiceAccount, error) {
	return lookUp(ctx, o.client.CoreV1().ServiceAccounts(namespace).Get, name, uid)
}

func (o clientObjects) Pod(ctx context.Context, namespace, name string, uid types.UID) (*corev1.Pod, error) {
	return lookUp(ctx, o.client.CoreV1().Pods(namespace).Get, name, uid)
}

func (o clientObjects) Secret(ctx context.Context, namespace, name string, uid types.UID) (*corev1.Secret, error) {
	return lookUp(ctx, o.client.CoreV1().Secrets(namespace).Get, name, uid)
}

func (o clientObjects) Node(ctx context.Context, name string, uid types.UID) (*corev1.Node, error) {
	return lookUp(ctx, o.client.CoreV1().Nodes().Get, name, uid)
}

// lookUp asks the watch cache, and the storage only if the cache does not have the object that is meant.
func lookUp[T metav1.Object](ctx context.Context, get func(context.Context, string, metav1.GetOptions) (T, error), name string, uid types.UID) (T, error) {
	obj, err := get(ctx, name, metav1.GetOptions{ResourceVersion: "0"})
	if err == nil && obj.GetUID() == uid {
		return obj, nil
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return obj, err
	}
	return get(ctx, name, metav1.GetOptions{})
}
