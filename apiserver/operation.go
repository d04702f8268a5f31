package apiserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apiserver/pkg/audit"
	genericapiserver "k8s.io/apiserver/pkg/server"
	utilflowcontrol "k8s.io/apiserver/pkg/util/flowcontrol"
	flowcontrolrequest "k8s.io/apiserver/pkg/util/flowcontrol/request"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // metrics of the server's own clients
	_ "k8s.io/component-base/metrics/prometheus/version"  // kubernetes_build_info
	"k8s.io/component-base/tracing"
	"k8s.io/klog/v2"

	"coracle.dev/coracle/apiserver/flowcontrol"
)

// operation is what keeps watch over requests. The servers of the chain share it: each request passes
// the filters of the first one alone, but is counted where it is served.
type operation struct {
	// flow is nil where capacity is not shared out.
	flow     utilflowcontrol.Interface
	counts   flowcontrolrequest.StorageObjectCountTracker
	auditing audit.Backend
	policy   audit.PolicyRuleEvaluator
	tracer   tracing.TracerProvider
}

func (c CompletedConfig) newOperation() (*operation, error) {
	o := c.options
	out := &operation{counts: flowcontrolrequest.NewStorageObjectCountTracker()}
	if o.Operation.PriorityAndFairness {
		out.flow = utilflowcontrol.New(c.Informers, c.Client.FlowcontrolV1(), o.MaxRequestsInFlight+o.MaxMutatingRequestsInFlight)
	}
	scratch := genericapiserver.NewConfig(c.Codecs)
	if err := o.Operation.Audit.ApplyTo(scratch); err != nil {
		return nil, fmt.Errorf("setting up the audit log: %w", err)
	}
	if err := o.Operation.Tracing.ApplyTo(nil, scratch); err != nil {
		return nil, fmt.Errorf("setting up tracing: %w", err)
	}
	out.auditing, out.policy, out.tracer = scratch.AuditBackend, scratch.AuditPolicyRuleEvaluator, scratch.TracerProvider
	return out, nil
}

// apply sets up one server of the chain.
func (p *operation) apply(g *genericapiserver.Config, o OperationOptions) {
	g.FlowControl, g.StorageObjectCountTracker = p.flow, p.counts
	g.AuditBackend, g.AuditPolicyRuleEvaluator = p.auditing, p.policy
	g.TracerProvider = p.tracer
	g.GoawayChance = o.GoawayChance
	g.LivezGracePeriod = o.LivezGracePeriod
	g.ShutdownSendRetryAfter = o.ShutdownSendRetryAfter
	g.ShutdownWatchTerminationGracePeriod = o.ShutdownWatchGracePeriod
	g.CorsAllowedOriginList, g.HSTSDirectives = o.CORSAllowedOrigins, o.HSTSDirectives
	g.EnableContentionProfiling = o.ContentionProfiling
}

// hooks are what operation does once the server serves.
func (p *operation) hooks(c *chain, server *genericapiserver.GenericAPIServer) error {
	var errs []error
	add := func(name string, f func(genericapiserver.PostStartHookContext) error) {
		errs = append(errs, server.AddPostStartHook(name, f))
	}
	if c.options.Operation.EncryptionReload {
		add("start-encryption-provider-config-automatic-reload", func(hook genericapiserver.PostStartHookContext) error {
			go c.backend.ReloadEncryption(hook)
			return nil
		})
	}
	if p.flow == nil {
		return errors.Join(errs...)
	}
	add("priority-and-fairness-config-producer", func(hook genericapiserver.PostStartHookContext) error {
		if err := flowcontrol.Await(hook, c.Client); err != nil {
			return ended(hook, fmt.Errorf("making the default flow schemas and priority levels: %w", err))
		}
		go flowcontrol.Keep(hook, c.Client)
		return nil
	})
	return errors.Join(errs...)
}

// close sends what is still to be sent, if it can be sent at once.
func (p *operation) close(ctx context.Context) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := p.tracer.Shutdown(limited); err != nil {
		klog.FromContext(ctx).Error(err, "Sending the last spans")
	}
}

// ended passes over what failed because the server was told to end meanwhile.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}
