package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// servers is a Deployment of servers on TCP and UDP ports, and a pod to ask from.
const servers = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: server}
spec:
  replicas: 3
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: workload
        imagePullPolicy: IfNotPresent
        args: [serve, --http, "8080", --tcp, "9000", --udp, "9001"]
        ports:
        - {name: web, containerPort: 8080}
        - {name: echo, containerPort: 9000}
        - {name: echo-udp, containerPort: 9001, protocol: UDP}
        readinessProbe: {httpGet: {path: /healthz, port: web}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: workload, imagePullPolicy: IfNotPresent, args: [serve]}
`

func newServers(t *testing.T) *namespace {
	n := newNamespace(t)
	n.apply(servers)
	n.awaitReady("app=server", 3)
	n.awaitPod("client", "ready", ready)
	return n
}

// ask runs workload in the client pod.
func (n *namespace) ask(args ...string) (string, error) {
	out, err := n.try(append([]string{"exec", "client", "--", "/bin/workload"}, args...)...)
	return strings.TrimSpace(out), err
}

// spread asks until every one of the three servers has answered, and returns how many did.
func (n *namespace) spread(ask func() (string, error)) {
	n.t.Helper()
	hosts := map[string]bool{}
	n.eventually("all three servers to answer", func() (bool, string) {
		out, err := ask()
		if err != nil {
			return false, err.Error()
		}
		if host, _, _ := strings.Cut(out, " "); strings.HasPrefix(host, "server-") {
			hosts[host] = true
		}
		return len(hosts) == 3, fmt.Sprint(out, hosts)
	})
}

func TestS08ClusterIPAndNodePort(t *testing.T) {
	t.Parallel()
	n := newServers(t)
	n.apply(`
apiVersion: v1
kind: Service
metadata: {name: server}
spec:
  type: NodePort
  selector: {app: server}
  ports:
  - {name: web, port: 80, targetPort: web}
  - {name: echo, port: 90, targetPort: 9000}
  - {name: echo-udp, port: 91, targetPort: echo-udp, protocol: UDP}
`)
	ip := n.kubectl("get", "svc", "server", "-o", "jsonpath={.spec.clusterIP}")
	n.spread(func() (string, error) { return n.ask("get", "http://"+ip+"/hostname") })
	n.spread(func() (string, error) { return n.ask("tcp", ip+":90") })
	n.spread(func() (string, error) { return n.ask("udp", ip+":91") })
	n.spread(func() (string, error) { return n.ask("get", "http://server/hostname") })
	client := n.awaitPod("client", "ready", ready).Status.PodIP
	if seen, err := n.ask("get", "http://server/clientip"); err != nil || seen != client {
		t.Errorf("a server sees its client %s as %s, %v", client, seen, err)
	}

	node := n.awaitPod("client", "ready", ready).Status.HostIP
	port := func(name string) string {
		return n.kubectl("get", "svc", "server", "-o", fmt.Sprintf(`jsonpath={.spec.ports[?(@.name=="%s")].nodePort}`, name))
	}
	n.spread(func() (string, error) {
		return strings.TrimSpace(fetch(t, "http://"+node+":"+port("web")+"/hostname")), nil
	})
	n.spread(func() (string, error) { return strings.TrimSpace(fetch(t, "http://"+ip+"/hostname")), nil })
	n.spread(func() (string, error) { return n.ask("udp", node+":"+port("echo-udp")) })

	// Without an endpoint the refusal is prompt, from pods and from the node.
	n.kubectl("scale", "deployment/server", "--replicas=0")
	n.awaitReady("app=server", 0)
	n.eventually("connections to be refused", func() (bool, string) {
		begin := time.Now()
		_, err := n.ask("tcp", ip+":90")
		return err != nil && strings.Contains(err.Error(), "connection refused"), fmt.Sprint(err, time.Since(begin))
	})
	if out := fetch(t, "http://"+node+":"+port("web")+"/hostname"); !strings.Contains(out, "connection refused") {
		t.Errorf("the node's port of a Service without endpoints answers %q", out)
	}
}

func TestS08SessionAffinity(t *testing.T) {
	t.Parallel()
	n := newServers(t)
	n.kubectl("expose", "deployment", "server", "--port=80", "--target-port=8080", "--session-affinity=ClientIP")
	var first string
	n.eventually("an answer", func() (bool, string) {
		var err error
		first, err = n.ask("get", "http://server/hostname")
		return err == nil, fmt.Sprint(err)
	})
	for range 12 {
		if again, err := n.ask("get", "http://server/hostname"); err != nil || again != first {
			t.Fatalf("first %s, then %s (%v)", first, again, err)
		}
	}
}

func TestS08HeadlessAndNoSelector(t *testing.T) {
	t.Parallel()
	n := newServers(t)
	pods := n.awaitReady("app=server", 3)
	n.apply(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: server}, ports: [{name: web, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: manual}
spec: {ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: manual}
subsets: [{addresses: [{ip: %s}], ports: [{port: 8080}]}]
`, pods[0].Status.PodIP))
	n.eventually("the headless name to give all addresses", func() (bool, string) {
		out, err := n.ask("resolve", "A", "headless")
		return err == nil && len(strings.Fields(out)) == 3, fmt.Sprint(out, err)
	})
	n.eventually("the hand-kept endpoint to answer", func() (bool, string) {
		out, err := n.ask("get", "http://manual/hostname")
		return out == pods[0].Name, fmt.Sprint(out, err)
	})
}

