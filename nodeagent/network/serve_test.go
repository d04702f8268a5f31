package network

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"coracle.dev/coracle/nodeagent/internal/netnstest"
)

// hostState renders links, routes and rules. Of links it names, not states, which
// follow a little later.
func hostState(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, c := range [][]string{{"ip", "-br", "link"}, {"ip", "route"}, {"nft", "list", "tables"}} {
		out, err := exec.Command(c[0], c[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", c, err, out)
		}
		for line := range strings.Lines(string(out)) {
			if c[1] == "-br" {
				line = strings.Fields(line)[0] + "\n"
			}
			all.WriteString(line)
		}
	}
	return all.String()
}

// ask does what the stub does.
func ask(t *testing.T, socket string, r request) (exit byte, output string) {
	t.Helper()
	c, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, line := range []string{r.Command, r.ContainerID, r.NetNS, r.IfName, r.Args} {
		io.WriteString(c, line+"\n")
	}
	c.Write(r.Config)
	c.(*net.UnixConn).CloseWrite()
	answer, err := io.ReadAll(c)
	if err != nil || len(answer) == 0 {
		t.Fatalf("%s: answer %q, %v", r.Command, answer, err)
	}
	return answer[0], string(answer[1:])
}

func TestServe(t *testing.T) {
	n := newNetwork(t, testConfig(t))
	socket := filepath.Join(t.TempDir(), "cni.sock")
	if err := os.WriteFile(socket, nil, 0o600); err != nil { // left by an earlier process
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Serve(ctx, socket) }()
	for i := 0; ; i++ {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			break
		} else if i == 100 {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	pod := netnstest.New(t)
	with := func(command string, change func(*request)) request {
		r := testRequest(command, "0123456789abcdef", pod.Path)
		if change != nil {
			change(&r)
		}
		return r
	}
	name := n.config.linkName(n.Gateway().Next())
	added := `{"cniVersion":"1.0.0","interfaces":[{"name":"` + name + `","mac":"ee:ee:ee:ee:ee:ee"},` +
		`{"name":"eth0","mac":"0a:58:0a:f4:00:02","sandbox":"` + pod.Path + `"}],` +
		`"ips":[{"interface":1,"address":"10.244.0.2/32","gateway":"10.244.0.1"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.244.0.1"}],"dns":{}}`
	for _, step := range []struct {
		what   string
		r      request
		exit   byte
		output string
	}{
		{"version", with("VERSION", nil), '0', `{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}`},
		{"status", with("STATUS", nil), '0', ""},
		{"check before add", with("CHECK", nil), '1', `{"cniVersion":"1.0.0","code":3,"msg":"container 0123456789abcdef has no interface eth0"}`},
		{"add", with("ADD", nil), '0', added},
		{"add again", with("ADD", nil), '0', added},
		{"check", with("CHECK", nil), '0', ""},
		{"bad config", with("ADD", func(r *request) { r.Config = []byte("{") }), '1', `{"code":6,"msg":"decoding the network configuration: unexpected end of JSON input"}`},
		{"old version", with("ADD", func(r *request) { r.Config = []byte(`{"cniVersion":"0.2.0"}`) }), '1',
			`{"cniVersion":"0.2.0","code":1,"msg":"CNI version \"0.2.0\" is not one of [1.0.0 1.1.0]"}`},
		{"no container", with("DEL", func(r *request) { r.ContainerID = "" }), '1', `{"cniVersion":"1.0.0","code":4,"msg":"CNI_CONTAINERID is empty"}`},
		{"bad interface", with("ADD", func(r *request) { r.IfName = "../x" }), '1', `{"cniVersion":"1.0.0","code":4,"msg":"CNI_IFNAME \"../x\" is not a name for an interface"}`},
		{"del", with("DEL", nil), '0', ""},
		{"del again, without namespace", with("DEL", func(r *request) { r.NetNS = "" }), '0', ""},
		{"add once more", with("ADD", nil), '0', strings.NewReplacer("0af40002", "0af40003", "00:02", "00:03", "0.2/32", "0.3/32").Replace(added)},
		{"gc keeps", with("GC", func(r *request) {
			r.Config = []byte(`{"cniVersion":"1.1.0","cni.dev/valid-attachments":[{"containerID":"0123456789abcdef","ifname":"eth0"}]}`)
		}), '0', ""},
		{"check after gc", with("CHECK", nil), '0', ""},
		{"gc frees", with("GC", func(r *request) { r.Config = []byte(`{"cniVersion":"1.1.0"}`) }), '0', ""},
		{"check after gc", with("CHECK", nil), '1', `{"cniVersion":"1.0.0","code":3,"msg":"container 0123456789abcdef has no interface eth0"}`},
	} {
		exit, output := ask(t, socket, step.r)
		if exit != step.exit || output != step.output {
			t.Errorf("%s: got %c %s\nwant %c %s", step.what, exit, output, step.exit, step.output)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func TestAddUndoesWhatItBegan(t *testing.T) {
	n := newNetwork(t, testConfig(t))
	_, failure := n.call(t.Context(), testRequest("ADD", "x", "/nonexistent"))
	if failure == nil || failure.Code != codeAttach {
		t.Fatalf("got %v, want code %d", failure, codeAttach)
	}
	if left := n.pool.list(); len(left) != 0 {
		t.Errorf("addresses left: %v", left)
	}
	links, err := n.podLinks()
	if err != nil || len(links) != 0 {
		t.Errorf("links left: %v, %v", links, err)
	}
}

func TestPodEndIsPlain(t *testing.T) {
	n := newNetwork(t, testConfig(t))
	pod := n.addPod(t, "a")
	var got []string
	pod.Do(func() {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			t.Error(err)
			return
		}
		addresses, _ := netlink.AddrList(link, netlink.FAMILY_ALL)
		for _, a := range addresses {
			got = append(got, a.IPNet.String())
		}
		routes, _ := netlink.RouteList(link, netlink.FAMILY_V4)
		for _, r := range routes {
			got = append(got, r.Dst.String()+" via "+r.Gw.String())
		}
	})
	want := []string{pod.ip + "/32", "0.0.0.0/0 via 10.244.0.1", "10.244.0.1/32 via <nil>"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pod's interface (-want +got):\n%s", diff)
	}
}

func TestWriteConfList(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net.d")
	l := ConfList{Name: "coracle", PluginType: "coracle-cni", Socket: "/run/coracle/x/cni.sock"}
	if err := WriteConfList(dir, l); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "10-coracle.conflist")
	first, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteConfList(dir, l); err != nil {
		t.Fatal(err)
	}
	if second, err := os.Stat(path); err != nil || !os.SameFile(first, second) {
		t.Errorf("an unchanged file was written again (%v)", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal([]byte(`{"cniVersion":"1.0.0","name":"coracle","plugins":[{"type":"coracle-cni",
		"socket":"/run/coracle/x/cni.sock","capabilities":{"portMappings":true}}]}`), &want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func FuzzReadRequest(f *testing.F) {
	f.Add("ADD\nid\n/ns\neth0\nargs\n{}")
	f.Add("\n\n\n\n\n")
	f.Fuzz(func(t *testing.T, in string) {
		r, err := readRequest(strings.NewReader(in))
		if err != nil {
			return
		}
		out := strings.Join([]string{r.Command, r.ContainerID, r.NetNS, r.IfName, r.Args, string(r.Config)}, "\n")
		if out != in {
			t.Errorf("read %q as %q", in, out)
		}
	})
}

func BenchmarkAddAndDelete(b *testing.B) {
	c := testConfig(b)
	n, err := New(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	defer Teardown(context.Background(), c)
	var add, del time.Duration
	for b.Loop() {
		pod := netnstest.New(b)
		start := time.Now()
		if _, failure := n.call(b.Context(), testRequest("ADD", "x", pod.Path)); failure != nil {
			b.Fatal(failure)
		}
		added := time.Now()
		if _, failure := n.call(b.Context(), testRequest("DEL", "x", pod.Path)); failure != nil {
			b.Fatal(failure)
		}
		pod.Remove()
		add, del = add+added.Sub(start), del+time.Since(added)
	}
	b.ReportMetric(float64(add.Microseconds())/float64(b.N), "µs/add")
	b.ReportMetric(float64(del.Microseconds())/float64(b.N), "µs/del")
}
