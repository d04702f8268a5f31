// Package serviceaccount is the admission plugin that gives pods their service account: the default one
// if they name none, its token, certificate authority and namespace as a volume in every container, and
// its image pull secrets.
//
// A pod whose account does not exist is refused. The default account may lag behind its namespace, since
// a controller makes it; for it the plugin waits a while.
package serviceaccount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// Name is the plugin's name in flags.
const Name = "ServiceAccount"

const (
	defaultAccount    = "default"
	volumePrefix      = "kube-api-access-"
	mountPath         = "/var/run/secrets/kubernetes.io/serviceaccount"
	enforceAnnotation = "kubernetes.io/enforce-mountable-secrets"
	tokenSeconds      = 3607
	// defaultWait is how long the controller of service accounts may take for a new namespace.
	defaultWait = 2 * time.Second
)

// Register makes the plugin known.
func Register(plugins *admission.Plugins) {
	plugins.Register(Name, func(io.Reader) (admission.Interface, error) { return New(), nil })
}

// Plugin implements admission of service accounts.
type Plugin struct {
	*admission.Handler
	client   kubernetes.Interface
	accounts corelisters.ServiceAccountLister
}

var (
	_ admission.MutationInterface                  = &Plugin{}
	_ admission.ValidationInterface                = &Plugin{}
	_ initializer.WantsExternalKubeClientSet       = &Plugin{}
	_ initializer.WantsExternalKubeInformerFactory = &Plugin{}
)

// New returns a plugin that needs its client and informers set.
func New() *Plugin { return &Plugin{Handler: admission.NewHandler(admission.Create, admission.Update)} }

// SetExternalKubeClientSet implements initializer.WantsExternalKubeClientSet.
func (p *Plugin) SetExternalKubeClientSet(c kubernetes.Interface) { p.client = c }

// SetExternalKubeInformerFactory implements initializer.WantsExternalKubeInformerFactory.
func (p *Plugin) SetExternalKubeInformerFactory(f informers.SharedInformerFactory) {
	i := f.Core().V1().ServiceAccounts()
	p.accounts = i.Lister()
	p.SetReadyFunc(i.Informer().HasSynced)
}

// ValidateInitialization implements admission.InitializationValidator.
func (p *Plugin) ValidateInitialization() error {
	if p.client == nil || p.accounts == nil {
		return errors.New("missing client or lister of service accounts")
	}
	return nil
}

// Admit implements admission.MutationInterface.
func (p *Plugin) Admit(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod, ok := podOf(a)
	if !ok || a.GetOperation() != admission.Create || a.GetSubresource() != "" {
		return nil
	}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return nil // it is checked below, never changed
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = defaultAccount
	}
	pod.Spec.DeprecatedServiceAccount = pod.Spec.ServiceAccountName
	account, err := p.account(ctx, a.GetNamespace(), pod.Spec.ServiceAccountName)
	if err != nil {
		return admission.NewForbidden(a, fmt.Errorf("error looking up service account %s/%s: %w", a.GetNamespace(), pod.Spec.ServiceAccountName, err))
	}
	if automount(account, pod) {
		mount(pod)
	}
	if len(pod.Spec.ImagePullSecrets) == 0 {
		for _, s := range account.ImagePullSecrets {
			pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: s.Name})
		}
	}
	return nil
}

// Validate implements admission.ValidationInterface.
func (p *Plugin) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod, ok := podOf(a)
	if !ok || !checked(a) {
		return nil
	}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror && a.GetOperation() == admission.Create {
		return validateMirror(a, pod)
	}
	if a.GetOperation() == admission.Create && !p.WaitForReady() {
		return admission.NewForbidden(a, errors.New("not yet ready to handle request"))
	}
	account, err := p.account(ctx, a.GetNamespace(), pod.Spec.ServiceAccountName)
	if err != nil {
		return admission.NewForbidden(a, fmt.Errorf("error looking up service account %s/%s: %w", a.GetNamespace(), pod.Spec.ServiceAccountName, err))
	}
	if enforce, _ := strconv.ParseBool(account.Annotations[enforceAnnotation]); enforce {
		return limitSecrets(a, account, pod)
	}
	return nil
}

// checked: a pod's account matters at creation and when ephemeral containers are added.
func checked(a admission.Attributes) bool {
	return a.GetOperation() == admission.Create && a.GetSubresource() == "" ||
		a.GetOperation() == admission.Update && a.GetSubresource() == "ephemeralcontainers"
}

func podOf(a admission.Attributes) (*corev1.Pod, bool) {
	if a.GetResource().GroupResource() != corev1.Resource("pods") {
		return nil, false
	}
	pod, ok := a.GetObject().(*corev1.Pod)
	return pod, ok
}

