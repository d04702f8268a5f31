package bootstrap

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/apiserver/auth/rbac"
)

//go:embed roles.txt
var rolesText string

//go:embed bindings.txt
var bindingsText string

const controllerPrefix = "system:controller:"

// Policy is what every cluster has.
type Policy struct {
	ClusterRoles        []*rbacv1.ClusterRole
	ClusterRoleBindings []*rbacv1.ClusterRoleBinding
	Roles               []*rbacv1.Role
	RoleBindings        []*rbacv1.RoleBinding
}

// Objects are all roles and bindings of the policy.
func (p *Policy) Objects() []metav1.Object {
	var out []metav1.Object
	for _, o := range p.ClusterRoles {
		out = append(out, o)
	}
	for _, o := range p.ClusterRoleBindings {
		out = append(out, o)
	}
	for _, o := range p.Roles {
		out = append(out, o)
	}
	for _, o := range p.RoleBindings {
		out = append(out, o)
	}
	return out
}

// Default returns the policy of the tables.
func Default() (*Policy, error) {
	p := &Policy{}
	if err := p.readRoles(rolesText); err != nil {
		return nil, fmt.Errorf("reading bootstrap roles: %w", err)
	}
	p.addControllers()
	if err := p.readBindings(bindingsText); err != nil {
		return nil, fmt.Errorf("reading bootstrap bindings: %w", err)
	}
	// view goes into edit, and edit into admin: three passes complete the chain in any order.
	for range 3 {
		for _, r := range p.ClusterRoles {
			rules, err := rbac.Aggregate(r, p.ClusterRoles)
			if err != nil {
				return nil, err
			}
			r.Rules = rules
		}
	}
	return p, nil
}

// addControllers binds the controllers' roles to their service accounts, and makes the role of all.
func (p *Policy) addControllers() {
	all := &rbacv1.ClusterRole{ObjectMeta: meta("", "coracle:controllers")}
	for _, r := range p.ClusterRoles {
		name, ok := strings.CutPrefix(r.Name, controllerPrefix)
		if !ok {
			continue
		}
		p.ClusterRoleBindings = append(p.ClusterRoleBindings, &rbacv1.ClusterRoleBinding{
			ObjectMeta: meta("", r.Name), RoleRef: roleRef("ClusterRole", r.Name),
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: metav1.NamespaceSystem, Name: name}},
		})
		for _, rule := range r.Rules {
			if !slices.ContainsFunc(all.Rules, func(o rbacv1.PolicyRule) bool { return key(o) == key(rule) }) {
				all.Rules = append(all.Rules, rule)
			}
		}
	}
	p.ClusterRoles = append(p.ClusterRoles, all)
}

func key(r rbacv1.PolicyRule) string {
	return fmt.Sprintln(r.Verbs, r.APIGroups, r.Resources, r.ResourceNames, r.NonResourceURLs)
}

func (p *Policy) readRoles(text string) error {
	var rules *[]rbacv1.PolicyRule
	return lines(text, func(words []string) error {
		if words[0] != "role" {
			if rules == nil {
				return fmt.Errorf("rule before the first role")
			}
			rule, err := readRule(words)
			*rules = append(*rules, rule)
			return err
		}
		var err error
		rules, err = p.readRole(words[1:])
		return err
	})
}

// readRole reads a role's heading and returns where its rules go.
func (p *Policy) readRole(words []string) (*[]rbacv1.PolicyRule, error) {
	name, words := words[0], words[1:]
	if len(words) > 0 && strings.HasPrefix(words[0], "@") {
		r := &rbacv1.Role{ObjectMeta: meta(words[0][1:], name)}
		p.Roles = append(p.Roles, r)
		return &r.Rules, nil
	}
	r := &rbacv1.ClusterRole{ObjectMeta: meta("", name)}
	for len(words) >= 2 {
		switch words[0] {
		case "label":
			r.Labels[words[1]] = "true"
		case "aggregates":
			r.AggregationRule = &rbacv1.AggregationRule{
				ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{words[1]: "true"}}},
			}
		default:
			return nil, fmt.Errorf("unknown word %q", words[0])
		}
		words = words[2:]
	}
	p.ClusterRoles = append(p.ClusterRoles, r)
	return &r.Rules, nil
}

