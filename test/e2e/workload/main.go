// Command workload is what the containers of the end-to-end tests run: a server that tells who it
// is and who asks, and programs that misbehave on demand.
//
//	workload serve [--http PORT] [--tcp PORT] [--udp PORT] [--grpc PORT]
//	workload hog BYTES      take memory until killed
//	workload size           print the terminal's size at each change
//	workload resolve TYPE NAME...
//	workload get|post URL   print the body of the answer; fail unless the status is 200
//	workload udp|tcp ADDRESS   send a line and print the answer
//	workload api PATH       ask the API server as the pod's service account, and print the answer
//	workload verify [TOKEN]  check a service account's token by what its issuer publishes
//	workload hooks FOLDER   serve webhooks and an aggregated API on port 8443, with the folder's certificate
//
// The HTTP server answers /hostname, /clientip, /env and /healthz; a POST to /healthy or /unhealthy
// sets what /healthz and the gRPC health service say. The TCP and UDP servers answer each message
// with the host's name and the sender's address.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/term"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("say what to do: serve, hog, size or resolve"))
	}
	args := os.Args[2:]
	switch os.Args[1] {
	case "serve":
		fail(serve(args))
	case "hog":
		fail(hog(args))
	case "size":
		size()
	case "resolve":
		fail(resolve(args))
	case "get", "post":
		fail(request(os.Args[1], args))
	case "udp", "tcp":
		fail(ask(os.Args[1], args))
	case "api":
		fail(api(args))
	case "hooks":
		fail(hooks(args))
	case "verify":
		fail(verify(args))
	default:
		fail(fmt.Errorf("unknown command %q", os.Args[1]))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// hog takes and touches memory, a MiB at a time.
func hog(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("say how many bytes")
	}
	limit, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var taken [][]byte
	for total := 0; total < limit; total += 1 << 20 {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		taken = append(taken, block)
	}
	fmt.Println("took", len(taken), "MiB")
	wait()
	return nil
}

func size() {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	for {
		w, h, err := term.GetSize(0)
		fail(err)
		fmt.Printf("%dx%d\n", w, h)
		<-changed
	}
}

func wait() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	<-stop
}

// resolve prints the answers to one question, sorted, a line each.
func resolve(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("say a record type and a name")
	}
	var lines []string
	for _, name := range args[1:] {
		answers, err := lookup(args[0], name)
		if err != nil {
			return err
		}
		lines = append(lines, answers...)
	}
	slices.Sort(lines)
	fmt.Println(strings.Join(lines, "\n"))
	return nil
}

func lookup(kind, name string) ([]string, error) {
	switch kind {
	case "A":
		return net.LookupHost(name)
	case "CNAME":
		answer, err := net.LookupCNAME(name)
		return []string{answer}, err
	case "PTR":
		return net.LookupAddr(name)
	case "SRV":
		_, records, err := net.LookupSRV("", "", name)
		var answers []string
		for _, r := range records {
			answers = append(answers, fmt.Sprintf("%s:%d", r.Target, r.Port))
		}
		return answers, err
	}
	return nil, fmt.Errorf("unknown record type %q", kind)
}
