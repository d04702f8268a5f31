package flowcontrol

import (
	"testing"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/client-go/kubernetes/fake"
)

const precedence = 4321

// changed is a default object whose specification differs.
func changed(of *flowcontrolv1.FlowSchema, generation int64, annotation string) *flowcontrolv1.FlowSchema {
	f := of.DeepCopy()
	f.Spec.MatchingPrecedence, f.Generation, f.Annotations = precedence, generation, nil
	if annotation != "" {
		f.Annotations = map[string]string{flowcontrolv1.AutoUpdateAnnotationKey: annotation}
	}
	return f
}

func TestEnsureMakesEverything(t *testing.T) {
	c := fake.NewClientset()
	for range 2 {
		if err := Ensure(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	writes := 0
	for _, a := range c.Actions() {
		if a.GetVerb() != "list" {
			writes++
		}
	}
	levels := len(bootstrap.MandatoryPriorityLevelConfigurations) + len(bootstrap.SuggestedPriorityLevelConfigurations)
	schemas := len(bootstrap.MandatoryFlowSchemas) + len(bootstrap.SuggestedFlowSchemas)
	if writes != levels+schemas {
		t.Errorf("%d writes for %d levels and %d schemas", writes, levels, schemas)
	}
	f, err := c.FlowcontrolV1().FlowSchemas().Get(t.Context(), "system-nodes", metav1.GetOptions{})
	if err != nil || f.Annotations[flowcontrolv1.AutoUpdateAnnotationKey] != "true" {
		t.Errorf("system-nodes: %v, %v", f, err)
	}
}

func TestEnsureKeepsWhatUsersChanged(t *testing.T) {
	suggested, mandatory := bootstrap.SuggestedFlowSchemaGlobalDefault, bootstrap.MandatoryFlowSchemaCatchAll
	for name, c := range map[string]struct {
		have       *flowcontrolv1.FlowSchema
		kept       bool
		annotation string
	}{
		"told to follow":            {changed(suggested, 7, "true"), false, "true"},
		"told to keep":              {changed(suggested, 1, "false"), true, "false"},
		"never changed by a user":   {changed(suggested, 1, ""), false, "true"},
		"changed by a user":         {changed(suggested, 2, ""), true, "false"},
		"nonsense, changed":         {changed(suggested, 2, "nonsense"), true, "false"},
		"mandatory, and told so":    {changed(mandatory, 2, "false"), false, "true"},
		"mandatory, without a note": {changed(mandatory, 2, ""), false, "true"},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(c.have)
			if err := Ensure(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			got, err := client.FlowcontrolV1().FlowSchemas().Get(t.Context(), c.have.Name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if kept := got.Spec.MatchingPrecedence == precedence; kept != c.kept {
				t.Errorf("the user's specification is kept: %v", kept)
			}
			if a := got.Annotations[flowcontrolv1.AutoUpdateAnnotationKey]; a != c.annotation {
				t.Errorf("annotated %q, want %q", a, c.annotation)
			}
		})
	}
}

func TestEnsureRemovesWhatIsSuggestedNoMore(t *testing.T) {
	old, own := changed(bootstrap.SuggestedFlowSchemaProbes, 1, "true"), changed(bootstrap.SuggestedFlowSchemaProbes, 1, "")
	old.Name, own.Name = "suggested-once", "of-a-user"
	c := fake.NewClientset(old, own)
	if err := Ensure(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if _, err := c.FlowcontrolV1().FlowSchemas().Get(t.Context(), old.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what was suggested once: %v", err)
	}
	if _, err := c.FlowcontrolV1().FlowSchemas().Get(t.Context(), own.Name, metav1.GetOptions{}); err != nil {
		t.Errorf("a user's own: %v", err)
	}
}
