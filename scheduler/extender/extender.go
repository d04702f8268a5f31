// Package extender makes scheduler extenders of their configuration: programs that are asked over HTTP which nodes do
// for a pod, which are better, and which pods may be preempted, and that may bind pods themselves.
//
// The requests and answers are those of k8s.io/kube-scheduler/extender/v1. An extender is asked about pods that use
// one of the resources that it manages, or about all if it manages none by name. Different from kube-scheduler 1.37: an
// answer of more than 64 MiB is an error.
package extender

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/rest"
	configv1 "k8s.io/kube-scheduler/config/v1"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"

	"coracle.dev/coracle/scheduler"
	"coracle.dev/coracle/scheduler/framework"
	"coracle.dev/coracle/scheduler/snapshot"
)

const (
	// defaultTimeout is how long an extender may think, unless its configuration says otherwise.
	defaultTimeout = 5 * time.Second
	maxAnswer      = 64 << 20
)

// client is a configured extender.
type client struct {
	configv1.Extender
	http    *http.Client
	manages sets.Set[string]
}

// New makes an extender.
func New(c configv1.Extender) (scheduler.Extender, error) {
	if c.URLPrefix == "" {
		return scheduler.Extender{}, fmt.Errorf("reading an extender: urlPrefix is empty")
	}
	if c.PrioritizeVerb != "" && c.Weight <= 0 {
		return scheduler.Extender{}, fmt.Errorf("reading extender %s: weight %d is not positive", c.URLPrefix, c.Weight)
	}
	transport, err := transport(c)
	if err != nil {
		return scheduler.Extender{}, fmt.Errorf("reading extender %s: %w", c.URLPrefix, err)
	}
	timeout := c.HTTPTimeout.Duration
	if timeout == 0 {
		timeout = defaultTimeout
	}
	e := &client{Extender: c, http: &http.Client{Transport: transport, Timeout: timeout}, manages: sets.New[string]()}
	for _, r := range c.ManagedResources {
		e.manages.Insert(r.Name)
	}
	out := scheduler.Extender{Extender: framework.Extender{Name: c.URLPrefix, Wants: e.wants, Ignorable: c.Ignorable}}
	if c.FilterVerb != "" {
		out.Filter = e.filter
	}
	if c.PrioritizeVerb != "" {
		out.Score = e.score
	}
	if c.PreemptVerb != "" {
		out.Preempt = e.preempt
	}
	if c.BindVerb != "" {
		out.Bind = e.bind
	}
	return out, nil
}

func transport(c configv1.Extender) (http.RoundTripper, error) {
	cfg := rest.Config{Host: c.URLPrefix}
	if t := c.TLSConfig; t != nil {
		cfg.TLSClientConfig = rest.TLSClientConfig{
			Insecure: t.Insecure, ServerName: t.ServerName, CertFile: t.CertFile, KeyFile: t.KeyFile, CAFile: t.CAFile,
			CertData: t.CertData, KeyData: t.KeyData, CAData: t.CAData,
		}
	}
	if c.EnableHTTPS && len(cfg.CAFile)+len(cfg.CAData) == 0 {
		cfg.Insecure = true // as kube-scheduler does, so that a configuration of it still works
	}
	return rest.TransportFor(&cfg)
}

func (e *client) wants(p *snapshot.Pod) bool {
	if len(e.manages) == 0 {
		return true
	}
	asks := func(containers []corev1.Container) bool {
		for i := range containers {
			for _, list := range []corev1.ResourceList{containers[i].Resources.Requests, containers[i].Resources.Limits} {
				for name := range list {
					if e.manages.Has(string(name)) {
						return true
					}
				}
			}
		}
		return false
	}
	return asks(p.Spec.Containers) || asks(p.Spec.InitContainers)
}

// args names the nodes, or holds them for an extender that does not know them.
func (e *client) args(p *snapshot.Pod, nodes []*snapshot.Node) *extenderv1.ExtenderArgs {
	out := &extenderv1.ExtenderArgs{Pod: p.Pod}
	if e.NodeCacheCapable {
		names := make([]string, len(nodes))
		for i, n := range nodes {
			names[i] = n.Name
		}
		out.NodeNames = &names
		return out
	}
	out.Nodes = &corev1.NodeList{}
	for _, n := range nodes {
		out.Nodes.Items = append(out.Nodes.Items, *n.Node)
	}
	return out
}

func (e *client) filter(p *snapshot.Pod, nodes []*snapshot.Node) (map[string]*framework.Status, error) {
	var result extenderv1.ExtenderFilterResult
	if err := e.post(context.Background(), e.FilterVerb, e.args(p, nodes), &result); err != nil {
		return nil, err
	}
	if result.Error != "" {
		return nil, fmt.Errorf("%s", result.Error)
	}
	left := sets.New[string]()
	if e.NodeCacheCapable && result.NodeNames != nil {
		left.Insert(*result.NodeNames...)
	} else if result.Nodes != nil {
		for i := range result.Nodes.Items {
			left.Insert(result.Nodes.Items[i].Name)
		}
	}
	refused := map[string]*framework.Status{}
	for _, n := range nodes {
		switch {
		case result.FailedAndUnresolvableNodes[n.Name] != "":
			refused[n.Name] = framework.Never(result.FailedAndUnresolvableNodes[n.Name])
		case result.FailedNodes[n.Name] != "":
			refused[n.Name] = framework.Unfit(result.FailedNodes[n.Name])
		case !left.Has(n.Name):
			refused[n.Name] = framework.Unfit("node(s) were refused by extender " + e.URLPrefix)
		}
	}
	return refused, nil
}

func (e *client) score(p *snapshot.Pod, nodes []*snapshot.Node) (map[string]int64, error) {
	var result extenderv1.HostPriorityList
	if err := e.post(context.Background(), e.PrioritizeVerb, e.args(p, nodes), &result); err != nil {
		return nil, err
	}
	scores := map[string]int64{}
	for _, r := range result {
		scores[r.Host] = r.Score * e.Weight * (framework.MaxScore / extenderv1.MaxExtenderPriority)
	}
	return scores, nil
}

func (e *client) bind(ctx context.Context, p *corev1.Pod, node string) error {
	var result extenderv1.ExtenderBindingResult
	args := &extenderv1.ExtenderBindingArgs{PodName: p.Name, PodNamespace: p.Namespace, PodUID: p.UID, Node: node}
	if err := e.post(ctx, e.BindVerb, args, &result); err != nil {
		return err
	}
	if result.Error != "" {
		return fmt.Errorf("%s", result.Error)
	}
	return nil
}

func (e *client) post(ctx context.Context, verb string, args, result any) error {
	body, err := json.Marshal(args)
	if err != nil {
		return fmt.Errorf("encoding a request: %w", err)
	}
	url := strings.TrimRight(e.URLPrefix, "/") + "/" + verb
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := e.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("calling %s: the answer is %s", url, resp.Status)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	if len(answer) > maxAnswer {
		return fmt.Errorf("reading the answer of %s: it is longer than %d bytes", url, maxAnswer)
	}
	if err := json.Unmarshal(answer, result); err != nil {
		return fmt.Errorf("decoding the answer of %s: %w", url, err)
	}
	return nil
}
