package spec

import (
	"context"
	"fmt"
	"os"
	"sort"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Objects looks up what environment variables refer to.
type Objects interface {
	ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// EnvInput is what an environment is made of beside the container itself.
type EnvInput struct {
	Pod             *corev1.Pod
	PodIPs, HostIPs []string
	Services        []*corev1.Service
	Allocatable     corev1.ResourceList
	Objects         Objects
	// VolumePaths are the host folders of the pod's volumes, for fileKeyRef.
	VolumePaths map[string]string
}

// Env computes the container's variables: envFrom first, then env, which
// overrides it and may refer to what came before, then services. The error
// names what is missing.
func Env(ctx context.Context, c *corev1.Container, in EnvInput) ([]EnvVar, error) {
	links := in.Pod.Spec.EnableServiceLinks == nil || *in.Pod.Spec.EnableServiceLinks
	services := ServiceEnv(in.Services, in.Pod.Namespace, links)
	serviceValues := make(map[string]string, len(services))
	for _, v := range services {
		serviceValues[v.Name] = v.Value
	}
	env := envList{index: map[string]int{}}
	for i := range c.EnvFrom {
		if err := env.addFrom(ctx, &c.EnvFrom[i], in); err != nil {
			return nil, err
		}
	}
	lookup := func(name string) (string, bool) {
		if value, ok := env.get(name); ok {
			return value, true
		}
		value, ok := serviceValues[name]
		return value, ok
	}
	for i := range c.Env {
		e := &c.Env[i]
		if e.ValueFrom == nil {
			env.set(e.Name, Expand(e.Value, lookup))
			continue
		}
		value, present, err := valueFrom(ctx, e, c, in)
		if err != nil {
			return nil, err
		}
		if present {
			env.set(e.Name, value)
		}
	}
	for _, v := range services {
		if _, present := env.get(v.Name); !present {
			env.set(v.Name, v.Value)
		}
	}
	return env.vars, nil
}

type envList struct {
	vars  []EnvVar
	index map[string]int
}

func (l *envList) set(name, value string) {
	if i, ok := l.index[name]; ok {
		l.vars[i].Value = value
		return
	}
	l.index[name] = len(l.vars)
	l.vars = append(l.vars, EnvVar{name, value})
}

func (l *envList) get(name string) (string, bool) {
	i, ok := l.index[name]
	if !ok {
		return "", false
	}
	return l.vars[i].Value, true
}

func (l *envList) addFrom(ctx context.Context, from *corev1.EnvFromSource, in EnvInput) error {
	values := map[string]string{}
	switch {
	case from.ConfigMapRef != nil:
		cm, err := in.Objects.ConfigMap(ctx, in.Pod.Namespace, from.ConfigMapRef.Name)
		if skip, err := missing(err, from.ConfigMapRef.Optional); skip || err != nil {
			return err
		}
		values = cm.Data
	case from.SecretRef != nil:
		secret, err := in.Objects.Secret(ctx, in.Pod.Namespace, from.SecretRef.Name)
		if skip, err := missing(err, from.SecretRef.Optional); skip || err != nil {
			return err
		}
		for k, v := range secret.Data {
			values[k] = string(v)
		}
	}
	keys := make([]string, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		l.set(from.Prefix+k, values[k])
	}
	return nil
}

// missing tells whether an optional object is absent.
func missing(err error, optional *bool) (skip bool, _ error) {
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return true, nil
	}
	return false, err
}

func valueFrom(ctx context.Context, e *corev1.EnvVar, c *corev1.Container, in EnvInput) (value string, present bool, err error) {
	from := e.ValueFrom
	switch {
	case from.FieldRef != nil:
		value, err = FieldValue(in.Pod, from.FieldRef.FieldPath, in.PodIPs, in.HostIPs)
		return value, err == nil, err
	case from.ResourceFieldRef != nil:
		target := c
		if name := from.ResourceFieldRef.ContainerName; name != "" && name != c.Name {
			if target = FindContainer(in.Pod, name); target == nil {
				return "", false, fmt.Errorf("container %s not found", name)
			}
		}
		value, err = ResourceValue(from.ResourceFieldRef, target, in.Allocatable)
		return value, err == nil, err
	case from.ConfigMapKeyRef != nil:
		return configMapKey(ctx, from.ConfigMapKeyRef, in)
	case from.SecretKeyRef != nil:
		return secretKey(ctx, from.SecretKeyRef, in)
	case from.FileKeyRef != nil:
		return fileKey(from.FileKeyRef, in)
	}
	return "", false, nil
}

func configMapKey(ctx context.Context, ref *corev1.ConfigMapKeySelector, in EnvInput) (string, bool, error) {
	cm, err := in.Objects.ConfigMap(ctx, in.Pod.Namespace, ref.Name)
	if skip, err := missing(err, ref.Optional); skip || err != nil {
		return "", false, err
	}
	value, ok := cm.Data[ref.Key]
	if !ok && (ref.Optional == nil || !*ref.Optional) {
		return "", false, fmt.Errorf("couldn't find key %v in ConfigMap %v/%v", ref.Key, in.Pod.Namespace, ref.Name)
	}
	return value, ok, nil
}

func secretKey(ctx context.Context, ref *corev1.SecretKeySelector, in EnvInput) (string, bool, error) {
	secret, err := in.Objects.Secret(ctx, in.Pod.Namespace, ref.Name)
	if skip, err := missing(err, ref.Optional); skip || err != nil {
		return "", false, err
	}
	value, ok := secret.Data[ref.Key]
	if !ok && (ref.Optional == nil || !*ref.Optional) {
		return "", false, fmt.Errorf("couldn't find key %v in Secret %v/%v", ref.Key, in.Pod.Namespace, ref.Name)
	}
	return string(value), ok, nil
}

// fileKey reads one variable of an env file in a volume. The path is looked
// up below the volume's folder and cannot leave it, links included.
func fileKey(ref *corev1.FileKeySelector, in EnvInput) (string, bool, error) {
	optional := ref.Optional != nil && *ref.Optional
	dir, ok := in.VolumePaths[ref.VolumeName]
	if !ok {
		return "", false, fmt.Errorf("cannot find the volume %q referenced by FileKeyRef", ref.VolumeName)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", false, fmt.Errorf("opening volume %s: %w", ref.VolumeName, err)
	}
	defer root.Close()
	data, err := root.ReadFile(ref.Path)
	if os.IsNotExist(err) && optional {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("couldn't parse env file: %w", err)
	}
	value, found, err := parseEnvFile(string(data), ref.Key)
	if err != nil {
		return "", false, err
	}
	if !found && !optional {
		return "", false, fmt.Errorf("environment variable key %q not found in file %q", ref.Key, ref.Path)
	}
	return value, found, nil
}
