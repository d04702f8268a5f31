package chain

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"
	authorizationmetrics "k8s.io/apiserver/pkg/authorization/metrics"
	"k8s.io/apiserver/pkg/authorization/union"
	"k8s.io/apiserver/pkg/server/options/authorizationconfig/metrics"
	"k8s.io/apiserver/pkg/util/filesystem"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/apiserver/plugin/pkg/authorizer/webhook"
	webhookmetrics "k8s.io/apiserver/plugin/pkg/authorizer/webhook/metrics"
	"k8s.io/klog/v2"
)

const (
	// mastersName is that of the authorizer before all others; no configured one can have it.
	mastersName = "system:masters"
	// pollInterval is how often a file is looked at of which no event came.
	pollInterval = time.Minute
)

// Mode is an authorizer that is no webhook, and what it can tell of a user's rules.
type Mode interface {
	authorizer.Authorizer
	authorizer.RuleResolver
}

// Options are what a Chain works with.
type Options struct {
	// Modes are the authorizers by type, such as RBAC.
	Modes map[string]Mode
	// ServerID names this server in metrics.
	ServerID string
}

// Chain implements Mode for the authorizers of one configuration after another.
type Chain struct {
	options Options
	current atomic.Pointer[links]
}

var _ Mode = &Chain{}

type links struct {
	authorizer.Authorizer
	authorizer.RuleResolver
	modes []string // the types that are no webhooks, sorted
}

// New makes the chain of a configuration that was checked.
func New(c *apiserver.AuthorizationConfiguration, o Options) (*Chain, error) {
	chain := &Chain{options: o}
	l, err := chain.link(c)
	if err != nil {
		return nil, err
	}
	chain.current.Store(l)
	return chain, nil
}

func (c *Chain) link(config *apiserver.AuthorizationConfiguration) (*links, error) {
	l := &links{}
	masters := authorizerfactory.NewPrivilegedGroups(user.SystemPrivilegedGroup)
	all := []union.NamedAuthorizer{{AuthorizerName: mastersName, Authorizer: masters}}
	var rules []authorizer.RuleResolver
	for _, a := range config.Authorizers {
		kind := string(a.Type)
		mode, ok := c.options.Modes[kind]
		switch {
		case kind == Webhook:
			w, err := newWebhook(a)
			if err != nil {
				return nil, fmt.Errorf("setting up authorization webhook %s: %w", a.Name, err)
			}
			mode = w
		case !ok:
			return nil, fmt.Errorf("authorizer %s of type %s was not there when the server started", a.Name, kind)
		default:
			l.modes = append(l.modes, kind)
		}
		all = append(all, union.NamedAuthorizer{
			AuthorizerName: a.Name, Authorizer: authorizationmetrics.InstrumentedAuthorizer(kind, a.Name, mode),
		})
		rules = append(rules, mode)
	}
	z, err := union.New(all...)
	if err != nil {
		return nil, fmt.Errorf("putting authorizers together: %w", err)
	}
	slices.Sort(l.modes)
	l.Authorizer, l.RuleResolver = z, union.NewRuleResolvers(rules...)
	return l, nil
}

// webhookMetrics are those of upstream.
type webhookMetrics struct {
	webhookmetrics.RequestMetrics
	webhookmetrics.WebhookMetrics
	authorizationcel.MatcherMetrics
}

func newWebhook(a apiserver.AuthorizerConfiguration) (Mode, error) {
	w := a.Webhook
	if w.ConnectionInfo.Type != apiserver.AuthorizationWebhookConnectionInfoTypeKubeConfigFile {
		return nil, fmt.Errorf("connectionInfo.type %q would ask this server itself: use %s",
			w.ConnectionInfo.Type, apiserver.AuthorizationWebhookConnectionInfoTypeKubeConfigFile)
	}
	config, err := webhookutil.LoadKubeconfig(*w.ConnectionInfo.KubeConfigFile, nil)
	if err != nil {
		return nil, err
	}
	config.Timeout = w.Timeout.Duration
	onError := authorizer.DecisionNoOpinion
	if w.FailurePolicy == apiserver.FailurePolicyDeny {
		onError = authorizer.DecisionDeny
	}
	authorized, unauthorized := w.AuthorizedTTL.Duration, w.UnauthorizedTTL.Duration
	if !w.CacheAuthorizedRequests {
		authorized = 0
	}
	if !w.CacheUnauthorizedRequests {
		unauthorized = 0
	}
	return webhook.New(config, w.SubjectAccessReviewVersion, authorized, unauthorized, *webhook.DefaultRetryBackoff(), onError,
		w.MatchConditions, a.Name, webhookMetrics{
			RequestMetrics: webhookmetrics.NoopRequestMetrics{}, WebhookMetrics: webhookmetrics.NewWebhookMetrics(),
			MatcherMetrics: authorizationcel.NewMatcherMetrics(),
		}, authorizationcel.NewDefaultCompiler())
}

// Authorize implements authorizer.Authorizer.
func (c *Chain) Authorize(ctx context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	return c.current.Load().Authorize(ctx, a)
}

// ConditionsAwareAuthorize implements authorizer.Authorizer.
func (c *Chain) ConditionsAwareAuthorize(ctx context.Context, a authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return c.current.Load().ConditionsAwareAuthorize(ctx, a)
}

// EvaluateConditions implements authorizer.Authorizer.
func (c *Chain) EvaluateConditions(ctx context.Context, d authorizer.ConditionsAwareDecision, data authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return c.current.Load().EvaluateConditions(ctx, d, data)
}

// RulesFor implements authorizer.RuleResolver.
func (c *Chain) RulesFor(ctx context.Context, u user.Info, namespace string) ([]authorizer.ResourceRuleInfo, []authorizer.NonResourceRuleInfo, bool, error) {
	return c.current.Load().RulesFor(ctx, u, namespace)
}

// Update takes over another configuration, or says why it does not.
func (c *Chain) Update(config *apiserver.AuthorizationConfiguration) error {
	l, err := c.link(config)
	if err != nil {
		return err
	}
	if now := c.current.Load().modes; !slices.Equal(l.modes, now) {
		return fmt.Errorf("authorizers besides webhooks are %v: they were %v when the server started", l.modes, now)
	}
	c.current.Store(l)
	return nil
}

// Follow takes over the file whenever it changes from what was loaded, until ctx ends.
func (c *Chain) Follow(ctx context.Context, file string, known []string, loaded []byte) {
	logger := klog.FromContext(ctx)
	metrics.RegisterMetrics()
	metrics.RecordAuthorizationConfigLastConfigInfo(c.options.ServerID, string(loaded))
	changed := func() {
		config, data, err := Load(file, known)
		if err == nil && bytes.Equal(data, loaded) {
			return
		}
		if err == nil {
			err = c.Update(config)
		}
		if err != nil {
			logger.Error(err, "Keeping the authorization configuration as it was", "file", file)
			metrics.RecordAuthorizationConfigAutomaticReloadFailure(c.options.ServerID)
			return
		}
		loaded = data
		logger.Info("Read the authorization configuration again", "file", file)
		metrics.RecordAuthorizationConfigAutomaticReloadSuccess(c.options.ServerID, string(data))
	}
	filesystem.WatchUntil(ctx, pollInterval, file, changed, func(err error) {
		logger.Error(err, "Watching the authorization configuration", "file", file)
	})
}
