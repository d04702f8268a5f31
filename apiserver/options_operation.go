package apiserver

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
	genericoptions "k8s.io/apiserver/pkg/server/options"
)

// OperationOptions say how the server guards itself and its data, and what it tells about itself.
type OperationOptions struct {
	// PriorityAndFairness shares the capacity out by flow schemas. Otherwise the limits on requests in
	// flight hold for all together.
	PriorityAndFairness bool

	// Audit says what is recorded of requests; Tracing where spans are sent. Both are read from files.
	Audit   *genericoptions.AuditOptions
	Tracing *genericoptions.TracingOptions

	// EncryptionConfigFile is an EncryptionConfiguration; without one, everything is stored in the clear.
	EncryptionConfigFile string
	// EncryptionReload reads that file again when it changes.
	EncryptionReload bool

	// AdmissionConfigFile is an AdmissionConfiguration, which configures single plugins.
	AdmissionConfigFile string

	// GoawayChance is the share of requests after which an HTTP/2 client is asked to connect anew, so
	// that clients spread over several servers.
	GoawayChance float64
	// LivezGracePeriod is how long after the start /livez overlooks hooks that have not ended.
	LivezGracePeriod time.Duration
	// ShutdownSendRetryAfter goes on listening while requests in flight end, and answers new ones that
	// they shall be tried again elsewhere.
	ShutdownSendRetryAfter bool
	// ShutdownWatchGracePeriod is how long watches are given to end.
	ShutdownWatchGracePeriod time.Duration

	CORSAllowedOrigins, HSTSDirectives []string
	ContentionProfiling                bool
}

// maxGoawayChance is Kubernetes' own limit.
const maxGoawayChance = 0.02

func newOperationOptions() OperationOptions {
	return OperationOptions{
		PriorityAndFairness:      true,
		Audit:                    genericoptions.NewAuditOptions(),
		Tracing:                  genericoptions.NewTracingOptions(),
		ShutdownWatchGracePeriod: time.Second,
	}
}

func (o *OperationOptions) addFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&o.PriorityAndFairness, "enable-priority-and-fairness", o.PriorityAndFairness, "Share the capacity for requests out by flow schemas and priority levels.")
	fs.StringVar(&o.EncryptionConfigFile, "encryption-provider-config", o.EncryptionConfigFile, "EncryptionConfiguration that says which resources are encrypted in etcd, and with which keys.")
	fs.BoolVar(&o.EncryptionReload, "encryption-provider-config-automatic-reload", o.EncryptionReload, "Read --encryption-provider-config again when it changes.")
	fs.StringVar(&o.AdmissionConfigFile, "admission-control-config-file", o.AdmissionConfigFile, "AdmissionConfiguration with the configuration of single admission plugins.")
	fs.Float64Var(&o.GoawayChance, "goaway-chance", o.GoawayChance, "Share of requests after which an HTTP/2 client is asked to connect anew; 0 is none, 0.02 the most.")
	fs.DurationVar(&o.LivezGracePeriod, "livez-grace-period", o.LivezGracePeriod, "How long after the start /livez overlooks hooks that have not ended.")
	fs.BoolVar(&o.ShutdownSendRetryAfter, "shutdown-send-retry-after", o.ShutdownSendRetryAfter, "Go on listening until all requests in flight have ended, and answer new ones that they shall be tried again.")
	fs.DurationVar(&o.ShutdownWatchGracePeriod, "shutdown-watch-termination-grace-period", o.ShutdownWatchGracePeriod, "How long watches are given to end.")
	fs.StringSliceVar(&o.CORSAllowedOrigins, "cors-allowed-origins", o.CORSAllowedOrigins, "Regular expressions of origins whose pages may use the API.")
	fs.StringSliceVar(&o.HSTSDirectives, "strict-transport-security-directives", o.HSTSDirectives, "Directives of the header Strict-Transport-Security, such as max-age=31536000; without any there is none.")
	fs.BoolVar(&o.ContentionProfiling, "contention-profiling", o.ContentionProfiling, "Profile blocking, if profiling is on.")
	o.Audit.AddFlags(fs)
	o.Tracing.AddFlags(fs)
}

func (o *OperationOptions) validate() []error {
	var errs []error
	if o.GoawayChance < 0 || o.GoawayChance > maxGoawayChance {
		errs = append(errs, fmt.Errorf("--goaway-chance %v is not between 0 and %v", o.GoawayChance, maxGoawayChance))
	}
	for flag, d := range map[string]time.Duration{
		"livez-grace-period": o.LivezGracePeriod, "shutdown-watch-termination-grace-period": o.ShutdownWatchGracePeriod,
	} {
		if d < 0 {
			errs = append(errs, fmt.Errorf("--%s must not be negative", flag))
		}
	}
	if o.EncryptionReload && o.EncryptionConfigFile == "" {
		errs = append(errs, fmt.Errorf("--encryption-provider-config-automatic-reload needs --encryption-provider-config"))
	}
	errs = append(errs, o.Audit.Validate()...)
	return append(errs, o.Tracing.Validate()...)
}
