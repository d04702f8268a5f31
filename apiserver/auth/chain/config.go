package chain

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/load"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"
)

// Webhook is the type of which there may be several.
const Webhook = string(apiserver.TypeWebhook)

const (
	// webhookName is that of the webhook which flags name.
	webhookName    = "default"
	webhookTimeout = 30 * time.Second
)

// Load reads an AuthorizationConfiguration of the known types, and returns it with the text it was read
// from.
func Load(file string, known []string) (*apiserver.AuthorizationConfiguration, []byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("reading authorization configuration: %w", err)
	}
	c, err := decode(data, known)
	if err != nil {
		return nil, nil, fmt.Errorf("reading authorization configuration %s: %w", file, err)
	}
	return c, data, nil
}

func decode(data []byte, known []string) (*apiserver.AuthorizationConfiguration, error) {
	c, err := load.LoadFromData(data)
	if err != nil {
		return nil, err
	}
	return c, validate(c, known)
}

func validate(c *apiserver.AuthorizationConfiguration, known []string) error {
	return validation.ValidateAuthorizationConfiguration(authorizationcel.NewDefaultCompiler(), nil, c,
		sets.New(known...), sets.New(Webhook)).ToAggregate()
}

// Flags are those that say which authorizers there are.
type Flags struct {
	Modes                                        []string
	WebhookConfigFile, WebhookVersion            string
	WebhookAuthorizedTTL, WebhookUnauthorizedTTL time.Duration
}

// Configuration is what the flags say, in the words of a file.
func (f Flags) Configuration() (*apiserver.AuthorizationConfiguration, error) {
	c := &apiserver.AuthorizationConfiguration{}
	for _, mode := range f.Modes {
		a := apiserver.AuthorizerConfiguration{Type: apiserver.AuthorizerType(mode), Name: strings.ToLower(mode)}
		if mode == Webhook {
			file, err := filepath.Abs(f.WebhookConfigFile)
			if err != nil {
				return nil, fmt.Errorf("finding --authorization-webhook-config-file: %w", err)
			}
			a.Name, a.Webhook = webhookName, f.webhook(file)
		}
		c.Authorizers = append(c.Authorizers, a)
	}
	return c, nil
}

// webhook: where the time to remember is none, nothing is remembered.
func (f Flags) webhook(file string) *apiserver.WebhookConfiguration {
	return &apiserver.WebhookConfiguration{
		AuthorizedTTL: metav1.Duration{Duration: f.WebhookAuthorizedTTL}, CacheAuthorizedRequests: true,
		UnauthorizedTTL: metav1.Duration{Duration: f.WebhookUnauthorizedTTL}, CacheUnauthorizedRequests: true,
		Timeout:                    metav1.Duration{Duration: webhookTimeout},
		SubjectAccessReviewVersion: f.WebhookVersion, FailurePolicy: apiserver.FailurePolicyNoOpinion,
		ConnectionInfo: apiserver.WebhookConnectionInfo{
			Type: apiserver.AuthorizationWebhookConnectionInfoTypeKubeConfigFile, KubeConfigFile: &file,
		},
	}
}
