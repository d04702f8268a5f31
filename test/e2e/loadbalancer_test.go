package e2e

import (
	"strings"
	"testing"
	"time"
)

func TestS08LoadBalancer(t *testing.T) {
	t.Parallel()
	n := newServers(t)
	n.kubectl("expose", "deployment", "server", "--type=LoadBalancer", "--port=80", "--target-port=8080")
	ip := ""
	n.eventually("the Service to have an address", func() (bool, string) {
		ip = strings.TrimSpace(n.kubectl("get", "svc", "server", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}"))
		return ip != "", ip
	})
	if out := n.kubectl("get", "svc", "server"); !lineWith(out, "LoadBalancer", ip) {
		t.Errorf("the services are\n%s", out)
	}
	n.spread(func() (string, error) { return n.ask("get", "http://"+ip+"/hostname") })
	n.spread(func() (string, error) { return strings.TrimSpace(fetch(t, "http://"+ip+"/hostname")), nil })

	// What no Service has is refused promptly.
	begin := time.Now()
	if out, err := n.ask("tcp", ip+":81"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a port that the Service does not have answers %q, %v, after %v", out, err, time.Since(begin))
	}
	n.kubectl("delete", "svc", "server")
	n.eventually("the address to be refused", func() (bool, string) {
		out := fetch(t, "http://"+ip+"/hostname")
		return strings.Contains(out, "connection refused"), out
	})
}
