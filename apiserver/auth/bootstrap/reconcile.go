package bootstrap

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/component-helpers/auth/rbac/reconciliation"
	"k8s.io/klog/v2"
)

// writers is how many objects are written at a time.
const writers = 16

// Ensure brings the cluster's roles and bindings up to the policy. The namespaces of the policy's roles
// are made where they are missing.
func Ensure(ctx context.Context, client kubernetes.Interface, p *Policy) error {
	// Roles first: a binding to a role that is not there yet is valid, but gives nothing.
	have, err := list(ctx, client)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for _, r := range p.ClusterRoles {
		g.Go(func() error { return have.role(gctx, reconciliation.ClusterRoleRuleOwner{ClusterRole: r}) })
	}
	for _, r := range p.Roles {
		g.Go(func() error { return have.role(gctx, reconciliation.RoleRuleOwner{Role: r}) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	g, gctx = errgroup.WithContext(ctx)
	g.SetLimit(writers)
	for _, b := range p.ClusterRoleBindings {
		g.Go(func() error {
			return have.binding(gctx, reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: b})
		})
	}
	for _, b := range p.RoleBindings {
		g.Go(func() error { return have.binding(gctx, reconciliation.RoleBindingAdapter{RoleBinding: b}) })
	}
	return g.Wait()
}

// objects are those that the cluster has. They are read, never changed, after list.
type objects struct {
	client   kubernetes.Interface
	roles    map[types.NamespacedName]reconciliation.RuleOwner
	bindings map[types.NamespacedName]reconciliation.RoleBinding
}

func list(ctx context.Context, client kubernetes.Interface) (*objects, error) {
	o := &objects{
		client: client,
		roles:  map[types.NamespacedName]reconciliation.RuleOwner{}, bindings: map[types.NamespacedName]reconciliation.RoleBinding{},
	}
	v1 := client.RbacV1()
	options := metav1.ListOptions{ResourceVersion: "0"}
	roles, err := v1.ClusterRoles().List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("listing cluster roles: %w", err)
	}
	for i := range roles.Items {
		o.roles[id("", roles.Items[i].Name)] = reconciliation.ClusterRoleRuleOwner{ClusterRole: &roles.Items[i]}
	}
	bindings, err := v1.ClusterRoleBindings().List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("listing cluster role bindings: %w", err)
	}
	for i := range bindings.Items {
		o.bindings[id("", bindings.Items[i].Name)] = reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: &bindings.Items[i]}
	}
	for _, ns := range []string{metav1.NamespaceSystem, metav1.NamespacePublic} {
		if err := o.listNamespace(ctx, ns, options); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (o *objects) listNamespace(ctx context.Context, ns string, options metav1.ListOptions) error {
	roles, err := o.client.RbacV1().Roles(ns).List(ctx, options)
	if err != nil {
		return fmt.Errorf("listing roles of %s: %w", ns, err)
	}
	for i := range roles.Items {
		o.roles[id(ns, roles.Items[i].Name)] = reconciliation.RoleRuleOwner{Role: &roles.Items[i]}
	}
	bindings, err := o.client.RbacV1().RoleBindings(ns).List(ctx, options)
	if err != nil {
		return fmt.Errorf("listing role bindings of %s: %w", ns, err)
	}
	for i := range bindings.Items {
		o.bindings[id(ns, bindings.Items[i].Name)] = reconciliation.RoleBindingAdapter{RoleBinding: &bindings.Items[i]}
	}
	return nil
}

func id(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

func (o *objects) role(ctx context.Context, want reconciliation.RuleOwner) error {
	var live reconciliation.RuleOwnerModifier = reconciliation.ClusterRoleModifier{Client: o.client.RbacV1().ClusterRoles()}
	if want.GetNamespace() != "" {
		live = reconciliation.RoleModifier{Client: o.client.RbacV1(), NamespaceClient: o.client.CoreV1().Namespaces()}
	}
	result, err := (&reconciliation.ReconcileRoleOptions{
		Role: want, Confirm: true, Client: &listedRoles{RuleOwnerModifier: live, have: o.roles},
	}).Run()
	if err != nil {
		return fmt.Errorf("reconciling role %s: %w", want.GetName(), err)
	}
	if result.Operation != reconciliation.ReconcileNone && !result.Protected {
		klog.FromContext(ctx).V(2).Info("Reconciled role", "name", want.GetName(), "namespace", want.GetNamespace(), "operation", result.Operation)
	}
	return nil
}

func (o *objects) binding(ctx context.Context, want reconciliation.RoleBinding) error {
	var live reconciliation.RoleBindingModifier = reconciliation.ClusterRoleBindingClientAdapter{Client: o.client.RbacV1().ClusterRoleBindings()}
	if want.GetNamespace() != "" {
		live = reconciliation.RoleBindingClientAdapter{Client: o.client.RbacV1(), NamespaceClient: o.client.CoreV1().Namespaces()}
	}
	result, err := (&reconciliation.ReconcileRoleBindingOptions{
		RoleBinding: want, Confirm: true, Client: &listedBindings{RoleBindingModifier: live, have: o.bindings},
	}).Run()
	if err != nil {
		return fmt.Errorf("reconciling role binding %s: %w", want.GetName(), err)
	}
	if result.Operation != reconciliation.ReconcileNone && !result.Protected {
		klog.FromContext(ctx).V(2).Info("Reconciled role binding", "name", want.GetName(), "namespace", want.GetNamespace(), "operation", result.Operation)
	}
	return nil
}

// listedRoles answers the first Get from the list. A second one means that the list is out of date.
type listedRoles struct {
	reconciliation.RuleOwnerModifier
	have  map[types.NamespacedName]reconciliation.RuleOwner
	asked bool
}

// Get implements reconciliation.RuleOwnerModifier.
func (l *listedRoles) Get(namespace, name string) (reconciliation.RuleOwner, error) {
	if l.asked {
		return l.RuleOwnerModifier.Get(namespace, name)
	}
	l.asked = true
	if r, ok := l.have[id(namespace, name)]; ok {
		return r.DeepCopyRuleOwner(), nil
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource("roles"), name)
}

// listedBindings is the same for bindings.
type listedBindings struct {
	reconciliation.RoleBindingModifier
	have  map[types.NamespacedName]reconciliation.RoleBinding
	asked bool
}

// Get implements reconciliation.RoleBindingModifier.
func (l *listedBindings) Get(namespace, name string) (reconciliation.RoleBinding, error) {
	if l.asked {
		return l.RoleBindingModifier.Get(namespace, name)
	}
	l.asked = true
	if b, ok := l.have[id(namespace, name)]; ok {
		return b.DeepCopyRoleBinding(), nil
	}
	return nil, apierrors.NewNotFound(rbacv1.Resource("rolebindings"), name)
}
