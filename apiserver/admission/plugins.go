package admission

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	admissionmetrics "k8s.io/apiserver/pkg/admission/metrics"
	"k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	quotaplugin "k8s.io/apiserver/pkg/admission/plugin/resourcequota"
	webhookinit "k8s.io/apiserver/pkg/admission/plugin/webhook/initializer"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/mutating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/validating"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/openapi/resolver"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/compatibility"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"coracle.dev/coracle/apiserver/admission/always"
	"coracle.dev/coracle/apiserver/admission/antiaffinity"
	"coracle.dev/coracle/apiserver/admission/certificate"
	"coracle.dev/coracle/apiserver/admission/claimresize"
	"coracle.dev/coracle/apiserver/admission/defaultclass"
	"coracle.dev/coracle/apiserver/admission/eventratelimit"
	"coracle.dev/coracle/apiserver/admission/externalip"
	"coracle.dev/coracle/apiserver/admission/imagepolicy"
	"coracle.dev/coracle/apiserver/admission/limitranger"
	"coracle.dev/coracle/apiserver/admission/namespace"
	"coracle.dev/coracle/apiserver/admission/noderestriction"
	"coracle.dev/coracle/apiserver/admission/nodeselector"
	"coracle.dev/coracle/apiserver/admission/nodetaint"
	"coracle.dev/coracle/apiserver/admission/ownerreference"
	"coracle.dev/coracle/apiserver/admission/podsecurity"
	"coracle.dev/coracle/apiserver/admission/priority"
	"coracle.dev/coracle/apiserver/admission/pullpolicy"
	"coracle.dev/coracle/apiserver/admission/runtimeclass"
	"coracle.dev/coracle/apiserver/admission/securitycontext"
	"coracle.dev/coracle/apiserver/admission/serviceaccount"
	"coracle.dev/coracle/apiserver/admission/storageprotection"
	"coracle.dev/coracle/apiserver/admission/toleration"
	"coracle.dev/coracle/apiserver/admission/topologylabels"
)

// entry is a plugin and whether it runs unless flags say otherwise.
type entry struct {
	name string
	on   bool
}

// order is that of Kubernetes.
var order = []entry{
	{always.AdmitName, false},
	{namespace.AutoProvisionName, false},
	{lifecycle.PluginName, true},
	{namespace.ExistsName, false},
	{securitycontext.Name, false},
	{antiaffinity.Name, false},
	{limitranger.Name, true},
	{serviceaccount.Name, true},
	{noderestriction.Name, true},
	{nodetaint.Name, true},
	{pullpolicy.Name, false},
	{imagepolicy.Name, false},
	{podsecurity.Name, true},
	{nodeselector.Name, false},
	{priority.Name, true},
	{toleration.Name, true},
	{toleration.RestrictionName, false},
	{eventratelimit.Name, false},
	{toleration.ExtendedName, false},
	{defaultclass.StorageName, true},
	{storageprotection.Name, true},
	{ownerreference.Name, false},
	{claimresize.Name, true},
	{runtimeclass.Name, true},
	{certificate.ApprovalName, true},
	{certificate.SigningName, true},
	{certificate.AttestName, true},
	{certificate.SubjectRestrictionName, true},
	{defaultclass.IngressName, true},
	{externalip.Name, false},
	{topologylabels.Name, true},
	{mutatingpolicy.PluginName, true},
	{mutating.PluginName, true},
	{validatingpolicy.PluginName, true},
	{validating.PluginName, true},
	{quotaplugin.PluginName, true},
	{always.DenyName, false},
}

// Order lists all plugins, in order.
func Order() []string {
	var names []string
	for _, e := range order {
		names = append(names, e.name)
	}
	return names
}

