package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const benchPort = 16443

// measureStart times an API server by itself from exec to /readyz, with no data and with some.
func measureStart(ctx context.Context, e *env) ([]result, error) {
	data := filepath.Join(e.dir, "etcd")
	var took [2]time.Duration
	for i := range took {
		cmd := e.command(ctx, "bench", "apiserver", "--etcd-data-dir", data, "--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(benchPort))
		begin := time.Now()
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		err := awaitReadyz(ctx, fmt.Sprintf("https://127.0.0.1:%d/readyz", benchPort))
		took[i] = time.Since(begin)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if err != nil {
			return nil, err
		}
	}
	return []result{{"start to /readyz, empty and existing data", "3.0 s", "0.5 s", seconds(took[0]) + ", " + seconds(took[1])}}, nil
}

func awaitReadyz(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if resp, err := client.Get(url); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", url, ctx.Err())
		case <-tick.C:
		}
	}
}

// measureUp times `coracle up` to a Ready node: the first time, and again after `down`.
func measureUp(ctx context.Context, e *env) ([]result, error) {
	first, err := e.up(ctx)
	if err != nil {
		return nil, err
	}
	if err := e.do(ctx, "bench", "down"); err != nil {
		return nil, err
	}
	second, err := e.up(ctx)
	if err != nil {
		return nil, err
	}
	return []result{{"coracle up to node Ready, first and again", "", "2 s", seconds(first) + ", " + seconds(second)}}, nil
}

// measureIdle lets a cluster without pods settle, and looks at what it uses for a minute.
func measureIdle(ctx context.Context, e *env) ([]result, error) {
	if _, err := e.up(ctx); err != nil {
		return nil, err
	}
	const settle, span = 30 * time.Second, 60 * time.Second
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	pids, err := e.processes(ctx)
	if err != nil {
		return nil, err
	}
	before := ticks(pids)
	if err := pause(ctx, span); err != nil {
		return nil, err
	}
	const ticksPerSecond = 100 // USER_HZ, the same on all Linux
	cpu := float64(ticks(pids)-before) / ticksPerSecond / span.Seconds() * 100
	var parts []string
	total := 0
	for _, pid := range pids {
		mib := residentMiB(pid)
		total += mib
		parts = append(parts, strconv.Itoa(mib))
	}
	return []result{
		{"idle resident memory, process group with containerd", "690 MB", "300 MB", fmt.Sprintf("%d MB (%s)", total, strings.Join(parts, " + "))},
		{"idle CPU over 60 s", "5.8 % of a core", "2 %", fmt.Sprintf("%.1f %%", cpu)},
	}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// processes are the cluster's own: coracle and containerd.
func (e *env) processes(ctx context.Context) ([]int, error) {
	out, err := e.command(ctx, "bench", "status").Output()
	if err != nil {
		return nil, err
	}
	var pids []int
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[1] != "process" {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSuffix(f[2], ","))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// ticks is the processor time that the processes have used.
func ticks(pids []int) (total int) {
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		f := strings.Fields(rest)
		if len(f) < 13 {
			continue
		}
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		total += user + system
	}
	return total
}

func residentMiB(pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	f := strings.Fields(rest)
	if len(f) == 0 {
		return 0
	}
	kib, _ := strconv.Atoi(f[0])
	return kib >> 10
}