func TestS09ServiceEnvironment(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(`
apiVersion: v1
kind: Service
metadata: {name: mysql}
spec: {selector: {app: none}, ports: [{port: 3306}]}
`)
	ip := n.kubectl("get", "svc", "mysql", "-o", "jsonpath={.spec.clusterIP}")
	n.apply(fmt.Sprintf(sleeper, "p", "p"))
	n.awaitPod("p", "ready", ready)
	env := n.exec("p", "env")
	for _, want := range []string{
		"MYSQL_SERVICE_HOST=" + ip, "MYSQL_SERVICE_PORT=3306", "MYSQL_PORT=tcp://" + ip + ":3306",
		"MYSQL_PORT_3306_TCP=tcp://" + ip + ":3306", "MYSQL_PORT_3306_TCP_PROTO=tcp", "MYSQL_PORT_3306_TCP_PORT=3306",
		"MYSQL_PORT_3306_TCP_ADDR=" + ip, "KUBERNETES_SERVICE_PORT=443", "HOSTNAME=p",
	} {
		if !strings.Contains(env, want+"\n") {
			t.Errorf("there is no %s in\n%s", want, env)
		}
	}
}

func TestS10DNS(t *testing.T) {
	t.Parallel()
	n := newServers(t)
	n.apply(`
apiVersion: v1
kind: Service
metadata: {name: mysql}
spec: {selector: {app: server}, ports: [{name: sql, port: 3306, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, selector: {app: peer}, ports: [{name: web, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: localhost}
---
apiVersion: v1
kind: Pod
metadata: {name: peer-0, labels: {app: peer}}
spec:
  hostname: peer-0
  subdomain: peers
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: workload, imagePullPolicy: IfNotPresent, args: [serve]}
`)
	peer := n.awaitPod("peer-0", "ready", ready).Status.PodIP
	ip := n.kubectl("get", "svc", "mysql", "-o", "jsonpath={.spec.clusterIP}")
	domain := n.name + ".svc.cluster.local"
	for _, q := range []struct{ kind, name, want string }{
		{"A", "mysql", ip},
		{"A", "mysql." + n.name, ip},
		{"A", "mysql." + domain, ip},
		{"SRV", "_sql._tcp.mysql." + domain, "mysql." + domain + ".:3306"},
		{"A", "peers", peer},
		{"A", "peer-0.peers." + domain, peer},
		{"SRV", "_web._tcp.peers." + domain, "peer-0.peers." + domain + ".:8080"},
		{"PTR", ip, "mysql." + domain + "."},
		{"CNAME", "outside." + domain, "localhost."},
	} {
		n.eventually(q.kind+" "+q.name, func() (bool, string) {
			out, err := n.ask("resolve", q.kind, q.name)
			return err == nil && out == q.want, fmt.Sprintf("%q, %v; want %s", out, err, q.want)
		})
	}
	if out, err := n.ask("resolve", "A", "no-such-name"); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("a name that is not there: %q, %v", out, err)
	}
	if out, err := n.ask("get", "http://kube-dns.kube-system:9153/ready"); err != nil || out != "OK" {
		t.Errorf("the name server's readiness: %q, %v", out, err)
	}
	if conf := n.exec("client", "cat", "/etc/resolv.conf"); !strings.Contains(conf, "search "+domain+" svc.cluster.local cluster.local") || !strings.Contains(conf, "ndots:5") {
		t.Errorf("resolv.conf:\n%s", conf)
	}
	if name := n.exec("peer-0", "hostname", "-f"); strings.TrimSpace(name) != "peer-0.peers."+domain {
		t.Errorf("the full name of a pod with a subdomain is %s", name)
	}
}

