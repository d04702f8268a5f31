package noderestriction

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apiserver/pkg/admission"

	"coracle.dev/coracle/apiserver/auth/nodeauthz"
)

// claims: of a claim, an agent may report how the growth of its volume goes.
func claims(node string, a admission.Attributes) error {
	if a.GetSubresource() != "status" {
		return fmt.Errorf("unexpected claim subresource %q, only 'status' is allowed", a.GetSubresource())
	}
	if a.GetOperation() != admission.Update {
		return fmt.Errorf("unexpected operation %q", a.GetOperation())
	}
	old, ok := a.GetOldObject().(*corev1.PersistentVolumeClaim)
	claim, ok2 := a.GetObject().(*corev1.PersistentVolumeClaim)
	if !ok || !ok2 {
		return fmt.Errorf("unexpected type %T", a.GetObject())
	}
	old, claim = old.DeepCopy(), claim.DeepCopy()
	for _, c := range []*corev1.PersistentVolumeClaim{old, claim} {
		c.ResourceVersion, c.ManagedFields = "", nil
		c.Status.Capacity, c.Status.Conditions = nil, nil
		c.Status.AllocatedResources, c.Status.AllocatedResourceStatuses = nil, nil
	}
	if !equality.Semantic.DeepEqual(old, claim) {
		return fmt.Errorf("node %q is not allowed to update fields other than status.quantity and status.conditions", node)
	}
	return nil
}

func lease(node string, a admission.Attributes) error {
	name := a.GetName()
	if a.GetOperation() == admission.Create && a.GetObject() != nil {
		if m, err := meta.Accessor(a.GetObject()); err == nil {
			name = m.GetName()
		}
	}
	if a.GetNamespace() == corev1.NamespaceNodeLease && name == node {
		return nil
	}
	// Where the agent may use leases by a role, those in other namespaces are not its node's.
	return fmt.Errorf("can only access node lease with the same name as the requesting node")
}

func csiNode(node string, a admission.Attributes) error {
	name := a.GetName()
	if m, err := meta.Accessor(a.GetObject()); a.GetOperation() == admission.Create && err == nil {
		name = m.GetName()
	}
	if name != node {
		return errors.New("can only access CSINode with the same name as the requesting node")
	}
	return nil
}

func slice(node string, a admission.Attributes) error {
	s, ok := a.GetObject().(*resourcev1.ResourceSlice)
	if a.GetOperation() == admission.Delete {
		s, ok = a.GetOldObject().(*resourcev1.ResourceSlice)
	}
	if !ok {
		return nil // deletion of a collection, whose items come by one at a time
	}
	if s.Spec.NodeName == nil || *s.Spec.NodeName != node {
		return errors.New("can only create, update or delete ResourceSlice with the same NodeName as the requesting node")
	}
	return nil
}

// request: an agent may ask for certificates of its own node alone.
func request(node string, a admission.Attributes) error {
	r, ok := a.GetObject().(*certificatesv1.CertificateSigningRequest)
	if !ok || a.GetOperation() != admission.Create || a.GetSubresource() != "" ||
		r.Spec.SignerName != certificatesv1.KubeletServingSignerName && r.Spec.SignerName != certificatesv1.KubeAPIServerClientKubeletSignerName {
		return nil
	}
	block, _ := pem.Decode(r.Spec.Request)
	if block == nil {
		return errors.New("unable to parse csr: PEM block type must be CERTIFICATE REQUEST")
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return fmt.Errorf("unable to parse csr: %w", err)
	}
	if name := nodeauthz.UserName(node); parsed.Subject.CommonName != name {
		return fmt.Errorf("can only create a node CSR with CN=%s", name)
	}
	return nil
}