func validateMirror(a admission.Attributes, pod *corev1.Pod) error {
	if pod.Spec.ServiceAccountName != "" {
		return admission.NewForbidden(a, errors.New("a mirror pod may not reference service accounts"))
	}
	for _, v := range pod.Spec.Volumes {
		if v.Secret != nil {
			return admission.NewForbidden(a, errors.New("a mirror pod may not reference secrets"))
		}
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ServiceAccountToken != nil {
				return admission.NewForbidden(a, errors.New("a mirror pod may not use ServiceAccountToken volume projections"))
			}
		}
	}
	return nil
}

// account asks the cache, then the server, and for the default account again until it is there.
func (p *Plugin) account(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	account, err := p.accounts.ServiceAccounts(namespace).Get(name)
	if err == nil {
		return account, nil
	}
	if !apierrors.IsNotFound(err) {
		return nil, err
	}
	get := func(context.Context) (bool, error) {
		account, err = p.client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return name != defaultAccount, nil
		}
		return true, nil
	}
	// Whether the account came in time is what the last answer says.
	_ = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, defaultWait, true, get)
	return account, err
}

func automount(account *corev1.ServiceAccount, pod *corev1.Pod) bool {
	if b := pod.Spec.AutomountServiceAccountToken; b != nil {
		return *b
	}
	if b := account.AutomountServiceAccountToken; b != nil {
		return *b
	}
	return true
}

// mount gives the volume to every container that has nothing at its path.
func mount(pod *corev1.Pod) {
	name, has := "", false
	for _, v := range pod.Spec.Volumes {
		if strings.HasPrefix(v.Name, volumePrefix) {
			name, has = v.Name, true
			break
		}
	}
	if name == "" {
		name = volumePrefix + rand.String(5)
	}
	needed := false
	add := func(containers []corev1.Container) {
		for i := range containers {
			c := &containers[i]
			taken := false
			for _, m := range c.VolumeMounts {
				taken = taken || m.MountPath == mountPath
			}
			if !taken {
				c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, ReadOnly: true, MountPath: mountPath})
				needed = true
			}
		}
	}
	add(pod.Spec.InitContainers)
	add(pod.Spec.Containers)
	if needed && !has {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: source()})
	}
}

func source() corev1.VolumeSource {
	mode := corev1.ProjectedVolumeSourceDefaultMode
	seconds := int64(tokenSeconds)
	return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		DefaultMode: &mode,
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: &seconds}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
				Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"},
			}}}},
		},
	}}
}

// limitSecrets lets a pod use only those secrets that its account lists.
func limitSecrets(a admission.Attributes, account *corev1.ServiceAccount, pod *corev1.Pod) error {
	mountable, pullable := map[string]bool{}, map[string]bool{}
	for _, s := range account.Secrets {
		mountable[s.Name] = true
	}
	for _, s := range account.ImagePullSecrets {
		pullable[s.Name] = true
	}
	refuse := func(format string, args ...any) error { return admission.NewForbidden(a, fmt.Errorf(format, args...)) }
	for _, v := range pod.Spec.Volumes {
		if v.Secret != nil && !mountable[v.Secret.SecretName] {
			return refuse("volume with secret.secretName=%q is not allowed because service account %s does not reference that secret", v.Secret.SecretName, account.Name)
		}
	}
	check := func(kind, container string, env []corev1.EnvVar, from []corev1.EnvFromSource) error {
		for _, e := range env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && !mountable[e.ValueFrom.SecretKeyRef.Name] {
				return refuse("%s %s with envVar %s referencing secret.secretName=%q is not allowed because service account %s does not reference that secret",
					kind, container, e.Name, e.ValueFrom.SecretKeyRef.Name, account.Name)
			}
		}
		for _, e := range from {
			if e.SecretRef != nil && !mountable[e.SecretRef.Name] {
				return refuse("%s %s with envFrom referencing secret.secretName=%q is not allowed because service account %s does not reference that secret",
					kind, container, e.SecretRef.Name, account.Name)
			}
		}
		return nil
	}
	var errs []error
	for _, c := range pod.Spec.InitContainers {
		errs = append(errs, check("init container", c.Name, c.Env, c.EnvFrom))
	}
	for _, c := range pod.Spec.Containers {
		errs = append(errs, check("container", c.Name, c.Env, c.EnvFrom))
	}
	for _, c := range pod.Spec.EphemeralContainers {
		errs = append(errs, check("ephemeral container", c.Name, c.Env, c.EnvFrom))
	}
	for i, s := range pod.Spec.ImagePullSecrets {
		if !pullable[s.Name] {
			errs = append(errs, refuse("imagePullSecrets[%d].name=%q is not allowed because service account %s does not reference that imagePullSecret", i, s.Name, account.Name))
		}
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
