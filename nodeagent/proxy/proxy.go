package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/knftables"
)

// Config of the proxy of one node. ClusterName and NodeName are required.
type Config struct {
	// ClusterName is part of the table's name.
	ClusterName string
	// NodeName tells which endpoints are local.
	NodeName string
	// NodeIPs are the node's addresses. Node ports answer there, and on
	// 127.0.0.0/8, unless NodePortAddresses names ranges; then the node's
	// addresses within those answer, and no others.
	NodeIPs           []netip.Addr
	NodePortAddresses []netip.Prefix
	// ClusterCIDR is the range of pods. What comes to a Service from elsewhere is
	// masqueraded. ServiceCIDR may be left out; then packets to addresses in it
	// that no Service has are not refused.
	ClusterCIDR, ServiceCIDR netip.Prefix
	// LoadBalancerCIDR is likewise that of load balancers' addresses.
	LoadBalancerCIDR netip.Prefix
}

func (c Config) validate() error {
	switch {
	case c.ClusterName == "":
		return errors.New("proxy: ClusterName is empty")
	case c.NodeName == "":
		return errors.New("proxy: NodeName is empty")
	case !c.ClusterCIDR.IsValid() || !c.ClusterCIDR.Addr().Is4():
		return fmt.Errorf("proxy: ClusterCIDR %v is not an IPv4 range", c.ClusterCIDR)
	case len(c.nodePortAddresses()) == 0:
		return fmt.Errorf("proxy: no IPv4 range among NodePortAddresses %v", c.NodePortAddresses)
	}
	return nil
}

// nodePortAddresses returns the ranges that node ports answer in, as text.
func (c Config) nodePortAddresses() []string {
	var ranges []string
	if len(c.NodePortAddresses) > 0 {
		for _, p := range c.NodePortAddresses {
			if p.Addr().Is4() {
				ranges = append(ranges, p.Masked().String())
			}
		}
		return ranges
	}
	for _, a := range c.NodeIPs {
		if a.Is4() && !a.IsLoopback() {
			ranges = append(ranges, a.String())
		}
	}
	return append(ranges, "127.0.0.0/8")
}

const (
	// writeInterval is the shortest time between two writes. A lone event is
	// written at once; a storm of them becomes twenty transactions a second.
	writeInterval = 50 * time.Millisecond
	// checkInterval is how often it is made sure that the table is still there.
	checkInterval = time.Minute
	firstRetry    = 100 * time.Millisecond
	lastRetry     = 10 * time.Second
)

// Run keeps the rules in step with the cluster until ctx ends, and leaves them
// there: Services go on to work while the agent restarts. An error is returned
// only where there is no hope, such as a missing nft.
func Run(ctx context.Context, cfg *rest.Config, c Config) error {
	cfg = rest.CopyConfig(cfg)
	cfg.ContentType, cfg.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	client, err := kubernetes.NewForConfig(rest.AddUserAgent(cfg, "coracle-proxy"))
	if err != nil {
		return fmt.Errorf("making the proxy's client: %w", err)
	}
	return run(ctx, client, c)
}

func run(ctx context.Context, client kubernetes.Interface, c Config) error {
	if err := c.validate(); err != nil {
		return err
	}
	nft, err := knftables.New(knftables.IPv4Family, tableName(c.ClusterName))
	if err != nil {
		return fmt.Errorf("opening nftables: %w", err)
	}
	w, err := newWatcher(client)
	if err != nil {
		return err
	}
	if err := w.start(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	s := &syncer{config: c, table: newTable(nft, c), source: w, fragments: map[string]fragment{}, endFlows: endStaleFlows}
	s.loop(ctx, w.changed)
	w.wait()
	return nil
}

// Teardown removes the rules. It is no error if there are none.
func Teardown(ctx context.Context, clusterName string) error {
	nft, err := knftables.New(knftables.IPv4Family, tableName(clusterName))
	if err != nil {
		return fmt.Errorf("opening nftables: %w", err)
	}
	tx := nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	if err := nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("deleting table %s: %w", tableName(clusterName), err)
	}
	return nil
}

// source knows the state of the cluster.
type source interface {
	// drain returns the names of the Services touched since the last call.
	drain() []string
	// service returns a Service, or nil, and its slices.
	service(name string) (*corev1.Service, []*discoveryv1.EndpointSlice)
}

// syncer turns changes into transactions. It is used by one goroutine.
type syncer struct {
	config    Config
	table     *table
	source    source
	fragments map[string]fragment
	endFlows  func(before, now fragment, services netip.Prefix) (uint, error)
}

// loop writes when changed says so, and in its own time after an error.
func (s *syncer) loop(ctx context.Context, changed <-chan struct{}) {
	logger := klog.FromContext(ctx)
	check := time.NewTicker(checkInterval)
	defer check.Stop()
	pause := time.NewTimer(0)
	defer pause.Stop()
	retry := firstRetry
	var last time.Time
	for {
		// Not before the pause is over, however many changes there are.
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		last = time.Now()
		err := s.sync(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			logger.Error(err, "Writing the rules of Services, will try again", "after", retry)
			pause.Reset(retry)
			retry = min(2*retry, lastRetry)
			continue
		}
		retry = firstRetry
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-check.C:
			s.verify(ctx)
		}
		pause.Reset(time.Until(last.Add(writeInterval)))
	}
}

func (s *syncer) verify(ctx context.Context) {
	ok, err := s.table.intact(ctx)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Checking the rules of Services")
	} else if !ok {
		klog.FromContext(ctx).Info("The rules of Services were changed by somebody else, writing them again")
		s.table.known = false
	}
}

// sync plans what has changed and writes it.
func (s *syncer) sync(ctx context.Context) error {
	touched := s.source.drain()
	for _, name := range touched {
		svc, eps := s.source.service(name)
		if svc == nil {
			delete(s.fragments, name)
			continue
		}
		if f := planService(svc, eps, s.config); len(f.elements) > 0 {
			s.fragments[name] = f
		} else {
			delete(s.fragments, name)
		}
	}
	before, now, first := s.table.applied, merge(s.fragments), !s.table.known
	start := time.Now()
	if err := s.table.apply(ctx, now); err != nil {
		return err
	}
	klog.FromContext(ctx).V(4).Info("Wrote the rules of Services", "touched", len(touched), "duration", time.Since(start))
	if first || !maps.EqualFunc(before.udp, now.udp, maps.Equal[map[netip.AddrPort]bool]) {
		ended, err := s.endFlows(before, now, s.config.ServiceCIDR)
		if err != nil {
			// The rules are right; only old flows may hang until they time out.
			klog.FromContext(ctx).Error(err, "Ending stale UDP flows")
		} else if ended > 0 {
			klog.FromContext(ctx).V(2).Info("Ended stale UDP flows", "count", ended)
		}
	}
	return nil
}
