// Package noderestriction is the admission plugin that confines node agents to their own node: its Node,
// its lease, its certificates, its pods and what belongs to those.
//
// It complements the node authorizer, which cannot see the objects that are written. It only refuses,
// never changes, and only users system:node:NAME of group system:nodes concern it.
package noderestriction

import (
	"context"
	"errors"
	"fmt"
	"io"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/apiserver/auth/nodeauthz"
)

// Name is the plugin's name in flags.
const Name = "NodeRestriction"

// Register makes the plugin known.
func Register(plugins *admission.Plugins) {
	plugins.Register(Name, func(io.Reader) (admission.Interface, error) { return New(), nil })
}

// Plugin implements the restriction.
type Plugin struct {
	*admission.Handler
	client     kubernetes.Interface
	authorizer authorizer.UnconditionalAuthorizer
	audiences  []string
}

var (
	_ admission.ValidationInterface            = &Plugin{}
	_ initializer.WantsExternalKubeClientSet   = &Plugin{}
	_ initializer.WantsUnconditionalAuthorizer = &Plugin{}
)

// New returns a plugin that needs its client set.
func New() *Plugin {
	return &Plugin{Handler: admission.NewHandler(admission.Create, admission.Update, admission.Delete)}
}

// SetExternalKubeClientSet implements initializer.WantsExternalKubeClientSet.
func (p *Plugin) SetExternalKubeClientSet(c kubernetes.Interface) { p.client = c }

// SetUnconditionalAuthorizer implements initializer.WantsUnconditionalAuthorizer.
func (p *Plugin) SetUnconditionalAuthorizer(a authorizer.UnconditionalAuthorizer) { p.authorizer = a }

// SetAPIAudiences says what tokens are for whose request names no audience.
func (p *Plugin) SetAPIAudiences(audiences []string) { p.audiences = audiences }

// ValidateInitialization implements admission.InitializationValidator.
func (p *Plugin) ValidateInitialization() error {
	if p.client == nil || p.authorizer == nil {
		return errors.New("missing client or authorizer")
	}
	return nil
}

// Validate implements admission.ValidationInterface.
func (p *Plugin) Validate(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	node, ok := nodeauthz.NodeName(a.GetUserInfo())
	if !ok {
		return nil
	}
	if node == "" {
		return admission.NewForbidden(a, fmt.Errorf("could not determine node from user %q", a.GetUserInfo().GetName()))
	}
	var err error
	switch a.GetResource().GroupResource() {
	case corev1.Resource("pods"):
		err = p.pods(ctx, node, a)
	case corev1.Resource("nodes"):
		err = nodes(node, a)
	case corev1.Resource("persistentvolumeclaims"):
		err = claims(node, a)
	case corev1.Resource("serviceaccounts"):
		err = p.token(ctx, node, a)
	case coordinationv1.Resource("leases"):
		err = lease(node, a)
	case storagev1.Resource("csinodes"):
		err = csiNode(node, a)
	case resourcev1.Resource("resourceslices"):
		err = slice(node, a)
	case certificatesv1.Resource("certificatesigningrequests"):
		err = request(node, a)
	}
	if err != nil {
		return admission.NewForbidden(a, err)
	}
	return nil
}
