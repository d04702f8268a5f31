package runtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// callCNI runs the stub and returns its output and exit code.
func callCNI(t *testing.T, configuration string, env ...string) (string, int) {
	t.Helper()
	dir := t.TempDir()
	if err := unpackHelpers(dir); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(filepath.Join(dir, cniName))
	command.Env = env
	command.Stdin = strings.NewReader(configuration)
	var out bytes.Buffer
	command.Stdout = &out
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), command.ProcessState.ExitCode()
}

func TestCNIStub(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "cor-cni-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "cni.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	calls := make(chan string, 1)
	answers := make(chan string, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			call, _ := io.ReadAll(c)
			calls <- string(call)
			fmt.Fprint(c, <-answers)
			c.Close()
		}
	}()
	env := []string{"CNI_COMMAND=ADD", "CNI_CONTAINERID=abc", "CNI_NETNS=/run/netns/x", "CNI_IFNAME=eth0", "CNI_ARGS=A=1;B=2"}
	// The key counts at the outermost level alone, and strings hide brackets.
	configuration := fmt.Sprintf(`{"name":"}\"]", "runtimeConfig" : {"socket":"/wrong", "list":[{"socket":"/wrong"}]}, "socket" : %q, "long":%q}`,
		socket, strings.Repeat("x", 100_000))
	for answer, want := range map[string]struct {
		out  string
		code int
	}{
		`0{"ips":[]}`:                           {`{"ips":[]}`, 0},
		`1{"code":100}`:                         {`{"code":100}`, 1},
		"0":                                     {"", 0},
		"0" + strings.Repeat("y", 200_000) + "": {strings.Repeat("y", 200_000), 0},
	} {
		answers <- answer
		out, code := callCNI(t, configuration, env...)
		if out != want.out || code != want.code {
			t.Errorf("answer %.20s: got %.100s, exit code %d", answer, out, code)
		}
		if got, want := <-calls, "ADD\nabc\n/run/netns/x\neth0\nA=1;B=2\n"+configuration; got != want {
			t.Errorf("the agent was asked:\n%.300s\nwant:\n%.300s", got, want)
		}
	}
	answers <- ""
	if out, code := callCNI(t, configuration, env...); code != 1 || cniCode(t, out) != 11 {
		t.Errorf("no answer: got %s, exit code %d", out, code)
	}
	<-calls
}

func cniCode(t *testing.T, out string) int {
	t.Helper()
	var e struct {
		CNIVersion, Msg string
		Code            int
	}
	if err := json.Unmarshal([]byte(out), &e); err != nil || e.Msg == "" || e.CNIVersion == "" {
		t.Errorf("%q is no CNI error: %v", out, err)
	}
	return e.Code
}

func TestCNIStubFailures(t *testing.T) {
	for configuration, want := range map[string]int{
		``:                         6,
		`{}`:                       6,
		`{"socket":""}`:            6,
		`{"socket":1}`:             6,
		`{"socket":"unterminated`:  6,
		`{"a":{"socket":"/x"}}`:    6,
		`{"socket":"/tmp/\u0041"}`: 6,
		`{"socket":"` + strings.Repeat("/x", 60) + `"}`: 6,
		`{"x":"\`:                              6,
		`{"socket":"/tmp/no/agent/there"}`:     11,
		strings.Repeat("[", 2<<20):             5,
		`{"socket":"/tmp/no", "env":"newline"`: 11,
	} {
		out, code := callCNI(t, configuration, "CNI_COMMAND=ADD")
		if got := cniCode(t, out); got != want || code != 1 {
			t.Errorf("%.60s: got %s, exit code %d; want code %d", configuration, out, code, want)
		}
	}
}