// Options are what plugins work with.
type Options struct {
	// Enable and Disable change which plugins run.
	Enable, Disable []string
	// ConfigFile is an AdmissionConfiguration, which configures single plugins; it may be empty.
	ConfigFile string

	Client     kubernetes.Interface
	Dynamic    dynamic.Interface
	Informers  informers.SharedInformerFactory
	Authorizer authorizer.Authorizer
	RESTMapper meta.RESTMapper
	// Schemas are what policies are checked against.
	Schemas resolver.SchemaResolver
	// Services and Webhooks are how webhooks are reached.
	Services webhook.ServiceResolver
	Webhooks webhook.AuthenticationInfoResolverWrapper
	// Audiences are those of tokens whose request names none.
	Audiences []string
	// Drained is closed when the server has answered its last request.
	Drained <-chan struct{}
}

// Enabled are the names of the plugins to run, in order.
func (o Options) Enabled() ([]string, error) {
	for _, name := range slices.Concat(o.Enable, o.Disable) {
		if !slices.Contains(Order(), name) {
			return nil, fmt.Errorf("unknown admission plugin %q: known are %v", name, Order())
		}
	}
	var names []string
	for _, e := range order {
		on := (e.on || slices.Contains(o.Enable, e.name)) && !slices.Contains(o.Disable, e.name)
		if on {
			names = append(names, e.name)
		}
	}
	return names, nil
}

// New puts the plugins together.
func New(o Options) (admission.Interface, error) {
	names, err := o.Enabled()
	if err != nil {
		return nil, err
	}
	plugins := &admission.Plugins{}
	server.RegisterAllAdmissionPlugins(plugins)
	for _, register := range []func(*admission.Plugins){
		always.Register, namespace.Register, securitycontext.Register, antiaffinity.Register, pullpolicy.Register, imagepolicy.Register,
		nodeselector.Register, eventratelimit.Register, ownerreference.Register, certificate.Register, externalip.Register,
		limitranger.Register, serviceaccount.Register, noderestriction.Register, nodetaint.Register,
		priority.Register, toleration.Register, defaultclass.Register, runtimeclass.Register,
		podsecurity.Register, storageprotection.Register, claimresize.Register, topologylabels.Register, quotaplugin.Register,
	} {
		register(plugins)
	}
	config, err := readConfig(names, o.ConfigFile)
	if err != nil {
		return nil, err
	}
	gates := utilfeature.DefaultFeatureGate
	chain := admission.PluginInitializers{
		initializer.New(o.Client, o.Dynamic, o.Informers, o.Authorizer, gates, compatibility.DefaultBuildEffectiveVersion(), o.Drained, o.RESTMapper),
		webhookinit.NewPluginInitializer(o.Webhooks, o.Services),
		policyInitializer{o.Schemas}, quotaInitializer{}, audienceInitializer(o.Audiences),
	}
	out, err := plugins.NewFromPlugins(names, config, chain, admission.DecoratorFunc(admissionmetrics.WithControllerMetrics))
	if err != nil {
		return nil, fmt.Errorf("setting up admission: %w", err)
	}
	return out, nil
}

// policyInitializer gives policies the schemas of what they speak of, and what they do not concern:
// reviews, whose refusal would lock everybody out.
type policyInitializer struct{ schemas resolver.SchemaResolver }

// Initialize implements admission.PluginInitializer.
func (i policyInitializer) Initialize(p admission.Interface) {
	if w, ok := p.(initializer.WantsSchemaResolver); ok {
		w.SetSchemaResolver(i.schemas)
	}
	if w, ok := p.(initializer.WantsExcludedAdmissionResources); ok {
		w.SetExcludedAdmissionResources(excluded)
	}
}

// audienceInitializer tells plugins for whom tokens are whose request does not say.
type audienceInitializer []string

// Initialize implements admission.PluginInitializer.
func (i audienceInitializer) Initialize(p admission.Interface) {
	if w, ok := p.(interface{ SetAPIAudiences([]string) }); ok {
		w.SetAPIAudiences(i)
	}
}
