package main

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// serve runs the servers whose ports are given until the process is told to stop.
func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	httpPort := flags.Int("http", 8080, "")
	tcpPort := flags.Int("tcp", 0, "")
	udpPort := flags.Int("udp", 0, "")
	grpcPort := flags.Int("grpc", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	checks := health.NewServer()
	failed := make(chan error, 4)
	start := func(port int, server func(addr string) error) {
		if port != 0 {
			go func() { failed <- server(fmt.Sprintf(":%d", port)) }()
		}
	}
	start(*httpPort, func(addr string) error { return http.ListenAndServe(addr, handler(checks)) })
	start(*tcpPort, serveTCP)
	start(*udpPort, serveUDP)
	start(*grpcPort, func(addr string) error {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		s := grpc.NewServer()
		grpc_health_v1.RegisterHealthServer(s, checks)
		return s.Serve(l)
	})
	go func() {
		wait()
		os.Exit(0)
	}()
	return <-failed
}

func handler(checks *health.Server) http.Handler {
	var sick atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hostname", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, hostname()) })
	mux.HandleFunc("GET /clientip", func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintln(w, host)
	})
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, _ *http.Request) {
		for _, e := range os.Environ() {
			fmt.Fprintln(w, e)
		}
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			http.Error(w, "unhealthy", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	set := func(value bool, status grpc_health_v1.HealthCheckResponse_ServingStatus) http.HandlerFunc {
		return func(http.ResponseWriter, *http.Request) {
			sick.Store(value)
			checks.SetServingStatus("", status)
		}
	}
	mux.HandleFunc("POST /healthy", set(false, grpc_health_v1.HealthCheckResponse_SERVING))
	mux.HandleFunc("POST /unhealthy", set(true, grpc_health_v1.HealthCheckResponse_NOT_SERVING))
	return mux
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return err.Error()
	}
	return name
}

func serveTCP(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				fmt.Fprintf(conn, "%s %s\n", hostname(), conn.RemoteAddr())
			}
		}()
	}
}

func serveUDP(addr string) error {
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		_, from, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := conn.WriteTo(fmt.Appendf(nil, "%s %s\n", hostname(), from), from); err != nil {
			return err
		}
	}
}
