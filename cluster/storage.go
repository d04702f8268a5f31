package cluster

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/controllers/localpath"
)

const (
	// localPathClass is the storage class whose volumes are folders of nodes.
	localPathClass = "local-path"
	defaultClass   = "storageclass.kubernetes.io/is-default-class"
)

// ensureStorageClass makes the class once, as the default one unless there is another default.
func ensureStorageClass(ctx context.Context, client kubernetes.Interface) error {
	classes := client.StorageV1().StorageClasses()
	all, err := classes.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	isDefault := "true"
	for i := range all.Items {
		if all.Items[i].Name == localPathClass {
			return nil
		}
		if all.Items[i].Annotations[defaultClass] == "true" {
			isDefault = "false"
		}
	}
	_, err = classes.Create(ctx, &storagev1.StorageClass{
		ObjectMeta:           metav1.ObjectMeta{Name: localPathClass, Annotations: map[string]string{defaultClass: isDefault}},
		Provisioner:          localpath.Provisioner,
		ReclaimPolicy:        new(corev1.PersistentVolumeReclaimDelete),
		VolumeBindingMode:    new(storagev1.VolumeBindingWaitForFirstConsumer),
		AllowVolumeExpansion: new(true),
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
