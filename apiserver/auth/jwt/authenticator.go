package jwt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	tokenunion "k8s.io/apiserver/pkg/authentication/token/union"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/options/authenticationconfig/metrics"
	"k8s.io/apiserver/pkg/util/filesystem"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
	"k8s.io/klog/v2"
)

const (
	// healthTime is how long a new configuration has to fetch its keys.
	healthTime = 10 * time.Second
	// goodbye is how long an old configuration may finish what it was asked.
	goodbye = time.Minute
	// pollInterval is how often a file is looked at of which no event came.
	pollInterval = time.Minute
)

// Options are what an Authenticator works with.
type Options struct {
	// SigningAlgs are accepted; all that are safe, if there are none.
	SigningAlgs []string
	// Disallowed issuers are those of the cluster's own tokens.
	Disallowed []string
	// ServerID names this server in metrics.
	ServerID string
}

// Authenticator implements authenticator.Token for the issuers of one configuration after another.
type Authenticator struct {
	options Options
	current atomic.Pointer[generation]
	update  sync.Mutex // one at a time
}

// generation is what was made of one configuration.
type generation struct {
	authenticator.Token
	healthy []func() error
	end     context.CancelFunc
}

// New accepts tokens as the configuration says, as soon as the keys are there. ctx ends it.
func New(ctx context.Context, c *apiserver.AuthenticationConfiguration, o Options) (*Authenticator, error) {
	if len(o.SigningAlgs) == 0 {
		o.SigningAlgs = oidc.AllValidSigningAlgorithms()
	}
	a := &Authenticator{options: o}
	g, err := a.generation(ctx, c)
	if err != nil {
		return nil, err
	}
	a.current.Store(g)
	return a, nil
}

func (a *Authenticator) generation(ctx context.Context, c *apiserver.AuthenticationConfiguration) (*generation, error) {
	ctx, cancel := context.WithCancel(ctx)
	g := &generation{end: cancel}
	compiler := authenticationcel.NewDefaultCompiler()
	var tokens []authenticator.Token
	for _, issuer := range c.JWT {
		o := oidc.Options{
			JWTAuthenticator: issuer, Compiler: compiler, APIServerID: a.options.ServerID,
			SupportedSigningAlgs: a.options.SigningAlgs, DisallowedIssuers: a.options.Disallowed,
		}
		if ca := issuer.Issuer.CertificateAuthority; ca != "" {
			content, err := dynamiccertificates.NewStaticCAContent("oidc-authenticator", []byte(ca))
			if err != nil {
				cancel()
				return nil, fmt.Errorf("reading authorities of issuer %s: %w", issuer.Issuer.URL, err)
			}
			o.CAContentProvider = content
		}
		token, err := oidc.New(ctx, o)
		if err != nil {
			cancel()
			return nil, fmt.Errorf("setting up issuer %s: %w", issuer.Issuer.URL, err)
		}
		tokens = append(tokens, token)
		g.healthy = append(g.healthy, token.HealthCheck)
	}
	g.Token = tokenunion.NewFailOnError(tokens...)
	return g, nil
}

// AuthenticateToken implements authenticator.Token.
func (a *Authenticator) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	return a.current.Load().AuthenticateToken(ctx, token)
}

// Healthy says whether the keys of all issuers were fetched.
func (a *Authenticator) Healthy() error { return a.current.Load().check() }

func (g *generation) check() error {
	var errs []error
	for _, f := range g.healthy {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// Update takes over another configuration once its keys are there, and changes nothing if they do not
// come. ctx ends what it starts.
func (a *Authenticator) Update(ctx context.Context, c *apiserver.AuthenticationConfiguration) error {
	a.update.Lock()
	defer a.update.Unlock()
	g, err := a.generation(ctx, c)
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, healthTime, true, func(context.Context) (bool, error) {
		last = g.check()
		return last == nil, nil
	})
	if err != nil {
		g.end()
		return fmt.Errorf("waiting for the keys of all issuers: %w", errors.Join(err, last))
	}
	old := a.current.Swap(g)
	time.AfterFunc(goodbye, old.end)
	return nil
}

// Follow takes over the file whenever it changes from what was loaded, until ctx ends.
func (a *Authenticator) Follow(ctx context.Context, file string, loaded []byte) {
	logger := klog.FromContext(ctx)
	metrics.RegisterMetrics()
	metrics.RecordAuthenticationConfigLastConfigInfo(a.options.ServerID, string(loaded))
	changed := func() {
		c, data, err := Load(file, a.options.Disallowed)
		if err == nil && bytes.Equal(data, loaded) {
			return
		}
		if err == nil {
			err = a.Update(ctx, c)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			logger.Error(err, "Keeping the authentication configuration as it was", "file", file)
			metrics.RecordAuthenticationConfigAutomaticReloadFailure(a.options.ServerID)
			return
		}
		loaded = data
		logger.Info("Read the authentication configuration again", "file", file)
		metrics.RecordAuthenticationConfigAutomaticReloadSuccess(a.options.ServerID, string(data))
	}
	filesystem.WatchUntil(ctx, pollInterval, file, changed, func(err error) {
		logger.Error(err, "Watching the authentication configuration", "file", file)
	})
}
