package localpath

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// ClassName is the name of the storage class that a cluster has from its start.
const ClassName = "local-path"

const defaultClass = "storageclass.kubernetes.io/is-default-class"

// EnsureClass makes the class unless it is there, as the default one unless there
// is another default.
func EnsureClass(ctx context.Context, client kubernetes.Interface) error {
	classes := client.StorageV1().StorageClasses()
	all, err := classes.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing storage classes: %w", err)
	}
	isDefault := "true"
	for i := range all.Items {
		if all.Items[i].Name == ClassName {
			return nil
		}
		if all.Items[i].Annotations[defaultClass] == "true" {
			isDefault = "false"
		}
	}
	_, err = classes.Create(ctx, &storagev1.StorageClass{
		ObjectMeta:           metav1.ObjectMeta{Name: ClassName, Annotations: map[string]string{defaultClass: isDefault}},
		Provisioner:          Provisioner,
		ReclaimPolicy:        new(corev1.PersistentVolumeReclaimDelete),
		VolumeBindingMode:    new(storagev1.VolumeBindingWaitForFirstConsumer),
		AllowVolumeExpansion: new(true),
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating storage class %s: %w", ClassName, err)
	}
	return nil
}
