package inprocess

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"coracle.dev/coracle/apiserver"
)

const templates, chunk = 120, 17

func TestChunks(t *testing.T) {
	parallel(t, []subtest{{"chunks of results", listChunks}, {"after compaction", listCompacted}})
}

// templates makes many objects in a namespace.
func (e *env) templates(t *testing.T) (ns string) {
	t.Helper()
	ns = e.namespace(t)
	for i := range templates {
		p := &corev1.PodTemplate{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("template-%04d", i)}}
		p.Template.Spec = pod("p").Spec
		must(e.CoreV1().PodTemplates(ns).Create(t.Context(), p, metav1.CreateOptions{}))(t)
	}
	return ns
}

func listChunks(t *testing.T) {
	e := start(t)
	api := e.CoreV1().PodTemplates(e.templates(t))
	page := must(api.List(t.Context(), metav1.ListOptions{Limit: chunk}))(t)
	if len(page.Items) != chunk || page.RemainingItemCount == nil || int(*page.RemainingItemCount)+chunk != templates {
		t.Fatalf("the first page has %d items, and %v remain", len(page.Items), page.RemainingItemCount)
	}
	found := 0
	for version, left := page.ResourceVersion, templates; ; {
		found += len(page.Items)
		left -= len(page.Items)
		if page.ResourceVersion != version || len(page.Items) > chunk {
			t.Errorf("a page has %d items at version %s, want %s", len(page.Items), page.ResourceVersion, version)
		}
		if page.Continue == "" {
			break
		}
		if page.RemainingItemCount == nil || int(*page.RemainingItemCount) != left {
			t.Errorf("%v remain, want %d", page.RemainingItemCount, left)
		}
		page = must(api.List(t.Context(), metav1.ListOptions{Limit: chunk, Continue: page.Continue}))(t)
	}
	if found != templates {
		t.Errorf("the pages have %d items, want %d", found, templates)
	}
	if n := len(must(api.List(t.Context(), metav1.ListOptions{}))(t).Items); n != templates {
		t.Errorf("without a limit there are %d items, want %d", n, templates)
	}
}

// listCompacted goes on from where a token is too old to know.
func listCompacted(t *testing.T) {
	e := start(t, func(o *apiserver.Options) { o.Etcd.CompactionInterval = time.Second })
	ns := e.templates(t)
	api := e.CoreV1().PodTemplates(ns)
	first := must(api.List(t.Context(), metav1.ListOptions{Limit: chunk}))(t)
	var again string
	eventually(t, "the token expires", func(ctx context.Context) error {
		// Versions are compacted only up to where something was written since.
		_, _ = e.CoreV1().ConfigMaps(ns).Create(ctx, configMap(fmt.Sprint("write-", time.Now().UnixNano())), metav1.CreateOptions{})
		_, err := api.List(ctx, metav1.ListOptions{Limit: chunk, Continue: first.Continue})
		var status apierrors.APIStatus
		if err == nil || !errors.As(err, &status) || !apierrors.IsResourceExpired(err) {
			return fmt.Errorf("it does not: %w", err)
		}
		again = status.Status().ListMeta.Continue
		return nil
	})
	if again == "" {
		t.Fatal("the refusal has no token to go on with")
	}
	second := must(api.List(t.Context(), metav1.ListOptions{Limit: chunk, Continue: again}))(t)
	if len(second.Items) != chunk || second.ResourceVersion == first.ResourceVersion || second.Items[0].Name != fmt.Sprintf("template-%04d", chunk) {
		t.Errorf("the page after has %d items at %s, the first %s; the list began at %s", len(second.Items), second.ResourceVersion, second.Items[0].Name, first.ResourceVersion)
	}
	found := len(first.Items)
	for page := second; ; {
		found += len(page.Items)
		if left := templates - found; page.Continue != "" && (page.RemainingItemCount == nil || int(*page.RemainingItemCount) != left) {
			t.Errorf("%v remain, want %d", page.RemainingItemCount, left)
		}
		if page.Continue == "" {
			break
		}
		rest, err := api.List(t.Context(), metav1.ListOptions{Limit: chunk, Continue: page.Continue})
		if apierrors.IsResourceExpired(err) { // the machine is so slow that this version is too old as well
			var status apierrors.APIStatus
			errors.As(err, &status)
			rest, err = api.List(t.Context(), metav1.ListOptions{Limit: chunk, Continue: status.Status().ListMeta.Continue})
		} else if err == nil && rest.ResourceVersion != page.ResourceVersion {
			t.Errorf("a page is of version %s, the one before of %s", rest.ResourceVersion, page.ResourceVersion)
		}
		page = must(rest, err)(t)
	}
	if found != templates {
		t.Errorf("the pages have %d items, want %d", found, templates)
	}
}