func readRule(words []string) (rbacv1.PolicyRule, error) {
	if len(words) < 3 || len(words) > 4 {
		return rbacv1.PolicyRule{}, fmt.Errorf("a rule has verbs, group, resources and maybe names")
	}
	r := rbacv1.PolicyRule{Verbs: readVerbs(words[0])}
	if words[1] == "url" {
		r.NonResourceURLs = strings.Split(words[2], ",")
		return r, nil
	}
	for g := range strings.SplitSeq(words[1], ",") {
		if g == "core" {
			g = ""
		}
		r.APIGroups = append(r.APIGroups, g)
	}
	r.Resources = strings.Split(words[2], ",")
	if len(words) == 4 {
		r.ResourceNames = strings.Split(words[3], ",")
	}
	return r, nil
}

func readVerbs(text string) []string {
	var verbs []string
	for v := range strings.SplitSeq(text, ",") {
		switch v {
		case "read":
			verbs = append(verbs, "get", "list", "watch")
		case "write":
			verbs = append(verbs, "create", "delete", "deletecollection", "patch", "update")
		case "events":
			verbs = append(verbs, "create", "patch", "update")
		default:
			verbs = append(verbs, v)
		}
	}
	slices.Sort(verbs)
	return slices.Compact(verbs)
}

func (p *Policy) readBindings(text string) error {
	return lines(text, func(words []string) error {
		if words[0] != "binding" || len(words) < 3 {
			return fmt.Errorf("a binding has a name, a role and subjects")
		}
		name, words := words[1], words[2:]
		namespace := ""
		if strings.HasPrefix(words[0], "@") {
			namespace, words = words[0][1:], words[1:]
		}
		ref := roleRef("ClusterRole", words[0])
		if role, ok := strings.CutPrefix(words[0], "role/"); ok {
			ref = roleRef("Role", role)
		}
		var subjects []rbacv1.Subject
		if len(words) > 1 {
			var err error
			if subjects, err = readSubjects(words[1]); err != nil {
				return err
			}
		}
		if namespace == "" {
			p.ClusterRoleBindings = append(p.ClusterRoleBindings, &rbacv1.ClusterRoleBinding{ObjectMeta: meta("", name), RoleRef: ref, Subjects: subjects})
		} else {
			p.RoleBindings = append(p.RoleBindings, &rbacv1.RoleBinding{ObjectMeta: meta(namespace, name), RoleRef: ref, Subjects: subjects})
		}
		return nil
	})
}

func readSubjects(text string) ([]rbacv1.Subject, error) {
	var subjects []rbacv1.Subject
	for s := range strings.SplitSeq(text, ",") {
		kind, name, _ := strings.Cut(s, "=")
		switch kind {
		case "user":
			subjects = append(subjects, rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name})
		case "group":
			subjects = append(subjects, rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: name})
		case "sa":
			namespace, name, _ := strings.Cut(name, "/")
			subjects = append(subjects, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name})
		default:
			return nil, fmt.Errorf("unknown subject %q", s)
		}
	}
	return subjects, nil
}

// lines calls f with the words of each line that is neither empty nor a comment.
func lines(text string, f func(words []string) error) error {
	n := 0
	for line := range strings.Lines(text) {
		n++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if err := f(words); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return nil
}

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: namespace, Name: name,
		Labels:      map[string]string{"kubernetes.io/bootstrapping": "rbac-defaults"},
		Annotations: map[string]string{rbacv1.AutoUpdateAnnotationKey: "true"},
	}
}

func roleRef(kind, name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
}