func TestS36LogsAndExec(t *testing.T) {
	t.Parallel()
	n := newNamespace(t)
	n.apply(`
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "for i in 1 2 3 4 5; do echo line $i; done; read word; echo got $word; while true; do sleep 1; done"]
    stdin: true
  - name: side
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo side; sleep 3600"]
  - name: errors
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "echo fault >&2; sleep 3600"]
`)
	n.awaitPod("talker", "ready", ready)
	n.eventually("all lines", func() (bool, string) {
		out := n.kubectl("logs", "talker", "-c", "main")
		return out == "line 1\nline 2\nline 3\nline 4\nline 5\n", out
	})
	n.eventually("standard error", func() (bool, string) {
		out := n.kubectl("logs", "talker", "-c", "errors")
		return out == "fault\n", out
	})
	if out := n.kubectl("logs", "talker", "-c", "main", "--tail=2"); strings.Count(out, "\n") != 2 {
		t.Errorf("--tail=2 gives %q", out)
	}
	if out := n.kubectl("logs", "talker", "-c", "main", "--timestamps", "--tail=1"); !strings.HasPrefix(out, "20") || !strings.Contains(out, "T") {
		t.Errorf("--timestamps gives %q", out)
	}
	if out := n.kubectl("logs", "talker", "-c", "main", "--limit-bytes=4"); out != "line" {
		t.Errorf("--limit-bytes=4 gives %q", out)
	}
	if out := n.kubectl("logs", "talker", "--all-containers", "--prefix"); !strings.Contains(out, "[pod/talker/side] side") {
		t.Errorf("--all-containers --prefix gives %q", out)
	}
	if out := n.kubectl("logs", "talker", "-c", "main", "--since=1h"); !strings.Contains(out, "line 1") {
		t.Errorf("--since=1h gives %q", out)
	}
	n.refused([]string{"logs", "talker", "-c", "main", "--previous"}, `previous terminated container "main" in pod "talker" not found`)

	// Attach hands standard input to the process; a follower sees what it answers.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	follow := n.command(ctx, "logs", "talker", "-c", "main", "-f")
	pipe, err := follow.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	attach := n.command(ctx, "attach", "talker", "-c", "main", "-i")
	attach.Stdin = strings.NewReader("hello\n")
	if err := attach.Start(); err != nil {
		t.Fatal(err)
	}
	if !readUntil(pipe, "got hello") {
		t.Error("the follower did not see the answer to what was attached")
	}
	_ = attach.Process.Kill()
	_ = follow.Process.Kill()
	_, _ = attach.Wait(), follow.Wait()

	killMain(n, "talker", "side")
	n.eventually("the previous log", func() (bool, string) {
		out, err := n.try("logs", "talker", "-c", "side", "--previous")
		return out == "side\n", fmt.Sprint(out, err)
	})

	if out := n.kubectl("exec", "talker", "-c", "main", "--", "echo", "a  b"); out != "a  b\n" {
		t.Errorf("exec gives %q", out)
	}
	if _, err := n.try("exec", "talker", "-c", "main", "--", "sh", "-c", "exit 7"); err == nil || !strings.Contains(err.Error(), "exit code 7") {
		t.Errorf("the exit code is lost: %v", err)
	}
	if out := n.kubectl("events", "--for", "pod/talker"); !lineWith(out, "Started", "Pod/talker") {
		t.Errorf("kubectl events:\n%s", out)
	}
}
