package network

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"k8s.io/klog/v2"
)

// callTimeout bounds one CNI call, so that a stub that hangs holds nothing.
const callTimeout = 30 * time.Second

// Serve answers the CNI stub on a unix socket until ctx ends; then it waits for
// the calls under way and returns nil. A socket left by an earlier process is
// replaced.
//
// A call is five lines, CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME and
// CNI_ARGS, and the configuration up to the end of the stream. The first byte
// of the answer is the digit that the stub exits with, the rest its output.
func (n *Network) Serve(ctx context.Context, socketPath string) error {
	if err := os.Remove(socketPath); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing a stale socket: %w", err)
	}
	var listen net.ListenConfig
	l, err := listen.Listen(ctx, "unix", socketPath)
	if err != nil {
		return fmt.Errorf("listening for the CNI stub: %w", err)
	}
	if err := os.Chmod(socketPath, 0o600); err != nil {
		return errors.Join(fmt.Errorf("protecting the socket: %w", err), l.Close())
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting a call of the CNI stub: %w", err)
		}
		// A call that has begun is finished even when the agent is to stop: the
		// runtime would otherwise see a pod fail.
		calls.Go(func() { n.serveConn(context.WithoutCancel(ctx), c) })
	}
}

func (n *Network) serveConn(ctx context.Context, c net.Conn) {
	defer c.Close()
	logger := klog.FromContext(ctx)
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := c.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		logger.Error(err, "Setting a deadline for a CNI call")
		return
	}
	r, err := readRequest(c)
	if err != nil {
		logger.Error(err, "Reading a CNI call")
		return
	}
	start := time.Now()
	answer, failure := n.call(ctx, r)
	logger.V(4).Info("Answered a CNI call", "command", r.Command, "sandbox", r.ContainerID, "duration", time.Since(start), "failure", failure)
	if failure != nil {
		logger.Info("A CNI call did not succeed", "command", r.Command, "sandbox", r.ContainerID, "code", failure.Code, "reason", failure.Msg)
	}
	if _, err := c.Write(encodeAnswer(answer, failure)); err != nil {
		logger.Error(err, "Answering a CNI call", "command", r.Command, "sandbox", r.ContainerID)
	}
}

func readRequest(from io.Reader) (request, error) {
	var r request
	b := bufio.NewReader(io.LimitReader(from, maximumRequestBytes))
	for _, field := range []*string{&r.Command, &r.ContainerID, &r.NetNS, &r.IfName, &r.Args} {
		line, err := b.ReadString('\n')
		if err != nil {
			return r, fmt.Errorf("reading the environment: %w", err)
		}
		*field = strings.TrimSuffix(line, "\n")
	}
	config, err := io.ReadAll(b)
	r.Config = config
	return r, err
}

func encodeAnswer(answer any, failure *cniError) []byte {
	code := "0"
	if failure != nil {
		code, answer = "1", failure
	}
	if answer == nil {
		return []byte(code)
	}
	data, err := json.Marshal(answer)
	if err != nil {
		return []byte(`1{"code":999,"msg":"encoding the answer"}`)
	}
	return append([]byte(code), data...)
}
