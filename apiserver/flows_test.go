package apiserver_test

import (
	"context"
	"io"
	"net/http"
	"slices"
	"testing"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"coracle.dev/coracle/apiserver/apiservertest"
	"coracle.dev/coracle/apiserver/flowcontrol"
)

func testFlows(t *testing.T, o *operated) {
	schemas, levels := o.client.FlowcontrolV1().FlowSchemas(), o.client.FlowcontrolV1().PriorityLevelConfigurations()
	f, err := schemas.Get(t.Context(), "global-default", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := levels.Get(t.Context(), "exempt", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	eventually(t, "an ordinary request takes the default flow", func(context.Context) (bool, any) {
		resp, _ := o.as(t, "jane", "/api/v1/namespaces")
		got := resp.Header.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID)
		return got == string(f.UID), got
	})
	// What is suggested is as its user wants it.
	own := []byte(`{"metadata":{"annotations":{"apf.kubernetes.io/autoupdate-spec":"false"}},"spec":{"matchingPrecedence":9899}}`)
	if _, err := schemas.Patch(t.Context(), f.Name, types.MergePatchType, own, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := flowcontrol.Ensure(t.Context(), o.client); err != nil {
		t.Fatal(err)
	}
	if f, err = schemas.Get(t.Context(), f.Name, metav1.GetOptions{}); err != nil || f.Spec.MatchingPrecedence != 9899 {
		t.Errorf("the user's precedence is %d, %v", f.Spec.MatchingPrecedence, err)
	}
}

// testFlowLimits gives a user the least capacity: one request at a time.
func testFlowLimits(t *testing.T, o *operated) {
	zero := int32(0)
	_, err := o.client.FlowcontrolV1().PriorityLevelConfigurations().Create(t.Context(), &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "nothing"},
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{Type: flowcontrolv1.PriorityLevelEnablementLimited, Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
			NominalConcurrencyShares: &zero, BorrowingLimitPercent: &zero, LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := o.client.FlowcontrolV1().FlowSchemas().Create(t.Context(), &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: "greedy"},
		Spec: flowcontrolv1.FlowSchemaSpec{
			MatchingPrecedence: 100, PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "nothing"},
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects:      []flowcontrolv1.Subject{{Kind: flowcontrolv1.SubjectKindUser, User: &flowcontrolv1.UserSubject{Name: "greedy"}}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, ClusterScope: true, Namespaces: []string{"*"}}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the user takes the flow", func(context.Context) (bool, any) {
		resp, _ := o.as(t, "greedy", "/api/v1/namespaces")
		got := resp.Header.Get(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID)
		return got == string(schema.UID), got
	})
	release := o.occupy(t, "greedy")
	defer release()
	eventually(t, "the user is refused", func(context.Context) (bool, any) {
		resp, body := o.as(t, "greedy", "/api/v1/namespaces")
		return resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != "", body
	})
	if resp, body := o.as(t, "jane", "/api/v1/namespaces"); resp.StatusCode != http.StatusOK {
		t.Errorf("another user: %s", body)
	}
	eventually(t, "the schema says that its level is there", func(ctx context.Context) (bool, any) {
		f, err := o.client.FlowcontrolV1().FlowSchemas().Get(ctx, "greedy", metav1.GetOptions{})
		return err == nil && slices.ContainsFunc(f.Status.Conditions, func(c flowcontrolv1.FlowSchemaCondition) bool {
			return c.Type == flowcontrolv1.FlowSchemaConditionDangling && c.Status == flowcontrolv1.ConditionFalse
		}), err
	})
}

// occupy begins a request of the user's that ends when the returned function is called: its body does
// not come.
func (o *operated) occupy(t *testing.T, name string) (release func()) {
	t.Helper()
	c := apiservertest.TLS(o.server)
	c.Impersonate.UserName = name
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		t.Fatal(err)
	}
	released, done := make(chan struct{}), make(chan struct{})
	attempt := func() (status int, err error) {
		body, pipe := io.Pipe()
		go func() { <-released; pipe.Close() }()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.Host+"/api/v1/namespaces/default/configmaps", body)
		if err != nil {
			return 0, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	go func() {
		defer close(done)
		for {
			status, err := attempt()
			if err != nil || status != http.StatusTooManyRequests { // else another request came first
				return
			}
		}
	}()
	return func() {
		close(released)
		<-done
	}
}
