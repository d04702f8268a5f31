// Package clusterroleaggregation fills the ClusterRoles that are made of
// others.
//
// It watches ClusterRoles. One with an aggregation rule gets as its rules those
// of all roles that the rule selects, in order of their names and each once. It
// owns the rules of such roles: a change by anyone else is undone.
package clusterroleaggregation

import (
	"context"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"coracle.dev/coracle/controllers/internal/outcome"
)

// Reconciler reconciles ClusterRoles with an aggregation rule.
type Reconciler struct {
	client client.Client
}

// New makes the reconciler with the manager's client.
func New(mgr ctrl.Manager) *Reconciler { return &Reconciler{client: mgr.GetClient()} }

// SetupWithManager adds the reconciler to the manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("clusterrole-aggregation-controller").
		Watches(&rbacv1.ClusterRole{}, handler.EnqueueRequestsFromMapFunc(r.aggregated)).
		WithOptions(outcome.Options(1)).
		Complete(r)
}

// aggregated are the roles that any role's change can concern.
func (r *Reconciler) aggregated(ctx context.Context, _ client.Object) (out []reconcile.Request) {
	var all rbacv1.ClusterRoleList
	if err := r.client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		klog.FromContext(ctx).Error(err, "Listing cluster roles")
		return nil
	}
	for i := range all.Items {
		if all.Items[i].AggregationRule != nil {
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Name: all.Items[i].Name}})
		}
	}
	return out
}

// Reconcile fills one role.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var role rbacv1.ClusterRole
	if err := r.client.Get(ctx, req.NamespacedName, &role); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if role.AggregationRule == nil || role.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	var all rbacv1.ClusterRoleList
	if err := r.client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil {
		return ctrl.Result{}, fmt.Errorf("listing cluster roles: %w", err)
	}
	rules, err := aggregate(&role, all.Items)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Reading an aggregation rule") // only a change of the role helps
		return ctrl.Result{}, nil
	}
	if apiequality.Semantic.DeepEqual(rules, role.Rules) {
		return ctrl.Result{}, nil
	}
	role.Rules = rules
	if err := r.client.Update(ctx, &role); err != nil {
		return outcome.Of(ctrl.Result{}, fmt.Errorf("filling cluster role %s: %w", role.Name, err))
	}
	return ctrl.Result{}, nil
}

// aggregate is the rules of all other roles that a role's aggregation rule
// selects.
func aggregate(role *rbacv1.ClusterRole, all []rbacv1.ClusterRole) ([]rbacv1.PolicyRule, error) {
	var selected []*rbacv1.ClusterRole
	for i := range role.AggregationRule.ClusterRoleSelectors {
		selector, err := metav1.LabelSelectorAsSelector(&role.AggregationRule.ClusterRoleSelectors[i])
		if err != nil {
			return nil, err
		}
		for j := range all {
			if all[j].Name != role.Name && selector.Matches(labels.Set(all[j].Labels)) && !slices.Contains(selected, &all[j]) {
				selected = append(selected, &all[j])
			}
		}
	}
	slices.SortFunc(selected, func(a, b *rbacv1.ClusterRole) int { return strings.Compare(a.Name, b.Name) })
	var rules []rbacv1.PolicyRule
	for _, from := range selected {
		for _, rule := range from.Rules {
			if !slices.ContainsFunc(rules, func(have rbacv1.PolicyRule) bool { return apiequality.Semantic.DeepEqual(have, rule) }) {
				rules = append(rules, *rule.DeepCopy())
			}
		}
	}
	return rules, nil
}
