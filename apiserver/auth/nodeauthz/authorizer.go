package nodeauthz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"coracle.dev/coracle/apiserver/auth/rbac"
)

// patience is how long a refusal waits for the graph to catch up.
const patience = 100 * time.Millisecond

const userPrefix = "system:node:"

// UserName is the user that the agent of a node is.
func UserName(node string) string { return userPrefix + node }

// NodeName is the node that the user is the agent of, if it is one.
func NodeName(u user.Info) (name string, isNode bool) {
	if u == nil || !strings.HasPrefix(u.GetName(), userPrefix) || !slices.Contains(u.GetGroups(), user.NodesGroup) {
		return "", false
	}
	return strings.TrimPrefix(u.GetName(), userPrefix), true
}

// Authorizer answers requests of node agents.
type Authorizer struct {
	graph *Graph
	rules []rbacv1.PolicyRule
}

var (
	_ authorizer.Authorizer   = &Authorizer{}
	_ authorizer.RuleResolver = &Authorizer{}
)

// New returns an authorizer over a graph, which its caller runs.
func New(g *Graph) *Authorizer { return &Authorizer{graph: g, rules: fixedRules()} }

// RulesFor implements authorizer.RuleResolver. What a node may do depends on its pods, and is no list.
func (z *Authorizer) RulesFor(_ context.Context, u user.Info, _ string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	if _, isNode := NodeName(u); isNode {
		return nil, nil, true, errors.New("node authorizer does not support user rule resolution")
	}
	return nil, nil, false, nil
}

// Authorize implements authorizer.Authorizer.
func (z *Authorizer) Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	node, ok := NodeName(a.GetUser())
	if !ok {
		return authorizer.DecisionNoOpinion, "", nil
	}
	if node == "" {
		return authorizer.DecisionNoOpinion, fmt.Sprintf("unknown node for user %q", a.GetUser().GetName()), nil
	}
	reason := "no rule for nodes allows it"
	if a.IsResourceRequest() {
		if check, special := checks[a.GetAPIGroup()+"/"+a.GetResource()]; special {
			if reason = check(ctx, z, node, a); reason == "" {
				return authorizer.DecisionAllow, "", nil
			}
			return authorizer.DecisionNoOpinion, reason, nil
		}
	}
	for i := range z.rules {
		if rbac.Covers(&z.rules[i], a) {
			return authorizer.DecisionAllow, "", nil
		}
	}
	return authorizer.DecisionNoOpinion, "", nil
}

// ConditionsAwareAuthorize implements authorizer.Authorizer.
func (z *Authorizer) ConditionsAwareAuthorize(ctx context.Context, a authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(z.Authorize(ctx, a))
}

// EvaluateConditions implements authorizer.Authorizer.
func (z *Authorizer) EvaluateConditions(context.Context, authorizer.ConditionsAwareDecision, authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return authorizer.DecisionDeny, "", authorizer.ErrorConditionEvaluationNotSupported
}

// check returns "" to allow, or why not.
type check func(ctx context.Context, z *Authorizer, node string, a authorizer.Attributes) string

// checks are those of resources that depend on the node, by group/resource.
var checks = map[string]check{
	"/secrets":                reading(secret, "get", "list", "watch"),
	"/configmaps":             reading(configMap, "get", "list", "watch"),
	"/persistentvolumeclaims": claims,
	"/persistentvolumes":      reading(volume, "get"),
	storagev1.GroupName + "/volumeattachments": reading(attachment, "get"),
	resourcev1.GroupName + "/resourceclaims":   reading(resourceClaim, "get"),
	"/serviceaccounts":                         serviceAccounts,
	"/nodes":                                   nodes,
	"/pods":                                    pods,
	coordinationv1.GroupName + "/leases":       leases,
	storagev1.GroupName + "/csinodes":          csiNodes,
	resourcev1.GroupName + "/resourceslices":   resourceSlices,
}

func related(ctx context.Context, z *Authorizer, node string, k kind, a authorizer.Attributes) string {
	o := object{k, a.GetNamespace(), a.GetName()}
	switch k {
	case volume, attachment:
		o.namespace = ""
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		changed := z.graph.change()
		if z.graph.reaches(node, o) {
			return ""
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Sprintf("no relationship found between node '%s' and this object", node)
		}
	}
}

func reading(k kind, verbs ...string) check {
	return func(ctx context.Context, z *Authorizer, node string, a authorizer.Attributes) string {
		switch {
		case !slices.Contains(verbs, a.GetVerb()):
			return "can only read resources of this type"
		case a.GetSubresource() != "":
			return "cannot read subresource"
		case a.GetName() == "":
			return "No Object name found"
		}
		return related(ctx, z, node, k, a)
	}
}

func claims(ctx context.Context, z *Authorizer, node string, a authorizer.Attributes) string {
	if a.GetSubresource() == "status" {
		if v := a.GetVerb(); v != "update" && v != "patch" {
			return "can only get/update/patch this type"
		}
		return related(ctx, z, node, claim, a)
	}
	return reading(claim, "get")(ctx, z, node, a)
}

