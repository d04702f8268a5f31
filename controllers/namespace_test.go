package controllers_test

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"coracle.dev/coracle/controllers/rootca"
)

func TestNamespaceIsEmptied(t *testing.T) {
	e := start(t, "namespace-controller")
	held := configMap("held")
	held.Finalizers = []string{"example.com/hold"}
	e.create(held)
	e.create(configMap("plain"))
	e.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "s"}})
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: e.ns}}
	e.delete(ns)
	e.eventually("the namespace says what remains", func() error {
		if err := e.Get(t.Context(), client.ObjectKeyFromObject(ns), ns); err != nil {
			return err
		}
		for _, c := range ns.Status.Conditions {
			if c.Type == corev1.NamespaceFinalizersRemaining && c.Status == corev1.ConditionTrue {
				return expect("the message", c.Message, "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances")
			}
		}
		return fmt.Errorf("its conditions are %v", ns.Status.Conditions)
	}, &corev1.ConfigMapList{}, &corev1.NamespaceList{})
	if ns.Status.Phase != corev1.NamespaceTerminating {
		t.Errorf("phase %s", ns.Status.Phase)
	}
	e.patch(held, `{"metadata":{"finalizers":null}}`)
	e.eventually("the namespace is gone", func() error {
		if err := e.Get(t.Context(), client.ObjectKeyFromObject(ns), ns); !apierrors.IsNotFound(err) {
			return errors.Join(err, errors.New("it exists"))
		}
		return nil
	}, &corev1.NamespaceList{})
}

func TestNamespaceIsFurnished(t *testing.T) {
	e := start(t, "serviceaccount-controller", "root-ca-certificate-publisher-controller")
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: e.ns, Name: "default"}}
	exists := func(o client.Object, lists ...client.ObjectList) {
		t.Helper()
		e.eventually(fmt.Sprintf("%T exists", o), func() error { return e.Get(t.Context(), client.ObjectKeyFromObject(o), o) }, lists...)
	}
	exists(account, &corev1.ServiceAccountList{})
	first := account.UID
	e.delete(account)
	e.eventually("the account is made again", func() error {
		if err := e.Get(t.Context(), client.ObjectKeyFromObject(account), account); err != nil {
			return err
		}
		if account.UID == first {
			return errors.New("it is the old one")
		}
		return nil
	}, &corev1.ServiceAccountList{})
	bundle := configMap(rootca.Name)
	exists(bundle, &corev1.ConfigMapList{})
	e.patch(bundle, `{"data":{"ca.crt":"mine"}}`)
	e.eventually("a change is undone", func() error {
		e.get(rootca.Name, bundle)
		if bundle.Data[rootca.Key] == "mine" {
			return errors.New("it is not")
		}
		return nil
	}, &corev1.ConfigMapList{})
}
