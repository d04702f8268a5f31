package controlplane

import (
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestIdentity(t *testing.T) {
	k, c := keeper(t, nil, "192.0.2.1")
	k.Identity = Identity{ID: "apiserver-a", Hostname: "a", Instance: "1"}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	leases := c.CoordinationV1().Leases(metav1.NamespaceSystem)
	keep := func(at time.Time) {
		t.Helper()
		if err := k.keepIdentity(t.Context(), at); err != nil {
			t.Fatal(err)
		}
	}
	renewals := func() (holder string, at time.Time) {
		l, err := leases.Get(t.Context(), "apiserver-a", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return *l.Spec.HolderIdentity, l.Spec.RenewTime.Time
	}
	keep(now)
	for _, step := range []struct {
		after, renewed   time.Duration
		instance, holder string
	}{
		{time.Minute, 0, "1", "apiserver-a_1"},
		{11 * time.Minute, 11 * time.Minute, "1", "apiserver-a_1"},
		{12 * time.Minute, 12 * time.Minute, "2", "apiserver-a_2"},
	} {
		k.Identity.Instance = step.instance
		keep(now.Add(step.after))
		if holder, at := renewals(); holder != step.holder || !at.Equal(now.Add(step.renewed)) {
			t.Errorf("after %s: held by %s, renewed after %s", step.after, holder, at.Sub(now))
		}
	}
	// Another server finds this one gone.
	k.Identity = Identity{ID: "apiserver-b", Hostname: "b", Instance: "1"}
	keep(now.Add(71 * time.Minute))
	renewals()
	keep(now.Add(73 * time.Minute))
	if _, err := leases.Get(t.Context(), "apiserver-a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the lease of a server that is gone: %v", err)
	}
}

func TestNoIdentity(t *testing.T) {
	k := &Keeper{Client: fake.NewClientset()}
	if err := k.keepIdentity(t.Context(), time.Now()); err != nil {
		t.Error(err)
	}
}