func serviceAccounts(ctx context.Context, z *Authorizer, node string, a authorizer.Attributes) string {
	switch {
	case a.GetVerb() == "create" && a.GetSubresource() == "token", a.GetVerb() == "get" && a.GetSubresource() == "":
		if a.GetName() == "" {
			return "No Object name found"
		}
		return related(ctx, z, node, account, a)
	}
	return "can only create tokens for individual service accounts"
}

// nodes: an agent may register itself. Which node it writes to is checked by NodeRestriction.
func nodes(_ context.Context, _ *Authorizer, node string, a authorizer.Attributes) string {
	switch a.GetVerb() + "/" + a.GetSubresource() {
	case "create/", "update/", "patch/", "update/status", "patch/status":
		return ""
	case "get/", "list/", "watch/":
		if a.GetName() == node {
			return ""
		}
		return fmt.Sprintf("node '%s' cannot read '%s', only its own Node object", node, a.GetName())
	}
	return "can only create, read and update Node objects"
}

func pods(ctx context.Context, z *Authorizer, node string, a authorizer.Attributes) string {
	switch a.GetVerb() + "/" + a.GetSubresource() {
	case "create/", "delete/", "update/status", "patch/status", "create/eviction":
		return "" // NodeRestriction looks at the pod
	case "get/":
		return related(ctx, z, node, pod, a)
	case "list/", "watch/":
		reqs, err := a.GetFieldSelector()
		if err != nil {
			return err.Error()
		}
		for _, r := range reqs {
			if r.Field == "spec.nodeName" && (r.Operator == selection.Equals || r.Operator == selection.DoubleEquals) && r.Value == node {
				return ""
			}
		}
		if a.GetVerb() == "watch" && a.GetName() != "" {
			return related(ctx, z, node, pod, a)
		}
		return "can only list/watch pods with spec.nodeName field selector"
	}
	return "can only read and delete pods, and update their status"
}

// leases: an agent keeps that of its own node.
func leases(_ context.Context, _ *Authorizer, node string, a authorizer.Attributes) string {
	if a.GetSubresource() != "" {
		return "cannot use subresource of leases"
	}
	switch v := a.GetVerb(); v {
	case "create":
		// The name is not known yet; NodeRestriction checks it.
	case "get", "update", "patch", "delete":
		if a.GetName() != node {
			return "can only access node lease with the same name as the requesting node"
		}
	default:
		return "can only get, create, update, patch, or delete a node lease"
	}
	if a.GetNamespace() != corev1.NamespaceNodeLease {
		return fmt.Sprintf("can only access leases in the %q system namespace", corev1.NamespaceNodeLease)
	}
	return ""
}

func csiNodes(_ context.Context, _ *Authorizer, node string, a authorizer.Attributes) string {
	switch v := a.GetVerb(); {
	case a.GetSubresource() != "":
		return "cannot use subresource of csinodes"
	case v == "create":
		return ""
	case v == "get" || v == "update" || v == "patch" || v == "delete":
		if a.GetName() != node {
			return "can only access CSINode with the same name as the requesting node"
		}
		return ""
	}
	return "can only get, create, update, patch, or delete a CSINode"
}

func resourceSlices(_ context.Context, _ *Authorizer, node string, a authorizer.Attributes) string {
	switch v := a.GetVerb(); {
	case a.GetSubresource() != "":
		return "cannot use subresource of resourceslices"
	case v == "create" || v == "get" || v == "update" || v == "patch" || v == "delete":
		return "" // NodeRestriction looks at the slice
	case v == "list" || v == "watch" || v == "deletecollection":
		reqs, err := a.GetFieldSelector()
		if err != nil {
			return err.Error()
		}
		for _, r := range reqs {
			if r.Field == "spec.nodeName" && r.Value == node && (r.Operator == selection.Equals || r.Operator == selection.DoubleEquals) {
				return ""
			}
		}
		return "can only list/watch/deletecollection resourceslices with spec.nodeName field selector"
	}
	return "only the following verbs are allowed: get, create, update, patch, delete, list, watch, deletecollection"
}

// fixedRules are what every agent may do, whatever runs on its node.
func fixedRules() []rbacv1.PolicyRule {
	rule := func(group string, resources, verbs []string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
	}
	read := []string{"get", "list", "watch"}
	return []rbacv1.PolicyRule{
		rule("authentication.k8s.io", []string{"tokenreviews"}, []string{"create"}),
		rule("authorization.k8s.io", []string{"subjectaccessreviews", "localsubjectaccessreviews"}, []string{"create"}),
		rule("", []string{"services"}, read),
		rule("", []string{"events"}, []string{"create", "patch", "update"}),
		rule("events.k8s.io", []string{"events"}, []string{"create", "patch", "update"}),
		rule("", []string{"endpoints"}, []string{"get"}),
		rule("certificates.k8s.io", []string{"certificatesigningrequests"}, []string{"create", "get", "list", "watch"}),
		rule(storagev1.GroupName, []string{"csidrivers"}, read),
		rule("node.k8s.io", []string{"runtimeclasses"}, read),
		rule("networking.k8s.io", []string{"servicecidrs"}, []string{"list", "watch"}),
	}
}
